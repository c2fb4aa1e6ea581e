"""What the lines of a Linux kernel log say about GPUs, switches, buses, memory and disks.

Pure: one line in, one fault or nothing out. A fault is reported as the kernel told it; whether it
is bad is for the control plane to judge. These are the events and their metrics, for whoever writes
rules over them. Metrics in brackets are there when the line has them; numbers are whole numbers,
the rest is text:

========  ==========================================================================================
type      metrics
========  ==========================================================================================
xid       ``xid_code``, [``pci_bus_id``], [``pid``], [``process``],
          [``mig_gpu_instance``], [``mig_compute_instance``], [``previous_xid`` (what caused it)]
xid 74    and [``link_id``], [``registers`` (hexadecimal, separated by spaces)]
xid 144…  to 150, NVLink 5, and [``unit``], [``severity``], [``link_id``], [``injected`` 0 or 1],
          [``intrinfo``], [``error_status`` (both as 0x and eight digits)]
xid 154   and [``recovery_action`` (the driver's words, such as GPU Reset Required)],
          [``recovery_action_code``], [``recovery_action_before`` (a code too)]
sxid      ``sxid_code``, ``pci_bus_id``, ``switch`` (a number), [``severity``], [``link_id``]
pcie      ``severity``, ``pci_bus_id``, [``layer`` (such as Physical Layer)]
system    ``reason``, and by reason:
          ``machine_check``: ``severity``, [``cpu``], [``bank``], [``status``]
          ``memory_error``: ``severity``, ``controller``, [``dimm``]; the count is the line's own
          ``oom_kill``: ``oom_pid``, ``oom_name``, ``oom_scope`` (machine, cgroup, …), and
          ``oom_agent`` = 1 when the agent itself was killed
          ``io_error``, ``filesystem_error``, ``read_only``: ``device``
          ``cpu_throttled``: nothing more
          ``events_dropped``: nothing more; the count says how many (too many kinds at once)
          ``cgroup_oom``: nothing more; from the sensor ``system``, all others are ``kernel_log``'s
========  ==========================================================================================

``severity`` is one of corrected, non-fatal, fatal, uncorrected, deferred, info or unknown, whatever
the spelling in the line. ``pci_bus_id`` is always like ``0000:3b:00.0``.

A fault must stand at the beginning of its text: what users put into the middle of a kernel line,
such as the name of a USB device, is no fault.

Spellings, of older and newer releases, are those of NVIDIA's open GPU kernel modules (kernel_rc.c)
and Fabric Manager user guide, and of Linux's pci/pcie/aer.c, edac/edac_mc.c, x86/kernel/cpu/mce,
firmware/efi/cper.c and mm/oom_kill.c, in November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct, field

from navarch.agent.sensors.kernel_records import bus_id, text_start

MESSAGE_BYTES_MAX: Final = 1024
"""What is kept of a line for people, as UTF-8."""

WORD_MAX: Final = 64
"""Characters that are kept of a name; the kernel's names of processes have 15."""

NVLINK5_XIDS: Final = frozenset(range(144, 151))
"""XIDs that mean nothing without their sub-code (NVIDIA's XID catalogue)."""

Metrics = dict[str, str | int | float]


class KernelFault(Struct, frozen=True):
    """What one line says, before anybody knows which GPU is at its address."""

    event_type: str
    message: str
    metrics: Metrics = field(default_factory=dict)
    system: str = ""
    pci_bus_id: str = ""
    """Like ``0000:3b:00.0``; empty when the line names none."""
    gpu_uuid: str = ""
    count: int = 1
    told_by: tuple[str, ...] = ()
    """Set where the kernel tells one thing in two lines: what both have in common, and last which
    of the two this is. Whoever counts, counts the second no more."""


class GpuName(Struct, frozen=True):
    """The line by which the driver says once which UUID a GPU at an address has."""

    pci_bus_id: str
    gpu_uuid: str


