"""What a machine at EC2 wrote to its console."""

from __future__ import annotations

import base64

import pytest

from doubles.ec2 import Answer, Ec2Double, Step, refusal
from doubles.ec2_bench import Bench, request, run
from navarch.errors import NotFound, ProviderError, Throttled, Unauthorized, Unavailable
from navarch.providers.base import BOOTSTRAP_LOG_BYTES_MAX, BootstrapLogReader, Instance

LAUNCHED = "train-k3f9-0001"


def shown(text: str, ec2_id: str) -> Answer:
    """Answer as EC2 does (API reference, GetConsoleOutput, read November 2026)."""
    output = base64.b64encode(text.encode()).decode()
    body = (
        '<GetConsoleOutputResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<requestId>r</requestId><instanceId>{ec2_id}</instanceId>"
        f"<timestamp>2026-11-22T12:00:00.000Z</timestamp><output>{output}</output>"
        "</GetConsoleOutputResponse>"
    )
    return Answer(200, body.encode())


def launched(bench: Bench) -> Instance:
    return run(bench.provider().provision(request()))


def ec2_id(machine: Instance) -> str:
    return machine.id.rpartition("/")[2]


def test_the_provider_says_that_it_shows_logs(bench: Bench) -> None:
    assert isinstance(bench.provider(), BootstrapLogReader)


def test_the_console_is_read_as_it_is_now(bench: Bench, ec2: Ec2Double) -> None:
    machine = launched(bench)
    told = run(bench.provider().bootstrap_log(machine.id))
    assert "Linux version" in told  # what moto shows for every machine
    (asked,) = ec2.calls("GetConsoleOutput")
    assert asked.query["Latest"] == "true"


def test_only_the_end_of_a_long_console_is_shown(bench: Bench, ec2: Ec2Double) -> None:
    machine = launched(bench)
    text = "x" * 99 + "\n"
    ec2.next("GetConsoleOutput", Step(answer=shown(text * 1_000 + "FAILED é\n", ec2_id(machine))))
    told = run(bench.provider().bootstrap_log(machine.id))
    assert len(told.encode()) <= BOOTSTRAP_LOG_BYTES_MAX
    assert told.splitlines()[-1] == "FAILED é"
    assert set(told.splitlines()[:-1]) == {"x" * 99}


def test_an_older_machine_shows_what_was_kept(bench: Bench, ec2: Ec2Double) -> None:
    machine = launched(bench)
    ec2.next("GetConsoleOutput", Step(answer=refusal("UnsupportedOperation")))
    assert "Linux version" in run(bench.provider().bootstrap_log(machine.id))
    assert [each.query.get("Latest") for each in ec2.calls("GetConsoleOutput")] == [
        "true",
        None,
    ]


def test_a_machine_without_a_console_yet_has_an_empty_log(bench: Bench, ec2: Ec2Double) -> None:
    machine = launched(bench)
    ec2.next("GetConsoleOutput", Step(answer=shown("", ec2_id(machine))))
    assert run(bench.provider().bootstrap_log(machine.id)) == ""


def test_the_console_of_another_machine_is_none(bench: Bench, ec2: Ec2Double) -> None:
    machine = launched(bench)
    ec2.next("GetConsoleOutput", Step(answer=shown("theirs", "i-0000000000000ffff")))
    with pytest.raises(Unavailable):
        run(bench.provider().bootstrap_log(machine.id))


@pytest.mark.parametrize(
    "code,error",
    [
        ("InvalidInstanceID.NotFound", NotFound),
        ("UnauthorizedOperation", Unauthorized),
        ("RequestLimitExceeded", Throttled),
        ("InternalError", Unavailable),
    ],
)
def test_refusals_are_put_into_our_words(
    bench: Bench, ec2: Ec2Double, code: str, error: type[ProviderError]
) -> None:
    machine = launched(bench)
    ec2.next("GetConsoleOutput", Step(answer=refusal(code)))
    with pytest.raises(error):
        run(bench.provider().bootstrap_log(machine.id))


@pytest.mark.parametrize("instance_id", ["US EAST/i-0", "i-0123456789abcdef0", ""])
def test_a_machine_that_is_not_there_has_no_log(bench: Bench, instance_id: str) -> None:
    with pytest.raises((NotFound, Unavailable)):
        run(bench.provider().bootstrap_log(instance_id))
