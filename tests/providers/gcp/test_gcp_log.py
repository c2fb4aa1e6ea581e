"""What a machine of Google's wrote to its console."""

from __future__ import annotations

import pytest

from doubles.compute_engine_faults import Raw, Refuse
from doubles.gcp_bench import Bench
from navarch.errors import NotFound, ProviderError, Unauthorized, Unavailable
from navarch.providers.base import BOOTSTRAP_LOG_BYTES_MAX, BootstrapLogReader


def told(bench: Bench, instance_id: str) -> str:
    return bench.run(lambda provider: provider.bootstrap_log(instance_id))


def test_the_provider_says_that_it_shows_logs(bench: Bench) -> None:
    assert isinstance(bench.provider(), BootstrapLogReader)


def test_the_end_of_the_console_is_shown_in_whole_lines(bench: Bench) -> None:
    made = bench.launch()
    assert told(bench, made.id) == ""
    bench.double.consoles["n-1"] = "old é\n" * 20_000 + "FAILED step=command-1\n"

    shown = told(bench, made.id)

    assert shown.endswith("old é\nFAILED step=command-1\n")
    assert shown.startswith("old é\n")
    assert BOOTSTRAP_LOG_BYTES_MAX - 10 < len(shown.encode()) <= BOOTSTRAP_LOG_BYTES_MAX
    asked = bench.double.asked[-1]
    assert (asked.query["port"], asked.query["start"]) == ("1", "-65537")


@pytest.mark.parametrize("instance_id", ["us-central1-a/n-9", "n-1", "../x", ""])
def test_a_machine_that_is_not_there_has_no_log(bench: Bench, instance_id: str) -> None:
    bench.launch()
    with pytest.raises(NotFound):
        told(bench, instance_id)


@pytest.mark.parametrize(
    "answer,error",
    [
        (Refuse(403, "forbidden"), Unauthorized),
        (Refuse(503, "backendError"), Unavailable),
        (Raw(200, b"<html>"), Unavailable),
        (Raw(200, b'{"contents": 7}'), Unavailable),
    ],
)
def test_what_goes_wrong_is_put_into_our_words(
    bench: Bench, answer: Refuse | Raw, error: type[ProviderError]
) -> None:
    made = bench.launch()
    bench.double.script("serial", answer)
    with pytest.raises(error):
        told(bench, made.id)
