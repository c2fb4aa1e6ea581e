"""The version of this program, as it is written into journals and answered to callers."""

from typing import Final

VERSION: Final = "0.1.0"
"""Kept equal to the version in ``pyproject.toml`` by a test."""
