"""Lines of a kernel log: each is told apart from its neighbours, and nonsense is nothing."""

from __future__ import annotations

import pytest

from navarch.agent.sensors.kernel_lines import (
    MESSAGE_BYTES_MAX,
    GpuName,
    KernelFault,
    Metrics,
    fault_in,
    suspicious,
)
from navarch.agent.sensors.kernel_records import (
    LINE_BYTES_MAX,
    LineCutter,
    Record,
    bus_id,
    parse_record,
    sequence_of,
)

FELL_OFF = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python3, GPU has fallen off the bus."
ADDRESS: Metrics = {"pci_bus_id": "0000:3b:00.0"}


def fault(text: str) -> KernelFault:
    """Return the fault in a line, which the quick test must not pass over."""
    for line in (text, f"4,7,8,-;{text}", f"<4>{text}", f"Jan 31 12:00:00 h kernel: [ 1.5] {text}"):
        assert suspicious(line.encode()), line
    found = fault_in(text)
    assert isinstance(found, KernelFault)
    return found


# --- records ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, record",
    [
        ("12,339,5140900,-;NVRM: hello", Record("NVRM: hello", 4, 339, 5140900)),
        ("6,339,5140900,c,caller=T667;x;y", Record("x;y", 6, 339, 5140900)),
        (r"3,1,2,-;a\x09b\x5cc\x00", Record("a b\\c", 3, 1, 2)),
        ("3,1,2,-;caf\\xc3\\xa9", Record("café", 3, 1, 2)),
        ("[  123.456789] NVRM: hello", Record("NVRM: hello")),
        ("[  123.456789][ T1234] NVRM: hello", Record("NVRM: hello")),
        ("[Sat Jan 31 12:00:00 2026] NVRM: hello", Record("NVRM: hello")),
        ("<4>[    1.5] NVRM: hello", Record("NVRM: hello", 4)),
        ("<12>NVRM: hello", Record("NVRM: hello", 4)),
        ("kernel: NVRM: hello", Record("NVRM: hello")),
        ("Jan  1 02:03:04 gpu-7 kernel: NVRM: hello", Record("NVRM: hello")),
        ("Jan 31 12:00:00 gpu-7 kernel: [  123.4] NVRM: hello", Record("NVRM: hello")),
        ("2026-01-31T12:00:00.1+00:00 gpu-7 kernel: NVRM: hello", Record("NVRM: hello")),
        ("NVRM: hello\r", Record("NVRM: hello")),
        ("", Record("")),
    ],
)
def test_a_record_is_read_in_whichever_form_it_is(line: str, record: Record) -> None:
    assert parse_record(line.encode()) == record


def test_bytes_that_are_no_text_are_a_record_all_the_same() -> None:
    assert parse_record(b"4,1,2,-;\xff\xfe\x00NVRM") == Record("\ufffd\ufffd NVRM", 4, 1, 2)


def test_what_is_no_number_of_a_record_has_none() -> None:
    assert sequence_of(b"12,339,5140900,-;x") == 339
    for line in (b" SUBSYSTEM=pci", b"x,1,2,-;", b"12,", b"", b"12,-3,4", b"1,\xb2,3"):
        assert sequence_of(line) == -1


def test_a_line_counts_when_its_newline_is_there() -> None:
    cutter = LineCutter()
    assert cutter.cut(b"NVRM: Xid (PCI:0000:3b:00): 7") == []
    assert cutter.cut(b"9, GPU\nnext") == [b"NVRM: Xid (PCI:0000:3b:00): 79, GPU"]
    assert cutter.unfinished_bytes == 4


def test_a_line_without_end_takes_no_memory() -> None:
    cutter = LineCutter()
    for _ in range(200):
        assert cutter.cut(b"x" * 50_000) == []
    assert cutter.unfinished_bytes == 10_000_000
    assert cutter.cut(b"\nshort\n") == [b"x" * LINE_BYTES_MAX, b"short"]


