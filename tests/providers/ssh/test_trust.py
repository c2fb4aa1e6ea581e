"""Whom the provider speaks to, and with which key: pinned host keys, or nothing at all."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from navarch.errors import ConfigError, ProviderError, Unauthorized, Unavailable
from navarch.providers.ssh import SshMachine, SshSettings
from providers.ssh.rack import Rack, asking

WRONG = "SHA256:" + "A" * 43


def listed(rack: Rack, settings: SshSettings) -> int:
    """List once, and return how many machines are lent."""

    async def scenario() -> int:
        provider = rack.provider(settings)
        try:
            return len(await provider.list())
        finally:
            await provider.close()

    return asyncio.run(scenario())


def refusal(rack: Rack, settings: SshSettings) -> str:
    with pytest.raises(Unauthorized) as refused:
        listed(rack, settings)
    return str(refused.value)


def test_a_machine_that_shows_another_host_key_is_not_spoken_to(rack: Rack) -> None:
    settings = rack.settings(machines=(rack.machine(0, fingerprint=WRONG),))

    told = refusal(rack, settings)

    assert told == (
        "ssh: no machine answers: m0: its host key is not the one that is pinned, "
        f"it shows {rack.fingerprint}"
    )


def test_the_known_hosts_of_openssh_are_read(rack: Rack, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    machine = rack.machine(0, fingerprint="")
    settings = rack.settings(machines=(machine,), known_hosts_file=known)
    key = (rack.root / "host.pub").read_text()
    known.write_text(f"[127.0.0.1]:{rack.ports[0]} {key}")
    assert listed(rack, settings) == 0

    known.write_text(f"[127.0.0.1]:{rack.ports[0]} {(rack.root / 'stranger.pub').read_text()}")
    assert "its host key is not the one that is pinned" in refusal(rack, settings)

    known.write_text("")
    assert "its host key is not the one that is pinned" in refusal(rack, settings)

    known.unlink()
    assert f"the known hosts {known} cannot be read" in refusal(rack, settings)


def test_known_hosts_of_the_user_are_not_read(
    rack: Rack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    trusting = f"[127.0.0.1]:{rack.ports[0]} {(rack.root / 'host.pub').read_text()}"
    (home / ".ssh" / "known_hosts").write_text(trusting)
    (home / ".ssh" / "config").write_text("Host *\n  Port 1\n  StrictHostKeyChecking no\n")
    (home / ".ssh" / "id_ed25519").write_text((rack.root / "client").read_text())
    monkeypatch.setenv("HOME", str(home))

    assert listed(rack, rack.settings(1)) == 0
    wrong = rack.settings(machines=(rack.machine(0, fingerprint=WRONG),))
    assert "not the one that is pinned" in refusal(rack, wrong)
    stranger = rack.settings(1, key_file=rack.root / "stranger")
    assert "may not log in" in refusal(rack, stranger)


def test_a_key_that_no_machine_knows_is_refused(rack: Rack) -> None:
    settings = rack.settings(key_file=rack.root / "stranger")

    assert "m0: " in refusal(rack, settings)
    with pytest.raises(Unauthorized):
        asyncio.run(rack.provider(settings).provision(asking()))
    with pytest.raises(Unauthorized):
        asyncio.run(rack.provider(settings).terminate("n-1@m0"))


def test_one_machine_that_refuses_us_is_only_silent(rack: Rack) -> None:
    settings = rack.settings(machines=(rack.machine(0), rack.machine(1, fingerprint=WRONG)))

    with pytest.raises(Unavailable, match="never seen, and no answer: m1: its host key"):
        listed(rack, settings)


def test_a_key_that_others_may_read_is_not_used(rack: Rack, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text((rack.root / "client").read_text())
    key.chmod(0o644)

    assert f"the key {key} may be read by others: chmod 600 it" in refusal(
        rack, rack.settings(key_file=key)
    )


@pytest.mark.parametrize("content", [None, "", "no key", "-----BEGIN OPENSSH PRIVATE KEY-----\nx"])
def test_a_key_that_is_none_is_told_and_not_quoted(
    rack: Rack, tmp_path: Path, content: str | None
) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_text(content)
        key.chmod(0o600)

    told = refusal(rack, rack.settings(key_file=key))

    assert told.startswith(f"the key {key} cannot be used: ")
    assert not content or content not in told


def test_a_locked_key_is_refused(rack: Rack, tmp_path: Path) -> None:
    key = tmp_path / "key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", str(key)]
    subprocess.run(command, check=True, timeout=30)

    assert "cannot be used" in refusal(rack, rack.settings(key_file=key))


def test_a_key_is_read_anew_for_each_connection(rack: Rack, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text((rack.root / "stranger").read_text())
    key.chmod(0o600)

    async def scenario() -> None:
        provider = rack.provider(rack.settings(key_file=key))
        with pytest.raises(Unauthorized):
            await provider.list()
        key.write_text((rack.root / "client").read_text())
        assert await provider.list() == []
        await provider.close()

    asyncio.run(scenario())


@contextmanager
def ssh_agent(socket: Path) -> Iterator[None]:
    """Run an agent that holds no key yet."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(500):
            if socket.exists():
                break
            subprocess.run(["sleep", "0.01"], check=True)
        yield
    finally:
        agent.terminate()
        agent.wait()


