"""Profiles: which faults come how often, calibrated by published studies.

Two kinds of count must not be added blindly. *Job-stopping* counts are of interruptions that a
large job died of: their hardware rows are faults that need a repair. *Logged* counts are of error
events in logs: most stop nothing, and one broken GPU may log thousands. So a profile takes its
broken machines from job-stopping counts where it has some, and from logs only what harms no
machine; where it has only logs, it says so.

Each rate becomes faults by a `Mapping`: what it is, how it shows, and what puts it right. What is
in no mapping of a profile and why is in its `left_out`. ``docs/simulation-profiles.md`` is written
from here by ``tools/profile_page.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum

from msgspec import Struct

from navarch.core.model.finding import Remedy
from navarch.errors import ConfigError
from navarch.simulator.twin.blueprint import Hazard
from navarch.simulator.twin.faults import Fault, FaultKind
from navarch.simulator.whatif import rates as tables
from navarch.simulator.whatif.rates import (
    DELTA_A100,
    DELTA_H100,
    LABLUP,
    LLAMA3,
    OPT,
    RSC_1,
    RSC_2,
)

IN_PLACE = round(19.5 / (19.5 + 41.5), 2)
"""Which share of GPU faults a reset or a reboot puts right: at Crusoe, over four months of H200,
19.5% of incidents ended with the GPU recovered and 41.5% with the host replaced (read November
2026)."""

REMAP_FAILED = round(8 / 24, 2)
"""Which share of uncorrectable memory errors leaves a GPU that has to be replaced: 8 of 24 remaps
failed on Delta's H100 (read November 2026)."""

NETWORK_LASTS = timedelta(minutes=24)
"""How long trouble of the network lasts: the mean of Greyhound (read November 2026)."""

MAINTENANCE_LASTS = timedelta(hours=2, minutes=12)
"""How long a host is away that its owner works on: Delta's mean time to repair, 2.2 h (read
November 2026)."""


class Area(StrEnum):
    """What is at fault."""

    HARDWARE = "hardware"
    HOST = "host"
    NETWORK = "network"
    SOFTWARE = "software"
    """The application: nothing is wrong with the machine."""


class Share(Struct, frozen=True):
    """What a part of a rate becomes."""

    fault: Fault
    share: float = 1.0


class Mapping(Struct, frozen=True):
    """What becomes of one rate of one study."""

    component: str
    area: Area
    shares: tuple[Share, ...]
    because: str
    source: str


class LeftOut(Struct, frozen=True):
    """A rate that becomes no fault."""

    component: str
    because: str
    source: str