def test_reading_that_begins_inside_a_line_leaves_its_rest_out() -> None:
    cutter = LineCutter()
    cutter.restart(inside_a_line=True)
    assert cutter.cut(b"NVRM: Xid (PCI:0000:3b:00): 79, rest") == []
    assert cutter.cut(b" of it\nwhole\n") == [b"whole"]


@pytest.mark.parametrize(
    "address, spelt",
    [
        ("0000:3b:00", "0000:3b:00.0"),
        ("0000:3B:00.0", "0000:3b:00.0"),
        ("00000000:3B:00.0", "0000:3b:00.0"),
        ("3b:00.1", "0000:3b:00.1"),
        ("00010000:3b:00", "10000:3b:00.0"),
        ("3b", ""),
        ("0000:3b:00.9", ""),
        ("GPU-3b", ""),
    ],
)
def test_a_pci_address_is_spelt_in_one_way(address: str, spelt: str) -> None:
    assert bus_id(address) == spelt


# --- XIDs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where_and_rest, more",
    [
        ("(PCI:0000:3b:00): 79, pid=12, name=python3, GPU has", {"pid": 12, "process": "python3"}),
        ("(PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has", {}),
        ("(PCI:0000:3b:00): 79, pid=8, name=<unknown>, Ch 1", {"pid": 8}),
        ("(PCI:0000:3b:00): 79, pid=8, Ch 1", {"pid": 8}),
        ("(PCI:0000:3b:00): 79, name=a, b", {"process": "a"}),
        ("(PCI:0000:3b:00): 79, GPU has fallen off the bus.", {}),
        ("(PCI:0000:3b:00): 79, ", {}),
        ("(PCI:0000:3b:00): 79", {}),
        ("(0000:3b:00): 79, Channel 00000001", {}),
        ("(PCI:0000:3B:00.0): 79, x", {}),
        ("(PCI:0000:3b:00 GPU-I:05): 79, pid=8, x", {"mig_gpu_instance": 5, "pid": 8}),
        (
            "(PCI:0000:3b:00 GPU-I:05 GPU-CI:02): 79, x",
            {"mig_gpu_instance": 5, "mig_compute_instance": 2},
        ),
        (
            "(PCI:0000:3b:00): 79, Channel 1 caused by previous Xid 149",
            {"previous_xid": 149},
        ),
    ],
)
def test_an_xid_is_read_as_each_driver_spells_it(where_and_rest: str, more: Metrics) -> None:
    found = fault(f"NVRM: Xid {where_and_rest}")
    assert found.event_type == "xid"
    assert found.metrics == {"xid_code": 79, **ADDRESS, **more}
    assert (found.pci_bus_id, found.count) == ("0000:3b:00.0", 1)
    assert found.message == f"NVRM: Xid {where_and_rest}"


def test_an_xid_may_name_a_uuid_in_place_of_an_address() -> None:
    found = fault("NVRM: Xid (GPU-48ef9c66-4339-41dd-0635-3e3803289594): 48, x")
    assert found.metrics == {"xid_code": 48}
    assert found.gpu_uuid == "GPU-48ef9c66-4339-41dd-0635-3e3803289594"


def test_the_drivers_verdict_is_read_in_words_and_as_a_code() -> None:
    found = fault(
        "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed"
        " from 0x0 (None) to 0x1 (GPU Reset Required)"
    )
    assert found.metrics == {
        "xid_code": 154,
        **ADDRESS,
        "recovery_action": "GPU Reset Required",
        "recovery_action_code": 1,
        "recovery_action_before": 0,
    }


def test_a_verdict_in_words_of_tomorrow_is_still_an_xid_154() -> None:
    found = fault("NVRM: Xid (PCI:0000:3b:00): 154, something quite new")
    assert found.metrics == {"xid_code": 154, **ADDRESS}


