"""A process that has lost its journal ends, whatever still runs in it."""

from __future__ import annotations

import subprocess
import sys

BUSY = """
import time
from navarch.wiring import running

running.END_SECONDS_MAX = 0.05
running._end_soon()
deadline = time.monotonic() + 20
while time.monotonic() < deadline:  # a loop that answers nobody, as an overloaded one
    sum(range(1000))
print("still here")
"""


def test_a_process_that_is_busy_ends_when_its_lease_is_lost() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")
