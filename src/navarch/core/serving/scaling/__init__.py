"""How many replicas a pool of agents should have: proposals of autoscalers, shaped by the host.

::

    signals ──▶ series ──▶ Demand ──▶ autoscalers ──▶ proposals ──▶ combine ──▶ shape ──▶ Shaped
    (catalogue) (samples,                                          (max, min,  (bounds, windows,
                 averaged)                                          average)    rates, cooldown)

Everything here is a pure function of values: a stored week can be asked again with other rules.
Absent, stale and zero are three different things, and only what is fresh may take replicas away.
"""