def test_keys_of_the_agent_log_in(
    rack: Rack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "agent"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    settings = rack.settings(1, key_file=None, agent=True)
    assert "cannot be asked" in refusal(rack, settings)

    with ssh_agent(socket):
        assert "may not log in" in refusal(rack, settings)
        environ = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        command = ["ssh-add", "-q", str(rack.root / "client")]
        subprocess.run(command, check=True, timeout=30, env=environ)

        assert listed(rack, settings) == 0


def test_a_machine_that_says_nothing_is_given_up_in_time(rack: Rack) -> None:
    async def scenario() -> None:
        silent: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(
            lambda _reader, writer: silent.append(writer), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        settings = rack.settings(machines=(rack.machine(0, port=port),))
        provider = rack.provider(structs.replace(settings, deadline=timedelta(seconds=0.3)))

        with pytest.raises(Unavailable, match=r"m0: no answer within 0\.3 s"):
            await provider.list()

        await provider.close()
        for writer in silent:
            writer.close()
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "127.0.0.1"])
def test_a_machine_that_is_not_there_is_unavailable(rack: Rack, host: str) -> None:
    settings = rack.settings(machines=(rack.machine(0, host=host, port=1),))

    with pytest.raises(ProviderError) as refused:
        listed(rack, settings)

    assert type(refused.value) is Unavailable


PINNED = SshMachine(host="10.0.0.1", instance_type="h100", fingerprint=WRONG)


@pytest.mark.parametrize(
    "changes,told",
    [
        ({"machines": ()}, "either machines or inventory_command"),
        ({"inventory_command": ("true",)}, "either machines or inventory_command"),
        ({"key_file": None}, "name a private key, or use the agent"),
        ({"user": "-oProxyCommand=x"}, "a name such as root"),
        ({"folder": "../x"}, "a path such as"),
        ({"folder": "/"}, "a path such as"),
        ({"folder": "$HOME"}, "a path such as"),
        ({"deadline": timedelta()}, "a duration above zero"),
        ({"cleanup_commands": ("\0",)}, "no shell can read"),
        ({"cleanup_commands": ("\ud800",)}, "no shell can read"),
        ({"machines": (PINNED, PINNED)}, "10.0.0.1 is named twice"),
        ({"machines": (PINNED,) * 2_001}, "at most 2000"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(changes: dict[str, object], told: str) -> None:
    settings = SshSettings(machines=(PINNED,), key_file=Path("/key"))

    with pytest.raises(ConfigError, match=told):
        structs.replace(settings, **changes)


@pytest.mark.parametrize(
    "changes,told",
    [
        ({"fingerprint": ""}, "its host key is not pinned"),
        ({"fingerprint": "MD5:aa"}, "SHA256: and 43 signs"),
        ({"name": "a b"}, "name 'a b'"),
        ({"name": "a@b"}, "name 'a@b'"),
        ({"name": "m", "host": "-x y"}, "host '-x y'"),
        ({"port": 0}, "port 0 is none"),
        ({"user": "a b"}, "user 'a b'"),
        ({"instance_type": ""}, "has no instance_type"),
        ({"gpu_count": -1}, "cannot be negative"),
        ({"price_per_hour": float("nan")}, "cannot be negative"),
    ],
)
def test_a_machine_that_cannot_be_used_is_refused(changes: dict[str, object], told: str) -> None:
    machine = structs.replace(PINNED, **changes)

    with pytest.raises(ConfigError, match=told):
        SshSettings(machines=(machine,), key_file=Path("/key"))
