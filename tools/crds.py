"""Writes what follows from the types of resources: Kubernetes' manifests, and the page's tables.

Run it as ``python tools/crds.py`` after ``src/navarch/core/model/resources.py`` or the rules in
``src/navarch/plugins/resources`` have changed. It writes ``deploy/crds/*.yaml``, and the part of
``docs/resources.md`` that comes after the line which says so. Words come from the docstrings of
the types. Form of the manifests: apiextensions.k8s.io/v1, structural schemas (Kubernetes'
documentation of custom resources, read November 2026).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, Final

import yaml

from navarch.core.model import resources as res
from navarch.plugins.resources import quantities, shapes, writing
from navarch.plugins.resources.rules import ENTRIES_MAX, TEXT_MAX, WHOLE_MAX, Rule
from navarch.plugins.resources.shapes import Anything, Block, Choice, Items, Kind, Scalar, Shape

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "src" / "navarch" / "core" / "model" / "resources.py"
FOLDER: Final = ROOT / "deploy" / "crds"
PAGE: Final = ROOT / "docs" / "resources.md"
MARK: Final = "<!-- From here on written by tools/crds.py; a test sees that it is true. -->"
GROUP, VERSION = res.API_VERSION.split("/")

NAMES: Final = {
    "AgentClass": ("agentclasses", "ac"),
    "AgentPool": ("agentpools", "ap"),
    "Model": ("models", "md"),
    "ToolBinding": ("toolbindings", "tb"),
}
"""The plural and the short name of each kind."""

COLUMNS: Final = {
    "AgentClass": (("Model", "string", ".spec.modelRef.name"),),
    "AgentPool": (
        ("Ready", "integer", ".status.readyReplicas"),
        ("Desired", "integer", ".status.replicas"),
        ("Pending", "integer", ".status.pending"),
    ),
    "Model": (
        ("Size", "string", ".spec.size"),
        ("URI", "string", ".spec.weightsURI"),
    ),
    "ToolBinding": (
        ("Type", "string", ".spec.type"),
        ("Pool", "string", ".spec.agentPoolRef.name"),
    ),
}
"""What ``kubectl get`` shows."""


def words() -> dict[str, tuple[str, dict[str, str]]]:
    """What each type says of itself and of its fields, by the names in Python."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for part in ast.parse(SOURCE.read_text()).body:
        if not isinstance(part, ast.ClassDef):
            continue
        fields: dict[str, str] = {}
        name = ""
        for line in part.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                name = line.target.id
            elif isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and name:
                fields[name] = _plain(str(line.value.value))
        found[part.name] = (_plain(ast.get_docstring(part) or ""), fields)
    return found


def _plain(text: str) -> str:
    """Put a docstring on one line, with field names as documents have them."""
    text = re.sub(r"``([^`]*)``", r"`\1`", " ".join(text.split()))
    return re.sub(r"`([a-z]+(?:_[a-z]+)+)`", lambda match: f"`{_camel(match[1])}`", text)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(each.capitalize() for each in others)


# --- manifests -------------------------------------------------------------------------------


def manifest(kind: str) -> dict[str, Any]:
    """The manifest of one kind."""
    type_ = res.KINDS[kind]
    plural, short = NAMES[kind]
    about = words()
    columns = [{"name": n, "type": t, "jsonPath": path} for n, t, path in COLUMNS[kind]]
    columns.append({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
    name = shapes.block(res.ObjectMeta).slots["name"].shape
    schema = {
        "type": "object",
        "description": about[kind][0],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": _schema(name, about)}},
            "spec": _schema(shapes.spec(type_), about),
            "status": _schema(shapes.status(type_), about),
        },
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
            },
            "versions": [version],
        },
    }


def _schema(shape: Shape, about: dict[str, tuple[str, dict[str, str]]]) -> dict[str, Any]:
    match shape:
        case Block():
            return _object(shape, about)
        case Items():
            return {"type": "array", "maxItems": shape.most, "items": _schema(shape.item, about)}
        case Anything():
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case Choice():
            return {"type": "string", "enum": list(shape.words)}
        case Scalar():
            return _single(shape)
        case _:
            return {
                "type": "object",
                "maxProperties": ENTRIES_MAX,
                "additionalProperties": _single(Scalar(Kind.TEXT, Rule(form=shape.rule.form))),
            }


def _object(block: Block, about: dict[str, tuple[str, dict[str, str]]]) -> dict[str, Any]:
    summary, fields = about[block.type.__name__]
    properties = {}
    for key, slot in block.slots.items():
        inner = _schema(slot.shape, about)
        if slot.optional and "pattern" in inner:
            inner["pattern"] = f"{inner['pattern'][:-1]}?$"
        said = fields.get(slot.attribute, "")
        if said:
            inner = {"description": said, **{k: v for k, v in inner.items() if k != "description"}}
        properties[key] = inner
    written: dict[str, Any] = {"type": "object", "description": summary}
    required = [key for key, slot in block.slots.items() if slot.required or _needs(slot.shape)]
    if required:
        written["required"] = required
    return {**written, "properties": properties}


