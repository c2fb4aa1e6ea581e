"""How patient the decisions are: every duration and limit they use, with its reason."""

from __future__ import annotations

from datetime import timedelta

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
    """How long a node that is too many may take to drain before it is ended all the same."""
    price_age_max: timedelta = timedelta(minutes=10)
    """How old a price list may get before it is read again, where prices matter."""
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