@pytest.mark.parametrize(
    "rest, expected",
    [
        (
            "149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 08 (0x004505c6 0x00000000 0x00000001)",
            ("NETIR_LINK_EVT", "fatal", 8, 0, "0x004505c6", "0x00000000"),
        ),
        (
            "145, pid=4, name=<unknown>, RLW_SRC_TRACK Nonfatal XC0 i1 Link 00 (0x1 0x2)",
            ("RLW_SRC_TRACK", "non-fatal", 0, 1, "0x00000001", "0x00000002"),
        ),
        (
            "149, NETIR_LINK_EVT Fatal XC 1 i 0 Link 01 [0x0000000a]",
            ("NETIR_LINK_EVT", "fatal", 1, 0, "0x0000000a", None),
        ),
        ("148, NVLPW_CTRL Non-fatal XC0 i0 Link 05", ("NVLPW_CTRL", "non-fatal", 5, 0, None, None)),
    ],
)
def test_an_nvlink_5_error_brings_what_it_is_decoded_by(
    rest: str, expected: tuple[object, ...]
) -> None:
    metrics = fault(f"NVRM: Xid (PCI:0000:3b:00): {rest}").metrics
    names = ("unit", "severity", "link_id", "injected", "intrinfo", "error_status")
    assert tuple(metrics.get(name) for name in names) == expected


def test_an_nvlink_error_of_older_gpus_brings_link_and_registers() -> None:
    found = fault(
        "NVRM: Xid (PCI:0000:3b:00): 74, pid='<unknown>', name=<unknown>, NVLink: fatal error"
        " detected on link 14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)"
    )
    assert found.metrics == {
        "xid_code": 74,
        **ADDRESS,
        "link_id": 14,
        "registers": "0x0 0x0 0x10000 0x0 0x0 0x0 0x0",
    }


def test_the_driver_names_the_uuid_at_an_address() -> None:
    text = "NVRM: GPU at PCI:0000:3b:00: GPU-48ef9c66-4339-41dd-0635-3e3803289594"
    uuid = "GPU-48ef9c66-4339-41dd-0635-3e3803289594"
    assert fault_in(text) == GpuName("0000:3b:00.0", uuid)
    assert fault_in("NVRM: GPU at PCI:0000:3b:00.0: GPU has fallen off the bus") is None


# --- everything else -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, event_type, metrics",
    [
        (
            "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 12028, Non-fatal, Link 32 egress error",
            "sxid",
            {"sxid_code": 12028, "switch": 3, "severity": "non-fatal", "link_id": 32},
        ),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
            "sxid",
            {"sxid_code": 20034, "switch": 0, "severity": "fatal", "link_id": 30},
        ),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 10001, Host_priv_timeout",
            "sxid",
            {"sxid_code": 10001, "switch": 0},
        ),
        (
            "pcieport 0000:00:1c.4: AER: Corrected error received: 0000:c1:00.0",
            "pcie",
            {"severity": "corrected"},
        ),
        (
            "pcieport 0000:00:1c.4: AER: Multiple Corrected error received: id=c100",
            "pcie",
            {"severity": "corrected"},
        ),
        (
            "pcieport 0000:c1:00.0: AER: Uncorrected (Fatal) error received:",
            "pcie",
            {"severity": "fatal"},
        ),
        (
            (
                "pcieport 0000:00:1c.4: AER: Uncorrectable (Non-Fatal) error message received"
                " from 0000:c1:00.0"
            ),
            "pcie",
            {"severity": "non-fatal"},
        ),
        (
            "nvidia 0000:c1:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Rec",
            "pcie",
            {"severity": "corrected", "layer": "Physical Layer"},
        ),
        (
            (
                "nvidia 0000:c1:00.0: AER: PCIe Bus Error: severity=Uncorrectable (Fatal), "
                "type=Inaccessible, (Unregistered Agent ID)"
            ),
            "pcie",
            {"severity": "fatal", "layer": "Inaccessible"},
        ),
    ],
)
def test_switches_and_buses_bring_their_address(
    text: str, event_type: str, metrics: Metrics
) -> None:
    found = fault(text)
    assert found.event_type == event_type
    assert found.metrics == {**metrics, "pci_bus_id": "0000:c1:00.0"}
    assert found.pci_bus_id == "0000:c1:00.0"


