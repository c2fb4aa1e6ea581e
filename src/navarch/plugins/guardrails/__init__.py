"""Guardrails: what goes in and comes out of agents is looked at, and perhaps does not pass.

==============  ====================================================================
module          knows
==============  ====================================================================
contract        what a plugin is in its rich form, and what it promises
binding         which plugin does which check of an agent class
engine          the host: `GuardrailEngine`
stream          one text on its way, whole or in pieces: `Session`
asking          how plugins are called, timed and held to their promises
ledger          how findings become actions, a result and a record
redaction       what stands in the place of what was found
vault           pseudonyms, and how they are taken back
audit           what is kept of each check
builtin         the plugins that Navarch brings: `BUILT_IN`
==============  ====================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from navarch.plugins.guardrails.audit import AuditRecord
    from navarch.plugins.guardrails.builtin import BUILT_IN
    from navarch.plugins.guardrails.contract import Finding, ScanContext, Scanner
    from navarch.plugins.guardrails.engine import GuardrailEngine
    from navarch.plugins.guardrails.stream import Session
    from navarch.plugins.guardrails.vault import Vault, Vaults

__all__ = [
    "BUILT_IN",
    "AuditRecord",
    "Finding",
    "GuardrailEngine",
    "ScanContext",
    "Scanner",
    "Session",
    "Vault",
    "Vaults",
]

_HOME = {
    "AuditRecord": "audit",
    "BUILT_IN": "builtin",
    "Finding": "contract",
    "GuardrailEngine": "engine",
    "ScanContext": "contract",
    "Scanner": "contract",
    "Session": "stream",
    "Vault": "vault",
    "Vaults": "vault",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type of whatever is asked for
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