def _needs(shape: Shape) -> bool:
    return isinstance(shape, Block) and shape.demanding and not shape.optional


def _single(shape: Scalar) -> dict[str, Any]:
    rule = shape.rule
    match shape.kind:
        case Kind.TEXT:
            form = {} if rule.form is None else {"pattern": f"^(?:{rule.form.pattern})$"}
            return {"type": "string", "maxLength": TEXT_MAX, **form}
        case Kind.SWITCH:
            return {"type": "boolean"}
        case Kind.WHOLE:
            least = -WHOLE_MAX if rule.minimum is None else int(rule.minimum)
            most = WHOLE_MAX if rule.maximum is None else int(rule.maximum)
            return {"type": "integer", "minimum": least, "maximum": most}
        case Kind.DECIMAL:
            return {"type": "number", **_bounds(rule)}
        case Kind.DURATION:
            return {"type": "string", "pattern": quantities.DURATION.pattern}
        case Kind.SIZE:
            assert rule.quantity is not None
            return {"type": "string", "pattern": rule.quantity.pattern}
        case Kind.TARGET:
            return {"x-kubernetes-int-or-string": True, "pattern": quantities.TARGET_PATTERN}
        case Kind.GANG:
            # A switch or a number: no type of a structural schema is both.
            return {"x-kubernetes-preserve-unknown-fields": True}
        case Kind.MOMENT:
            return {"type": "string", "format": "date-time"}


def _bounds(rule: Rule) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    if rule.minimum is not None:
        bounds["minimum"] = rule.minimum
    if rule.above is not None:
        bounds |= {"minimum": rule.above, "exclusiveMinimum": True}
    if rule.maximum is not None:
        bounds["maximum"] = rule.maximum
    return bounds


def manifest_text(kind: str) -> str:
    """The manifest as it stands in its file."""
    written = yaml.safe_dump(manifest(kind), sort_keys=False, allow_unicode=True, width=100)
    return f"# Written by tools/crds.py; a test sees that it is up to date.\n{written}"


def files() -> dict[Path, str]:
    """Every manifest by its file."""
    return {FOLDER / f"{NAMES[kind][0]}.yaml": manifest_text(kind) for kind in res.KINDS}


# --- the page --------------------------------------------------------------------------------


def reference() -> str:
    """The tables of the page."""
    about = words()
    lines = [MARK, "", "## Reference", ""]
    for kind, type_ in res.KINDS.items():
        lines += [f"### {kind}", "", about[kind][0], ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += _rows(shapes.spec(type_), "spec", about)
        lines.append("")
        lines += ["| status | type | meaning |", "|---|---|---|"]
        for key, slot in shapes.status(type_).slots.items():
            said = about[type(type_().status).__name__][1].get(slot.attribute, "")
            lines.append(f"| `status.{key}` | {_type(slot.shape)} | {said} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _rows(block: Block, prefix: str, about: dict[str, tuple[str, dict[str, str]]]) -> list[str]:
    rows: list[str] = []
    fields = about[block.type.__name__][1]
    for key, slot in block.slots.items():
        here = f"{prefix}.{key}"
        inner = slot.shape.item if isinstance(slot.shape, Items) else slot.shape
        said = fields.get(slot.attribute, "")
        if isinstance(inner, Block):
            said = said or about[inner.type.__name__][0]
            rows.append(f"| `{here}` | {_type(slot.shape)} | | {said} |")
            here = f"{here}[]" if isinstance(slot.shape, Items) else here
            rows += _rows(inner, here, about)
            continue
        default = "required" if slot.required else _default(slot)
        rows.append(f"| `{here}` | {_type(slot.shape)} | {default} | {said} |")
    return rows


def _is_target(shape: shapes.Shape) -> bool:
    """Whether it is an amount whose unit only its metric tells: then its default has no form."""
    return isinstance(shape, shapes.Scalar) and shape.kind is shapes.Kind.TARGET


def _default(slot: shapes.Slot) -> str:
    if slot.default in ("", (), None) or slot.default == {} or _is_target(slot.shape):
        return ""
    made = writing.value_of(slot.shape, slot.default)
    text = str(made).lower() if isinstance(made, bool) else str(made)
    return f"`{text}`"


def _type(shape: Shape) -> str:
    match shape:
        case Items():
            return f"list of {_type(shape.item).removeprefix('a ')}"
        case Block() | Anything():
            return "mapping"
        case Choice():
            return ", ".join(f"`{word}`" for word in shape.words if word)
        case Scalar():
            return shape.expected.replace("|", "\\|")
        case _:
            return "mapping from names to texts"


def page_text() -> str:
    """The page with its reference made anew."""
    return PAGE.read_text().partition(MARK)[0] + reference()


def main() -> int:
    """Write everything, and say so."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in {**files(), PAGE: page_text()}.items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
