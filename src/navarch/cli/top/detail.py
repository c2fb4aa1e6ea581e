"""Why something is as it is: the explanation beside the tables."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from navarch.cli.output import plain, stamp
from navarch.cli.top import shown
from navarch.cli.top.seen import NodeLine
from navarch.cli.views import EventView, PoolView, read_each
from navarch.errors import NavarchError
from navarch.wire.servers import Servers

FACTS_MAX: Final = 50
"""The newest facts behind an explanation that are shown."""


class Asking:
    """Asks the control plane what somebody wants to know, one question after the other."""

    def __init__(self, servers: Servers) -> None:
        """Ask by this connection, which nobody else uses."""
        self._servers = servers
        self._lock = threading.Lock()

    async def ask(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """Call a method without keeping the screen waiting. Raises `WireError`."""
        return await asyncio.to_thread(self._ask, method, request)

    def _ask(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            return self._servers.call(method, request)

    def close(self) -> None:
        """Hang up."""
        for client in self._servers.clients:
            client.hang_up()
        with self._lock:
            self._servers.close()


@dataclass(frozen=True)
class Subject:
    """What is explained."""

    kind: str
    """``node`` or ``pool``."""
    name: str

    @property
    def request(self) -> dict[str, Any]:
        """What `Explain` is asked."""
        return {"kind": f"SUBJECT_KIND_{self.kind.upper()}", "id": self.name}


class Detail(VerticalScroll, can_focus=True):
    """The explanation of a node or a pool, or a fact in full."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.leave", "Back", key_display="esc"),
    ]

    def __init__(self, asking: Asking, *, id: str) -> None:  # noqa: A002 - Textual's word
        """Ask by `asking`."""
        super().__init__(id=id)
        self._asking = asking
        self.subject: Subject | None = None
        """What is explained; None while it shows a fact, or nothing."""
        self.text = Text()
        """What it shows."""
        self._place = Static()

    def compose(self) -> ComposeResult:
        """Make the place for the text."""
        yield self._place

    def _write(self, text: Text) -> None:
        self.text = text
        self._place.update(text)

    def show_fact(self, fact: EventView) -> None:
        """Show a fact in full."""
        self.subject = None
        text = Text(f"fact {fact.seq}, {plain(fact.kind)}\n", style="bold")
        text.append(f"{stamp(fact.at)}\n\n", style="not bold")
        text.append(f"{plain(fact.text)}\n", style="not bold")
        if fact.because:
            text.append(f"\nbecause {plain(fact.because)}\n", style="not bold")
        if fact.subjects:
            text.append(f"\nabout {plain(', '.join(fact.subjects))}\n", style="not bold")
        self._write(text)

    async def explain(self, subject: Subject, line: NodeLine | PoolView | None) -> None:
        """Ask why `subject` is as it is, and show the answer below what `line` says.

        What goes wrong is shown in its place.
        """
        if subject != self.subject:
            self.subject = subject
            self._write(_head(subject, line).append("\nasking why ...", style="not bold"))
            self.scroll_home(animate=False)
        try:
            answer = await self._asking.ask("Explain", subject.request)
            text = _explained(_head(subject, line), answer)
        except NavarchError as error:
            text = _head(subject, line).append(f"\n{plain(str(error))}", style="not bold red")
        if self.subject == subject and self.is_mounted:
            self._write(text)


def _head(subject: Subject, line: NodeLine | PoolView | None) -> Text:
    """What is explained, and what its line has no room for."""
    text = Text(f"{subject.kind} {plain(subject.name)}", style="bold")
    if isinstance(line, NodeLine):
        word, pairs = line.state, _node_pairs(line)
    elif isinstance(line, PoolView):
        word, pairs = line.state_word, _pool_pairs(line)
    else:
        return text.append("\n")
    text.append("  ").append(shown.state_of(word), style=shown.colour_of(word)).append("\n")
    for name, said in pairs:
        if said:
            text.append(f"{name:>9}  ", style="not bold dim").append(
                f"{plain(said)}\n", style="not bold"
            )
    return text


def _node_pairs(line: NodeLine) -> list[tuple[str, str]]:
    return [
        ("pool", line.pool or "none: it joined by itself"),
        ("health", line.health),
        ("contact", line.contact),
        ("intent", line.intent),
        ("gpus", str(line.gpus)),
        ("from", " ".join(each for each in (line.provider, line.place, line.kind) if each)),
    ]


def _pool_pairs(pool: PoolView) -> list[tuple[str, str]]:
    counts = (
        f"target {pool.target_nodes}, actual {pool.current_nodes}, ready {pool.ready_nodes}, "
        f"booting {pool.booting_nodes}, lost {pool.lost_nodes}"
    )
    return [
        ("nodes", counts),
        ("range", f"{pool.min_nodes} to {pool.max_nodes}"),
        ("from", " ".join((*pool.providers, pool.instance_type, pool.region))),
    ]


def _explained(text: Text, answer: dict[str, Any]) -> Text:
    text.append("\n")
    for number, line in enumerate(answer.get("lines", ())):
        text.append(f"{plain(str(line))}\n", style="not bold" if number else "bold")
    facts = read_each(answer, "facts", EventView)[-FACTS_MAX:]
    if facts:
        text.append("\n")
    for fact in reversed(facts):
        text.append(f"{stamp(fact.at)}  ", style="not bold dim")
        text.append(f"{plain(fact.text or fact.kind)}\n", style="not bold")
    return text