class Profile(Struct, frozen=True):
    """Faults at calibrated rates."""

    name: str
    about: str
    mappings: tuple[Mapping, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    all_causes: tuple[str, str] = ("", "")
    """Component and source of one rate for all causes together, which the job-stopping mappings
    are scaled to; empty: their own rates hold."""
    spot: str = "median"
    """How spot machines are taken away: a name of `navarch.simulator.whatif.rates.spot_markets`."""

    def hazards(self, gpus: int = 8, pools: tuple[str, ...] = ()) -> tuple[Hazard, ...]:
        """Say what happens how often to nodes of that many GPUs, in these pools (empty: in all)."""
        factor = self._factor()
        return tuple(
            Hazard(
                share.fault,
                _rate(each).per_node_day(gpus)
                * share.share
                * (factor if _stops_jobs(each) else 1.0),
                source=f"{each.component}, {self._source(each)}",
                pools=pools,
            )
            for each in self.mappings
            for share in each.shares
        )

    def _factor(self) -> float:
        """How much more often than in their own study the job-stopping faults come here."""
        if not self.all_causes[0]:
            return 1.0
        component, source = self.all_causes
        own = sum(_rate(each).per_gpu_hour for each in self.mappings if _stops_jobs(each))
        return tables.rate(component, source).per_gpu_hour / own

    def _source(self, one: Mapping) -> str:
        if self.all_causes[0] and _stops_jobs(one):
            return f"{one.source}, scaled to {self.all_causes[1]}"
        return one.source


def _rate(one: Mapping) -> tables.Rate:
    return tables.rate(one.component, one.source)


def _stops_jobs(one: Mapping) -> bool:
    return one.source == LLAMA3


def _xid(code: int, cure: Remedy = Remedy.NONE, name: str = "") -> Fault:
    return Fault(FaultKind.XID, xid=code, cure=cure, name=name)


REPLACED, REBOOTED, RESET = Remedy.REPLACE, Remedy.REBOOT, Remedy.RESET_GPU

FALLEN_OFF = (
    Share(_xid(79, REPLACED, "GPU lost"), 1 - IN_PLACE),
    Share(_xid(79, REBOOTED, "GPU lost, back after a reboot"), IN_PLACE),
)
MEMORY = (
    Share(_xid(95, RESET, "memory error"), 1 - REMAP_FAILED),
    Share(_xid(64, REPLACED, "memory error, no remap left"), REMAP_FAILED),
)


def _host(component: str) -> Mapping:
    fault = Fault(FaultKind.CRASH, cure=REPLACED, name=f"host dead: {component}")
    because = "the host is down for good; its agent is silent"
    return Mapping(component, Area.HOST, (Share(fault),), because, LLAMA3)


JOB_STOPPING = (
    Mapping(
        "gpu_faulty_incl_nvlink",
        Area.HARDWARE,
        FALLEN_OFF,
        "the GPU leaves the bus (XID 79); a reboot brings back as many as Crusoe recovered",
        LLAMA3,
    ),
    Mapping(
        "gpu_hbm3",
        Area.HARDWARE,
        MEMORY,
        "uncontained memory error (95), or a failed remap (64) in Delta's proportion",
        LLAMA3,
    ),
    Mapping(
        "gpu_sram",
        Area.HARDWARE,
        (Share(_xid(48, RESET, "SRAM error")),),
        "double-bit error (48); a reset clears it",
        LLAMA3,
    ),
    Mapping(
        "gpu_gsp",
        Area.HARDWARE,
        (Share(_xid(119, RESET, "GSP timeout")),),
        "the GPU's firmware does not answer (119); a reset clears it",
        LLAMA3,
    ),
    Mapping(
        "gpu_thermal_sensor",
        Area.HARDWARE,
        (Share(Fault(FaultKind.TEMPERATURE, cure=REPLACED, name="overheating")),),
        "a temperature that the policy has to judge",
        LLAMA3,
    ),
    Mapping(
        "network_switch_cable",
        Area.NETWORK,
        (Share(Fault(FaultKind.NETWORK, lasts=NETWORK_LASTS, name="network away")),),
        "the node cannot be reached for 24 minutes (Greyhound), then it is well. Pessimistic where "
        "agents speak over another network than the job",
        LLAMA3,
    ),
    Mapping(
        "nic",
        Area.NETWORK,
        (Share(Fault(FaultKind.NETWORK, cure=REPLACED, name="NIC dead")),),
        "the node cannot be reached any more",
        LLAMA3,
    ),
    Mapping(
        "host_maintenance_unplanned",
        Area.HOST,
        (Share(Fault(FaultKind.CRASH, lasts=MAINTENANCE_LASTS, name="host maintenance")),),
        "the host is away for 2.2 hours (Delta's mean repair), then its agent starts again",
        LLAMA3,
    ),
    *map(_host, ("ssd", "psu", "chassis", "io_expansion_board", "cpu", "system_memory")),
)

LLAMA3_LEFT_OUT = (
    LeftOut("software_bug", "nothing is wrong with the machine; shows as XID 31", LLAMA3),
    LeftOut("nccl_watchdog_unknown", "no cause is known, and no sensor tells", LLAMA3),
    LeftOut("dependency", "nothing is wrong with the machine", LLAMA3),
    LeftOut("silent_data_corruption", "no sensor notices it", LLAMA3),
    LeftOut("ALL", "the sum of the others", LLAMA3),
)


def _passing(component: str, code: int, because: str, source: str, area: Area) -> Mapping:
    return Mapping(component, area, (Share(_xid(code)),), because, source)


def _application(source: str) -> Mapping:
    because = "the application's fault; whoever replaces the node for it is wrong"
    return _passing("xid31_mmu", 31, because, source, Area.SOFTWARE)


def _harmless(source: str) -> tuple[Mapping, ...]:
    """What logs tell of, and no machine has to be repaired for."""
    return (
        _application(source),
        _passing(
            "xid63_remap_event", 63, "a row was remapped; the GPU works on", source, Area.HARDWARE
        ),
        _passing(
            "xid94_contained", 94, "one application died; the GPU works on", source, Area.HARDWARE
        ),
    )


_TWICE = "would count twice: a job-stopping count of it is used"

H100_LOGS_LEFT_OUT = (
    LeftOut("xid119_gsp", _TWICE, DELTA_H100),
    LeftOut("xid48_dbe", _TWICE, DELTA_H100),
    LeftOut("xid64_remap_fail", _TWICE, DELTA_H100),
    LeftOut("xid95_uncontained", _TWICE, DELTA_H100),
    LeftOut("xid74_nvlink", "none was logged", DELTA_H100),
    LeftOut("xid122_pmu_spi", "none was logged", DELTA_H100),
    LeftOut("uncorrectable_mem_any", "the sum of others", DELTA_H100),
)

A100_LOGS_BROKEN = (
    Mapping(
        "xid119_gsp",
        Area.HARDWARE,
        (Share(_xid(119, RESET, "GSP timeout")),),
        "99% were followed by an error of the GPU; each is taken for one that needs a reset",
        DELTA_A100,
    ),
    Mapping(
        "xid48_dbe",
        Area.HARDWARE,
        (Share(_xid(48, RESET, "double-bit error")),),
        "a reset clears it",
        DELTA_A100,
    ),
    Mapping(
        "xid95_uncontained",
        Area.HARDWARE,
        (Share(_xid(95, RESET, "memory error")),),
        "a reset clears it",
        DELTA_A100,
    ),
    _passing(
        "xid74_nvlink", 74, "the link is trained again; the GPU works on", DELTA_A100, Area.HARDWARE
    ),
    _passing(
        "xid122_pmu_spi", 122, "marked unused by NVIDIA; harm unknown", DELTA_A100, Area.HARDWARE
    ),
)

A100_LOGS_LEFT_OUT = (
    LeftOut("xid64_remap_fail", "none was logged", DELTA_A100),
    LeftOut("uncorrectable_mem_any", "the sum of others", DELTA_A100),
)

A100_JOBS_LEFT_OUT = (
    *LLAMA3_LEFT_OUT,
    *(
        LeftOut(
            each.component, "logged, not job-stopping: all causes are counted already", each.source
        )
        for each in A100_LOGS_BROKEN
    ),
    *A100_LOGS_LEFT_OUT,
)


def _all_causes(name: str, about: str, source: str) -> Profile:
    return Profile(
        name=name,
        about=f"{about} Causes as in Llama 3, application errors as on Delta's A100",
        mappings=(*JOB_STOPPING, *_harmless(DELTA_A100)),
        left_out=A100_JOBS_LEFT_OUT,
        all_causes=("node_failure", source),
    )


PROFILES: dict[str, Profile] = {
    each.name: each
    for each in (
        Profile(
            "h100-2024",
            "H100: job-stopping faults of Llama 3, harmless XIDs as logged on Delta",
            mappings=(*JOB_STOPPING, *_harmless(DELTA_H100)),
            left_out=(*LLAMA3_LEFT_OUT, *H100_LOGS_LEFT_OUT),
        ),
        Profile(
            "a100-delta",
            "A100: every logged error of Delta, an upper bound; no host or network faults",
            mappings=(*A100_LOGS_BROKEN, *_harmless(DELTA_A100)),
            left_out=A100_LOGS_LEFT_OUT,
        ),
        _all_causes("meta-rsc", "A100: 6.5 failures in 1,000 node-days, as RSC-1.", RSC_1),
        _all_causes("meta-rsc-2", "A100: 2.3 failures in 1,000 node-days, as RSC-2.", RSC_2),
        _all_causes("opt-175b", "A100: 14 failures in 1,000 node-days, as OPT-175B.", OPT),
        Profile(
            "b200-lablup",
            "B200: ten GPU failures in 55 days, and nothing else is known",
            mappings=(
                Mapping(
                    "gpu_failure_xid",
                    Area.HARDWARE,
                    FALLEN_OFF,
                    "taken for a GPU that leaves the bus; sparse",
                    LABLUP,
                ),
            ),
        ),
        Profile("none", "nothing ever fails; spot machines are still taken away"),
    )
}
"""Every profile, by name."""


def profile(name: str) -> Profile:
    """Find a profile. Raises `ConfigError` that names those there are."""
    if name not in PROFILES:
        raise ConfigError(f"there is no profile {name!r}, expected one of {', '.join(PROFILES)}")
    return PROFILES[name]


def per_1000_node_days(hazards: Iterable[Hazard], *, broken: bool) -> float:
    """Add up how often 1,000 nodes have something in a day.

    `broken` counts what makes a machine useless for a while, else what harms none.
    """
    return 1000 * sum(each.per_node_day for each in hazards if _breaks(each.fault) is broken)


def _breaks(fault: Fault) -> bool:
    return fault.cure is not Remedy.NONE or fault.lasts is not None
