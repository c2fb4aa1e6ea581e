"""How patient the decisions are: every duration and limit they use, with its reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from msgspec import Struct


class Settings(Struct, frozen=True):
    """Durations and limits of the core. They are not facts: a restart may change them."""

    heartbeat_interval: timedelta = timedelta(seconds=30)
    """How often agents are told to speak. Thirty seconds, as the existing agents do."""
    health_check_interval: timedelta = timedelta(seconds=60)
    """How often agents are told to run their checks."""
    enabled_health_checks: tuple[str, ...] = ("boot", "nvml", "xid")
    """Which checks agents are told to run."""
    missed_heartbeats: int = 3
    """Heartbeats a node may miss before it is lost.

    Three: one may be lost to a network hiccup, two to a restart of ours; the third is news.
    """
    provisioning_timeout: timedelta = timedelta(minutes=10)
    """How long a launch may stay without an outcome. Clouds answer within 5 minutes or never."""
    registration_timeout: timedelta = timedelta(minutes=10)
    """How long a launched machine may take to register: the documents' default."""
    termination_retry: timedelta = timedelta(seconds=60)
    """How long an accepted termination may stay without effect before it is asked for again."""
    inventory_interval: timedelta = timedelta(seconds=60)
    """How often a provider's list is read when nothing waits for it."""
    inventory_interval_urgent: timedelta = timedelta(seconds=10)
    """How often it is read while something does: Lambda Cloud allows one request a second."""
    witness_gap: timedelta = timedelta(seconds=15)
    """How far apart two inventories must be to count as two witnesses."""
    effect_retry: timedelta = timedelta(seconds=10)
    """How long to wait before a termination that could not even be asked for is tried again."""
    command_timeout: timedelta = timedelta(minutes=30)
    """How long a command may stay unfinished: level 3 diagnostics take 15 minutes."""
    commands_pending_max: int = 100
    """Unfinished commands a node may have."""
    external_nodes_max: int = 10_000
    """Nodes that we did not launch which may register."""
    retain_terminated: timedelta = timedelta(hours=24)
    """How long ended instances, nodes and commands are kept: the documents' default."""
    retry_base: timedelta = timedelta(seconds=5)
    """The wait after the second launch in a row that gave no node; it doubles from there."""
    retry_max: timedelta = timedelta(minutes=5)
    """The longest wait between launches of a pool in trouble."""
    stock_out_base: timedelta = timedelta(seconds=30)
    """How long an offer is left alone after its first stock-out; it doubles from there.

    Thirty seconds: the next offer is asked at once, and a cloud's capacity changes in minutes.
    """
    stock_out_max: timedelta = timedelta(minutes=15)
    """The longest time for which an offer is left alone."""
    provider_block: timedelta = timedelta(minutes=15)
    """How long a provider is left alone that refuses our credentials or our quota: somebody has
    to do something about it, and one try a quarter of an hour tells when they have."""
    drain_timeout: timedelta = timedelta(minutes=15)
    """How long a drain may take before what it was for is done all the same."""
    price_age_max: timedelta = timedelta(minutes=10)
    """How old a price list may get before it is read again, where prices matter."""
    report_fold: timedelta = timedelta(seconds=10)
    """For how long repetitions of what a node has just reported are gathered into one fact.

    A storm of one fault is then six facts a minute, whatever the node sends. Reports that follow
    one another more closely do not confirm each other: they are of one cascade.
    """
    probation: timedelta = timedelta(minutes=10)
    """How long a repaired node has to be clean: most failures after an intervention come within
    10 minutes (73%, Aegis, read November 2026)."""
    probation_max: timedelta = timedelta(hours=1)
    """After how long without enough clean reports a repair counts as failed."""
    reset_timeout: timedelta = timedelta(minutes=5)
    """How long a GPU reset may take; it takes seconds."""
    reboot_timeout: timedelta = timedelta(minutes=20)
    """How long a reboot may take: large servers test their memory for many minutes."""
    relapse_window: timedelta = timedelta(hours=24)
    """For how long a repair that was tried is not tried again, the next rung being due instead:
    two reboots in a day, then inspection, is what gpud does (read November 2026)."""
    attempts_max: int = 3
    """Repairs of one node within `relapse_window`; then a person has to look."""
    workload_manager: bool = False
    """Whether a workload manager is told of cordons and drains, and says when a node is empty."""
    drain_poll: timedelta = timedelta(seconds=10)
    """How often it is asked whether a drain is done."""
    drain_overrun: Literal["end", "wait"] = "end"
    """What follows a drain that takes longer than `drain_timeout`: go on, or wait for ever."""
    refusal_retry: timedelta = timedelta(minutes=5)
    """How long to wait before telling the workload manager again what it has refused."""
    replica_retry_base: timedelta = timedelta(seconds=5)
    """How long a replica waits after it could not be started; it doubles from there."""
    replica_retry_max: timedelta = timedelta(minutes=5)
    """The longest such wait."""
    replica_unheard: timedelta = timedelta(seconds=30)
    """How long an agent may not name a replica that it was told to start, before it is told again:
    one heartbeat interval."""
    replicas_surge_percent: float = 25.0
    """How many replicas above the target are started at one time to take the place of others that
    are to run in another way: a quarter, as Kubernetes' deployments do (read November 2026)."""
    replicas_requested_max: int = 1_000
    """Replicas that are requested in one step."""
    clean_reports_to_heal: int = 3
    """Clean reports in a row that end a bad verdict.

    Three: a fault that comes and goes between two checks should not flap.
    """

    @property
    def silence_max(self) -> timedelta:
        """How long a node may be silent before it is lost."""
        return self.heartbeat_interval * self.missed_heartbeats

    @property
    def lost_grace(self) -> timedelta:
        """How long a node stays lost before it is condemned: one heartbeat interval.

        Nodes that are cut off together are found silent up to one interval apart, and the brake
        must see all of them before the first is condemned.
        """
        return self.heartbeat_interval