# --- faults ----------------------------------------------------------------------------------


def fault_in(text: str) -> KernelFault | GpuName | None:
    """Find what a record's text says; None when that is nothing of ours. Never raises."""
    for beginning, reading in _READINGS:
        if text.startswith(beginning):
            return reading(text)
    if "AER: " in text or "PCIe Bus Error" in text:
        return _pcie(text)
    return None


def _message(text: str) -> str:
    return text.encode()[:MESSAGE_BYTES_MAX].decode(errors="ignore")


_SEVERITIES: Final = {
    "corrected": "corrected",
    "correctable": "corrected",
    "nonfatal": "non-fatal",
    "non-fatal": "non-fatal",
    "fatal": "fatal",
    "uncorrected": "uncorrected",
    "uncorrectable": "uncorrected",
    "recoverable": "uncorrected",
    "deferred": "deferred",
    "info": "info",
}


def _severity(word: str | None) -> str:
    return _SEVERITIES.get((word or "").lower(), "unknown")


# --- the GPUs --------------------------------------------------------------------------------

_XID: Final = re.compile(r"NVRM: Xid \(([^)]{1,120})\): *(\d{1,5})(?:, *| +|$)(.*)", re.DOTALL)
_XID_WHERE: Final = re.compile(
    r"(?:PCI:)?([0-9a-fA-F:.]+)?(GPU-[0-9a-fA-F-]{8,40})?"
    r"(?: *GPU-I:(\d{1,3}))?(?: *GPU-CI:(\d{1,3}))?"
)
_XID_PID: Final = re.compile(r"pid=(?:(\d{1,10})|'?<unknown>'?)(?:, *|$)")
_XID_PROCESS: Final = re.compile(r"name=(.{1,200}?)(?:, |,?$)")
_PREVIOUS_XID: Final = re.compile(r"caused by previous Xid (\d{1,5})")
_RECOVERY: Final = re.compile(
    r"GPU recovery action changed from 0x([0-9a-f]{1,8}) \([^)]*\)"
    r" to 0x([0-9a-f]{1,8}) \(([^)]{1,64})\)",
    re.IGNORECASE,
)
_NVLINK5: Final = re.compile(
    r"([A-Z][A-Za-z0-9_ ]{0,40}?) +(Fatal|Non-?fatal) +XC *(\d+) +i *(\d+) +Link +(\d{1,4})"
    r"(?: *[(\[](0x[0-9a-f]{1,8})(?: +(0x[0-9a-f]{1,8}))?)?",
    re.IGNORECASE,
)
_NVLINK: Final = re.compile(
    r"on link (\d{1,4})(?: *\(((?:0x[0-9a-f]{1,8}[, ]*){1,16})\))?",
    re.IGNORECASE,
)
_GPU_NAME: Final = re.compile(
    r"NVRM: GPU at (?:PCI:)?([0-9a-fA-F:.]+): (GPU-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4,12}){4})"
)


def _nvrm(text: str) -> KernelFault | GpuName | None:
    if not text.startswith("NVRM: Xid "):
        name = _GPU_NAME.match(text)
        address = bus_id(name[1]) if name else ""
        return GpuName(address, name[2]) if name and address else None
    match = _XID.match(text)
    where = _XID_WHERE.fullmatch(match[1].strip()) if match else None
    if match is None or where is None:
        return None
    code, rest = int(match[2]), match[3]
    metrics: Metrics = {"xid_code": code}
    address = bus_id(where[1] or "")
    if address:
        metrics["pci_bus_id"] = address
    if not address and not where[2]:
        return None
    for key, number in (("mig_gpu_instance", where[3]), ("mig_compute_instance", where[4])):
        if number:
            metrics[key] = int(number)
    rest = _take_process(rest, metrics)
    _detail(code, rest, metrics)
    return KernelFault(
        "xid",
        _message(text),
        metrics,
        "DCGM_HEALTH_WATCH_DRIVER",
        pci_bus_id=address,
        gpu_uuid=where[2] or "",
    )


