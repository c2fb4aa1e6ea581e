"""Write every page, and part of a page, that is made from code; or say which are not up to date.

    .venv/bin/python tools/generate_docs.py            writes
    .venv/bin/python tools/generate_docs.py --check    changes nothing; exits 1 when it would

The pages are committed, so that they can be read without being built and a change of what they
describe is seen in the change itself. Tests hold each of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import fault_matrix
import profile_page
import provider_matrix
import report_schema
import scenario_keys
from reference import (
    calls,
    commands,
    configuration,
    environment,
    exits,
    extension_points,
    python_names,
)

ROOT: Final = Path(__file__).resolve().parent.parent
REFERENCE: Final = ROOT / "docs" / "reference"

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    each.PAGE: each.page
    for each in (calls, commands, environment, exits, extension_points, python_names)
}
"""The pages of ``docs/reference``, by their names."""


def written() -> dict[Path, str]:
    """Return every generated text by its file, as it should be."""
    texts = {REFERENCE / name: page() for name, page in PAGES.items()}
    texts[configuration.PAGE] = configuration.written(_text(configuration.PAGE))
    texts[scenario_keys.PAGE] = scenario_keys.written(_text(scenario_keys.PAGE))
    texts[report_schema.SCHEMA] = report_schema.schema_text()
    texts[report_schema.PAGE] = report_schema.page_text()
    texts[profile_page.PAGE] = profile_page.page()
    texts[provider_matrix.PAGE] = provider_matrix.page()
    texts[fault_matrix.PAGE] = fault_matrix.page()
    return texts


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def main() -> int:
    """Write or check, and name each file that is not as it should be."""
    only_check = "--check" in sys.argv[1:]
    stale = {
        path: text for path, text in written().items() if not path.exists() or _text(path) != text
    }
    for path, text in stale.items():
        print(f"{'stale' if only_check else 'wrote'}: {path.relative_to(ROOT)}")
        if not only_check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if stale and only_check else 0


if __name__ == "__main__":
    raise SystemExit(main())
