"""Write the table of events into docs/logs.md: where each is logged, how grave, with which fields.

What an event means stands here, in `MEANINGS`; the rest is read from the code. Run it as
``python tools/log_events.py``; ``--check`` changes nothing and exits 1 when the page is not what it
would write, or an event has no meaning here, or a meaning no event.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "src" / "navarch"
PAGE: Final = ROOT / "docs" / "logs.md"
BEGINS: Final = "<!-- events: written by tools/log_events.py -->"
ENDS: Final = "<!-- end of events -->"

LEVELS: Final = {
    **{level: level for level in ("debug", "info", "warning", "error", "critical")},
    "exception": "error",
    "at": "",
}
"""The methods of a log, and the level of what they log; empty: it depends."""
MAY_LOG: Final = re.compile(rf"\blog\.(?:{'|'.join(LEVELS)})\(")
"""What is in every module that logs; the others are not looked at, for that takes a while."""
MORE: Final = "…"
"""Stands for fields that are not named where the event is logged."""
MAKERS: Final = {"agent/duties.py": "Remark", "telemetry/outlet.py": "Event"}
"""Where events are made by another word than that of a log, and which."""

MEANINGS: Final = {
    "audit_sink_broke": "what takes the records of guardrails raised; the check stands",
    "before_end_broke": "what is done before a machine ends raised; it ends all the same",
    "boot_check_failed": "the machine did not come up whole, and does not register",
    "boot_check_passed": "the machine came up whole after all",
    "boot_file_failed": "what the boot check found could not be written down",
    "bootstrap_log_lost": "the start-up log of a machine that never registered could not be read",
    "bootstrap_log_not_kept": "a start-up log was read and could not be written",
    "bootstrap_log_unreadable": "a start-up log that was kept cannot be read",
    "call_failed": "a call failed by a mistake of ours; the caller is told the `request` id only",
    "call_refused": "a call was refused: by the control plane, which logs a few of a kind and "
    "then one a second, with the number `left_out`; or, in an agent, one of its own",
    "callback_broke": "a function that a program registered raised",
    "cancelled_work_failed": "what was given up failed as well",
    "certificate_expired": "the certificate that is shown has ended",
    "certificate_expires": "the certificate that is shown ends soon",
    "command_finished": "a command has a result, or runs on; `command` is its id in the journal",
    "command_started": "a command is carried out",
    "config_changed": "one thing that another configuration has changed",
    "config_doubtful": "the configuration can be used, and probably says something else than meant",
    "config_rejected": "one mistake of a configuration that was to be used; nothing is changed",
    "config_reloaded": "the configuration was read again and is in use",
    "effect_failed": "a provider was asked, and refused or did not answer; what is owed is asked "
    "again. `outcome` is `refused`, `failed` or `unknown`",
    "effect_left": "it is left to the control plane that leads now",
    "effect_performed": "a provider did what was asked (lists: at `debug`)",
    "error_ignored": "something raised where nobody could catch it, such as in a destructor",
    "events_dropped": "health events had to make room for newer ones",
    "everybody_is_admin": "no tokens are configured",
    "fact_recorded": "a fact is in the journal, under `seq`; `kind` is one of "
    "[the facts](events.md), whose plain fields follow",
    "facts_dropped": "facts older than the journal keeps were dropped",
    "forgotten_by_server": "the control plane does not know the node, which registers again",
    "gpus_not_released": "the GPUs could not be let go of for a reset",
    "heartbeat_refused": "the control plane refuses a heartbeat that was gathered",
    "heartbeats_unheard": "heartbeats found no room; silences are counted anew",
    "interruption_announced": "the cloud says that it will take the machine away",
    "interruptions_heard_again": "the cloud's notices can be asked for again",
    "interruptions_unheard": "the cloud's notices cannot be asked for",
    "journal_folded": "the journal was read; `replayed` facts are newer than its snapshot",
    "journal_not_followed": "a standby cannot read the journal; logged once until it can",
    "leading": "this control plane writes and acts from now on",
    "lease_lost": "another may lead: the process ends",
    "lease_not_released": "the lease could not be given up, and runs out by itself",
    "lease_not_renewed": "a try to renew the lease failed; there is time for others",
    "loader_answered": "a loader said whether, and how cheaply, it can bring a model",
    "loader_called": "a loader was asked for something that takes a while",
    "loader_ended": "a loader has ended what takes a while",
    "loader_failed": "a loader did not bring a model; the next one tries",
    "log_lines_dropped": "nobody read this log for too long: so many lines are missing here",
    "logged_in": "somebody at a browser has shown a token, and has a session",
    "login_refused": "somebody at a browser has shown what is no token, or too often",
    "machine_answers": "a machine answers again",
    "machine_silent": "a machine does not answer; logged once until it does",
    "machine_unknown": "a machine that was to end is not known to its provider any more",
    "notice_failed": "the workload manager was told something, and refused or did not answer",
    "notice_performed": "the workload manager was told something about a node",
    "notifier_broke": "a notifier raised what it must not",
    "notifier_knows_no_node": "the workload manager does not have the node",
    "peer_chunk_refused": "a peer's part of a model was not what it should be",
    "peer_hung_up_on": "a connection was ended because its peer does not keep to the rules",
    "peer_unusable": "a peer's cache of models cannot be asked",
    "plugin_abandoned": "a call of a plugin goes on although it was cancelled",
    "plugin_broke": "a plugin raised; of a guardrail only the type is told",
    "plugin_called": "a plugin was called and answered",
    "plugin_isolated": "a plugin failed so often that it is not called for a while",
    "pool_evaluation_faulty": "metrics or autoscaler of a pool failed; it holds where it is",
    "pool_not_evaluated": "a pool could not be looked at",
    "price_list_unreadable": "a provider's price list could not be read",
    "process_stood_still": "the process did not run for so long; silences are counted anew",
    "provider_broke": "a provider raised what is no error of providers",
    "quick_answer_broke": "a frequent call was answered the slow way by a mistake of ours",
    "readings_not_kept": "the dashboard keeps no readings any more",
    "record_failed": "the result of a command could not be written down",
    "registered": "the control plane knows the node",
    "registration_refused": "the control plane refuses the node",
    "relaying": "the relay listens",
    "reload_broke": "reading the configuration again failed by a mistake of ours",
    "replica_changed": "a replica is in another state",
    "replica_found": "a replica of an earlier agent was found",
    "replica_not_recorded": "what becomes of a replica could not be written down",
    "replica_not_removed": "what a replica has left could not be removed",
    "replica_record_unusable": "a record of a replica cannot be read; its processes are ended",
    "replicas_left": "replicas did not stop in time",
    "report_refused": "the control plane refuses a health report, which is dropped",
    "reports_damaged": "some of the reports that an earlier agent has left cannot be read",
    "reports_found": "an earlier agent has left reports, which are sent",
    "reports_not_kept": "reports could not be written down, and are lost if the agent ends now",
    "result_refused": "the control plane refuses the result of a command, which is dropped",
    "sensor_failed": "a sensor cannot be read; logged once until it can",
    "sensor_recovered": "a sensor can be read again",
    "server_answers": "the control plane takes heartbeats again",
    "server_away": "the control plane does not answer; logged once until it does",
    "server_busy": "the control plane asks to come back later",
    "serving": "the control plane answers calls",
    "serving_turn_failed": "replicas were not looked at in full",
    "shadow_comparison_broke": "guardrails in shadow could not be compared with those in use",
    "shadow_not_asked": "a plugin in shadow does not take the configuration",
    "snapshot_damaged": "a snapshot is damaged and was passed over",
    "standing_by": "another control plane leads; this one follows",
    "started": "the agent runs",
    "stopped": "the agent has ended",
    "stopping": "the process ends",
    "streams_ended": "what is live on the dashboard ends with the control plane",
    "tables_rewritten": "the tables that people read were behind the journal",
    "thread_broke": "a thread ended by an error that nobody expected",
    "tls_not_reloaded": "certificates have changed and cannot be used; the old ones stay",
    "tls_reloaded": "other certificates are in use",
    "traces_begun": "spans are sent to a collector",
    "traces_unavailable": "a variable asks for traces, and OpenTelemetry is not installed",
    "view_failed": "a page was asked for while the control plane starts or stops",
    "watching_interruptions": "the agent asks the cloud whether it takes the machine away",
    "write_retried": "a database did not answer; what was being written is tried again",
}
"""What each event means, in a few words."""


@dataclass
class Logged:
    """One event, as the code logs it."""

    levels: dict[str, None] = field(default_factory=dict)
    fields: dict[str, None] = field(default_factory=dict)
    modules: dict[str, None] = field(default_factory=dict)


def events_of(source: Path = SOURCE) -> dict[str, Logged]:
    """Find every event that the code below a folder logs, by its word.

    Raises `ValueError` for a call whose word cannot be read from it.
    """
    found: dict[str, Logged] = {}
    for path in sorted(source.rglob("*.py")):
        module = path.relative_to(source).as_posix()
        text = path.read_text(encoding="utf-8")
        if module not in MAKERS and not MAY_LOG.search(text):
            continue
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call):
                _note(call, module, found)
    return dict(sorted(found.items()))


def _note(call: ast.Call, module: str, found: dict[str, Logged]) -> None:
    told = _level(call, module)
    if told is None:
        return
    for word in _words(call, module):
        logged = found.setdefault(word, Logged())
        logged.modules[module] = None
        logged.levels |= dict.fromkeys(filter(None, told))
        logged.fields |= dict.fromkeys(_fields(call))


def _level(call: ast.Call, module: str) -> tuple[str, ...] | None:
    """How grave what a call logs is; None: it logs nothing."""
    function = call.func
    if isinstance(function, ast.Name) and function.id == MAKERS.get(module):
        grave = any(each.arg == "grave" for each in call.keywords)
        return ("warning",) if grave or function.id == "Event" else ("info",)
    if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
        return None
    if function.value.id != "log" or function.attr not in LEVELS:
        return None
    return (LEVELS[function.attr],)


def _words(call: ast.Call, module: str) -> Iterator[str]:
    if not call.args:
        return
    places = call.args[:1] if not _is_at(call) else call.args[1:2]
    for place in places:
        ends = [place.body, place.orelse] if isinstance(place, ast.IfExp) else [place]
        for each in ends:
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                yield each.value
            elif ast.unparse(each) != "output.what":  # a remark of the duties, which are read too
                where = f"{module}:{call.lineno}"
                raise ValueError(f"{where}: the event is {ast.unparse(each)}, expected a word")


def _is_at(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "at"


def _fields(call: ast.Call) -> Iterator[str]:
    """The names of the fields; of a remark those in its mapping."""
    mappings = [each for each in call.args[1:] if isinstance(each, ast.Dict)]
    for mapping in mappings:
        for key in mapping.keys:
            yield str(key.value) if isinstance(key, ast.Constant) else MORE
    if not mappings and len(call.args) > 1 and not _is_at(call):
        yield MORE
    for keyword in call.keywords:
        if keyword.arg == "raised":
            yield from ("error", "traceback")
        elif keyword.arg != "grave":
            yield keyword.arg or MORE
    if isinstance(call.func, ast.Attribute) and call.func.attr == "exception":
        yield from ("error", "traceback")


def table(events: dict[str, Logged]) -> str:
    """Write the table. Raises `ValueError` for what is not in both the code and `MEANINGS`."""
    if unexplained := sorted(events.keys() - MEANINGS.keys()):
        raise ValueError(f"no meaning in tools/log_events.py: {', '.join(unexplained)}")
    if gone := sorted(MEANINGS.keys() - events.keys()):
        raise ValueError(f"explained in tools/log_events.py and never logged: {', '.join(gone)}")
    rows = ["| event | level | fields | by | says |", "|---|---|---|---|---|"]
    for word, logged in events.items():
        fields = [f"`{each}`" for each in logged.fields if each != MORE]
        cells = (
            f"`{word}`",
            ", ".join(logged.levels) or "any",
            " ".join([*fields, *([MORE] if MORE in logged.fields else [])]),
            ", ".join(dict.fromkeys(map(_process, logged.modules))),
            MEANINGS[word],
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _process(module: str) -> str:
    """Which process runs a module."""
    first = module.partition("/")[0]
    known = {"agent": "agent", "relay": "relay", "telemetry": "all", "peers": "all"}
    if module.startswith("plugins/loaders"):
        return "agent"
    if module in ("wiring/logs.py", "wire/trust.py"):
        return "all"
    return known.get(first, "server")


def page(text: str, events: dict[str, Logged]) -> str:
    """Put the table into the page."""
    begin, end = text.index(BEGINS) + len(BEGINS), text.index(ENDS)
    return f"{text[:begin]}\n\n{table(events)}\n\n{text[end:]}"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    before = PAGE.read_text(encoding="utf-8")
    try:
        after = page(before, events_of())
    except ValueError as error:
        print(error)
        return 1
    if "--check" in arguments:
        if before != after:
            print("docs/logs.md is not what tools/log_events.py writes: run it")
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
