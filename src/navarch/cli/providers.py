"""``provider``: who sells machines, what they sell, and whether they could be bought from.

These commands read the configuration and ask the providers themselves; no control plane is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli import output
from navarch.cli.session import Json, output_format, output_option

if TYPE_CHECKING:
    from navarch.config.schema import Config
    from navarch.providers.base import Provider
    from navarch.wiring.provider_types import Failure, Order, Sold

LISTED = ("NAME", "TYPE", "LAUNCHES", "CALLS/S", "LIST LAG", "TOKENS", "PRICE LIST", "PROBLEM")
TYPES = ("PROVIDER", "TYPE", "ABSTRACT", "GPU", "GPUS", "GPU GB", "VCPUS", "GB", "USD/H", "HAS ONE")
TYPES_WIDE = ("USD/H SPOT", "PRICE FROM", "REGIONS", "NOTE")
CHECKED = ("PROVIDER", "CHECK", "OUTCOME", "TEXT")

ORDERS = ("price", "count", "name")

config_option = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="The configuration that names the providers.",
)


@click.group("provider")
def provider() -> None:
    """Show who sells machines and what, and check credentials."""


@provider.command("list")
@config_option
@output_option
@click.pass_context
def list_providers(context: click.Context, file: Path) -> None:
    """List the configured providers, and what each states about itself. Nobody is asked."""
    import asyncio

    from navarch.config.providers import kind_of
    from navarch.wiring import providers

    config = _config(context, file)
    made, problems = _made(config)
    asyncio.run(providers.close_all(made.values()))
    rows = [
        _facts(name, kind_of(one), made.get(name), problems.get(name, ""))
        for name, one in config.providers.items()
    ]
    if output.for_programs(output_format(context)):
        output.document({"providers": rows}, output_format(context))
        return
    output.table(LISTED, [_listed(row) for row in rows])


def _facts(name: str, kind: str, provider: Provider | None, problem: str) -> Json:
    """Say a provider to programs; null stands for what cannot be known without making it."""
    from navarch.providers.base import InstanceTypeLister, facts_of

    facts = None if provider is None else facts_of(provider)
    return {
        "name": name,
        "type": kind,
        "launchesAtOnce": None if facts is None else facts.launches_at_once,
        "callsPerSecond": None if facts is None else round(facts.calls_per_second, 3),
        "listLagSeconds": None if facts is None else facts.list_lag.total_seconds(),
        "honoursTokens": None if facts is None else facts.honours_tokens,
        "showsTypes": None if provider is None else isinstance(provider, InstanceTypeLister),
        "problem": problem,
    }


def _listed(row: Json) -> tuple[str, ...]:
    if row["problem"]:
        return row["name"], row["type"], "", "", "", "", "", row["problem"]
    return (
        row["name"],
        row["type"],
        str(row["launchesAtOnce"]),
        f"{row['callsPerSecond']:g}",
        f"{row['listLagSeconds']:g}s",
        "yes" if row["honoursTokens"] else "no",
        "yes" if row["showsTypes"] else "no",
        "",
    )


@provider.command("types")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Ask the providers of this configuration.  [default: the built-in catalogue]",
)
@click.option("--gpu", default="", metavar="MODEL", help="Only these GPUs, such as h100.")
@click.option("--count", type=click.IntRange(0, 64), help="Only machines with so many GPUs.")
@click.option(
    "--sort",
    type=click.Choice(ORDERS),
    default="price",
    help="What comes first.  [default: price]",
)
@output_option
@click.pass_context
def types(
    context: click.Context, file: Path | None, gpu: str, count: int | None, sort: Order
) -> None:
    """List the types that providers sell, with prices.

    A price that a provider does not say is the catalogue's, read on the day that is named.
    """
    from navarch.wiring import provider_types

    failures: list[Failure] = []
    if file is None:
        sold = provider_types.in_catalogue()
    else:
        sold, failures = _sold(_config(context, file))
    kept = provider_types.chosen(sold, gpu=gpu, count=count, sort=sort)
    form = output_format(context)
    if output.for_programs(form):
        problems = [{"provider": one.provider, "because": one.because} for one in failures]
        output.document({"types": [_type(one) for one in kept], "failures": problems}, form)
    else:
        wide = form == "wide"
        headers = (*TYPES, *TYPES_WIDE) if wide else TYPES
        output.table(headers, [_type_row(one, wide=wide) for one in kept])
        for one in failures:
            output.note(f"{one.provider}: {one.because}")
    context.exit(1 if failures else 0)


def _sold(config: Config) -> tuple[list[Sold], list[Failure]]:
    import asyncio

    from navarch.config.providers import kind_of
    from navarch.wiring import provider_types, providers

    made, problems = _made(config)
    kinds = {name: kind_of(one) for name, one in config.providers.items()}

    async def ask() -> tuple[list[Sold], list[Failure]]:
        try:
            return await provider_types.sold_by(made, kinds)
        finally:
            await providers.close_all(made.values())

    sold, failures = asyncio.run(ask())
    unmade = [provider_types.Failure(name, text) for name, text in problems.items()]
    return sold, unmade + failures


def _type(one: Sold) -> Json:
    return {
        "provider": one.provider,
        "type": one.type,
        "abstract": one.abstract,
        "gpu": one.gpu,
        "gpuCount": one.gpu_count,
        "gpuMemoryGb": one.gpu_memory_gb,
        "vcpus": one.vcpus,
        "memoryGb": one.memory_gb,
        "priceUsdPerHour": one.price_usd_per_hour,
        "priceFrom": one.price_from,
        "spotPriceUsdPerHour": one.spot_price_usd_per_hour,
        "available": one.available,
        "regions": list(one.regions),
        "note": one.note,
    }


def _type_row(one: Sold, *, wide: bool) -> tuple[str, ...]:
    has_one = {True: "yes", False: "no", None: ""}[one.available]
    numbers = (one.gpu_memory_gb, one.vcpus, one.memory_gb)
    row = (
        one.provider,
        one.type,
        one.abstract,
        one.gpu,
        str(one.gpu_count),
        *("" if number is None else str(number) for number in numbers),
        _price(one.price_usd_per_hour),
        has_one,
    )
    if not wide:
        return row
    more = (one.price_from, " ".join(one.regions), one.note)
    return *row, _price(one.spot_price_usd_per_hour), *more


def _price(price: float | None) -> str:
    return "" if price is None else f"{price:.2f}"


@provider.command("check")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@config_option
@output_option
@click.pass_context
def check(context: click.Context, names: tuple[str, ...], file: Path) -> None:
    """Try credentials and clocks, and what the clouds tell of rights and quotas.

    Nothing is bought. Without a NAME all providers are tried. The exit code is 1 when a check has
    failed.
    """
    import asyncio

    from navarch.controlplane.clock import RealClock
    from navarch.wiring import provider_checks

    config = _config(context, file)
    unknown = [name for name in names if name not in config.providers]
    if unknown:
        have = ", ".join(config.providers) or "none"
        raise click.UsageError(f"no such provider: {unknown[0]}; {file} has {have}", context)
    checks = asyncio.run(provider_checks.examined(config, RealClock(), names))
    failed = [one for one in checks if one.outcome == "failed"]
    form = output_format(context)
    if output.for_programs(form):
        found = [
            {"provider": one.provider, "check": one.what, "outcome": one.outcome, "text": one.text}
            for one in checks
        ]
        output.document({"checks": found, "passed": not failed}, form)
    else:
        rows = [(one.provider, one.what, _word(one.outcome), one.text) for one in checks]
        output.table(CHECKED, rows)
    context.exit(1 if failed else 0)


def _word(outcome: str) -> str:
    return "FAILED" if outcome == "failed" else outcome


def _config(context: click.Context, file: Path) -> Config:
    """Read the configuration; end the command, with every mistake on a line, where it has any."""
    from navarch.config import load

    found = load.examine(file)
    for fault in found.faults:
        output.note(str(fault))
    if found.config is None:
        context.exit(1)
    return found.config


def _made(config: Config) -> tuple[Mapping[str, Provider], Mapping[str, str]]:
    """Make all providers, and say of those that cannot be made why not."""
    from navarch.controlplane.clock import RealClock
    from navarch.errors import ConfigError, NavarchError
    from navarch.providers.base import facts_of
    from navarch.wiring import providers

    around = providers.Surroundings(clock=RealClock(), data=config.server.data)
    made: dict[str, Provider] = {}
    problems: dict[str, str] = {}
    for name, one in config.providers.items():
        try:
            provider = providers.make_provider(name, one, around)
            facts_of(provider)
            made[name] = provider
        except ConfigError as error:
            problems[name] = error.message
        except NavarchError as error:
            problems[name] = str(error)
    return made, problems
