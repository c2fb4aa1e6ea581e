"""The twin: the whole control plane and a fleet that somebody describes, in virtual time.

`world` finds bugs in runs that it draws itself; a twin lives through what a user gives it: their
pools, policy and autoscalers, clouds with prices and empty shelves, machines that fail at measured
rates, a load, and a script of what happens when. Both drive the same server, clouds and agents, and
both depend on their seed and their input alone.

==============  ==============================================================================
`blueprint`     everything a run is made of
`faults`        what can go wrong with a node, and what its sensors say of it
`hardware`      the hardware of one node, with its faults
`node`          one node: the product's agent on that hardware
`clouds`        sellers with price lists, limits, boot times that differ, and spot markets
`demand`        how much work wants to run, and `scaler` what autoscalers make of it
`twin`          the run
`watchers`      who looks at a run, such as `invariants`, by what the `ledger` knows
`herd`          nodes at rest, whose signs of life go in batches
`hazards`       faults that come by themselves, at given rates
`network`       the way between nodes and control plane
`outages`       what goes wrong with the control plane itself
==============  ==============================================================================
"""
