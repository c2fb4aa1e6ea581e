"""Serving: how many replicas a pool of agents has, and on which nodes they run."""
