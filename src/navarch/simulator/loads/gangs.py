"""Training jobs in virtual time: gangs that start together, save at times, and die together.

A job needs all its nodes at once. It starts, works, writes a checkpoint after each interval of
work, and dies with any of its nodes; what it did since the last checkpoint is lost, and it begins
again from there as soon as there are enough nodes. Here a node is a name that comes and goes:
`navarch.simulator.loads.training` says which nodes of a twin those are.

Between two things that happen nothing is computed: what a gang has done by some moment follows
from when it began. An attempt costs one entry in the timeline, and a node that comes or goes costs
O(1) and a look at the head of its pool's queue.
"""

from __future__ import annotations

from bisect import insort
from datetime import datetime, timedelta

from msgspec import Struct, field

from navarch.simulator.loads.shapes import LONGEST, check_duration, check_number
from navarch.simulator.timeline import EPOCH, Timeline

ZERO = timedelta()

NODES_MAX = 100_000
PRIORITY_MAX = 1_000_000

BACKFILL_MAX = 500
"""How many waiting jobs are looked at for one that fits, when jobs may pass each other."""


class JobSpec(Struct, frozen=True):
    """One training job."""

    name: str
    pool: str
    """Empty: nodes that belong to no pool."""
    nodes: int
    """How many it needs at once."""
    work: timedelta
    """How long it would take with nothing but work: no start, no checkpoint, no failure."""
    checkpoint: timedelta = timedelta(minutes=30)
    """How much work is done between two checkpoints."""
    checkpoint_cost: timedelta = timedelta(minutes=1)
    """For how long work stands still for one."""
    restart: timedelta = timedelta(minutes=5)
    """From having its nodes until work goes on, at the first start as at each later one."""
    priority: int = 0
    """The higher goes first."""
    arrives: timedelta = ZERO
    """When it is submitted."""
    saves_when_asked: bool = False
    """Whether it writes a checkpoint when it has to leave a node that still works: one that is
    drained, or will be taken away."""

    def __post_init__(self) -> None:
        """Check the bounds."""
        check_number("nodes", self.nodes, 1, NODES_MAX)
        check_duration("work", self.work, timedelta(seconds=1))
        check_duration("checkpoint", self.checkpoint, timedelta(seconds=1))
        check_duration("checkpoint_cost", self.checkpoint_cost, ZERO)
        check_duration("restart", self.restart, ZERO)
        check_duration("arrives", self.arrives, ZERO, LONGEST)
        check_number("priority", self.priority, -PRIORITY_MAX, PRIORITY_MAX)


class Spent(Struct):
    """What became of a job's time; while it has no nodes, it waits."""

    kept: timedelta = ZERO
    """Work that is saved, or was delivered."""
    lost: timedelta = ZERO
    """Work that was done and has to be done again."""
    saving: timedelta = ZERO
    """Writing checkpoints, half-written ones included."""
    starting: timedelta = ZERO

    def add(self, other: Spent) -> None:
        """Count in what became of other time."""
        self.kept += other.kept
        self.lost += other.lost
        self.saving += other.saving
        self.starting += other.starting


