"""Whose host key it is: the start-up script vouches for the keys of its machine.

A machine that was just bought has made its host keys itself, so nobody can have them pinned. But
its start-up script holds the node's token, which only the machine and the control plane know. The
script writes into its log, for each host key, a hash of the token and the key's fingerprint.
Whoever reads the log over SSH believes it only if it vouches so for the very key that the
connection showed: a stranger in between has a key of their own, and cannot make its proof
(docs/decisions/0020).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

LINE_MARK: Final = "navarch-bootstrap: host_key "
"""What the lines begin with that vouch for a key."""

PROOF: Final = re.compile(LINE_MARK + r"(SHA256:[A-Za-z0-9+/]{43}) proof=([0-9a-f]{64})")


def proof(token: str, fingerprint: str) -> str:
    """Work out what the script writes for a key, from the node's token.

    The token stands at both ends, so that nothing can be appended. It has the 256 bits of an
    HMAC (docs/decisions/0007), so that it is not to be guessed from its hash.
    """
    said = f"navarch host key 1\n{token}\n{fingerprint}\n{token}\n"
    return hashlib.sha256(said.encode()).hexdigest()


def is_vouched_for(log: str, token: str, fingerprint: str) -> bool:
    """Whether a line of the log vouches for this key, ``SHA256:`` and 43 signs."""
    expected = proof(token, fingerprint)
    return any(
        found[1] == fingerprint and hmac.compare_digest(found[2], expected)
        for found in PROOF.finditer(log)
    )
