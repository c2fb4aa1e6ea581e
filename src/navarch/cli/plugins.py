"""``plugin``: which plugins there are, what they did, and how they are used from now on."""

from __future__ import annotations

import click

from navarch.cli import output, plugin_authoring
from navarch.cli.session import Json, Session, connected

COLUMNS = ("KIND", "NAME", "PRIORITY", "STATE", "CALLS", "FAILED", "P50", "P99", "ORIGIN")
WIDE = ("VERSION", "DIFFERS", "SUMMARY", "LAST FAILURE", "LEFT ALONE", "BROKEN", "BECAUSE")
TRACES = ("AT", "PLUGIN", "POINT", "POOL", "SUBJECT", "TOOK", "OUTCOME", "VERDICT")
REASON = click.option("--reason", default="", help="Why; recorded in the journal.")


@click.group("plugin")
def plugin() -> None:
    """Write and try plugins, show what they did, and change how they are used.

    KIND is scheduler, autoscaler (of replicas), model-loader, metrics-provider or guardrail; for
    listing also pool-autoscaler, provider, ranker, metrics-source, health-observer and notifier.
    """


plugin.add_command(plugin_authoring.verify)
plugin.add_command(plugin_authoring.new)


@plugin.command("list")
@click.option("--kind", default="", help="Only this kind.")
@connected
def list_plugins(session: Session, kind: str) -> None:
    """List plugins in the order in which they are asked."""
    answer = session.call("ListPlugins", {"kind": kind})
    if output.for_programs(session.output):
        output.document({"plugins": answer.get("plugins", [])}, session.output)
        return
    from navarch.cli import views

    found = views.read_each(answer, "plugins", views.PluginView)
    if not found:
        output.note(f"no plugins at {session.server}")
        return
    wide = session.output == "wide"
    rows = []
    for one in found:
        row = [one.kind, one.name, str(one.priority), one.state_word]
        row += [str(one.calls), str(one.failures), took(one.latency_p50), took(one.latency_p99)]
        row.append(one.origin)
        if wide:
            row += [one.version, str(one.disagreements), one.summary, one.last_failure]
            row += [one.isolated, one.broken, one.because]
        rows.append(row)
    output.table((*COLUMNS, *WIDE) if wide else COLUMNS, rows)


@plugin.command("trace")
@click.argument("kind")
@click.option("--pool", default="", help="Only calls for this pool.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=100,
    show_default=True,
    help="How many calls at most.",
)
@connected
def trace(session: Session, kind: str, pool: str, limit: int) -> None:
    """Show the newest calls of the plugins of a kind, the newest last."""
    answer = session.call("ListPluginTraces", {"kind": kind, "pool": pool, "limit": limit})
    if output.for_programs(session.output):
        output.document({"traces": answer.get("traces", [])}, session.output)
        return
    from navarch.cli import views

    found = views.read_each(answer, "traces", views.PluginTraceView)
    if not found:
        output.note("no calls yet")
        return
    rows = []
    for one in found:
        name = f"{one.plugin} (shadow)" if one.shadow else one.plugin
        row = [output.stamp(one.at), name, one.point, one.pool, one.subject]
        rows.append([*row, took(one.seconds), one.outcome, one.verdict])
    output.table(TRACES, rows)


@plugin.command("enable")
@click.argument("kind")
@click.argument("name")
@REASON
@connected
def enable(session: Session, kind: str, name: str, reason: str) -> None:
    """Ask a plugin again; one that was left alone is called at once."""
    _set(session, kind, name, {"enabled": True, "reason": reason})


@plugin.command("disable")
@click.argument("kind")
@click.argument("name")
@REASON
@connected
def disable(session: Session, kind: str, name: str, reason: str) -> None:
    """Ask a plugin no more, also after a restart."""
    _set(session, kind, name, {"enabled": False, "reason": reason})


@plugin.command("priority", context_settings={"ignore_unknown_options": True})
@click.argument("kind")
@click.argument("name")
@click.argument("number", type=click.IntRange(-1_000_000, 1_000_000))
@REASON
@connected
def priority(session: Session, kind: str, name: str, number: int, reason: str) -> None:
    """Ask a plugin earlier or later: the highest number is first."""
    _set(session, kind, name, {"priority": number, "reason": reason})


@plugin.command("shadow")
@click.argument("kind")
@click.argument("name")
@click.argument("switch", type=click.Choice(["on", "off"]))
@REASON
@connected
def shadow(session: Session, kind: str, name: str, switch: str, reason: str) -> None:
    """Ask a plugin without effect, and count where it would have said something else."""
    _set(session, kind, name, {"shadow": switch == "on", "reason": reason})


def _set(session: Session, kind: str, name: str, wish: Json) -> None:
    answer = session.call("SetPlugin", {"kind": kind, "name": name, **wish})
    if output.for_programs(session.output):
        output.document(answer, session.output)
        return
    from navarch.cli import views

    one = views.read(answer.get("plugin", {}), views.PluginView)
    output.line(f"{one.kind} {one.name}: {one.state_word.lower()}, priority {one.priority}")


def took(seconds: float) -> str:
    """Say a short time in the unit that suits it; empty when nothing was timed."""
    if not seconds:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


@plugin.command("schema")
@click.argument("kind")
@click.argument("name")
def schema(kind: str, name: str) -> None:
    """Print the JSON Schema of what a plugin is configured with, without any server.

    NAME is that of a plugin that is built in or installed, or package.module:Class.
    """
    from navarch.plugins import config, loading
    from navarch.plugins.kinds import KINDS, kind_of
    from navarch.plugins.registry import get_global_registry

    of = kind_of(kind)
    registry = get_global_registry()
    if ":" in name:
        spec = KINDS[of]
        found = loading.locate(loading.Wanted(spec.noun, spec.group, ()), name)
        entry = registry.enter(of, found, origin=name, replace=True)
    else:
        entry = registry.require(of, name)
    output.document(config.schema_of(entry), "json")
