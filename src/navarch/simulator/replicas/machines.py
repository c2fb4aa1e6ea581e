"""The machines of a world: a cloud that sells them, and agents that run replicas on them."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct, field

from navarch.core.model import messages as msg
from navarch.core.model.command import Command, CommandState, CommandType
from navarch.core.model.gpu import GPU
from navarch.core.model.replica import ModelSeen, NodeServing, ReplicaSeen, ReplicaState
from navarch.simulator.dice import Stream

SECOND = timedelta(seconds=1)


class Program(Struct):
    """A replica that runs somewhere, in truth."""

    gpus: tuple[int, ...]
    share: float
    ready_at: datetime
    state: ReplicaState = ReplicaState.STARTING


class Box(Struct):
    """One machine, and the agent on it."""

    id: str
    ref: str
    boots_at: datetime
    gpus: int
    provider: str
    registered: bool = False
    dead: bool = False
    mute_until: datetime | None = None
    """Until when nothing from it arrives; None: it is heard."""
    programs: dict[str, Program] = field(default_factory=dict)
    loading: dict[str, datetime] = field(default_factory=dict)
    """When the weights of a model will be there."""
    weights: set[str] = field(default_factory=set)
    commands: dict[str, Command] = field(default_factory=dict)
    """Commands that are being carried out."""
    answers: list[msg.AckCommand] = field(default_factory=list)
    done: set[str] = field(default_factory=set)

    def heard(self, now: datetime) -> bool:
        """Whether what it says arrives."""
        return not self.dead and (self.mute_until is None or now >= self.mute_until)


class Pace(Struct, frozen=True):
    """How long things take in a world, and how often they go wrong."""

    boot: timedelta
    load: timedelta
    start: timedelta
    fails: float = 0.0
    """Of starts and of loads, from 0 to 1."""


class Agent:
    """Does what an agent does, for one box after the other."""

    def __init__(self, pace: Pace, stream: Stream) -> None:
        """Take as long as `pace` says."""
        self.pace = pace
        self._stream = stream

    def speak(self, box: Box, now: datetime) -> list[msg.Message]:
        """Say what a box has to say now: who it is, that it lives, what it has done."""
        if now < box.boots_at or not box.heard(now):
            return []
        if not box.registered:
            box.registered = True
            gpus = tuple(GPU(index, f"{box.id}-{index}", "H100") for index in range(box.gpus))
            return [msg.RegisterNode(box.id, box.provider, instance_type="h100-8x", gpus=gpus)]
        said: list[msg.Message] = [msg.Heartbeat(box.id, serving=self._serving(box))]
        said += box.answers
        box.answers = []
        return [*said, msg.PollCommands(box.id)]

    def work(self, box: Box, now: datetime) -> None:
        """Let a second of work pass on a box that lives."""
        if box.dead or now < box.boots_at:
            return
        for program in box.programs.values():
            if program.state is ReplicaState.STARTING and now >= program.ready_at:
                program.state = ReplicaState.READY
        for command in list(box.commands.values()):
            self._carry_on(box, command, now)

    def obey(self, box: Box, commands: tuple[Command, ...]) -> None:
        """Take commands on; one that was carried out before is answered and not done again."""
        for command in commands:
            if command.id in box.done:
                box.answers.append(msg.AckCommand(box.id, command.id, CommandState.SUCCEEDED))
            else:
                box.commands.setdefault(command.id, command)

    def forget(self, box: Box) -> None:
        """Kill the agent and its programs, and start it again: the disk is what it has left."""
        box.programs.clear()
        box.loading.clear()
        box.commands.clear()
        box.answers.clear()

    def _serving(self, box: Box) -> NodeServing:
        replicas = tuple(
            ReplicaSeen(id_, program.state, 8000) for id_, program in box.programs.items()
        )
        models = (
            *(ModelSeen(name, "sha256:1", 100, 100, complete=True) for name in box.weights),
            *(ModelSeen(name, bytes_done=10, bytes_total=100) for name in box.loading),
        )
        return NodeServing(replicas, tuple(sorted(models, key=lambda each: each.model)))

    def _carry_on(self, box: Box, command: Command, now: datetime) -> None:
        model, replica = command.parameters.get("model", ""), command.parameters.get("replica", "")
        match command.type:
            case CommandType.LOAD_MODEL:
                due = box.loading.setdefault(model, now + self.pace.load)
                if now < due:
                    return
                del box.loading[model]
                if self._stream.chance(self.pace.fails):
                    self._answer(box, command, CommandState.FAILED, "the bucket does not answer")
                    return
                box.weights.add(model)
            case CommandType.UNLOAD_MODEL:
                box.weights.discard(model)
            case CommandType.START_REPLICA:
                if self._stream.chance(self.pace.fails):
                    self._answer(box, command, CommandState.FAILED, "the program ended at once")
                    return
                self._start(box, replica, command, now)
            case CommandType.STOP_REPLICA:
                box.programs.pop(replica, None)
            case _:
                self._answer(box, command, CommandState.SUCCEEDED, "nothing to do")
                return
        self._answer(box, command, CommandState.SUCCEEDED)

    def _start(self, box: Box, replica: str, command: Command, now: datetime) -> None:
        if replica in box.programs:
            return
        gpus = command.parameters.get("gpus", "")
        box.programs[replica] = Program(
            tuple(int(index) for index in gpus.split(",") if index),
            float(command.parameters.get("share", "1")),
            now + self.pace.start,
        )

    def _answer(self, box: Box, command: Command, state: CommandState, message: str = "") -> None:
        box.commands.pop(command.id, None)
        box.done.add(command.id)
        box.answers.append(msg.AckCommand(box.id, command.id, state, message))
