"""Who may ask the double of Compute Engine: a token endpoint and a metadata server, timeless.

The token endpoint checks what Google's checks: that a service account's assertion is signed by its
key, is of the right account and asks for a scope. Tokens are good until they are revoked.
"""

from __future__ import annotations

import json
from collections import deque
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from doubles.compute_engine import Asked

ACCOUNT = "navarch@navarch-test.iam.gserviceaccount.com"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"


@cache
def key_pair() -> tuple[str, str]:
    """Make the private and the public key of the service account, once for all tests."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


class Identity:
    """Gives tokens, and knows those that it gave."""

    def __init__(self) -> None:
        self.given: list[str] = []
        """Every token, in order."""
        self.lifetime = 3600
        self.is_refused = False
        """Whether the account is locked: no more tokens, and none of the old ones counts."""
        self.faults: deque[tuple[int, bytes]] = deque()
        """Status and body of the next answers of the token endpoint or the metadata server."""
        self._revoked: set[str] = set()

    def revoke(self) -> None:
        """Let none of the tokens that were given count any more."""
        self._revoked |= set(self.given)

    def knows(self, header: str) -> bool:
        """Whether a header carries a token that counts."""
        token = header.removeprefix("Bearer ")
        return token in self.given and token not in self._revoked and not self.is_refused

    def answer(self, asked: Asked) -> tuple[int, bytes] | None:
        """Answer a request for a token; None when it is for something else."""
        if asked.path not in {"/token", METADATA}:
            return None
        if self.faults:
            return self.faults.popleft()
        if asked.path == "/token":
            return self._exchange(asked.body)
        if asked.headers.get("metadata-flavor") != "Google":
            return 403, b"Missing Metadata-Flavor:Google header."
        return self._give()

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        if form.get("grant_type") == "refresh_token":
            return self._give() if form["refresh_token"] == "r-1" else _no("invalid_grant")
        if form.get("grant_type") != JWT_BEARER:
            return _no("unsupported_grant_type")
        claims = _claims(form["assertion"])
        if claims is None or claims.get("iss") != ACCOUNT or not claims.get("scope"):
            return _no("invalid_grant")
        return self._give()

    def _give(self) -> tuple[int, bytes]:
        if self.is_refused:
            return _no("invalid_grant")
        token = f"ya29.token-number-{len(self.given) + 1}"
        self.given.append(token)
        said = {"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}
        return 200, json.dumps(said).encode()


def service_account_file(folder: Path, url: str) -> Path:
    """Write the key file of the service account, whose tokens come from `url`."""
    path = folder / "service-account.json"
    described = {
        "type": "service_account",
        "project_id": "navarch-test",
        "private_key_id": "k1",
        "private_key": key_pair()[0],
        "client_email": ACCOUNT,
        "client_id": "1",
        "token_uri": f"{url}/token",
    }
    path.write_text(json.dumps(described))
    return path


def _claims(assertion: str) -> dict[str, Any] | None:
    """Read what an assertion claims, if its signature is good."""
    from google.auth import jwt

    decode: Any = jwt.decode  # it has no types
    try:
        return dict(decode(assertion, certs=key_pair()[1], verify=True))
    except ValueError:
        return None


def _no(error: str) -> tuple[int, bytes]:
    said = {"error": error, "error_description": "Invalid JWT Signature."}
    return 400, json.dumps(said).encode()
