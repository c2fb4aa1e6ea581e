"""Start-up logs: who is asked, what is kept, and that nobody waits for them."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from navarch.controlplane import bootstrap_logs
from navarch.controlplane.bootstrap_logs import BootstrapLogs, LogAccess
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.effects import Effects
from navarch.controlplane.kept_logs import FILES_MAX, BootstrapLog, KeptLogs
from navarch.controlplane.server_config import ServerConfig
from navarch.controlplane.service import Service
from navarch.core.model.actions import Terminate
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.errors import NotFound, ProviderError, Unavailable, WireError
from navarch.providers.base import BOOTSTRAP_LOG_BYTES_MAX
from navarch.providers.fake import FakeProvider
from navarch.wire.generated import navarch_pb2 as pb
from pools import MONDAY, SETTINGS, a_spec, pass_time, register_all, run, until

ID = "training-k3f9-0001"
COMPLETE = f"2026-11-22T12:00:00Z navarch-bootstrap: COMPLETE node={ID}\n"


class Talking(FakeProvider):
    """A provider whose machines have consoles."""

    def __init__(self, told: str | Exception = "begun\n") -> None:
        super().__init__()
        self.told = told
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def bootstrap_log(self, instance_id: str) -> str:
        self.asked.append(instance_id)
        await self.may_answer.wait()
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


class Bench:
    """One booting machine, and who is asked about it."""

    def __init__(self, folder: Path | None, provider: FakeProvider | None = None) -> None:
        clock = FakeClock(MONDAY)
        self.provider = provider or Talking()
        self.fleet = Fleet()
        self.effects = Effects({"fake": self.provider}, lambda _: None, clock)
        access = LogAccess(folder=folder, token_of=lambda node_id: f"token-of-{node_id}")
        self.logs = BootstrapLogs(access, self.effects, lambda: self.fleet, clock)
        self.put(state=InstanceState.PENDING_REGISTRATION)

    def put(self, **changes: object) -> Instance:
        facts: dict[str, object] = {
            "id": ID,
            "pool": "training",
            "provider": "fake",
            "state": InstanceState.RUNNING,
            "requested_at": MONDAY,
            "because": "bought",
            "ref": "m-1",
            **changes,
        }
        self.fleet.instances[ID] = Instance(**facts)  # type: ignore[arg-type]
        return self.instance

    @property
    def instance(self) -> Instance:
        return self.fleet.instances[ID]

    async def of(self) -> BootstrapLog:
        return await self.logs.of(self.instance)


def test_a_log_is_asked_of_the_provider_and_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "logs")
    found = run(bench.of())
    assert found == BootstrapLog(text="begun\n", source="fake", read_at=MONDAY)
    kept = tmp_path / "logs" / f"{ID}.log"
    assert kept.read_text().splitlines()[1:] == ["begun"]
    assert (stat.S_IMODE(kept.stat().st_mode), stat.S_IMODE(kept.parent.stat().st_mode)) == (
        0o600,
        0o700,
    )


def test_a_log_that_says_that_all_is_done_is_not_asked_for_again(tmp_path: Path) -> None:
    provider = Talking(COMPLETE)
    bench = Bench(tmp_path, provider)
    first, second = run(bench.of()), run(Bench(tmp_path, provider).of())
    assert (first, second.text) == (second, COMPLETE)
    assert provider.asked == ["m-1"]


def test_a_log_that_is_not_done_is_asked_for_anew(tmp_path: Path) -> None:
    provider = Talking()
    bench = Bench(tmp_path, provider)
    run(bench.of())
    provider.told = "begun\nFAILED\n"
    assert run(bench.of()).text == "begun\nFAILED\n"
    assert run(Bench(tmp_path, Talking(Unavailable("fake: down"))).of()).text == "begun\nFAILED\n"


@pytest.mark.parametrize(
    "told,problem",
    [
        (Unavailable("fake: down"), "fake: down"),
        (NotFound("it is\ngone"), "fake: it is gone"),
        (ValueError("broken"), "fake: ValueError: broken"),
    ],
)
def test_what_was_kept_is_shown_with_why_there_is_nothing_newer(
    tmp_path: Path, told: Exception, problem: str
) -> None:
    run(Bench(tmp_path).of())
    found = run(Bench(tmp_path, Talking(told)).of())
    expected = BootstrapLog(text="begun\n", source="fake", read_at=MONDAY, problem=problem)
    assert found == expected
    alone = run(Bench(None, Talking(told)).of())
    assert alone == BootstrapLog(problem=problem)


def test_an_empty_console_does_not_replace_what_was_kept(tmp_path: Path) -> None:
    run(Bench(tmp_path).of())
    assert run(Bench(tmp_path, Talking("")).of()).text == "begun\n"
    assert run(Bench(None, Talking("")).of()) == BootstrapLog(source="fake", read_at=MONDAY)


def test_the_token_of_the_node_is_struck_out_wherever_it_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Talking(f"+ TOKEN=token-of-{ID}\n"))
    assert run(bench.of()).text == "+ TOKEN=***\n"
    assert "token-of" not in (tmp_path / f"{ID}.log").read_text()


def test_more_than_is_shown_is_cut_whoever_sends_it() -> None:
    bench = Bench(None, Talking("x" * 99 + "\n" + "y\n" * BOOTSTRAP_LOG_BYTES_MAX))
    assert run(bench.of()).text == "y\n" * (BOOTSTRAP_LOG_BYTES_MAX // 2 - 1)


@pytest.mark.parametrize(
    "changes,problem",
    [
        ({"ref": ""}, "there is no machine that could tell"),
        (
            {},
            "provider fake shows no logs, and pool training has no ssh_user and key to log in with",
        ),
        (
            {"state": InstanceState.TERMINATED},
            "the machine has ended, and its log was not kept",
        ),
    ],
)
def test_where_nobody_can_tell_it_is_said(changes: dict[str, object], problem: str) -> None:
    bench = Bench(None, FakeProvider())
    bench.put(**changes)
    assert run(bench.of()) == BootstrapLog(problem=problem)


def test_those_who_ask_at_once_ask_once() -> None:
    provider = Talking()
    bench = Bench(None, provider)

    async def together() -> list[BootstrapLog]:
        provider.may_answer.clear()
        asked = [asyncio.create_task(bench.of()) for _ in range(5)]
        await until(lambda: bool(provider.asked))
        provider.may_answer.set()
        return list(await asyncio.gather(*asked))

    assert {each.text for each in run(together())} == {"begun\n"}
    assert provider.asked == ["m-1"]


def test_a_provider_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Talking()
    bench = Bench(None, provider)

    async def hanging() -> BootstrapLog:
        provider.may_answer.clear()
        return await bench.of()

    monkeypatch.setattr(bootstrap_logs, "READ_TIME_MAX", timedelta(milliseconds=20))
    assert run(hanging()) == BootstrapLog(problem="fake: no answer within 0.02 s")


def test_whoever_stops_leaves_no_reading_behind() -> None:
    provider = Talking()
    bench = Bench(None, provider)

    async def story() -> bool:
        provider.may_answer.clear()
        asking = asyncio.create_task(bench.of())
        await until(lambda: bool(provider.asked))
        await bench.logs.close()
        await asyncio.wait([asking])
        return asking.cancelled() and len(asyncio.all_tasks()) == 1

    assert run(story())


# --- before the end ----------------------------------------------------------------------------

END = Terminate("fake", "m-1", ID)


def test_a_machine_that_never_registered_is_asked_once_before_it_is_ended(tmp_path: Path) -> None:
    provider = Talking("FAILED\n")
    bench = Bench(tmp_path, provider)
    run(bench.logs.before_end(END))
    run(bench.logs.before_end(END))
    assert provider.asked == ["m-1"]
    bench.put(state=InstanceState.TERMINATED)
    assert run(bench.of()).text == "FAILED\n"
    assert provider.asked == ["m-1"]


@pytest.mark.parametrize(
    "prepare",
    [
        lambda bench: bench.put(registered_at=MONDAY),
        lambda bench: bench.fleet.instances.clear(),
    ],
)
def test_a_machine_that_registered_or_is_nobodys_is_not_asked(
    tmp_path: Path, prepare: Callable[[Bench], object]
) -> None:
    provider = Talking()
    bench = Bench(tmp_path, provider)
    prepare(bench)
    run(bench.logs.before_end(END))
    assert provider.asked == []


def test_an_end_waits_for_a_log_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bootstrap_logs, "KEEP_TIME_MAX", timedelta(milliseconds=20))
    provider = Talking()
    bench = Bench(tmp_path, provider)

    async def story() -> None:
        provider.may_answer.clear()
        await bench.logs.before_end(END)

    run(story())
    told = f'bootstrap_log_lost instance={ID} error="fake: no answer within 0.02 s"'
    assert told in caplog.text


def story_of_a_failed_machine(
    folder: Path, told: str | ProviderError, ask: Callable[[Service, str], Awaitable[object]]
) -> tuple[Talking, object]:
    """Let a machine not register until it is ended and gone, and ask the service about it then."""
    clock = FakeClock(MONDAY)
    provider = Talking(told)

    async def story() -> object:
        config = ServerConfig(clock=clock, settings=SETTINGS)
        plane = ControlPlane(config, bootstrap_logs=LogAccess(folder=folder))
        plane.register_provider(provider)
        async with plane:
            await plane.configure_pools([a_spec(min_nodes=1)])
            instances = plane.runtime.machine.fleet.instances
            await until(lambda: any(each.ref for each in instances.values()))
            (first,) = list(instances)
            await pass_time(clock, timedelta(seconds=130), timedelta(seconds=1))
            await until(lambda: bool(provider.asked))
            kept = folder / f"{first}.log"
            await until(lambda: kept.exists() or isinstance(told, Exception))
            provider.told = NotFound("gone")
            for _ in range(600):
                if instances[first].ended:
                    break
                await pass_time(clock, timedelta(seconds=5), timedelta(seconds=1))
            assert instances[first].state is InstanceState.TERMINATED
            service = Service(plane.runtime, None, plane.bootstrap_logs)
            return await ask(service, first)

    return provider, run(story())


async def log_of(service: Service, instance_id: str) -> pb.GetBootstrapLogResponse:
    return await service.get_bootstrap_log(pb.GetBootstrapLogRequest(instance_id=instance_id), None)


def test_the_log_of_a_machine_that_was_given_up_is_shown_when_it_is_gone(tmp_path: Path) -> None:
    _, answer = story_of_a_failed_machine(tmp_path, "FAILED step=command-1\n", log_of)
    assert isinstance(answer, pb.GetBootstrapLogResponse)
    assert (answer.text, answer.source, answer.problem) == ("FAILED step=command-1\n", "fake", "")
    assert answer.read_at.ToDatetime() > MONDAY.replace(tzinfo=None)


def test_a_machine_is_ended_although_its_log_cannot_be_had(tmp_path: Path) -> None:
    _, answer = story_of_a_failed_machine(tmp_path, Unavailable("fake: down"), log_of)
    assert isinstance(answer, pb.GetBootstrapLogResponse)
    assert (answer.text, answer.problem) == ("", "fake: gone")


def test_the_log_of_an_unknown_instance_is_refused() -> None:
    async def story() -> None:
        plane = ControlPlane(ServerConfig(clock=FakeClock(MONDAY), settings=SETTINGS))
        plane.register_provider(Talking())
        async with plane:
            await plane.configure_pools([a_spec()])
            await register_all(plane, 2)
            service = Service(plane.runtime)
            with pytest.raises(WireError, match="not_found: instance 'nobody' is not known"):
                await log_of(service, "nobody")

    run(story())


# --- the folder --------------------------------------------------------------------------------


def test_only_the_newest_logs_are_kept_and_ids_are_no_paths(tmp_path: Path) -> None:
    kept = KeptLogs(tmp_path / "logs")
    ids = [f"pool/{number:03d}/../../x" for number in range(FILES_MAX + 5)]
    for number, id_ in enumerate(ids):
        kept.put(id_, BootstrapLog(text=f"{number}\n", source="ssh", read_at=MONDAY))
    files = list((tmp_path / "logs").iterdir())
    assert (len(files), list(tmp_path.iterdir())) == (FILES_MAX, [tmp_path / "logs"])
    assert kept.get(ids[0]) is None
    assert kept.get(ids[-1]) == BootstrapLog(
        text=f"{FILES_MAX + 4}\n", source="ssh", read_at=MONDAY
    )


@pytest.mark.parametrize(
    "content,shown",
    [
        (b"", BootstrapLog(source="file")),
        (b"by hand\n", BootstrapLog(text="by hand\n", source="file")),
        (b"# read from ssh at noon\nx", BootstrapLog(text="x", source="ssh")),
        (b"\xff", BootstrapLog(text="\ufffd", source="file")),
    ],
)
def test_a_file_that_somebody_changed_is_still_a_log(
    tmp_path: Path, content: bytes, shown: BootstrapLog
) -> None:
    (tmp_path / "a.log").write_bytes(content)
    assert KeptLogs(tmp_path).get("a") == shown


def test_a_folder_that_cannot_be_written_keeps_nothing_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").write_text("a file")
    assert run(Bench(tmp_path / "logs").of()).text == "begun\n"
    assert f"bootstrap_log_not_kept instance={ID} " in caplog.text