def _take_process(rest: str, metrics: Metrics) -> str:
    """Read ``pid=…, name=…, `` off the beginning; an unknown process is left out."""
    if pid := _XID_PID.match(rest):
        if pid[1]:
            metrics["pid"] = int(pid[1])
        rest = rest[pid.end() :]
    if process := _XID_PROCESS.match(rest):
        if process[1] != "<unknown>":
            metrics["process"] = process[1][:WORD_MAX]
        rest = rest[process.end() :]
    return rest


def _detail(code: int, rest: str, metrics: Metrics) -> None:
    """Read what only lines of some codes have."""
    if code == 154:
        if change := _RECOVERY.match(rest):
            metrics["recovery_action"] = change[3]
            metrics["recovery_action_code"] = int(change[2], 16)
            metrics["recovery_action_before"] = int(change[1], 16)
    elif code in NVLINK5_XIDS:
        if link := _NVLINK5.match(rest):
            metrics["unit"] = link[1]
            metrics["severity"] = _severity(link[2])
            metrics["link_id"] = int(link[5])
            metrics["injected"] = int(int(link[4]) != 0)
            for name, register in (("intrinfo", link[6]), ("error_status", link[7])):
                if register:
                    metrics[name] = f"0x{int(register, 16):08x}"
    elif code == 74 and (link := _NVLINK.search(rest)):
        metrics["link_id"] = int(link[1])
        if link[2]:
            metrics["registers"] = " ".join(re.findall(r"0x[0-9a-f]+", link[2].lower()))
    if "previous Xid" in rest and (previous := _PREVIOUS_XID.search(rest)):
        metrics["previous_xid"] = int(previous[1])


# --- switches and buses ----------------------------------------------------------------------

_SXID: Final = re.compile(
    r"nvidia-nvswitch(\d{1,4}):? SXid \(PCI:([0-9a-fA-F:.]{5,20})\): *(\d{1,6})"
    r"(?:, *(?:(Non-fatal|Fatal)(?:, *|$))?(.*)|$)",
    re.IGNORECASE | re.DOTALL,
)
_SXID_LINK: Final = re.compile(r"(?:.*, )?Link (\d{1,4})\b")
_SXID_MORE: Final = re.compile(r"Severity \d+ Engine|Data \{")
"""What the driver prints below an SXID, with its code once more."""


def _sxid(text: str) -> KernelFault | None:
    match = _SXID.match(text)
    if not match or _SXID_MORE.match(match[5] or ""):
        return None
    address = bus_id(match[2])
    if not address:
        return None
    metrics: Metrics = {
        "sxid_code": int(match[3]),
        "pci_bus_id": address,
        "switch": int(match[1]),
    }
    if match[4]:
        metrics["severity"] = _severity(match[4])
    if link := _SXID_LINK.match(match[5] or ""):
        metrics["link_id"] = int(link[1])
    return KernelFault(
        "sxid", _message(text), metrics, "DCGM_HEALTH_WATCH_NVSWITCH", pci_bus_id=address
    )


_PCIE_WORDS: Final = r"(Correct(?:ed|able)|Uncorrect(?:ed|able))(?: \((Non-Fatal|Fatal)\))?"
_AER_RECEIVED: Final = re.compile(
    r"\S{1,64} ([0-9a-fA-F:.]{7,20}): AER: (?:Multiple )?" + _PCIE_WORDS + r" error"
    r"(?: message)?(?: received)?(?:(?:: | from )(?:id=([0-9a-f]{4})|([0-9a-fA-F:.]{7,20})))?",
    re.IGNORECASE,
)
_AER_DEVICE: Final = re.compile(
    r"\S{1,64} ([0-9a-fA-F:.]{7,20}): (?:AER: )?PCIe Bus Error: severity=" + _PCIE_WORDS + r", *"
    r"(?:type=([^,(]{1,40}))?",
    re.IGNORECASE,
)


