"""Replicas on a node: their programs, whether they answer, and the weights that they serve.

`life` decides what becomes of one replica and is pure; `supervisor` does it with real processes;
`host` carries out the commands and tells what the node serves. Only an agent that serves imports
any of it.
"""
