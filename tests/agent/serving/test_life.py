"""What becomes of a replica, turn by turn, without any process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from navarch.agent.serving import life
from navarch.agent.serving.life import (
    Ended,
    Found,
    Input,
    Life,
    Output,
    Probe,
    Probed,
    Signal,
    Start,
    Started,
    StartFailed,
    StopWanted,
    Stuck,
    Tick,
)
from navarch.core.model.replica import ReplicaState
from navarch.core.model.resources import Readiness, Runtime

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
READINESS = Readiness(
    initial_delay=timedelta(seconds=2),
    period=timedelta(seconds=1),
    failure_threshold=3,
    startup_timeout=timedelta(minutes=1),
)
RUNTIME = Runtime(command=("server",), readiness=READINESS, grace_period=timedelta(seconds=10))


class Replica:
    """A life, and the moment it is in."""

    def __init__(self, runtime: Runtime = RUNTIME, found: Found | None = None) -> None:
        self.now = START
        self.life = Life("r1", runtime, start=START, spread=0.0, found=found)

    def give(self, given: Input | None = None, *, after: float = 0.0) -> list[Output]:
        """Let seconds pass, then take a turn."""
        self.now += timedelta(seconds=after)
        return self.life.step(given or Tick(), self.now)

    def state(self) -> tuple[ReplicaState, str]:
        """How it stands, and why."""
        return self.life.seen.state, self.life.seen.message


def ready_replica() -> Replica:
    """Bring one up."""
    replica = Replica()
    replica.give()
    replica.give(Started(8000))
    replica.give(after=2)
    replica.give(Probed(1, good=True))
    return replica


def test_a_replica_is_started_at_once_and_asked_after_its_delay() -> None:
    replica = Replica()
    assert replica.give() == [Start(0, must=False)]
    assert replica.give(Started(8000)) == []
    assert replica.life.next_due() == START + timedelta(seconds=2)
    assert replica.give(after=2) == [Probe(1, 8000)]
    assert replica.give(after=30) == []  # the one before has not answered
    assert replica.give(Probed(1, good=True)) == []
    assert replica.state() == (ReplicaState.READY, "it answers")


def test_one_that_must_have_a_port_gets_no_other() -> None:
    replica = Replica(Runtime(command=("server",), port=8000))
    assert replica.give() == [Start(8000, must=True)]


def test_some_failures_in_a_row_make_it_not_ready_and_one_answer_ready_again() -> None:
    replica = ready_replica()
    for _ in range(2):
        replica.give(Probed(1, good=False, text="HTTP 503"))
        assert replica.state()[0] is ReplicaState.READY
    replica.give(Probed(1, good=False, text="HTTP 503"))
    assert replica.state() == (ReplicaState.STARTING, "does not serve any more: HTTP 503")
    replica.give(Probed(1, good=True))
    assert replica.state()[0] is ReplicaState.READY


def test_one_that_stays_not_ready_is_ended_and_started_again() -> None:
    replica = ready_replica()
    for _ in range(3):
        replica.give(Probed(1, good=False, text="HTTP 503"))
    assert replica.give(after=60) == [Signal(kill=False)]
    assert replica.state()[0] is ReplicaState.STARTING
    replica.give(Ended("was ended by signal 15"))
    state, message = replica.state()
    assert state is ReplicaState.STARTING
    assert message.startswith("not ready within 60 s: does not serve any more: HTTP 503; was ended")
    due = replica.life.next_due()
    assert due is not None
    assert replica.give(after=(due - replica.now).total_seconds()) == [Start(8000, must=False)]


def test_the_waits_before_restarts_double_and_then_it_is_given_up() -> None:
    replica, waits = Replica(), []
    replica.give()
    for _ in range(life.FAILURES_MAX - 1):
        replica.give(Started(8000))
        replica.give(Ended("ended with 1"))
        due = replica.life.next_due()
        assert due is not None
        waits.append((due - replica.now).total_seconds())
        assert replica.give(after=waits[-1]) == [Start(0, must=False)]
    for wait, longest in zip(waits, (1, 2, 4, 8), strict=True):
        assert longest / 2 <= wait <= longest
    replica.give(Started(8000))
    assert not replica.life.over
    replica.give(Ended("ended with 1"))
    assert replica.state() == (
        ReplicaState.ENDED,
        "given up after 5 failures in a row: ended with 1",
    )
    assert replica.give(after=1000) == []


def test_having_served_for_a_while_ends_the_row_of_failures() -> None:
    replica = ready_replica()
    for run in range(1, 3 * life.FAILURES_MAX):
        replica.give(Probed(run, good=True))
        replica.give(Ended("ended with 1"), after=61)
        assert replica.give(after=2) == [Start(8000, must=False)]
        replica.give(Started(8000))
        replica.give(after=2)
        replica.give(Probed(run + 1, good=True))
    assert replica.life.seen.restarts == 3 * life.FAILURES_MAX - 1


def test_an_answer_of_an_earlier_run_counts_for_nothing() -> None:
    replica = Replica()
    replica.give()
    replica.give(Started(8000))
    replica.give(after=2)
    replica.give(Ended("ended with 1"))
    replica.give(after=1)
    replica.give(Started(8001))
    replica.give(Probed(1, good=True))
    assert replica.state()[0] is ReplicaState.STARTING


def test_a_stop_asks_then_kills_and_waits_for_the_end() -> None:
    replica = ready_replica()
    assert replica.give(StopWanted()) == [Signal(kill=False)]
    assert replica.state() == (ReplicaState.STOPPING, "told to stop")
    assert replica.give(StopWanted()) == []
    assert replica.life.next_due() == replica.now + timedelta(seconds=10)
    assert replica.give(after=10) == [Signal(kill=True)]
    replica.give(Stuck("2 processes do not end"))
    assert replica.state() == (ReplicaState.STOPPING, "2 processes do not end")
    replica.give(Ended("was ended by signal 9"))
    assert replica.state() == (ReplicaState.ENDED, "was ended by signal 9")


def test_a_stop_while_the_program_is_being_started_ends_it_then() -> None:
    replica = Replica()
    replica.give()
    assert replica.give(StopWanted()) == []
    assert replica.give(Started(8000)) == [Signal(kill=False)]
    replica.give(Ended("was ended by signal 15"))
    assert replica.life.over


def test_a_stop_between_two_starts_is_over_at_once() -> None:
    replica = Replica()
    replica.give()
    replica.give(StartFailed("no such file"))
    replica.give(StopWanted())
    assert replica.state() == (ReplicaState.ENDED, "its program did not run")


def test_one_that_was_found_running_is_as_ready_as_it_was() -> None:
    replica = Replica(found=Found(restarts=2, port=8000, lives=True, ready=True))
    assert replica.state() == (ReplicaState.READY, "its program was found running")
    assert replica.give() == [Probe(0, 8000)]
    replica.give(Probed(0, good=True))
    assert (replica.life.seen.restarts, replica.life.seen.port) == (2, 8000)


def test_one_that_was_found_ended_is_started_where_it_was() -> None:
    replica = Replica(found=Found(restarts=2, port=8000, ready=True))
    assert replica.give() == [Start(8000, must=False)]
    replica.give(Started(8000))
    assert replica.life.seen.restarts == 3


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([0.0, 0.3, 5.0, 70.0])), max_size=60))
def test_whatever_happens_there_is_one_program_at_most_and_none_in_the_end(
    story: list[tuple[int, float]],
) -> None:
    replica = Replica()
    program, starting, probes = False, False, 0
    for choice, after in story:
        given: Input = Tick()
        match choice:
            case 1 if starting:
                given, starting, program = Started(8000), False, True
            case 2 if starting:
                given, starting = StartFailed("no"), False
            case 3 if program:
                given, program = Ended("ended"), False
            case 4 | 5 if probes:
                given, probes = Probed(probes, good=choice == 4, text="x"), 0
            case 6:
                given = StopWanted()
            case _:
                given = Tick()
        was_over = replica.life.over
        for output in replica.give(given, after=after):
            assert not was_over
            match output:
                case Start():
                    assert not program
                    assert not starting
                    starting = True
                case Probe():
                    assert program
                    probes = output.run
                case Signal():
                    assert program
        assert not (replica.life.over and (program or starting))
        assert replica.life.ready <= program
