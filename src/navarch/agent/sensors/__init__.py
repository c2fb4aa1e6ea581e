"""Sensors: what a node can know about its own GPUs. Each family is one module."""
