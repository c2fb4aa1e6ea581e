"""Autoscalers, made from what the configuration says under ``autoscaling``."""

from __future__ import annotations

from typing import assert_never

from navarch.config import autoscaling as written
from navarch.core.scaling.base import Autoscaler
from navarch.core.scaling.composite import CompositeAutoscaler
from navarch.core.scaling.predictive import PredictiveAutoscaler
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.core.scaling.scheduled import ScheduledAutoscaler, ScheduleEntry
from navarch.plugins.protocols import PluginKind
from navarch.wiring import plugins

CUSTOM = plugins.kind(PluginKind.AUTOSCALER)


def autoscaler(config: written.Autoscaling) -> Autoscaler:
    """Make one, with all that it holds.

    Raises `PluginError` when one of somebody else cannot be had or does not fit.
    """
    match config:
        case written.Reactive():
            return ReactiveAutoscaler(
                config.scale_up_at,
                config.scale_down_at,
                config.scale_up_step,
                config.scale_down_step,
            )
        case written.Queue():
            return QueueBasedAutoscaler(config.jobs_per_node)
        case written.Scheduled():
            return _scheduled(config)
        case written.Predictive():
            return _predictive(config)
        case written.Composite():
            return CompositeAutoscaler(
                config.mode, [autoscaler(each) for each in config.autoscalers]
            )
        case written.Custom():
            made: Autoscaler = plugins.make(CUSTOM, config.use, config.config)
            return made
        case _:
            assert_never(config)


def _scheduled(config: written.Scheduled) -> ScheduledAutoscaler:
    entries = [
        ScheduleEntry(
            days_of_week=[written.DAYS.index(day) for day in window.days],
            start_hour=window.start_hour,
            end_hour=window.end_hour,
            min_nodes=window.min_nodes,
            max_nodes=window.max_nodes,
        )
        for window in config.schedule
    ]
    return ScheduledAutoscaler(entries, autoscaler(config.autoscaler), config.timezone)


def _predictive(config: written.Predictive) -> PredictiveAutoscaler:
    fallback = written.Reactive() if config.fallback is None else config.fallback
    return PredictiveAutoscaler(
        lookback=config.lookback_window,
        growth_factor=config.growth_factor,
        fallback=autoscaler(fallback),
        lead_time=config.lead_time,
        target_utilization=config.target_utilization,
    )
