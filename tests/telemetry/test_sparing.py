"""What happens often is logged sparingly."""

from __future__ import annotations

from navarch.telemetry.sparing import BURST, KEYS_MAX, Sparing


class Watch:
    """A timer that is set."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_first_are_told_then_one_a_second_with_how_many_were_not() -> None:
    watch = Watch()
    sparing = Sparing(watch)
    told = [sparing.take("a") for _ in range(100)]
    assert told == [0] * int(BURST) + [None] * (100 - int(BURST))
    watch.seconds = 1.0
    assert [sparing.take("a"), sparing.take("a")] == [100 - int(BURST), None]
    assert sparing.take("b") == 0
    watch.seconds = 100.0
    assert [sparing.take("a") for _ in range(12)] == [1, *[0] * 9, None, None]


def test_keys_without_end_take_no_memory_without_end() -> None:
    sparing = Sparing(Watch())
    for number in range(3 * KEYS_MAX):
        assert sparing.take(number) == 0
    assert len(sparing) == KEYS_MAX
