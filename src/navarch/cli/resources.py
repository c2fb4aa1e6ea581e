"""``apply``, ``get-resource`` and ``delete``: resources, and the replicas that they cause."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from navarch.cli import clock, output, resource_tables
from navarch.cli.session import Json, Session, connected
from navarch.errors import WireError

if TYPE_CHECKING:
    from navarch.plugins.resources.reading import Found

FILE = click.Path(path_type=Path, allow_dash=True)
NAMES = (".yaml", ".yml", ".json")
"""What files of a folder are read."""
INTERVAL = timedelta(seconds=2)
"""How often ``--watch`` looks."""

KINDS = {
    "agentpool": "AgentPool",
    "ap": "AgentPool",
    "agentclass": "AgentClass",
    "ac": "AgentClass",
    "model": "Model",
    "md": "Model",
    "toolbinding": "ToolBinding",
    "tb": "ToolBinding",
    "replica": "Replica",
    "rp": "Replica",
}
"""Kinds as people write them; plurals and capitals are fine, too."""


class Kind(click.ParamType[str]):
    """A kind of resource, in any of its names."""

    name = "kind"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Read it, or end the program with a usage error."""
        word = str(value).lower().partition(".")[0]
        singular = f"{word[:-2]}" if word.endswith("sses") else word.removesuffix("s")
        kind = KINDS.get(word) or KINDS.get(singular)
        if kind is None:
            known = ", ".join(sorted(KINDS))
            self.fail(f"{value!r} is no kind of resource; there are: {known}", param, ctx)
        return kind


KIND = Kind()


@click.command("apply")
@click.option(
    *("-f", "--filename", "files"),
    type=FILE,
    multiple=True,
    required=True,
    help="YAML or JSON; a folder, or - for standard input; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--reason", default="", help="Why; recorded and shown by explain.")
@connected
def apply(session: Session, files: Sequence[Path], *, dry_run: bool, reason: str) -> None:
    """Have resources be as files say: pools of agents, their classes, models and tools.

    All that a file holds is applied, or nothing. A file with a mistake stops all of them.
    """
    texts = [_read(path) for each in files for path in _expanded(each)]
    found = [_understood(text, source) for source, text in texts]
    if any(each.mistakes for each in found):
        click.get_current_context().exit(1)
    applied: list[Json] = []
    for source, text in texts:
        request = {"text": text, "source": source, "dryRun": dry_run, "reason": reason}
        applied += _told(session, "ApplyResources", request).get("applied", [])
    if output.for_programs(session.output):
        output.document({"applied": applied}, session.output)
        return
    for each in applied:
        tail = " (dry run)" if dry_run else ""
        output.line(f"{_named(each['kind'], each['name'])} {each['outcome']}{tail}")


def _expanded(path: Path) -> list[Path]:
    """The files of a folder, by name; a file is itself."""
    if not path.is_dir():
        return [path]
    files = sorted(each for each in path.iterdir() if each.suffix in NAMES and each.is_file())
    if not files:
        raise click.UsageError(f"{path} holds no file that ends with {', '.join(NAMES)}")
    return files


def _read(path: Path) -> tuple[str, str]:
    """Read a file, and say what it is called. Raises `ConfigError`."""
    from navarch import documents
    from navarch.errors import ConfigError
    from navarch.plugins.resources.reading import TEXT_BYTES_MAX

    if str(path) == "-":
        return "standard input", sys.stdin.read(TEXT_BYTES_MAX + 1)
    try:
        return str(path), documents.read_text(path, most=TEXT_BYTES_MAX, expected="resources")
    except documents.Unreadable as error:
        raise ConfigError(error.message, file=str(path), line=error.line) from error


def _understood(text: str, source: str) -> Found:
    """Read resources here already: their mistakes need no server, and doubts are told."""
    from navarch.plugins.resources import reading

    found = reading.read(text, file=source)
    for mistake in found.mistakes:
        output.mistake(mistake)
    for doubt in found.notes:
        output.note(f"note: {doubt}")
    return found


def _told(session: Session, method: str, request: Json) -> Json:
    """Call a method whose refusal may have many lines, one for each mistake."""
    try:
        return session.call(method, request)
    except WireError as error:
        if error.code != "invalid_argument":
            raise
        for mistake in error.message.splitlines():
            output.note(mistake)
        click.get_current_context().exit(1)


def _named(kind: str, name: str) -> str:
    """Name a resource as kubectl does: ``agentpool/chat``, with a namespace that is another."""
    return f"{kind.lower()}/{name.removeprefix('default/')}"


