"""What all remote calls are made of: a machine that is asked, and a fleet that is read."""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from navarch.controlplane.answering import Answering
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.wire import answers
from navarch.wire.calls import caller_name

# The library's context of a call: nothing here needs it, whoever calls was checked before.
Context = object
_A = TypeVar("_A")
_WISHES: Final = (msg.IssueCommand, msg.ScalePool, msg.PausePool, msg.ClearHealth, msg.SetPlugin)


class ServiceBase:
    """Holds the control plane that answers."""

    def __init__(self, runtime: Answering) -> None:
        """Answer for this control plane."""
        self._runtime = runtime

    @property
    def _fleet(self) -> Fleet:
        return self._runtime.machine.fleet

    async def _ask(self, message: msg.Message, expected: type[_A]) -> _A:
        """Have the machine look at a message; its refusal becomes an error of the call.

        A wish of an operator is told with the name of who has it.
        """
        if isinstance(message, _WISHES) and (name := caller_name()):
            message = replace(message, by=name)
        answer = await self._runtime.ask(message)
        if isinstance(answer, msg.Refused):
            raise answers.refusal(answer)
        assert isinstance(answer, expected), f"{answer!r} to {type(message).__name__}"
        return answer
