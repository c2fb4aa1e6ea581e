"""Replicas on Kubernetes: one pod each, made, read and deleted through the API server.

`manifest` writes pods and `reading` reads what became of them; both are pure. `runtime` speaks to
the server. Where a pod runs is Kubernetes' to say: its scheduler places these replicas, not ours.
"""