@pytest.mark.parametrize(
    "text, metrics, count",
    [
        (
            "mce: [Hardware Error]: CPU 2: Machine Check: 0 Bank 5: bea0000000000108",
            {
                "reason": "machine_check",
                "severity": "fatal",
                "cpu": 2,
                "bank": 5,
                "status": "0xbea0000000000108",
            },
            1,
        ),
        (
            "mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 5: a000000000000108",
            {
                "reason": "machine_check",
                "severity": "uncorrected",
                "cpu": 1,
                "bank": 5,
                "status": "0xa000000000000108",
            },
            1,
        ),
        (
            "mce: [Hardware Error]: CPU 0: Machine Check Exception: 5 Bank 7: 8c00004000010090",
            {
                "reason": "machine_check",
                "severity": "corrected",
                "cpu": 0,
                "bank": 7,
                "status": "0x8c00004000010090",
            },
            1,
        ),
        (
            "mce: [Hardware Error]: Machine check events logged",
            {"reason": "machine_check", "severity": "unknown"},
            1,
        ),
        (
            "[Hardware Error]: Corrected error, no action required.",
            {"reason": "machine_check", "severity": "corrected"},
            1,
        ),
        (
            "[Hardware Error]: Uncorrected, software restartable error.",
            {"reason": "machine_check", "severity": "uncorrected"},
            1,
        ),
        (
            "{1}[Hardware Error]: event severity: recoverable",
            {"reason": "machine_check", "severity": "uncorrected"},
            1,
        ),
        (
            "EDAC MC0: 4858 CE memory read error on CPU_SrcID#0_Chan#0_DIMM#0 (channel:0)",
            {
                "reason": "memory_error",
                "severity": "corrected",
                "controller": 0,
                "dimm": "CPU_SrcID#0_Chan#0_DIMM#0",
            },
            4858,
        ),
        (
            "EDAC MC1: UE page 0x0, offset 0x0",
            {"reason": "memory_error", "severity": "uncorrected", "controller": 1},
            1,
        ),
        (
            "Out of memory: Killed process 42 (my (odd) name) total-vm:78782016kB",
            {
                "reason": "oom_kill",
                "oom_pid": 42,
                "oom_name": "my (odd) name",
                "oom_scope": "machine",
            },
            1,
        ),
        (
            "Memory cgroup out of memory: Kill process 42 (a.out) score 904 or sacrifice child",
            {"reason": "oom_kill", "oom_pid": 42, "oom_name": "a.out", "oom_scope": "cgroup"},
            1,
        ),
        (
            (
                "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
                "oom_memcg=/t,task_memcg=/t,task=a.out,pid=42,uid=-2"
            ),
            {"reason": "oom_kill", "oom_pid": 42, "oom_name": "a.out", "oom_scope": "cgroup"},
            1,
        ),
        (
            "blk_update_request: I/O error, dev sda, sector 123 op 0x0:(READ)",
            {"reason": "io_error", "device": "sda"},
            1,
        ),
        (
            "I/O error, dev nvme0n1, sector 123 op 0x0:(READ)",
            {"reason": "io_error", "device": "nvme0n1"},
            1,
        ),
        (
            "Buffer I/O error on dev sda1, logical block 5, lost async page write",
            {"reason": "io_error", "device": "sda1"},
            1,
        ),
        (
            "critical medium error, dev sdb, sector 9",
            {"reason": "io_error", "device": "sdb"},
            1,
        ),
        (
            "EXT4-fs error (device dm-1): ext4_find_entry:1455: inode #2: comm ls: reading",
            {"reason": "filesystem_error", "device": "dm-1"},
            1,
        ),
        (
            "EXT4-fs (dm-1): Remounting filesystem read-only",
            {"reason": "read_only", "device": "dm-1"},
            1,
        ),
        ("XFS (dm-0): log I/O error -5", {"reason": "filesystem_error", "device": "dm-0"}, 1),
        (
            "BTRFS error (device sda1 state EA): parent transid verify failed on 1",
            {"reason": "filesystem_error", "device": "sda1"},
            1,
        ),
        (
            "BTRFS info (device sda1): forced readonly",
            {"reason": "read_only", "device": "sda1"},
            1,
        ),
        (
            "mce: CPU3: Package temperature above threshold, cpu clock throttled (total 5)",
            {"reason": "cpu_throttled"},
            1,
        ),
        (
            "CPU3: Core temperature above threshold, cpu clock throttled (total events = 5)",
            {"reason": "cpu_throttled"},
            1,
        ),
    ],
)
def test_the_machine_around_the_gpus_says_why(text: str, metrics: Metrics, count: int) -> None:
    found = fault(text)
    assert (found.event_type, found.pci_bus_id) == ("system", "")
    assert found.metrics == metrics
    assert found.count == count


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.163.01",
        "NVRM: Xid (PCI:0000:3b:00): , nothing",
        "NVRM: Xid (PCI:0000:3b:00): abc, pid=2280636",
        "NVRM: Xid (PCI:0000:3b:00): 79.5, a fraction is no code",
        "NVRM: Xid (PCI:0000:3b:00)",
        "NVRM: Xid (elsewhere): 79, x",
        "NVRM: Xid (): 79, x",
        "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.",
        f"usb 1-1: Product: {FELL_OFF}",
        f" {FELL_OFF}",
        "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): garbled, Fatal",
        "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 22013, Severity 0 Engine instance 60",
        "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 22013, Data {0x0000003c, 0x0000003c}",
        "nvidia 0000:c1:00.0: AER: can't recover (no error_detected callback)",
        "pcieport 0000:00:1c.4: AER: enabled with IRQ 25",
        "mce: [Hardware Error]: TSC 0 ADDR 7f80a0c0181a MISC d012000100000000",
        "EDAC MC: Ver: 3.0.0",
        "EDAC sbridge MC0: HANDLING MCE MEMORY ERROR",
        "oom_reaper: reaped process 9750 (a.out), now anon-rss:0kB",
        "EXT4-fs (vda): mounted filesystem with ordered data mode. Quota mode: none.",
        "XFS (dm-0): Mounting V5 Filesystem",
        "BTRFS info (device sda1): enabling ssd optimizations",
    ],
)
def test_what_is_no_fault_is_nothing(text: str) -> None:
    assert fault_in(text) is None


def test_what_is_kept_for_people_is_short_and_whole_characters() -> None:
    found = fault("NVRM: Xid (PCI:0000:3b:00): 13, é" + "é" * 5000)
    assert MESSAGE_BYTES_MAX - 1 <= len(found.message.encode()) <= MESSAGE_BYTES_MAX
    found = fault(f"NVRM: Xid (PCI:0000:3b:00): 13, pid=1, name={'n' * 150}, x")
    assert found.metrics["process"] == "n" * 64


def test_most_lines_are_passed_over_unparsed() -> None:
    for line in (
        b"6,1234,5678901,-;docker0: port 1(veth1a2b3c4) entered blocking state",
        b" SUBSYSTEM=pci",
        b"Jan 31 12:00:00 host sshd[1]: Accepted publickey for NVRM: Xid",
        b"4,1,2,-;usb 1-1: Product: NVRM: Xid (PCI:0000:3b:00): 79, x",
        b"",
        b"\x00\xff;,;,",
    ):
        assert not suspicious(line)
