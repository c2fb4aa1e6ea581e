"""The screen of ``navarch top``: pools, nodes and events, an explanation, and what can be done.

It draws what `Watching` has learned, at most four times a second, and asks nothing by itself but
explanations. What operators do goes out by a third connection, and comes back as facts like
everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Footer, Input, Static

from navarch.cli import clock
from navarch.cli.output import plain
from navarch.cli.session import Session
from navarch.cli.top import shown
from navarch.cli.top.board import Board
from navarch.cli.top.detail import Asking, Detail, Subject
from navarch.cli.top.dialogs import DEEDS, Asked, Deed, Help, PoolChosen
from navarch.cli.top.seen import LIVE, NodeLine, Picture, Seen
from navarch.cli.top.watching import Watching
from navarch.cli.views import EventView, PoolView
from navarch.errors import NavarchError

LOOK: Final = timedelta(milliseconds=250)
"""How often it is looked whether anything has changed."""
AGING: Final = 4
"""Looks after which it is drawn again without a change: ages grow."""
PAUSE: Final = timedelta(milliseconds=150)
"""How long a line has to stay chosen before it is explained: who goes down a list passes many."""
WIDE: Final = 130
"""Columns from which explanation and tables have room beside each other."""


class Top(App[NavarchError | None]):
    """The fleet, live. Its result is what ended it; None: somebody did."""

    CSS_PATH = "top.tcss"
    TITLE = "navarch top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        # Before all others, so that the words behind it go where they belong, however quickly.
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("s", "sort", "Sort"),
        Binding("p", "pool", "Pool"),
        Binding("c", "do('cordon')", "Cordon"),
        Binding("u", "do('uncordon')", "Uncordon"),
        Binding("d", "do('drain')", "Drain"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("escape", "leave", "Back", show=False),
    ]

    def __init__(
        self,
        watching: Watching,
        asking: Asking,
        *,
        pool: str = "",
        words: str = "",
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """Draw what `watching` learns; begin with the nodes of `pool` that show `words`."""
        super().__init__(ansi_color=True)
        self._watching, self._asking = watching, asking
        self._pool, self._words = pool, words
        self._now = now
        self._sort = next(iter(shown.SORTS))
        self._picture = Picture()
        self._drawn = -1
        self._looks = 0
        self._explained_at = 0
        self.nodes = Board(
            *(shown.NODE_COLUMNS, lambda line: line.node), empty="reading ...", id="nodes"
        )
        self.pools = Board(
            *(shown.POOL_COLUMNS, lambda pool: pool.name), empty="no pools", id="pools"
        )
        self.facts = Board(
            *(shown.EVENT_COLUMNS, lambda fact: fact.seq),
            empty="no events yet",
            id="facts",
            share=0.6,
        )
        self.detail = Detail(asking, id="detail")
        # Kept, and not looked up: that would look in the dialog that stands above them.
        self._head, self._summary = Static(id="head"), Static(id="summary")
        self._said = Static(id="said")
        self._filter = Input(placeholder="words", id="filter", value=words, compact=True)
        self._tables = Vertical(id="tables")

    @property
    def shown_nodes(self) -> list[str]:
        """The nodes that are shown, in their order."""
        return [line.node for line in self.nodes.lines]

    def compose(self) -> ComposeResult:
        """Make the screen."""
        yield self._head
        yield self._summary
        with Horizontal(id="middle"):
            with self._tables:
                yield self.pools
                yield self._said
                yield self._filter
                yield self.nodes
                yield self.facts
            yield self.detail
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self.nodes.focus()
        self._filter.display = False
        self.detail.display = False
        self.set_interval(LOOK.total_seconds(), self.look)
        self.look()

    def on_resize(self) -> None:
        """Put the explanation beside the tables, or in their place."""
        self._arrange()

    def _arrange(self) -> None:
        wide = self.size.width >= WIDE
        self._tables.display = wide or not self.detail.display
        self.detail.set_class(wide, "beside")

    # ---- drawing

    def look(self) -> None:
        """Draw, if anything has changed or grown older."""
        if self._watching.failed is not None and not self._picture.link.role:
            self.exit(self._watching.failed)
            return
        self._looks += 1
        seen = self._watching.seen
        version = seen.version
        if version != self._drawn:
            self._picture = seen.picture()
            self._drawn = version
            self._draw()
            self._explain_again()
        elif self._looks % AGING == 0:
            self._draw()

    def _draw(self) -> None:
        picture, now = self._picture, self._now()
        lines = shown.chosen(picture.nodes, sort=self._sort, pool=self._pool, words=self._words)
        self._draw_head(picture)
        self._draw_said(picture, len(lines))
        self.nodes.say_when_empty(self._why_empty(picture))
        self.nodes.show(lines, now)
        self.pools.styles.height = min(len(picture.pools), max(self.size.height // 4 - 1, 2)) + 1
        self.pools.show(picture.pools, now)
        self.facts.show(picture.events[::-1], now)

    def _draw_from_top(self) -> None:
        """Draw other nodes than before, of which nobody has chosen one."""
        self.nodes.go_to_top()
        self._draw()

    def _draw_head(self, picture: Picture) -> None:
        link = picture.link
        text = Text("navarch top", style="bold")
        text.append(f"  {plain(shown.greeting(link))}  ", style="not bold")
        if link.state == LIVE:
            text.append("live", style="bold green")
        else:
            text.append(link.state, style="bold yellow")
            text.append(f"  {plain(link.problem)}", style="not bold")
        if link.role == "standby":
            text.append("  it hears no heartbeats", style="yellow")
        text.no_wrap = True
        _write(self._head, text)
        summary = Text(no_wrap=True)
        for number, (words, colour) in enumerate(shown.summary(picture)):
            summary.append(", " if number > 1 else " " if number else "")
            summary.append(words, style=colour)
        _write(self._summary, summary)

    def _draw_said(self, picture: Picture, count: int) -> None:
        parts = [f"nodes {count:,} of {len(picture.nodes):,}", f"by {self._sort}"]
        if self._pool:
            parts.append(f"of pool {plain(self._pool)}")
        if self._words:
            parts.append(f"with {plain(self._words)!r}")
        _write(self._said, Text("  ".join(parts), style="dim", no_wrap=True))

    def _why_empty(self, picture: Picture) -> str:
        if not picture.complete:
            return "reading ..."
        return "no such nodes; escape shows all" if picture.nodes else "no nodes"

    # ---- explaining

    def on_board_opened(self, message: Board.Opened) -> None:
        """Explain what was chosen."""
        self._open(message.line, after=0.0)

    def on_board_moved(self, message: Board.Moved) -> None:
        """Explain what is chosen now, if something was explained before."""
        if self.detail.display:
            self._open(message.line, after=PAUSE.total_seconds())

    def _open(self, chosen: object, *, after: float) -> None:
        """Show why `chosen` is as it is, if it is still wanted after so many seconds."""
        self.detail.display = True
        self._arrange()
        if not self._tables.display:
            self._go_to(self.detail)
        if isinstance(chosen, EventView):
            self.detail.show_fact(chosen)
        elif isinstance(chosen, NodeLine):
            self._explain(Subject("node", chosen.node), chosen, after=after)
        elif isinstance(chosen, PoolView):
            self._explain(Subject("pool", chosen.name), chosen, after=after)

    def _explain(
        self, subject: Subject, line: NodeLine | PoolView | None, *, after: float = 0.0
    ) -> None:
        """Ask why; a question that is not asked yet gives way to the next one."""
        self._explained_at = self._picture.link.seq

        async def explain() -> None:
            await asyncio.sleep(after)
            await self.detail.explain(subject, line)

        self.run_worker(explain(), group="explain", exclusive=True)

    def _explain_again(self) -> None:
        """Explain anew when there are facts that the explanation does not know."""
        subject = self.detail.subject
        if subject is None or not self.detail.display:
            return
        newer = (fact for fact in self._picture.events if fact.seq > self._explained_at)
        if any(subject.name in fact.subjects for fact in newer):
            self._explain(subject, self._line_of(subject))

    def _line_of(self, subject: Subject) -> NodeLine | PoolView | None:
        if subject.kind == "pool":
            return next((each for each in self._picture.pools if each.name == subject.name), None)
        return next((each for each in self._picture.nodes if each.node == subject.name), None)

    def action_leave(self) -> None:
        """Close the explanation; without one, show all nodes again."""
        if self.detail.display:
            self.detail.display = False
            self.detail.subject = None
            self._arrange()
            self._go_to(self.nodes)
            return
        self._pool = self._words = ""
        self._filter.value = ""
        self._close_filter()
        self._draw_from_top()

    # ---- choosing

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Say whether a key does what it does here: a slash in a text is a slash."""
        del parameters
        typing = isinstance(self.focused, Input) or len(self.screen_stack) > 1
        return not (action == "filter" and typing)

    def action_filter(self) -> None:
        """Let words be typed."""
        self._filter.display = True
        self._go_to(self._filter)

    def _close_filter(self) -> None:
        self._filter.display = False
        self._go_to(self.nodes)

    def _go_to(self, widget: Widget) -> None:
        """Have the next key go there: `Widget.focus` would let some go elsewhere before."""
        self.screen.set_focus(widget)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the nodes with these words."""
        if event.input.id == "filter":
            self._words = event.value
            self._draw_from_top()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go back to the nodes."""
        if event.input.id == "filter":
            self._close_filter()

    def action_sort(self) -> None:
        """Sort by the next thing."""
        sorts = list(shown.SORTS)
        self._sort = sorts[(sorts.index(self._sort) + 1) % len(sorts)]
        self._draw_from_top()

    def action_pool(self) -> None:
        """Ask whose nodes shall be shown."""

        def take(pool: str | None) -> None:
            if pool is not None:
                self._pool = pool
                self._draw_from_top()

        names = sorted({each.name for each in self._picture.pools})
        self.push_screen(PoolChosen(names, self._pool), take)

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    # ---- doing

    def action_do(self, word: str) -> None:
        """Ask why, and do it if somebody says so."""
        line = self._subject_line()
        if line is None:
            self.notify("choose a node first", severity="warning")
            return
        deed = DEEDS[word]

        def take(reason: str | None) -> None:
            if reason is not None:
                self.run_worker(self._do(deed, line.node, reason), group="do")

        self.push_screen(Asked(deed, line.node, line.state), take)

    def _subject_line(self) -> NodeLine | None:
        """The node that keys are about: the one that is explained, else the chosen one."""
        subject = self.detail.subject
        if self.detail.display and subject is not None and subject.kind == "node":
            line = self._line_of(subject)
            return line if isinstance(line, NodeLine) else None
        return self.nodes.chosen

    async def _do(self, deed: Deed, node: str, reason: str) -> None:
        request = {"nodeId": node, "commandType": deed.kind, "reason": reason}
        try:
            answer = await self._asking.ask("IssueCommand", request)
        except NavarchError as error:
            self.notify(
                plain(str(error)), title=f"{deed.word} {node}", severity="error", markup=False
            )
            return
        self._watching.poke(node)
        command = plain(str(answer.get("commandId", "")))
        self.notify(f"{plain(node)}: {deed.word} recorded as {command}", markup=False)


def _write(place: Static, text: Text) -> None:
    """Write a line, if it is another one than before."""
    if place.content != text:
        place.update(text)


@contextlib.contextmanager
def opened(session: Session) -> Iterator[tuple[Watching, Asking]]:
    """Connect, and hang up in the end. Raises `WireError` for an address that is none."""
    asking = Asking(session.connect())
    watching = Watching(session.connect, Seen())
    watching.start()
    try:
        yield watching, asking
    finally:
        watching.end()
        asking.close()


def run(session: Session, *, pool: str, words: str) -> None:
    """Draw until somebody ends it. Raises `NavarchError` for what keeps it from beginning."""
    with opened(session) as (watching, asking):
        ended = Top(watching, asking, pool=pool, words=words).run()
    if ended is not None:
        raise ended
