"""Small configurations for what-if runs."""

from __future__ import annotations

from pathlib import Path

FLEET = """\
providers:
  cloud: {type: lambda}
pools:
  training:
    provider: cloud
    instance_type: h100-8x
    min_nodes: 4
    max_nodes: 6
    health: {repair: [reset_gpu, reboot, replace]}
    disruption: {max_unavailable: 1}
"""

SCALED = """\
providers:
  cloud: {type: fake, gpu_count: 4}
pools:
  serving:
    provider: cloud
    instance_type: gpu
    min_nodes: 1
    max_nodes: 8
    cooldown: 1m
    autoscaling: {type: queue, jobs_per_node: 10}
"""

LOAD = "time,value\n0,1\n3600,5\n7200,1\n10800,1\n"


def written(folder: Path, text: str, name: str = "fleet.yaml") -> Path:
    """Write a file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
