"""What all pages of the simulator are made of: one HTML file each, which needs nothing else.

A page brings its style, and its script if it has one, and forbids everything else by a content
security policy: no network, and nothing inline whose hash it does not name.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape

BASE_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #8885 }
"""


def document(
    title: str, body: str, style: str, *, drawn_styles: Sequence[str] = (), script: str = ""
) -> str:
    """Write one HTML page.

    `body` is markup and has everything escaped. `drawn_styles` are those of style elements that it
    holds itself.
    """
    styles = " ".join(_hashed(each) for each in (style, *drawn_styles))
    policy = f"default-src 'none'; style-src {styles}; base-uri 'none'"
    if script:
        policy += f"; script-src {_hashed(script)}"
    ending = f"<script>{script}</script>\n" if script else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n"
        f"<body>\n{body}{ending}</body>\n</html>\n"
    )


def _hashed(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Write a table of plain text; `numbers` are the columns of numbers, counted from 0."""

    def cell(tag: str, index: int, text: str) -> str:
        kind = ' class="number"' if index in numbers else ""
        return f"<{tag}{kind}>{escape(text)}</{tag}>"

    first = "".join(cell("th", index, head) for index, head in enumerate(heads))
    rest = "".join(
        "<tr>" + "".join(cell("td", index, text) for index, text in enumerate(row)) + "</tr>\n"
        for row in rows
    )
    return f"<table>\n<tr>{first}</tr>\n{rest}</table>\n"


def stairs(values: Sequence[float], step: float, height: float, top: float) -> str:
    """Points of a line that keeps each value for `step`; `top` is at y = 0, zero at `height`."""
    return " ".join(
        f"{x:.1f},{height - value / top * height:.1f}"
        for index, value in enumerate(values)
        for x in (index * step, (index + 1) * step)
    )


def day(x: float, height: int, text: str, y: int) -> str:
    """Draw a line, and a name at `y`, where a day begins."""
    return (
        f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height}"/>'
        f'<text x="{x + 3:.1f}" y="{y}">{escape(text)}</text>'
    )
