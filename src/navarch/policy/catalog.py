"""NVIDIA's error codes as data: what each XID and SXID means, and what each vendor makes of it.

Sources, gathered November 2026: NVIDIA's XID catalogue in the copy that NVSentinel ships (172
codes); gpud's details of XIDs (adds 173) and of SXIDs; the non-critical codes of Meta's gcm; the
codes that NVIDIA's Kubernetes device plugin ignores; those that fail a node in Azure's node health
checks; Crusoe's documentation of node health. NVIDIA's mark ``unused`` (on Ampere and later) is no
promise: A100s have logged such codes, so they count as unknown, never as harmless.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Final

from msgspec import Struct

GATHERED: Final = "November 2026"
"""When the catalogue was gathered."""


class CodeClass(StrEnum):
    """What a code asks for, in one word."""

    APPLICATION = "application"
    """The application's own fault: restart it, the GPU is fine."""
    OBSERVE = "observe"
    """A warning: nothing to do by itself."""
    RESET = "reset"
    """The GPU has to be reset."""
    REBOOT = "reboot"
    """The node has to be rebooted."""
    CONTACT = "contact"
    """A person or the vendor has to act: support, cables, software, a planned replacement."""
    UNKNOWN = "unknown"
    """Not in the catalogue, or marked unused there: nobody says what it means."""
    DECODE = "decode"
    """Means nothing before its sub-code is decoded (XIDs 144 to 150)."""
    VERDICT = "verdict"
    """The driver's own verdict about another code (XID 154)."""
    INFORMATION = "information"
    """Says that something happened that harms nothing."""


class Xid(Struct, frozen=True):
    """What is known of one XID. Texts are empty where a source says nothing."""

    code: int
    mnemonic: str
    """NVIDIA's name."""
    text: str
    """What it means, in a few words."""
    code_class: CodeClass
    applies_to: str
    """GPU generations; ``-``: none or unknown."""
    severity: str
    advice: str
    """What to do, from NVIDIA's buckets; our judgement for 162 to 173."""
    escalation: str
    """What to do if it repeats or comes alone."""
    caused_by: str
    nvidia_immediate: str
    """NVIDIA's bucket for what to do at once."""
    nvidia_investigate: str
    linked: bool
    """Whether the driver may announce a recovery action (XID 154) because of it."""
    gpud_event: str
    gpud_actions: str
    """In order, ``>`` between them."""
    gcm_critical: bool | None
    plugin_fatal: bool | None
    """Whether NVIDIA's Kubernetes device plugin takes the GPU away."""
    azure_fails: bool
    crusoe_status: str
    """An excerpt: empty says nothing."""
    sources: str
    """``N`` NVIDIA's catalogue, ``G`` gpud."""


class Sxid(Struct, frozen=True):
    """What is known of one SXID, an error of an NVSwitch (gpud, read November 2026)."""

    code: int
    name: str
    gpud_event: str
    potential_fatal: bool
    fatal_to_fabric: bool
    """Whether it always takes the whole fabric with it."""
    gpud_actions: str

    @property
    def code_class(self) -> CodeClass:
        """What it asks for."""
        if self.fatal_to_fabric:
            return CodeClass.REBOOT
        return CodeClass.RESET if self.gpud_event == "Fatal" else CodeClass.OBSERVE


class LinkRule(Struct, frozen=True):
    """How one sub-code of XIDs 144 to 150 is recognized, and what it asks for."""

    xid: int
    units: frozenset[str]
    """Any of these, in upper case."""
    statuses: frozenset[int]
    """Any of these error statuses; empty: every one."""
    mask_before_575: tuple[int, int]
    """Which bits of intrinfo matter, and what they are, up to driver branch R570."""
    mask_from_575: tuple[int, int]
    """The same from branch R575 on."""
    immediate: str
    """``IGNORE``, ``RESET_GPU``, or ``XID_154_EVAL``: wait for the driver's verdict."""
    investigate: str
    severity: str
    cause: str


