"""Pseudonyms that can be taken back: ``<EMAIL_1>`` out, the address in again.

A vault belongs to one request of one tenant. What it has not handed out itself it does not restore,
so a pseudonym of another request stays a pseudonym, whatever a model repeats. The same value has
the same pseudonym within a vault, so that a model can still tell two people apart.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from typing import Final

from navarch.plugins.guardrails.redaction import word

ENTRIES_MAX: Final = 10_000
"""Values of one request; further ones get a label that is not restored."""

VAULTS_MAX: Final = 10_000
"""Requests that are open at a time; the one that was used longest ago is forgotten."""

_LONGEST: Final = 64
"""Characters of the longest pseudonym."""

_PSEUDONYM: Final = re.compile(r"<[A-Z0-9_]{1,50}_[0-9]{1,6}>")
_BEGUN: Final = re.compile(r"<[A-Z0-9_]{0,61}\Z")


class Vault:
    """The pseudonyms of one request."""

    def __init__(self, tenant: str = "", request_id: str = "") -> None:
        """Begin empty. Whose it is is only for those who look after many."""
        self.tenant = tenant
        self.request_id = request_id
        self._by_value: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Vault({len(self)} values)"  # never what is in it

    def label(self, kind: str, value: str) -> str:
        """Give the pseudonym of a value, a new one where it has none."""
        name = word(kind)[:50]
        known = self._by_value.get((name, value))
        if known is not None:
            return known
        if len(self._values) >= ENTRIES_MAX:
            return f"<{name}>"
        self._counts[name] += 1
        pseudonym = f"<{name}_{self._counts[name]}>"
        self._by_value[name, value] = pseudonym
        self._values[pseudonym] = value
        return pseudonym

    def restore(self, text: str) -> str:
        """Put the values back in a whole text; pseudonyms of others stay as they are."""
        return _PSEUDONYM.sub(lambda match: self._values.get(match[0], match[0]), text)

    def restorer(self) -> Restorer:
        """Restore a text that comes in pieces."""
        return Restorer(self)


class Restorer:
    """Puts values back in a stream; holds back only what may be the begin of a pseudonym."""

    def __init__(self, vault: Vault) -> None:
        """Restore from one vault."""
        self._vault = vault
        self._held = ""

    def feed(self, chunk: str) -> str:
        """Take a piece, and return what may go on: all but at most 64 characters."""
        text = self._held + chunk
        begun = _BEGUN.search(text, max(len(text) - _LONGEST, 0))
        cut = begun.start() if begun else len(text)
        self._held = text[cut:]
        return self._vault.restore(text[:cut])

    def finish(self) -> str:
        """Return the rest."""
        rest, self._held = self._held, ""
        return self._vault.restore(rest)


class Vaults:
    """The vaults of all open requests, by tenant and request."""

    def __init__(self, *, most: int = VAULTS_MAX) -> None:
        """Keep at most so many."""
        self._most = most
        self._open: OrderedDict[tuple[str, str], Vault] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def of(self, tenant: str, request_id: str) -> Vault:
        """Give the vault of a request, a new one at its first call.

        :raises ValueError: the request has no id, so that two could not be told apart
        """
        if not request_id:
            raise ValueError("a vault belongs to one request: request_id is empty")
        key = tenant, request_id
        vault = self._open.pop(key, None) or Vault(tenant, request_id)
        self._open[key] = vault
        while len(self._open) > self._most:
            self._open.popitem(last=False)
        return vault

    def close(self, tenant: str, request_id: str) -> None:
        """Forget a request; no error where it is not known."""
        self._open.pop((tenant, request_id), None)
