"""The agent: what runs on a node, speaks for it and does what it is told.

`duties` decides and is pure; `daemon` does what the duties ask, in real time; the simulator drives
the same duties in virtual time. An agent outlives every outage of its control plane.
"""
