"""What stands over the fleet for a moment: a question before a deed, a choice, the keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from navarch.cli.output import plain

REASON_MAX: Final = 500
"""Signs of a reason: one that is longer was pasted by mistake."""


@dataclass(frozen=True)
class Deed:
    """Something that an operator can have done to a node."""

    word: str
    kind: str
    """As the API calls it."""
    meaning: str


DEEDS: Final = {
    "cordon": Deed("cordon", "NODE_COMMAND_TYPE_CORDON", "It takes no new work; what runs stays."),
    "uncordon": Deed("uncordon", "NODE_COMMAND_TYPE_UNCORDON", "It takes work again."),
    "drain": Deed("drain", "NODE_COMMAND_TYPE_DRAIN", "Its work is moved away."),
}
"""What can be done from here, and what it means."""


class Asked(ModalScreen[str | None]):
    """Asks why something shall be done, and whether: the reason, or None if it shall not."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Leave it")]

    def __init__(self, deed: Deed, node: str, state: str) -> None:
        """Ask about `deed` for `node`, which is in `state`."""
        super().__init__()
        self._deed, self._node, self._state = deed, node, state

    def compose(self) -> ComposeResult:
        """Make the question."""
        word = self._deed.word
        with Vertical(classes="dialog"):
            yield Static(Text(f"{word} {plain(self._node)} ({self._state})", style="bold"))
            yield Static(Text(self._deed.meaning))
            yield Input(
                placeholder="why? recorded, and shown by explain",
                id="reason",
                max_length=REASON_MAX,
                compact=True,
            )
            with Horizontal():
                yield Button(f"{word} {plain(self._node)}"[:60], id="do", compact=True)
                yield Button("leave it", id="leave", compact=True)

    def on_mount(self) -> None:
        """Begin with the reason."""
        self.query_one("#reason", Input).focus()

    def on_input_submitted(self) -> None:
        """Go from the reason to the button, which is the confirmation."""
        self.query_one("#do", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        reason = self.query_one("#reason", Input).value.strip()
        self.dismiss(reason if event.button.id == "do" else None)


class PoolChosen(ModalScreen[str | None]):
    """Asks whose nodes shall be shown. The answer is a pool, or empty for all; None: as before."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,p,q", "dismiss(None)", "As before")]

    def __init__(self, pools: Sequence[str], now: str) -> None:
        """Offer these pools; `now` is the present one."""
        super().__init__()
        self._pools = ["", *pools]
        self._now = now

    def compose(self) -> ComposeResult:
        """Make the list."""
        with Vertical(classes="dialog"):
            yield Static(Text("Whose nodes?", style="bold"))
            yield OptionList(
                *(Option(Text(plain(name) or "every pool's")) for name in self._pools), id="pools"
            )

    def on_mount(self) -> None:
        """Stand on the present one."""
        options = self.query_one("#pools", OptionList)
        options.highlighted = self._pools.index(self._now) if self._now in self._pools else 0
        options.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answer."""
        self.dismiss(self._pools[event.option_index])


KEYS: Final = (
    ("arrows, page keys", "choose a line"),
    ("tab", "go to the next table"),
    ("enter", "say why: of a node, a pool, an event"),
    ("escape", "close what is open, then end all filters"),
    ("/", "show only nodes with the words you type"),
    ("s", "sort by something else"),
    ("p", "show only the nodes of a pool"),
    ("c  u  d", "cordon, uncordon, drain the chosen node"),
    ("q", "end"),
)


class Help(ModalScreen[None]):
    """The keys, and what the words mean."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,question_mark,enter", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        """Write them down."""
        width = max(len(key) for key, _ in KEYS)
        text = Text("Keys\n", style="bold")
        for key, meaning in KEYS:
            text.append(f"{key:>{width}}", style="bold")
            text.append(f"  {meaning}\n", style="not bold")
        text.append(
            "\nSTATE is what is wrong with a node, else what is wanted of it;"
            " !! needs somebody now, ! soon, - is on its way."
            " HEARD is how long ago it spoke.",
            style="not bold",
        )
        with Vertical(classes="dialog"):
            yield Static(text)
