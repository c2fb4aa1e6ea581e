"""Writes the reference of a simulation's report: its JSON Schema, and the tables of its page.

Run it as ``python tools/report_schema.py`` after ``src/navarch/simulator/report/model.py`` has
changed. It writes ``docs/simulation-report.schema.json``, and the part of
``docs/simulation-report.md`` that comes after the line which says so. Words come from the
docstrings of the model, types from the model itself.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, Final

from navarch.simulator.report import model

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "src" / "navarch" / "simulator" / "report" / "model.py"
SCHEMA: Final = ROOT / "docs" / "simulation-report.schema.json"
PAGE: Final = ROOT / "docs" / "simulation-report.md"

MARK: Final = (
    "<!-- From here on written by tools/report_schema.py; a test sees that it is true. -->"
)

FIRST: Final = ("Report",)
"""Parts that come first; the others follow in the order in which they are met."""


def field_words() -> dict[str, dict[str, str]]:
    """What each part says of its fields, by the part's name and the field's."""
    words: dict[str, dict[str, str]] = {}
    for part in ast.parse(SOURCE.read_text()).body:
        if not isinstance(part, ast.ClassDef):
            continue
        fields = words[part.name] = {}
        name = ""
        for line in part.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                name = line.target.id
                fields[name] = ""
            elif isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and name:
                fields[name] = " ".join(str(line.value.value).split())
    return words


def camel(name: str) -> str:
    """Write a field's name as the document does."""
    first, *others = name.split("_")
    return first + "".join(each.capitalize() for each in others)


def schema() -> dict[str, Any]:
    """The JSON Schema, with the words of every field."""
    made = model.report_schema()
    words = field_words()
    for name, part in made["$defs"].items():
        for field, text in words.get(name, {}).items():
            if text:
                part["properties"][camel(field)]["description"] = text
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def schema_text() -> str:
    """The schema as it stands in its file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def reference() -> str:
    """The tables of the page."""
    parts = schema()["$defs"]
    lines = [MARK, "", "## Reference of `report.json`", ""]
    for name in (*FIRST, *(each for each in parts if each not in FIRST)):
        part = parts[name]
        lines += [f"### {name}", "", " ".join(part.get("description", "").split()), ""]
        lines += ["| field | type | meaning |", "|---|---|---|"]
        for field, about in part["properties"].items():
            meaning = about.get("description", "").replace("|", "\\|")
            lines.append(f"| `{field}` | {_type(about)} | {meaning} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def page_text() -> str:
    """The page with its reference made anew."""
    return PAGE.read_text().partition(MARK)[0] + reference()


def _type(about: dict[str, Any]) -> str:
    """Say a type of JSON Schema in a word or two."""
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in about:
        return " or ".join(_type(each) for each in about["anyOf"])
    if about.get("type") == "array":
        return f"list of {_type(about['items'])}"
    if about.get("type") == "object":
        return f"object of {_type(about['additionalProperties'])}"
    if about.get("format") == "date-time":
        return "time"
    return str(about["type"])


def main() -> int:
    """Write both, and say so."""
    SCHEMA.write_text(schema_text())
    PAGE.write_text(page_text())
    for path in (SCHEMA, PAGE):
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
