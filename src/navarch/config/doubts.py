"""What may be written and is probably not meant: nothing is refused for it, people are told.

Each function yields what it finds, with the place of a key that was written. What cannot work at
all is in `contradictions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from navarch.config.providers import (
    DockerProvider,
    FakeProvider,
    LambdaProvider,
    ProcessProvider,
    RunPodProvider,
    SshProvider,
)
from navarch.config.reading import Reader
from navarch.config.schema import Document, Pool
from navarch.errors import ConfigError

WITHOUT_SPOT = (DockerProvider, LambdaProvider, RunPodProvider, SshProvider)
"""Those who sell lasting machines alone (docs/providers)."""

Doubts = Iterator[ConfigError]

COMMANDS = {"reset_gpu": "gpu_reset", "reboot": "reboot"}
"""The commands that carry out repairs, as ``allow`` of a provider calls them."""


def found(written: Document, reader: Reader) -> Doubts:
    """Find all of them in a file without mistakes."""
    for name, pool in written.pools.items():
        key = f"pools.{name}"
        yield from _unrepaired(pool, key, reader)
        yield from _refused(pool, written, key, reader)
        yield from _without_agent(pool, written, key, reader)
        yield from _lasting(pool, written, key, reader)
        yield from _unused(pool, written, key, reader)


def _unrepaired(pool: Pool, key: str, reader: Reader) -> Doubts:
    """Find what keeps sick nodes as they are."""
    health, here = pool.health, f"{key}.health"
    if health.dry_run:
        message = "repair only says what it would do: sick and lost nodes stay as they are"
        yield reader.fault(message, key=f"{here}.dry_run")
    line = reader.first_line(f"{here}.repair")
    if line is None:
        return
    if "replace" in health.repair and not health.auto_replace:
        message = "replace is never done, since auto_replace is false"
        yield reader.fault(message, key=f"{here}.repair", line=line)
    if "replace" not in health.repair and health.auto_replace:
        message = (
            "without replace, sick nodes that the rest does not help wait for a person; "
            "auto_replace then holds for lost nodes alone"
        )
        yield reader.fault(message, key=f"{here}.repair", line=line)


def _refused(pool: Pool, written: Document, key: str, reader: Reader) -> Doubts:
    """Find repairs that the agents of a provider do not carry out."""
    for word in pool.health.repair:
        command = COMMANDS.get(word)
        for name in dict.fromkeys(pool.sellers):
            seller = written.providers[name]
            if command and isinstance(seller, ProcessProvider) and command not in seller.allow:
                place = f"{key}.health.repair"
                message = (
                    f"the agents of {name} refuse {word}: add {command} to providers.{name}.allow"
                )
                yield reader.fault(message, key=place, line=reader.first_line(place))


def _without_agent(pool: Pool, written: Document, key: str, reader: Reader) -> Doubts:
    """Find machines on which nobody starts an agent, unless their image does."""
    if written.server.bootstrap is not None or pool.boot_script():
        return
    for name in dict.fromkeys(pool.sellers):
        if not isinstance(written.providers[name], FakeProvider | ProcessProvider):
            message = (
                f"nobody starts an agent on machines of {name}, unless their image does: write "
                "server.bootstrap, or user_data"
            )
            yield reader.fault(message, key=key, line=reader.first_line(key))


def _lasting(pool: Pool, written: Document, key: str, reader: Reader) -> Doubts:
    """Find sellers that are asked for machines that may be taken away, and have none."""
    spot = {seller.name for seller in pool.providers if seller.spot}
    if pool.spot_percent is not None:
        spot = set(pool.sellers) if pool.spot_percent else set()
    for name in dict.fromkeys(pool.sellers):
        if name in spot and isinstance(written.providers[name], WITHOUT_SPOT):
            message = f"{name} sells no machines that may be taken away: it refuses these launches"
            place = f"{key}.spot_percent"
            yield reader.fault(message, key=place, line=reader.first_line(place))


OTHER_WAYS: Final[tuple[tuple[type, str], ...]] = (
    (DockerProvider, "shows the logs of its containers itself"),
    (FakeProvider, "has no machines that anybody could log in on"),
    (ProcessProvider, "shows the logs of its processes itself"),
    (RunPodProvider, "gives its pods another port than 22, at an address that others have too"),
    (SshProvider, "logs in with the user and the key of its own settings"),
)
"""Providers to whose machines nobody logs in with a pool's key, and why (docs/providers)."""


def _unused(pool: Pool, written: Document, key: str, reader: Reader) -> Doubts:
    """Find keys to log in with that no machine will ever be shown."""
    named = [each for each in ("ssh_user", "ssh_private_key_path") if getattr(pool, each)]
    if not named:
        return
    place = f"{key}.{named[-1]}"
    if len(named) == 1:
        other = "ssh_private_key_path" if named == ["ssh_user"] else "ssh_user"
        yield reader.fault(f"is not used without {other}", key=place)
        return
    for name in dict.fromkeys(pool.sellers):
        for kind, why in OTHER_WAYS:
            if isinstance(written.providers[name], kind):
                message = f"is not used on machines of {name}, which {why}"
                yield reader.fault(message, key=place)
    if written.server.bootstrap is None:
        message = "is not used without server.bootstrap, whose script writes the log that is read"
        yield reader.fault(message, key=place)