# How the catalogue's advice makes a class; ``ignore`` is information where nothing is wrong.
_CLASS_OF_ADVICE: Final[Mapping[str, CodeClass]] = {
    "restart_app": CodeClass.APPLICATION,
    "ignore": CodeClass.OBSERVE,
    "ignore_unless_alone(restart_fabric_manager)": CodeClass.INFORMATION,
    "ignore_or_driver_reload": CodeClass.OBSERVE,
    "investigate_app": CodeClass.OBSERVE,
    "reset_gpu": CodeClass.RESET,
    "reset_gpu(drain first if 63/64 also seen)": CodeClass.RESET,
    "reset_gpu_if_uvm_else_ignore": CodeClass.RESET,
    "decode_registers->reset_gpu": CodeClass.RESET,
    "follow_48": CodeClass.RESET,
    "reboot_node": CodeClass.REBOOT,
    "restart_vm": CodeClass.REBOOT,
    "check_mechanical": CodeClass.CONTACT,
    "contact_support": CodeClass.CONTACT,
    "enable_ecc_or_reboot": CodeClass.CONTACT,
    "plan_replacement": CodeClass.CONTACT,
    "update_software": CodeClass.CONTACT,
    "none (unused on Ampere+)": CodeClass.UNKNOWN,
    "decode_subcode(see xid_nvlink5_rules.csv)": CodeClass.DECODE,
    "follow_action_in_message": CodeClass.VERDICT,
}


def class_of(advice: str, severity: str) -> CodeClass:
    """The class of an XID by the catalogue's advice.

    Raises `KeyError` for advice that no class was chosen for: the catalogue is data of ours.
    """
    if advice == "ignore" and severity == "info":
        return CodeClass.INFORMATION
    return _CLASS_OF_ADVICE[advice]


@cache
def xids() -> Mapping[int, Xid]:
    """All XIDs by their codes."""
    return {int(row["code"]): _xid(row) for row in _rows("xid_catalog.csv")}


@cache
def sxids() -> Mapping[int, Sxid]:
    """All SXIDs by their codes."""
    return {
        int(row["sxid"]): Sxid(
            code=int(row["sxid"]),
            name=row["name"],
            gpud_event=row["gpud_event"],
            potential_fatal=row["potential_fatal"] == "true",
            fatal_to_fabric=row["always_fatal_to_fabric"] == "true",
            gpud_actions=row["gpud_actions"],
        )
        for row in _rows("sxid_catalog.csv")
    }


@cache
def link_rules() -> tuple[LinkRule, ...]:
    """All rules for the sub-codes of XIDs 144 to 150."""
    return tuple(
        LinkRule(
            xid=int(row["xid"]),
            units=frozenset(unit.upper() for unit in row["subunit"].split("/")),
            statuses=frozenset(int(each, 16) for each in row["error_status"].split("/") if each),
            mask_before_575=_mask(row["intrinfo_mask_driver_lt_575"]),
            mask_from_575=_mask(row["intrinfo_mask_driver_ge_575"]),
            immediate=row["immediate"],
            investigate=row["investigate"],
            severity=row["severity"],
            cause=row["hw_sw"],
        )
        for row in _rows("xid_nvlink5_rules.csv")
    )


@cache
def digest() -> str:
    """Short text that differs where the catalogue differs."""
    content = hashlib.sha256()
    for name in ("xid_catalog.csv", "sxid_catalog.csv", "xid_nvlink5_rules.csv"):
        content.update(_text(name).encode())
    return content.hexdigest()[:12]


def _xid(row: Mapping[str, str]) -> Xid:
    return Xid(
        code=int(row["code"]),
        mnemonic=row["mnemonic"],
        text=row["short_name"],
        code_class=class_of(row["recommended_action"], row["severity"]),
        applies_to=row["applies_to"],
        severity=row["severity"],
        advice=row["recommended_action"],
        escalation=row["escalation"],
        caused_by=row["caused_by"],
        nvidia_immediate=row["nvidia_immediate"],
        nvidia_investigate=row["nvidia_investigate"],
        linked=row["xid154_linked"] == "yes",
        gpud_event=row["gpud_event"],
        gpud_actions=row["gpud_actions"],
        gcm_critical=_switch(row["gcm_critical"]),
        plugin_fatal=_switch(row["k8s_device_plugin_fatal"]),
        azure_fails=row["azure_nhc_fails"] == "yes",
        crusoe_status=row["crusoe_status"],
        sources=row["sources"],
    )


def _switch(word: str) -> bool | None:
    return {"yes": True, "no": False}.get(word)


def _mask(bits: str) -> tuple[int, int]:
    """Read 32 signs, the most significant first; ``-`` is any."""
    relevant = int("".join("0" if bit == "-" else "1" for bit in bits), 2)
    return relevant, int(bits.replace("-", "0"), 2)


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(_text(name).splitlines()))


def _text(name: str) -> str:
    return resources.files("navarch.policy").joinpath("data", name).read_text(encoding="utf-8")
