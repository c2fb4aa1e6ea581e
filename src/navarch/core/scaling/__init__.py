"""Autoscaling: how many nodes a pool should have, each answer with its reason.

Every autoscaler is a pure function of a `base.PoolState`. It proposes; the core alone applies
limits, holds the minimum, and acts.
"""
