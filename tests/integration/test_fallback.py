"""Two providers are out of stock: the third sells, the pool follows its demand, and both are named.

The third sells real processes. The demand is a number in a file, which a metrics source of somebody
else reads.
"""

from __future__ import annotations

from pathlib import Path

from integration.conftest import processes, until
from integration.daemon import Daemon, daemon, free_port

PLUGIN = """
from pathlib import Path

from navarch.core.scaling.base import PoolMetrics


class FileQueue:
    name = "file"

    def __init__(self, path):
        self.path = Path(path)

    async def get_pool_metrics(self, pool_name):
        return PoolMetrics(queue_depth=int(self.path.read_text()))
"""


def write_config(folder: Path, port: int) -> Path:
    file = folder / "navarch.yaml"
    file.write_text(f"""
server:
  address: "127.0.0.1:{port}"
  data: {folder / "data"}
  heartbeat_interval: 1s
  autoscale_interval: 200ms
  metrics: [{{type: custom, use: "file_queue:FileQueue", config: {{path: {folder / "queue"}}}}}]
providers:
  alpha: {{type: fake, stock: {{h100-8x: 0}}}}
  beta: {{type: fake, stock: {{h100-8x: 0}}}}
  here: {{type: process}}
pools:
  training:
    providers:
      - {{name: beta, priority: 2}}
      - {{name: here, priority: 3}}
      - {{name: alpha, priority: 1}}
    strategy: priority
    instance_type: h100-8x
    region: local
    min_nodes: 1
    max_nodes: 4
    cooldown: 1s
    autoscaling: {{type: queue, jobs_per_node: 2}}
""")
    return file


def agents(folder: Path) -> list[str]:
    """The command lines of the agents that are alive."""
    return [line for line in processes(str(folder)).values() if " agent " in line]


def ready(server: Daemon) -> int:
    return int(server.pool("training").get("readyNodes", 0))


def test_stock_outs_fall_back_to_the_next_seller_and_are_named(tmp_path: Path) -> None:
    port, queue = free_port(), tmp_path / "queue"
    (tmp_path / "file_queue.py").write_text(PLUGIN)
    queue.write_text("5")
    config = write_config(tmp_path, port)
    with daemon(config, port, environ={"PYTHONPATH": str(tmp_path)}) as server:
        until(lambda: ready(server) == 3, "three nodes for five jobs")
        assert len(agents(tmp_path)) == 3
        nodes = server.call("ListNodes")["nodes"]
        assert {node["provider"] for node in nodes} == {"here"}
        refused = [fact["text"] for fact in server.facts("launch_failed")]
        assert any("alpha" in text and "sold out" in text for text in refused)
        assert any("beta" in text and "sold out" in text for text in refused)

        shown = server.run("pool", "get", "training")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "Target:     3 (from 1 to 4)" in shown.stdout
        assert "Because:    queue: 5 jobs at 2 a node need 3 nodes" in shown.stdout
        assert "Providers:  beta, here, alpha" in shown.stdout
        assert "autoscaler queue " in shown.stdout
        explained = server.run("explain", "pool", "training")
        for seller in ("alpha", "beta"):
            left_alone = f" more: {seller}/local: NoCapacity "
            assert left_alone in shown.stdout
            assert left_alone in explained.stdout
        launches = [fact["text"] for fact in server.facts("launch_requested")]
        fallback = launches[-1]
        assert "here/local by priority: priority 3; not alpha/local: NoCapacity" in fallback
        assert "beta/local: NoCapacity" in fallback

        queue.write_text("1")
        until(lambda: server.pool("training")["targetNodes"] == 1, "the target follows the queue")
        until(lambda: len(agents(tmp_path)) == 1, "the machines that are too many end")