@click.command("delete")
@click.argument("kind", type=KIND, required=False)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(*("-f", "--filename", "file"), type=FILE, help="Delete what this file holds.")
@click.option(*("-n", "--namespace"), default="default", show_default=True, help="Of the names.")
@click.option("--reason", default="", help="Why; recorded and shown by explain.")
@connected
def delete(
    session: Session,
    kind: str | None,
    names: Sequence[str],
    *,
    file: Path | None,
    namespace: str,
    reason: str,
) -> None:
    """Have resources be wanted no more; what they caused ends by and by."""
    if (file is None) == (not names):
        raise click.UsageError("say either KIND and NAME, or --filename")
    if kind == "Replica":
        raise click.UsageError("replicas follow from their pool: change or delete the agentpool")
    targets = [(str(kind), _full(name, namespace)) for name in names]
    if file is not None:
        targets = list(_held(file))
    for target, name in targets:
        session.call("DeleteResource", {"kind": target, "name": name, "reason": reason})
        if not output.for_programs(session.output):
            output.line(f"{_named(target, name)} deleted")
    if output.for_programs(session.output):
        content = [{"kind": target, "name": name} for target, name in targets]
        output.document({"deleted": content}, session.output)


def _held(file: Path) -> Iterator[tuple[str, str]]:
    """What resources a file holds, by kind and name, the last first: who needs one goes first."""
    from navarch.core.model.resources import kind_of

    for path in reversed(_expanded(file)):
        source, text = _read(path)
        found = _understood(text, source)
        if found.mistakes:
            click.get_current_context().exit(1)
        yield from ((kind_of(each), each.full_name) for each in reversed(found.resources))


def _full(name: str, namespace: str) -> str:
    return name if "/" in name else f"{namespace}/{name}"


# --- showing ---------------------------------------------------------------------------------


@click.command("get-resource")
@click.argument("kind", type=KIND)
@click.argument("name", required=False)
@click.option(*("-n", "--namespace"), default="", help="Only of this one.  [default: all]")
@click.option(*("-w", "--watch"), is_flag=True, help="Then print what changes, until Ctrl-C.")
@connected
def get_resource(
    session: Session, kind: str, name: str | None, *, namespace: str, watch: bool
) -> None:
    """Show resources with their status, or replicas.

    KIND is agentpool, agentclass, model, toolbinding or replica, or short: ap, ac, md, tb, rp.
    NAME of a replica is its id, or that of its pool.
    """
    if watch and output.for_programs(session.output):
        raise click.UsageError(
            "--watch writes a table; `navarch events -f -o json` is for programs"
        )
    documents = _documents(session, kind, name, namespace)
    if output.for_programs(session.output):
        _write(documents, session.output, single=bool(name) and kind != "Replica")
        return
    shown = _show(session, kind, documents, before=None)
    while watch:
        clock.wait(INTERVAL)
        documents = _documents(session, kind, name, namespace)
        shown = _show(session, kind, documents, before=shown)


def _documents(session: Session, kind: str, name: str | None, namespace: str) -> list[Json]:
    """Ask for the documents of resources, or for replicas."""
    if kind == "Replica":
        return list(_replicas(session, name, namespace))
    request = {"kind": kind, "namespace": namespace, "name": name or ""}
    answer = session.call("ListResources", request)
    return [_document(each) for each in answer.get("resources", ())]


def _document(info: Json) -> Json:
    """Read the document that an answer holds."""
    try:
        content = json.loads(info.get("json", ""))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise WireError("internal", "the server's answer is not understood: no JSON document")
    return content


def _replicas(session: Session, name: str | None, namespace: str) -> Iterator[Json]:
    """Ask for replicas; `name` is the id of one or the name of its pool."""
    found = session.all_pages("ListReplicas", {}, "replicas")["replicas"]
    for each in found:
        pool = str(each.get("agentPool", ""))
        if namespace and not pool.startswith(f"{namespace}/"):
            continue
        wanted = (each.get("replicaId"), pool, pool.partition("/")[2])
        if name is None or name in wanted:
            yield each


def _write(documents: list[Json], form: str, *, single: bool) -> None:
    if single and len(documents) == 1:
        output.document(documents[0], form)
        return
    output.document({"apiVersion": "v1", "kind": "List", "items": documents}, form)


def _show(
    session: Session, kind: str, documents: list[Json], *, before: set[tuple[str, ...]] | None
) -> set[tuple[str, ...]]:
    """Write a table, after the first time only of the rows that are new; return all rows.

    A row that differs in its age alone is not new.
    """
    progress: Iterable[Any] = ()
    if kind == "Model":
        progress = session.all_pages("ListReplicas", {}, "replicas")["replicas"]
    table = resource_tables.table(kind, documents, progress, clock.now())
    if not documents and before is None:
        output.note(f"no {kind} at {session.server}")
    wide = session.output == "wide"
    headers, rows = table.shown(wide=wide)
    known = {row.lasting for row in table.rows}
    fresh = [
        cells
        for cells, row in zip(rows, table.rows, strict=True)
        if before is None or row.lasting not in before
    ]
    if fresh:
        output.table(headers, fresh)
    return known
