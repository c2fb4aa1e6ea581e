"""The command `navarch up`, with looks at what GPUs do each half second in the place of 15 s.

Run as a program, with the arguments of `up`. Nothing else is different.
"""

from __future__ import annotations

import sys
from datetime import timedelta

from navarch.cli.main import main
from navarch.controlplane import accounts

if __name__ == "__main__":
    setattr(accounts, "SWEEP", timedelta(seconds=0.5))  # noqa: B010 - constant to others
    raise SystemExit(main(["up", *sys.argv[1:]]))
