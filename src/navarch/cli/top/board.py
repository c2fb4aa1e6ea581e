"""A table that draws the lines one can see, and no other.

Its cost does not grow with the number of lines: ten thousand nodes are a list, of which a screenful
is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar, Final, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from navarch.cli.top import shown
from navarch.cli.top.shown import GAP, Column, Placed, cell, placed

Line = TypeVar("Line")

HEADING: Final = Style(bold=True, underline=True)
CURSOR: Final = Style(reverse=True)
"""Seen on terminals without colours too."""
IDLE_CURSOR: Final = Style(bold=True)
"""Where the keys go to another table."""
WHEEL: Final = 3
"""Lines for a notch of the wheel."""


class Board(Widget, Generic[Line], can_focus=True):
    """Lines below each other, one of them chosen."""

    DEFAULT_CSS = "Board { width: 100%; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "end(-1)", "First", show=False),
        Binding("end", "end(1)", "Last", show=False),
        Binding("enter", "open", "Why", key_display="enter"),
    ]

    class Opened(Message):
        """Somebody wants to know more about the chosen line."""

        def __init__(self, line: object) -> None:
            """Of this line."""
            super().__init__()
            self.line = line

    class Moved(Opened):
        """Another line is chosen."""

    def __init__(
        self,
        columns: Sequence[Column[Line]],
        key: Callable[[Line], object],
        *,
        empty: str,
        id: str,  # noqa: A002 - Textual's word
        share: float = shown.SHARE,
    ) -> None:
        """Show `columns`; `key` tells lines apart, `empty` is said where there is none.

        `share` is what part of the width the last column has at least.
        """
        super().__init__(id=id)
        self._columns = columns
        self._key = key
        self._empty = empty
        self._share = share
        self._lines: Sequence[Line] = ()
        self._now: datetime | None = None
        self._placed: list[Placed[Line]] = []
        self._top = 0
        self._cursor = 0
        self._held: object = None
        """The key of the line that somebody has chosen; None: nobody has, it is the first."""

    @property
    def lines(self) -> Sequence[Line]:
        """What is shown."""
        return self._lines

    @property
    def chosen(self) -> Line | None:
        """The line under the cursor; None where there are none."""
        return self._lines[self._cursor] if self._lines else None

    def show(self, lines: Sequence[Line], now: datetime) -> None:
        """Show these lines, as old as they are at `now`.

        The cursor stays on the line on which somebody put it, or goes to the one in its place.
        """
        self._lines, self._now = lines, now
        if self._held is not None:
            places = (at for at, line in enumerate(lines) if self._key(line) == self._held)
            self._cursor = next(places, self._cursor)
        self._place()

    def go_to_top(self) -> None:
        """Stay on the first line, whichever that will be: nobody has chosen any."""
        self._held, self._cursor = None, 0
        self._place()

    def say_when_empty(self, text: str) -> None:
        """Say this where there are no lines."""
        self._empty = text
        self.refresh()

    def _place(self) -> None:
        """Bring cursor, window and columns to where they can be."""
        self._cursor = max(0, min(self._cursor, len(self._lines) - 1))
        rows = max(self.size.height - 1, 1)
        self._top = max(0, min(self._top, self._cursor, max(len(self._lines) - rows, 0)))
        self._top = max(self._top, self._cursor - rows + 1)
        if self._now is not None:
            width = self.size.width
            self._placed = placed(self._columns, self._lines, self._now, width, share=self._share)
        self.refresh()

    def on_resize(self) -> None:
        """Choose the columns anew."""
        self._place()

    # ---- drawing

    def render_line(self, y: int) -> Strip:
        """Draw the heading, or a line."""
        width = self.size.width
        if self._now is None:
            return Strip.blank(width, self.rich_style)
        if y == 0:
            return self._heading(width)
        at = self._top + y - 1
        if at < len(self._lines):
            return self._strip(self._lines[at], at == self._cursor, self._now, width)
        text = self._empty if not self._lines and y == 1 else ""
        return Strip([Segment(cell(text, width), self.rich_style)], width)

    def _heading(self, width: int) -> Strip:
        words = (
            cell(each.column.name, each.width, right=each.column.right) for each in self._placed
        )
        text = cell((" " * GAP).join(words), width)
        return Strip([Segment(text, self.rich_style + HEADING)], width)

    def _strip(self, line: Line, is_cursor: bool, now: datetime, width: int) -> Strip:
        style = self.rich_style
        if is_cursor and self.has_focus:
            style += CURSOR
        elif is_cursor and self._held is not None:
            style += IDLE_CURSOR
        gap = Segment(" " * GAP, style)
        segments: list[Segment] = []
        for each in self._placed:
            column = each.column
            text = cell(column.words(line, now), each.width, right=column.right)
            colour = column.colour(line) if column.colour else ""
            segments.append(Segment(text, style + Style.parse(colour) if colour else style))
            segments.append(gap)
        return Strip(segments[:-1]).adjust_cell_length(width, style)

    # ---- moving

    def _go(self, to: int) -> None:
        if not self._lines:
            return
        self._cursor = max(0, min(to, len(self._lines) - 1))
        self._held = self._key(self._lines[self._cursor])
        self._place()
        self.post_message(self.Moved(self.chosen))

    def action_move(self, by: int) -> None:
        """Choose another line."""
        self._go(self._cursor + by)

    def action_page(self, by: int) -> None:
        """Choose a line a screen away."""
        self._go(self._cursor + by * max(self.size.height - 2, 1))

    def action_end(self, to: int) -> None:
        """Go to the first line and stay there, or to the last."""
        self._go(0 if to < 0 else len(self._lines) - 1)
        if to < 0:
            self.go_to_top()

    def action_open(self) -> None:
        """Ask for more about the chosen line."""
        if self._lines:
            self._held = self._key(self._lines[self._cursor])
            self.post_message(self.Opened(self.chosen))

    def on_click(self, event: events.Click) -> None:
        """Choose the line under the pointer; open it if it was chosen already."""
        at = self._top + event.y - 1
        if event.y > 0 and at < len(self._lines):
            if at == self._cursor and event.chain > 1:
                self.action_open()
            else:
                self._go(at)

    def on_mouse_scroll_down(self) -> None:
        """Go down."""
        self._go(self._cursor + WHEEL)

    def on_mouse_scroll_up(self) -> None:
        """Go up."""
        self._go(self._cursor - WHEEL)
