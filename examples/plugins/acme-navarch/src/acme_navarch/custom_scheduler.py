"""A scheduler that goes by labels: some nodes are good enough, and of those some are better."""

from __future__ import annotations

from msgspec import Struct

from navarch.plugins import AgentPool, Node, Pod


class CustomScheduler:
    """Uses only nodes whose label says so, and prefers those of the high performance tier."""

    name = "custom-scheduler"
    version = "1.0.0"
    priority = 200
    """Higher ones are asked first."""

    class Config(Struct, frozen=True):
        """The label that a node must have."""

        label: str = "custom-requirement"
        value: str = "met"

    def __init__(self, config: Config | None = None) -> None:
        """Go by these labels."""
        self.config = config or self.Config()

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        """Whether the node meets the requirement."""
        return node.labels.get(self.config.label) == self.config.value

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        """Say how good it is, from 0 to 100."""
        score = 50
        if node.labels.get("performance-tier") == "high":
            score += 30
        return score


def main() -> list[str]:
    """Ask about three nodes."""
    scheduler, pod, pool = CustomScheduler(), Pod("chat-1", gpu_request=1), AgentPool()
    nodes = [
        Node("fast", labels={"custom-requirement": "met", "performance-tier": "high"}),
        Node("plain", labels={"custom-requirement": "met"}),
        Node("other"),
    ]
    told = []
    for node in nodes:
        fits = scheduler.filter(pod, node, pool)
        told.append(f"{node.name}: {scheduler.score(pod, node, pool) if fits else 'does not fit'}")
    return told


if __name__ == "__main__":
    print("\n".join(main()))
