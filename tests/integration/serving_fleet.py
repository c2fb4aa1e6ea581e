"""What tests of the serving plane with real processes share: how to load it, and how to look."""

from __future__ import annotations

import http.client
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from integration.conftest import Up

POOL = "default/chat"
SERVER = Path(__file__).parents[2] / "examples" / "serving" / "model_server.py"
GONE = ("REPLICA_STATE_STOPPING", "REPLICA_STATE_ENDED")

CLASS_AND_MODEL = """\
apiVersion: neuronetes.io/v1alpha1
kind: Model
metadata: {{name: tiny}}
spec: {{weightsURI: "{weights}"}}
---
apiVersion: neuronetes.io/v1alpha1
kind: AgentClass
metadata: {{name: assistant}}
spec: {{modelRef: {{name: tiny}}}}
---
apiVersion: neuronetes.io/v1alpha1
kind: AgentPool
metadata: {{name: chat}}
spec:
  agentClassRef: {{name: assistant}}
  gpuRequirements: {{count: 1}}
  minReplicas: {smallest}
  maxReplicas: {largest}
  autoscaling:
{autoscaling}
    behavior:
      scaleDown: {{stabilizationWindow: 1s, periodSeconds: 1, maxChangePercent: 100}}
  runtime:
    command: ["{python}", "{server}", --model, "{{model_path}}", --port, "{{port}}"]
    readiness: {{path: /healthz, period: 200ms}}
    gracePeriod: 1s
"""


def apply(fleet: Up, weights: str, autoscaling: str, smallest: int, largest: int) -> None:
    """Say what is to be served, and how its replicas are counted."""
    file = fleet.data.parent / "resources.yaml"
    indented = "".join(f"    {line}\n" for line in autoscaling.splitlines())
    file.write_text(
        CLASS_AND_MODEL.format(
            weights=weights,
            autoscaling=indented.rstrip(),
            smallest=smallest,
            largest=largest,
            python=sys.executable,
            server=SERVER,
        )
    )
    done = fleet.run("apply", "-f", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def push(fleet: Up, depth: float) -> None:
    """Tell how many requests wait."""
    sample = {"agentPool": POOL, "metric": "queue-depth", "value": depth, "source": "test"}
    fleet.call("PushMetrics", samples=[sample])


def replicas(fleet: Up, state: str = "") -> list[dict[str, Any]]:
    """Return the replicas that are not going away; only those in a state, such as READY."""
    found = fleet.call("ListReplicas", agentPool=POOL).get("replicas", [])
    wanted = f"REPLICA_STATE_{state}" if state else ""
    return [
        each
        for each in found
        if each["state"] not in GONE and (not wanted or each["state"] == wanted)
    ]


def answers(replica: dict[str, Any]) -> bool:
    """Whether a replica completes a text."""
    place = urlsplit(replica["endpoint"])
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=5)
    try:
        connection.request("POST", "/v1/completions", b'{"prompt": "a b", "max_tokens": 2}')
        answer = connection.getresponse()
        return answer.status == 200 and b"a b" in answer.read()
    except OSError:
        return False
    finally:
        connection.close()
