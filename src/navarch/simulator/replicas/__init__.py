"""The serving plane in virtual time: load, replicas, placement, nodes and clouds in one loop.

::

    navarch simulate serving --seed 7
    navarch simulate serving --seeds 500

The first tells the story of one seed, the second runs many and prints what failed. A world has the
real core, the real scheduler and autoscaler plugins and their host's turns; made up are time, the
cloud, the machines with their agents, and the people whose requests come and go. Machines die,
agents forget, weights do not come, and the control plane is killed at boundaries that the seed
draws. Then the world is healed, the load goes away, and everything must be given back.
"""