def _pcie(text: str) -> KernelFault | None:
    if received := _AER_RECEIVED.match(text):
        address = bus_id(received[5] or "") or bus_id(received[1])
        if received[4]:
            address = _requester(received[1], int(received[4], 16)) or address
        severity, layer, line = _severity(received[3] or received[2]), "", "port"
    elif device := _AER_DEVICE.match(text):
        address = bus_id(device[1])
        severity, layer, line = _severity(device[3] or device[2]), device[4] or "", "device"
    else:
        return None
    if not address:
        return None
    metrics: Metrics = {"severity": severity, "pci_bus_id": address}
    if layer:
        metrics["layer"] = layer.strip()
    return KernelFault(
        "pcie",
        _message(text),
        metrics,
        "DCGM_HEALTH_WATCH_PCIE",
        pci_bus_id=address,
        told_by=("pcie", address, severity, line),
    )


def _requester(port: str, number: int) -> str:
    """Turn a requester id (PCI Express: 8 bits bus, 5 device, 3 function) into an address."""
    domain = bus_id(port).partition(":")[0]
    return bus_id(f"{domain}:{number >> 8:02x}:{number >> 3 & 31:02x}.{number & 7}")


# --- the machine around them -----------------------------------------------------------------

_MCE_BANK: Final = re.compile(
    r"CPU (\d{1,5}): Machine Check(?: Exception)?: [0-9a-f]+ Bank (\d{1,3}): ([0-9a-f]{1,16})",
    re.IGNORECASE,
)
_MCE_WORDS: Final = re.compile(
    r"(Corrected) error|System (Fatal) error|(Uncorrected), |(Deferred) error"
    r"|event severity: (\w{1,16})|(Machine check events logged)"
)


def _hardware_error(text: str) -> KernelFault | None:
    told = text.partition("[Hardware Error]:")[2].lstrip()
    metrics: Metrics = {"reason": "machine_check"}
    if bank := _MCE_BANK.match(told):
        status = int(bank[3], 16)
        metrics["severity"] = _mce_severity(status)
        metrics["cpu"], metrics["bank"] = int(bank[1]), int(bank[2])
        metrics["status"] = f"0x{status:016x}"
    elif words := _MCE_WORDS.match(told):
        word = next(word for word in words.groups() if word)
        metrics["severity"] = _severity(word)
    else:
        return None  # a line of details
    return KernelFault("system", _message(text), metrics)


def _mce_severity(status: int) -> str:
    """Read MCi_STATUS: bit 61 uncorrected, bit 57 context corrupt (Intel SDM 3B, machine check)."""
    if not status >> 61 & 1:
        return "corrected"
    return "fatal" if status >> 57 & 1 else "uncorrected"


_EDAC: Final = re.compile(
    r"EDAC (?:\w{1,32} )?MC(\d{1,3}): (?:(\d{1,9}) )?(CE|UE)\b(?:.{0,200}? on (\S{1,64}))?"
)


def _edac(text: str) -> KernelFault | None:
    match = _EDAC.match(text)
    if not match:
        return None
    metrics: Metrics = {
        "reason": "memory_error",
        "severity": "corrected" if match[3] == "CE" else "uncorrected",
        "controller": int(match[1]),
    }
    if match[4]:
        metrics["dimm"] = match[4]
    return KernelFault("system", _message(text), metrics, count=max(int(match[2] or "1"), 1))


_OOM_KILLED: Final = re.compile(
    r"(Memory cgroup o|O)ut of memory: Kill(?:ed)? process (\d{1,10})(?:,? UID \d+)?,?"
    r" \((.{0,64}?)\)(?= total-vm| score|, |$)"
)
_OOM_CHOSEN: Final = re.compile(
    r"oom-kill:constraint=(?:CONSTRAINT_)?(\w{1,32}),.*?task=(.{0,64}?),pid=(\d{1,10})(?:,|$)"
)
_OOM_SCOPES: Final = {"NONE": "machine", "MEMCG": "cgroup"}