class Gang(Struct, eq=False):
    """One job and how far it is."""

    spec: JobSpec
    order: int
    """Which of two jobs of equal priority was first."""
    arrived_at: datetime
    waits_since: datetime | None
    """None while it runs, and when it is done."""
    began_at: datetime | None = None
    """When it had its nodes; None while it has none."""
    nodes: tuple[str, ...] = ()
    done_at: datetime | None = None
    attempt: int = 0
    leaves_at: datetime | None = None
    """When it has written the checkpoint that it was asked for; None while it was not."""
    spent: Spent = field(default_factory=Spent)
    """Over all attempts that have ended."""
    waited: timedelta = ZERO
    """For nodes, as far as it has them since."""
    waited_first: timedelta | None = None
    """From its arrival to its first start; None before."""
    deaths: dict[str, int] = field(default_factory=dict)
    """How often it was ended, by cause."""

    @property
    def key(self) -> tuple[int, int]:
        """Its place in the queue."""
        return (-self.spec.priority, self.order)

    def takes(self) -> timedelta:
        """How long the rest takes from its start, if nothing happens."""
        left = self.spec.work - self.spent.kept
        saves = -(-left // self.spec.checkpoint) - 1  # the end of the work needs no checkpoint
        return self.spec.restart + left + saves * self.spec.checkpoint_cost

    def so_far(self, now: datetime) -> tuple[Spent, timedelta]:
        """What became of this attempt until now, and the work in it that is not saved yet."""
        assert self.began_at is not None
        ran = now - self.began_at
        working = ran - self.spec.restart
        if working <= ZERO:
            return Spent(starting=ran), ZERO
        spec = self.spec
        cycle = spec.checkpoint + spec.checkpoint_cost
        saves = working // cycle
        rest = working - saves * cycle
        at_risk = min(rest, spec.checkpoint)
        saving = saves * spec.checkpoint_cost + rest - at_risk
        return Spent(saves * spec.checkpoint, ZERO, saving, spec.restart), at_risk


class Gangs:
    """All jobs, their queues and the nodes that may have them."""

    def __init__(
        self, time: Timeline, specs: tuple[JobSpec, ...], *, backfill: bool = False
    ) -> None:
        """Know every job; nothing arrives before `begin`.

        With `backfill` a job that fits goes before one that does not, however long that waits.
        """
        self.all: list[Gang] = []
        """In the order of their arrival."""
        self._time = time
        self._specs = specs
        self._backfill = backfill
        self._queues: dict[str, list[tuple[tuple[int, int], Gang]]] = {}
        self._free: dict[str, dict[str, None]] = {}
        """Nodes without work, by pool, the longest free first."""
        self._pools: dict[str, str] = {}
        """The pool of each node that may have work."""
        self._busy: dict[str, Gang] = {}
        """Who runs on a node."""
        self._busy_count: dict[str, int] = {}
        self._waiting_count: dict[str, int] = {}

    def begin(self) -> None:
        """Let the jobs arrive at their times from now on."""
        since = self._time.now - EPOCH
        for spec in sorted(self._specs, key=lambda spec: spec.arrives):
            self._time.after(max(spec.arrives - since, ZERO), self.submit, spec)

    def submit(self, spec: JobSpec) -> None:
        """Let a job arrive now."""
        gang = Gang(spec, len(self.all), self._time.now, self._time.now)
        self.all.append(gang)
        self._enqueue(gang)
        self._place(spec.pool)

    # --- nodes ---------------------------------------------------------------------------------

    def up(self, node: str, pool: str) -> None:
        """Let a node have work from now on; one that may already goes on as it was."""
        if node not in self._pools:
            self._pools[node] = pool
            if node not in self._busy:
                self._free.setdefault(pool, {})[node] = None
                self._place(pool)

    def close(self, node: str) -> None:
        """Let nothing new begin on a node; what runs there goes on."""
        pool = self._pools.pop(node, None)
        if pool is not None:
            self._free.get(pool, {}).pop(node, None)

    def down(self, node: str, because: str) -> None:
        """End what runs on a node at once, and let nothing new begin there."""
        self.close(node)
        self.fail(node, because)

    def fail(self, node: str, because: str) -> None:
        """End what runs on a node at once, which may have work again."""
        gang = self._busy.get(node)
        if gang is not None:
            self._end(gang, because)

    def leave(self, node: str, because: str) -> None:
        """Ask what runs on a node to go, and let nothing new begin there."""
        self.close(node)
        gang = self._busy.get(node)
        if gang is None or gang.leaves_at is not None:
            return
        working = gang.began_at is not None and self._time.now - gang.began_at > gang.spec.restart
        if not gang.spec.saves_when_asked or not working:
            self._end(gang, because)
            return
        cost = gang.spec.checkpoint_cost
        gang.leaves_at = self._time.now + cost
        self._time.after(cost, self._left, gang, gang.attempt, because)

    def may_work(self, node: str) -> bool:
        """Whether a node may have work."""
        return node in self._pools

    def is_busy(self, node: str) -> bool:
        """Whether something runs on a node."""
        return node in self._busy

    def busy_nodes(self, pool: str) -> int:
        """How many nodes of a pool have work. Cost: O(1)."""
        return self._busy_count.get(pool, 0)

    def waiting(self, pool: str) -> tuple[Gang, ...]:
        """The jobs that wait for nodes of a pool, the next first."""
        return tuple(gang for _, gang in self._queues.get(pool, ()))

    def waiting_nodes(self, pool: str) -> int:
        """How many nodes the waiting jobs need in sum. Cost: O(1)."""
        return self._waiting_count.get(pool, 0)

    # --- the queue -----------------------------------------------------------------------------

    def _enqueue(self, gang: Gang) -> None:
        gang.waits_since, pool = self._time.now, gang.spec.pool
        self._waiting_count[pool] = self.waiting_nodes(pool) + gang.spec.nodes
        insort(self._queues.setdefault(pool, []), (gang.key, gang), key=lambda e: e[0])

    def _place(self, pool: str) -> None:
        """Start whoever is next and has room."""
        queue, free = self._queues.get(pool, []), self._free.get(pool, {})
        place = 0
        while free and place < min(len(queue), BACKFILL_MAX):
            gang = queue[place][1]
            if gang.spec.nodes <= len(free):
                queue.pop(place)
                self._start(gang, free)
            elif self._backfill:
                place += 1
            else:
                return

    def _start(self, gang: Gang, free: dict[str, None]) -> None:
        now = self._time.now
        chosen = tuple(node for node, _ in zip(free, range(gang.spec.nodes), strict=False))
        for node in chosen:
            del free[node]
            self._busy[node] = gang
        pool = gang.spec.pool
        self._busy_count[pool] = self.busy_nodes(pool) + len(chosen)
        self._waiting_count[pool] -= len(chosen)
        assert gang.waits_since is not None
        gang.waited += now - gang.waits_since
        if gang.waited_first is None:
            gang.waited_first = gang.waited
        gang.waits_since, gang.began_at, gang.nodes = None, now, chosen
        gang.attempt += 1
        self._time.after(gang.takes(), self._finish, gang, gang.attempt)

    # --- ends ----------------------------------------------------------------------------------

    def _finish(self, gang: Gang, attempt: int) -> None:
        if gang.attempt != attempt or gang.began_at is None:
            return  # it has died before
        spec = gang.spec
        left = spec.work - gang.spent.kept
        saving = self._time.now - gang.began_at - spec.restart - left
        gang.spent.add(Spent(left, ZERO, saving, spec.restart))
        gang.done_at = self._time.now
        self._release(gang)

    def _end(self, gang: Gang, because: str) -> None:
        """Let an attempt die, with what it had not saved."""
        spent, at_risk = gang.so_far(self._time.now)
        spent.lost += at_risk
        self._stop(gang, spent, because)

    def _left(self, gang: Gang, attempt: int, because: str) -> None:
        """Let an attempt go that has saved all that it had done when it was asked to go."""
        if gang.attempt != attempt or gang.began_at is None or gang.leaves_at is None:
            return
        spec = gang.spec
        spent, at_risk = gang.so_far(gang.leaves_at - spec.checkpoint_cost)
        spent.kept += at_risk
        spent.saving += spec.checkpoint_cost
        self._stop(gang, spent, because)

    def _stop(self, gang: Gang, spent: Spent, because: str) -> None:
        gang.spent.add(spent)
        gang.deaths[because] = gang.deaths.get(because, 0) + 1
        self._enqueue(gang)
        self._release(gang)

    def _release(self, gang: Gang) -> None:
        pool, nodes = gang.spec.pool, gang.nodes
        gang.began_at, gang.nodes, gang.leaves_at = None, (), None
        self._busy_count[pool] -= len(nodes)
        free = self._free.setdefault(pool, {})
        for node in nodes:
            del self._busy[node]
            if self._pools.get(node) == pool:
                free[node] = None
        self._place(pool)
