"""A chart of a process's memory over time, with what it refused meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

HOUR: Final = 3600.0
"""Seconds."""


def chart(samples: Sequence[dict[str, float]], path: Path) -> None:
    """Draw the memory, and how many calls were refused in each ten minutes."""
    width, height, left, low = 860, 300, 60, 260
    hours = samples[-1]["hour"]
    top = max(each["rss_mb"] for each in samples) * 1.25
    steps = [max(0.0, later["refused"] - before["refused"]) for before, later in pairwise(samples)]
    most = max([*steps, 1.0])

    def x(hour: float) -> float:
        return left + (width - left - 20) * hour / hours

    line = " ".join(f"{x(s['hour']):.1f},{low - 220 * s['rss_mb'] / top:.1f}" for s in samples)
    bars = "".join(
        f'<rect x="{x(s["hour"]) - 2:.1f}" y="{low - 120 * step / most:.1f}" width="4" '
        f'height="{120 * step / most:.1f}" fill="#d9a441"/>'
        for s, step in zip(samples[1:], steps, strict=True)
    )
    marks = "".join(
        f'<text x="{x(h):.0f}" y="{low + 18}" text-anchor="middle">{h} h</text>'
        for h in range(0, int(hours) + 1, max(1, int(hours) // 8))
    )
    levels = "".join(
        f'<text x="{left - 8}" y="{low - 220 * part + 4:.0f}" text-anchor="end">'
        f"{top * part:.0f} MB</text>"
        f'<path d="M{left} {low - 220 * part:.0f}H{width - 20}" stroke="#ddd"/>'
        for part in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n{levels}\n{bars}\n'
        f'<polyline points="{line}" fill="none" stroke="#1f5fa8" stroke-width="2"/>\n{marks}\n'
        f'<text x="{left}" y="16">resident memory (line); calls refused or shed in ten minutes, '
        f"at most {most:,.0f} (bars)</text>\n</svg>\n"
    )
