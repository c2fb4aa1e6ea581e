"""Judging: whether an assertion holds, what was expected and what was seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from navarch.core.model.fleet import Fleet
from navarch.core.model.node import NodeStatus
from navarch.core.model.report import Health
from navarch.simulator.loads import Training
from navarch.simulator.report import Recorder
from navarch.simulator.scenarios import targets
from navarch.simulator.scenarios.comparing import Comparison
from navarch.simulator.scenarios.events_schema import Assertion
from navarch.simulator.twin.twin import Twin

NOT_REGISTERED = "not registered"
SHOWN_MAX = 5
"""Nodes that a message names."""


class Finding(Struct, frozen=True):
    """What came of looking."""

    holds: bool
    expected: str
    seen: str
    about: tuple[str, ...] = ()
    """Whom it is about: their facts are shown."""


class Judge:
    """Looks at a twin."""

    def __init__(
        self,
        twin: Twin,
        aliases: Mapping[str, Sequence[str]],
        training: Training | None = None,
    ) -> None:
        """Know whom aliases mean."""
        self._training = training
        self._twin = twin
        self._aliases = aliases
        self.recorder: Recorder | None = None
        """Who counts what is delivered; to be there where `availability_above` is asked."""

    def members(self, text: str) -> list[str]:
        """Find the nodes that a target means now."""
        return targets.members(targets.parse(text), self._twin.nodes, self._aliases)

    def condition(
        self, target: str, *, status: str | None, health: str | None, match: str
    ) -> Finding:
        """Hold nodes against a status or a health."""
        word = status or health or ""
        axis = "status" if status is not None else "health"
        ids = self.members(target)
        said = {id_: self._word(id_, axis) for id_ in ids}
        right = sum(each == word for each in said.values())
        if targets.parse(target).one and match == "all":
            match = "any"
        holds = {"all": bool(ids) and right == len(ids), "any": right > 0, "none": right == 0}
        amount = "" if len(ids) == 1 and match == "all" else f"{match} of {len(ids)} nodes "
        expected = f"{target} to be {amount}{axis} {word}"
        wrong = [id_ for id_ in ids if said[id_] != word] if match == "all" else ids
        about = tuple((wrong or ids)[:SHOWN_MAX])
        return Finding(holds[match], expected, _seen(said, target, about), about)

    def _word(self, node_id: str, axis: str) -> str:
        fleet = self._twin.fleet
        if fleet is None:
            return "the control plane is down"
        node = fleet.nodes.get(node_id)
        if node is None:
            instance = fleet.instances.get(node_id)
            return NOT_REGISTERED if instance is None else instance.state.value
        return node.status.value if axis == "status" else node.health.value

    # --- at the end ----------------------------------------------------------------------------

    def judge(self, assertion: Assertion) -> Finding:
        """Look whether an assertion holds now."""
        expected = str(assertion.expected)
        match assertion.type:
            case "node_status":
                return self.condition(
                    assertion.target, status=expected, health=None, match=assertion.match
                )
            case "health_status":
                return self.condition(
                    assertion.target, status=None, health=expected, match=assertion.match
                )
            case "node_count":
                return self._node_count(assertion)
            case "pool_size":
                return self._pool_size(assertion)
            case "no_orphans":
                return self._no_orphans()
            case "replaced":
                return self._replaced(assertion)
            case "cost_below":
                most = Comparison.read(assertion.expected, default="<")
                cost = self._twin.cost()
                return Finding(most.holds(cost), f"a cost {most} US dollars", f"{cost:.2f}")
            case "availability_above":
                return self._available(assertion)
            case "goodput_above":
                return self._goodput(assertion)

    def _fleet(self) -> Fleet:
        return self._twin.fleet or Fleet()

    def _node_count(self, assertion: Assertion) -> Finding:
        wanted = Comparison.read(assertion.expected)
        target, status = assertion.target, assertion.status
        if target in tuple(NodeStatus):
            target, status = "", NodeStatus(target).value
        fleet = self._fleet()
        nodes = [fleet.nodes[id_] for id_ in self._all(target) if id_ in fleet.nodes]
        if status is None:
            seen = sum(not node.over for node in nodes)
        else:
            seen = sum(node.status == status for node in nodes)
        kind = f"{status} nodes" if status else "nodes"
        where = f" of {target}" if target else ""
        words = Counter(node.status.value for node in nodes)
        told = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
        return Finding(wanted.holds(seen), f"{wanted} {kind}{where}", f"{seen} ({told or 'none'})")

    def _all(self, text: str) -> list[str]:
        """The same as `members`, with those that have ended."""
        target = targets.parse(text)
        nodes = self._twin.nodes
        return [id_ for id_ in nodes if targets.is_about(target, nodes[id_], self._aliases)]

    def _pool_size(self, assertion: Assertion) -> Finding:
        wanted = Comparison.read(assertion.expected)
        name = assertion.target.removeprefix("pool:")
        fleet = self._fleet()
        nodes = [fleet.node_of(each) for each in fleet.instances_of(name)]
        serving = sum(node is not None and node.serving for node in nodes)
        pool = fleet.pools.get(name)
        target = "" if pool is None else f", {pool.target} wanted: {pool.target_because}"
        seen = f"{serving} serving of {len(nodes)} machines{target}"
        return Finding(wanted.holds(serving), f"{wanted} serving nodes in {name}", seen)

    def _no_orphans(self) -> Finding:
        fleet = self._fleet()
        strays = sorted(fleet.orphans)
        for cloud in self._twin.clouds.values():
            for machine in cloud.machines():
                owner = fleet.instances.get(machine.instance.name)
                if owner is None or owner.ended:
                    strays.append(f"{cloud.name}/{machine.instance.id}")
        named = ", ".join(dict.fromkeys(strays[:SHOWN_MAX]))
        return Finding(not strays, "no orphans", f"{len(strays)}: {named}" if strays else "none")

    def _replaced(self, assertion: Assertion) -> Finding:
        fleet = self._fleet()
        ids = self.members(assertion.target)
        left = [id_ for id_ in ids if not self._is_over(fleet, id_)]
        short = []
        for name in dict.fromkeys(self._twin.nodes[id_].pool for id_ in ids):
            pool = fleet.pools.get(name)
            nodes = [fleet.node_of(each) for each in fleet.instances_of(name)]
            serving = sum(node is not None and node.serving for node in nodes)
            if pool is None or serving < pool.target:
                wanted = 0 if pool is None else pool.target
                short.append(f"{serving} of {wanted} serve in {name or 'no pool'}")
        seen = [f"{id_} is {self._word(id_, 'status')}" for id_ in left[:SHOWN_MAX]] + short
        holds = bool(ids) and not seen
        told = "; ".join(seen) or ("replaced" if ids else "no such node")
        return Finding(holds, f"{assertion.target} replaced", told, tuple(ids[:SHOWN_MAX]))

    def _is_over(self, fleet: Fleet, node_id: str) -> bool:
        node, instance = fleet.nodes.get(node_id), fleet.instances.get(node_id)
        over = node is None or node.over
        return over and (instance is None or not instance.live)

    def _available(self, assertion: Assertion) -> Finding:
        least = Comparison.read(assertion.expected, default=">")
        name = assertion.target.removeprefix("pool:") if assertion.target else None
        where = f" of {name}" if name else ""
        expected = f"an availability{where} {least} %"
        assert self.recorder is not None
        report = self.recorder.report()
        scopes = [report.fleet] if name is None else report.pools
        scope = next((each for each in scopes if name in (None, each.name)), None)
        if scope is None or not scope.node_hours_wanted:
            return Finding(holds=False, expected=expected, seen="nothing was wanted")
        percent = 100 * scope.node_hours_delivered / scope.node_hours_wanted
        return Finding(least.holds(percent), expected, f"{percent:.3f} %")

    def _goodput(self, assertion: Assertion) -> Finding:
        """Hold against what was asked how much of what was paid for was kept."""
        least = Comparison.read(assertion.expected, default=">")
        assert self._training is not None
        report = self._training.report()
        name = assertion.target.removeprefix("pool:") if assertion.target else None
        percent = 100 * report.goodput(name)
        where = f" of {name}" if name else ""
        done = ", ".join(f"{each.jobs_done} of {each.jobs} jobs done" for each in report.pools)
        seen = f"{percent:.3f} % ({done})"
        return Finding(least.holds(percent), f"a goodput{where} {least} %", seen)


def is_ill(fleet: Fleet, node_id: str) -> bool:
    """Whether anything stands against a node."""
    node = fleet.nodes.get(node_id)
    return node is not None and node.health in (Health.DEGRADED, Health.UNHEALTHY)


def _seen(said: Mapping[str, str], target: str, about: Sequence[str]) -> str:
    if not said:
        return f"no node {target}" if ":" not in target else f"no nodes in {target}"
    if len(said) == 1:
        return next(iter(said.values()))
    words = Counter(said.values())
    counted = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
    return f"{counted} ({', '.join(f'{id_}: {said[id_]}' for id_ in about)})"
