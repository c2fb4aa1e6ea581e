"""Making a long script short: compressed, in a script that unpacks and runs it."""

from __future__ import annotations

import base64
import gzip
import textwrap
from typing import Final

from navarch.errors import ConfigError

EC2_BYTES_MAX: Final = 16_384
"""Bytes of user data that EC2 takes, before it is encoded as base64 (EC2 User Guide, "Working with
instance user data", read 2026-11-22)."""

UNPACK: Final = """\
#!/bin/sh
# A Navarch start-up script, compressed. To read it: base64 -d, then gzip -d, of what follows.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 143' TERM INT HUP
base64 -d <<'END' | gzip -dc >"$folder/script"
{packed}
END
{interpreter} "$folder/script"
"""
"""The folder is its owner's alone, for the script holds a token. What was cut short on its way does
not pass gzip's checksum, and is not run."""


def fitted(script: str, bytes_max: int) -> str:
    """Return the script, or one that unpacks and runs it if it has more bytes than `bytes_max`.

    It needs ``base64`` and ``gzip`` on the machine, which every distribution has.

    :raises ConfigError: it is too long even so
    """
    if len(script.encode()) <= bytes_max:
        return script
    packed = base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode("ascii")
    first, _, _ = script.partition("\n")
    interpreter = first[2:].strip() if first.startswith("#!") else "/bin/sh"
    short = UNPACK.format(packed="\n".join(textwrap.wrap(packed, 76)), interpreter=interpreter)
    if len(short) > bytes_max:
        text = f"the start-up script has {len(short)} bytes even compressed"
        raise ConfigError(f"{text}, and {bytes_max} are taken: move work into the image")
    return short
