"""Secrets do not get into logs and traces: here is the one place that takes them out.

Three nets, one below the other:

- a field whose *name* says that it holds a secret shows nothing (`names_secret`);
- a *value* that this process is known to hold is blanked wherever it appears (`know`): tokens,
  keys and passwords of the configuration, and what secret-looking environment variables hold;
- what *looks like* a secret is blanked: credentials in headers, addresses and queries, private
  keys, and tokens of well-known forms.

The nets are wide on purpose: a line that shows too little can be read elsewhere, a secret in a log
has to be changed everywhere.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

HIDDEN: Final = "***"
"""What stands in the place of a secret."""
KNOWN_LENGTH_MIN: Final = 6
"""Shorter values are not blanked by value: they are parts of ordinary words."""
KNOWN_LENGTH_MAX: Final = 4_096
"""Longer ones are known line by line only."""
KNOWN_MAX: Final = 1_000
"""Values that are known at one time; the oldest are forgotten."""

_NAME: Final = re.compile(
    r"(?:^|[^a-z])(?:token|secret|password|passwd|authorization|cookie|credentials?|signature"
    r"|(?:api|access|private|secret)[_-]?key|user_?data)$",
    re.IGNORECASE,
)
_VARIABLE: Final = re.compile(r"(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|PGPASS)")
_NO_VARIABLE: Final = re.compile(r"(?:_FILE|_ENV|_PATH|_ID|_URL|_URI|_URL_FULL)$")

_PASSWORDS: Final = ("password", "passwd", "secret", "token")
_KEYS: Final = ("_key", "-key", "apikey", "accesskey", "privatekey")
_NAMED: Final = r"(?:password|passwd|secret|token|(?:api|access|private)[_-]?key"

_QUOTE: Final = r"\\{0,8}[\"']"
"""One that opens or closes a text, also inside of other texts."""

_FORMS: Final = tuple(
    (words, re.compile(pattern, re.IGNORECASE | re.DOTALL), instead)
    for words, pattern, instead in (
        (
            ("private key",),
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
            HIDDEN,
        ),
        (
            ("authorization", "x-api-key", "x-auth-token", "cookie"),
            (
                r"\b((?:proxy-)?authorization|x-api-key|x-auth-token|(?:set-)?cookie)"
                r"(\\{0,8}[\"']?\s*[:=,]\s*b?\\{0,8}[\"']?)[^\r\n\"'\\]+"
            ),
            rf"\1\2{HIDDEN}",
        ),
        (
            ("bearer", "basic", "negotiate"),
            r"\b(bearer|basic|negotiate)\s+[a-z0-9._~+/=-]{8,}",
            rf"\1 {HIDDEN}",
        ),
        (
            ("://",),
            r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@\"']{0,256}):[^\s\"']{0,256}@",
            rf"\1:{HIDDEN}@",
        ),
        (
            ("://",),
            r"(\b[a-z][a-z0-9+.-]{0,30}://)[^\s/:@\"']{20,256}@",
            rf"\1{HIDDEN}@",
        ),
        (  # name=value, as in queries, connection strings and environments
            (*_PASSWORDS, *_KEYS, "signature", "credential", "sig", "pgpass"),
            (
                rf"({_NAMED}(?:[_-]id)?|signature|credentials?|\bsig|pgpass)\s*=\s*)"
                r"(?:\\{0,8}[\"'][^\"'\\]*|[^\s\"'&,;)}\]]+)"
            ),
            rf"\1{HIDDEN}",
        ),
        (  # "name": "value", as in JSON and in Python's own writing
            (*_PASSWORDS, *_KEYS, "signature", "credential"),
            rf"({_NAMED}|signature|credentials?){_QUOTE}\s*[:,]\s*b?{_QUOTE})[^\"'\\]+",
            rf"\1{HIDDEN}",
        ),
        (  # name: value, as in YAML; a value without digits is an ordinary word
            (*_PASSWORDS, *_KEYS),
            rf"({_NAMED})\s*:\s+)(?=\S*[0-9])[^\s\"',;)}}\]]{{8,}}",
            rf"\1{HIDDEN}",
        ),
        (("akia", "asia"), r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", HIDDEN),
        (("eyj",), r"\beyJ[a-z0-9_.-]{16,}", HIDDEN),
        (("ya29.",), r"\bya29\.[a-z0-9._-]+", HIDDEN),
        (("nvn1.",), r"\bnvn1\.[a-z0-9._~:=-]+", HIDDEN),
        (
            ("ghp_", "gho_", "ghs_", "github_pat_", "xox", "hf_", "rpa_", "sk-"),
            r"\b(?:ghp_|gho_|ghs_|github_pat_|xox[abprs]-|hf_|rpa_|sk-)[a-z0-9_-]{16,}",
            HIDDEN,
        ),
    )
)
"""Words in small letters, and what is looked for in a text that holds one of them."""

_SUSPECT: Final = tuple(dict.fromkeys(word for words, _, _ in _FORMS for word in words))
"""A text that holds none of these looks like no secret."""

_lock = threading.Lock()
_known: dict[str, None] = {}
_written: tuple[str, ...] = ()


@functools.lru_cache(maxsize=1024)
def names_secret(name: str) -> bool:
    """Tell whether a field of this name holds a secret, so that its value is never shown."""
    return _NAME.search(name) is not None


def know(*values: str) -> None:
    """Blank these values wherever they appear from now on; lines of them one by one, too.

    What is shorter than `KNOWN_LENGTH_MIN` is passed over. Cost for what is known already: 0.2 µs.
    """
    new = [value for value in values if value not in _known and len(value) >= KNOWN_LENGTH_MIN]
    if new:
        with _lock:
            _known.update(dict.fromkeys(part for value in new for part in _parts(value)))
            while len(_known) > KNOWN_MAX:
                del _known[next(iter(_known))]
            _know_anew()


def know_url(url: str) -> None:
    """Know the password in an address, as it is written and as it is meant."""
    try:
        password = urlsplit(url).password
    except ValueError:  # it is no address, so there is no password in it
        password = None
    if password:
        know(password, unquote(password))


def _parts(value: str) -> set[str]:
    """A secret, and each of its lines, as keys have them."""
    parts = {value, value.strip(), *value.splitlines()}
    return {part for part in parts if KNOWN_LENGTH_MIN <= len(part) <= KNOWN_LENGTH_MAX}


def _know_anew() -> None:
    global _written  # noqa: PLW0603 - logs are the process's, and so are its secrets
    forms = {form for known in _known for form in (known, _escaped(known))}
    _written = tuple(sorted(forms, key=len, reverse=True))


def know_environment(environ: Mapping[str, str]) -> None:
    """Know what is in environment variables whose names say that they hold a secret."""
    know(*(value for name, value in environ.items() if _is_secret_variable(name)))


def _is_secret_variable(name: str) -> bool:
    name = name.upper()
    return _VARIABLE.search(name) is not None and _NO_VARIABLE.search(name) is None


def forget(values: Iterable[str]) -> None:
    """Blank these values no more, as when a test has ended."""
    with _lock:
        for value in values:
            for part in _parts(value):
                _known.pop(part, None)
        _know_anew()


def is_suspect(text: str) -> bool:
    """Whether a text may hold a secret. Cost: 1 µs for a line of 300 characters."""
    lower = text.lower()
    for word in _SUSPECT:
        if word in lower:
            return True
    return any(value in text for value in _written)


def without_secrets(text: str) -> str:
    """Return a text with all that is a secret, or looks like one, blanked."""
    if not is_suspect(text):
        return text
    for value in _written:
        if value in text:
            text = text.replace(value, HIDDEN)
    lower = text.lower()
    for words, pattern, instead in _FORMS:
        if any(word in lower for word in words):
            text = pattern.sub(instead, text)
    return text


def _escaped(value: str) -> str:
    """Write it as it stands inside of JSON or of Python's own quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"')
