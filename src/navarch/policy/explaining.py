"""All that is known of one error code, for people."""

from __future__ import annotations

from navarch.core.model.report import HealthEvent
from navarch.policy import catalog
from navarch.policy.catalog import Sxid, Xid
from navarch.policy.health_policy import HealthPolicy


def explain_xid(code: int, policy: HealthPolicy | None = None) -> list[str]:
    """Say in lines what is known of an XID, and what a policy makes of it alone.

    `policy` None: the default one. An unknown code has lines too.
    """
    event = HealthEvent("xid", gpu_index=0, metrics={"xid_code": code})
    row = catalog.xids().get(code)
    if row is None:
        return [f"XID {code}: no catalogue has it", *_judged(event, policy)]
    lines = [f"XID {code}: {row.text}"]
    if row.mnemonic:
        lines.append(_line("NVIDIA's name", row.mnemonic))
    lines += [
        _line("class", row.code_class),
        _line("advice", row.advice + (f"; {row.escalation}" if row.escalation else "")),
        _line("severity", row.severity),
    ]
    if row.applies_to != "-":
        lines.append(_line("GPUs", row.applies_to))
    if row.caused_by != "-":
        lines.append(_line("caused by", row.caused_by))
    if row.linked:
        lines.append(_line("XID 154", "may follow, and says what the driver wants done"))
    return [*lines, *_vendors(row), *_judged(event, policy), _sources(row)]


def explain_sxid(code: int, policy: HealthPolicy | None = None) -> list[str]:
    """Say in lines what is known of an SXID, and what a policy makes of it alone."""
    event = HealthEvent("sxid", metrics={"sxid_code": code})
    row: Sxid | None = catalog.sxids().get(code)
    if row is None:
        return [f"SXID {code}: no catalogue has it", *_judged(event, policy)]
    fatality = "always fatal to the whole fabric" if row.fatal_to_fabric else "not always fatal"
    actions = row.gpud_actions.replace(">", ", then ") or "nothing"
    return [
        f"SXID {code}: {row.name}",
        _line("class", row.code_class),
        _line("fabric", fatality),
        _line("gpud", f"{row.gpud_event}: {actions}"),
        *_judged(event, policy),
        _line("sources", f"gpud, {catalog.GATHERED}"),
    ]


def _line(name: str, text: str) -> str:
    return f"  {name + ':':<16}{text}"


def _vendors(row: Xid) -> list[str]:
    """What each vendor says, where it says anything."""
    said = {
        "NVIDIA": ", then ".join(
            each for each in (row.nvidia_immediate, row.nvidia_investigate) if each
        ),
        "gpud": f"{row.gpud_event}: {row.gpud_actions.replace('>', ', then ')}".strip(" :"),
        "Meta gcm": {True: "critical", False: "not critical", None: ""}[row.gcm_critical],
        "k8s plugin": {True: "takes the GPU away", False: "ignores it", None: ""}[row.plugin_fatal],
        "Azure": "fails the node" if row.azure_fails else "does not fail the node",
        "Crusoe": row.crusoe_status,
    }
    return [_line(name, text) for name, text in said.items() if text]


def _judged(event: HealthEvent, policy: HealthPolicy | None) -> list[str]:
    """What a policy makes of one event alone, on a node without a past."""
    used = HealthPolicy.default() if policy is None else policy
    match = used.evaluate([event]).matches[0]
    lasting = ", until it is repaired" if match.lasting else ""
    return [
        _line("verdict", f"{match.status}{lasting}; repair: {match.remedy}"),
        _line("rule", f"{match.rule} of the policy {used.name}"),
        _line("because", match.because),
    ]


def _sources(row: Xid) -> str:
    names = {"N": "NVIDIA's XID catalogue as NVSentinel ships it", "G": "gpud"}
    named = " and ".join(names[each] for each in row.sources.split("+"))
    return _line("sources", f"{named}, {catalog.GATHERED}")
