"""One XID that two sensors saw is one event, and two are two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from navarch.agent.twins import MEMORY_MAX, Twins
from navarch.core.model.report import HealthEvent

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def line(code: int = 79, gpu: int = 3, *, seconds: float = 0, count: int = 1) -> HealthEvent:
    """Return what the kernel log says."""
    metrics: dict[str, str | int | float] = {"xid_code": code, "pid": 7}
    return HealthEvent(
        "xid", gpu, "GPU-3", metrics=metrics, message="NVRM", timestamp=at(seconds), count=count
    )


def call(code: int = 79, gpu: int = 3, *, seconds: float = 0, count: int = 1) -> HealthEvent:
    """Return what the driver's library says."""
    metrics: dict[str, str | int | float] = {"xid_code": str(code)}
    return HealthEvent("xid", gpu, "GPU-3", metrics=metrics, timestamp=at(seconds), count=count)


def merged(
    twins: Twins, nvml: list[HealthEvent], kernel: list[HealthEvent], *, seconds: float = 0
) -> list[HealthEvent]:
    return list(twins.merged([("nvml", nvml), ("kernel_log", kernel)], at(seconds)))


def test_an_xid_that_both_saw_is_given_once_in_the_words_of_the_kernel() -> None:
    assert merged(Twins(), [call()], [line()]) == [line()]


def test_another_code_another_gpu_and_another_time_are_others() -> None:
    assert len(merged(Twins(), [call(48)], [line(79)])) == 2
    other = HealthEvent("xid", 5, "GPU-5", metrics={"xid_code": 79}, timestamp=NOW)
    assert len(merged(Twins(), [other], [line()])) == 2
    assert len(merged(Twins(), [call(seconds=5.1)], [line()])) == 2
    assert len(merged(Twins(), [call(seconds=5)], [line()])) == 1


def test_a_library_asked_once_in_a_while_saw_it_somewhere_since_the_last_look() -> None:
    twins = Twins()
    assert merged(twins, [], [], seconds=0) == []
    assert merged(twins, [call(seconds=30)], [line(seconds=3)], seconds=30) == [line(seconds=3)]


def test_a_line_without_a_gpu_learns_it_from_the_library() -> None:
    lost = HealthEvent("xid", metrics={"xid_code": 79}, message="NVRM", timestamp=NOW)
    (event,) = merged(Twins(), [call()], [lost])
    assert (event.gpu_index, event.gpu_uuid, event.message) == (3, "GPU-3", "NVRM")


def test_three_lines_and_two_callbacks_are_three() -> None:
    assert sum(each.count for each in merged(Twins(), [call(), call()], [line(count=3)])) == 3
    assert sum(each.count for each in merged(Twins(), [call(count=3)], [line(), line()])) == 3


def test_a_twin_that_comes_in_a_later_reading_is_known() -> None:
    twins = Twins()
    assert merged(twins, [], [line()]) == [line()]
    assert merged(twins, [call(seconds=2)], [], seconds=2) == []
    assert merged(twins, [call(48, seconds=20)], [], seconds=20) == [call(48, seconds=20)]
    assert merged(twins, [], [line(48, seconds=20)], seconds=21) == []


def test_the_next_xid_of_the_same_kind_is_not_swallowed() -> None:
    twins = Twins()
    merged(twins, [call()], [line()])
    assert merged(twins, [], [line(seconds=1)], seconds=1) == [line(seconds=1)]
    assert merged(twins, [], [], seconds=30) == []
    assert merged(twins, [call(seconds=60)], [], seconds=60) == [call(seconds=60)]


def test_events_of_other_types_pass_untouched_and_in_order() -> None:
    hot = HealthEvent("thermal", 3, metrics={"temperature": 96}, timestamp=NOW)
    assert merged(Twins(), [hot, call(), hot], [line(), hot]) == [hot, hot, line(), hot]


def test_a_second_look_is_worth_it_while_the_kernel_log_is_silent() -> None:
    twins = Twins()
    assert twins.lonely([("nvml", [call()]), ("kernel_log", [])])
    assert not twins.lonely([("nvml", [call()]), ("kernel_log", [line()])])
    assert not twins.lonely([("nvml", []), ("kernel_log", [line()])])


SIGHTINGS = st.lists(
    st.tuples(
        st.sampled_from([48, 79]), st.sampled_from([-1, 0, 3]), st.floats(0, 60), st.integers(1, 3)
    ),
    max_size=6,
)


@given(st.lists(st.tuples(SIGHTINGS, SIGHTINGS), max_size=8))
def test_nothing_is_lost_and_nothing_grows(
    readings: list[tuple[list[tuple[int, int, float, int]], list[tuple[int, int, float, int]]]],
) -> None:
    twins = Twins()
    for number, (calls, lines) in enumerate(readings):
        nvml, kernel = (
            [
                HealthEvent(
                    "xid", gpu, metrics={"xid_code": code}, timestamp=at(second), count=count
                )
                for code, gpu, second, count in sightings
            ]
            for sightings in (calls, lines)
        )
        given_before = twins.remembered
        told = merged(twins, nvml, kernel, seconds=60.0 * number)
        seen = [sum(each.count for each in events) for events in (nvml, kernel)]
        assert sum(each.count for each in told) <= sum(seen)
        if not given_before:
            assert sum(each.count for each in told) >= max(seen)
        assert twins.remembered <= MEMORY_MAX