def _oom(text: str) -> KernelFault | None:
    if killed := _OOM_KILLED.match(text):
        scope = "machine" if killed[1] == "O" else "cgroup"
        pid, name, line = killed[2], killed[3], "killed"
    elif chosen := _OOM_CHOSEN.match(text):
        scope = _OOM_SCOPES.get(chosen[1], chosen[1].lower())
        pid, name, line = chosen[3], chosen[2], "chosen"
    else:
        return None
    metrics: Metrics = {
        "reason": "oom_kill",
        "oom_pid": int(pid),
        "oom_name": name[:WORD_MAX],
        "oom_scope": scope,
    }
    return KernelFault("system", _message(text), metrics, told_by=("oom", pid, line))


_DISK: Final = (
    (re.compile(r"(?:\S+: )?(?:Buffer )?I/O error(?:,| on) dev (\S{1,64}?),? "), "io_error"),
    (re.compile(r"(?:\S+: )?critical \w+ error, dev (\S{1,64}?),? "), "io_error"),
    (re.compile(r"EXT4-fs error \(device (\S{1,64}?)\)"), "filesystem_error"),
    (re.compile(r"EXT4-fs \((\S{1,64}?)\): Remounting filesystem read-only"), "read_only"),
    (
        re.compile(
            r"XFS \((\S{1,64}?)\): (?:Corruption|Metadata \w+ |.{0,80}I/O error"
            r"|.{0,80}[Ss]hutting down filesystem|.{0,80}has been shut down)"
        ),
        "filesystem_error",
    ),
    (re.compile(r"BTRFS info \(device (\S{1,64}?)[ ):].{0,80}forced readonly"), "read_only"),
    (re.compile(r"BTRFS:? (?:error|critical) \(device (\S{1,64}?)[ ):]"), "filesystem_error"),
)


def _disk(text: str) -> KernelFault | None:
    for pattern, reason in _DISK:
        if match := pattern.match(text):
            metrics: Metrics = {"reason": reason, "device": match[1]}
            return KernelFault("system", _message(text), metrics)
    return None


_THROTTLED: Final = re.compile(
    r"(?:mce: )?CPU\d{1,5}: (?:Core|Package) temperature above threshold, cpu clock throttled"
)


def _throttled(text: str) -> KernelFault | None:
    if not _THROTTLED.match(text):
        return None
    return KernelFault("system", _message(text), {"reason": "cpu_throttled"})


def _mce(text: str) -> KernelFault | None:
    return _hardware_error(text) if text.startswith("mce: [Hardware Error]") else _throttled(text)


_READINGS: Final[tuple[tuple[str, Callable[[str], KernelFault | GpuName | None]], ...]] = (
    ("NVRM: ", _nvrm),
    ("nvidia-nvswitch", _sxid),
    ("mce: ", _mce),
    ("[Hardware Error]", _hardware_error),
    ("{", _hardware_error),
    ("EDAC ", _edac),
    ("Out of memory: ", _oom),
    ("Memory cgroup out of memory: ", _oom),
    ("oom-kill:", _oom),
    ("CPU", _throttled),
    ("EXT4-fs ", _disk),
    ("XFS (", _disk),
    ("BTRFS", _disk),
    ("Buffer I/O error", _disk),
    ("I/O error, dev", _disk),
    ("blk_update_request: ", _disk),
    ("print_req_error: ", _disk),
    ("critical ", _disk),
)
"""What a text begins with, and who reads it then."""

_BEGINNINGS: Final = tuple(beginning.encode() for beginning, _ in _READINGS)


def suspicious(line: bytes) -> bool:
    """Tell whether a line can be a fault at all; most cannot. Costs well under a microsecond."""
    return (
        line.startswith(_BEGINNINGS, text_start(line))
        or b"AER: " in line
        or b"PCIe Bus Error" in line
    )
