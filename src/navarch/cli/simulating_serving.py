"""``simulate serving``: load, replicas, nodes and clouds in one loop, in virtual time."""

from __future__ import annotations

import click

from navarch.cli import output


@click.command("serving")
@click.option("--seed", type=int, default=None, help="Run this world, and tell every fact of it.")
@click.option(
    "--seeds",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    help="Run so many worlds.",
)
@click.option("--first", type=int, default=0, show_default=True, help="The first of them.")
@click.pass_context
def serving(context: click.Context, seed: int | None, seeds: int, first: int) -> None:
    """Run worlds in which load makes replicas, and replicas make machines.

    Machines die, agents forget, weights do not come and the control plane is killed, as the seed
    draws it. In the end the load goes away, and everything must be given back.
    """
    from navarch.simulator.replicas import sweeping

    if seed is not None:
        good = sweeping.tell(seed, output.line)
    else:
        good = sweeping.sweep(first, seeds, output.line) == 0
    context.exit(0 if good else 1)
