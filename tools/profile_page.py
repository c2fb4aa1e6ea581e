"""Writes ``docs/simulation-profiles.md``: what each profile of faults makes of the published rates.

Run it as ``python tools/profile_page.py`` after the tables or the profiles have changed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from navarch.core.model.finding import Remedy
from navarch.simulator.whatif import listing, rates
from navarch.simulator.whatif.profiles import PROFILES, Profile
from navarch.simulator.whatif.sellers import BOOTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from navarch.simulator.whatif.profiles import Mapping, Share

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "simulation-profiles.md"

OPENING: Final = """\
# What fails in simulations, how often, and where that is from

A profile says which faults come how often in what-if runs ([what-if.md](what-if.md)).
`navarch simulate profiles` lists them. Written by `python tools/profile_page.py` from
`navarch.simulator.whatif`; a test sees that it is up to date. The rates and their studies are in
`src/navarch/simulator/whatif/data`.

**Job-stopping interruptions and logged error events are different things.** The first are what a
large job died of (Llama 3), or all that took nodes out of service (RSC, OPT). The second are lines
in logs (Delta): most stop nothing, and one broken GPU may log thousands. So where a profile has
job-stopping counts, broken machines come from those alone, and logs add only what breaks none,
above all XID 31, an application's fault that a careless policy would replace nodes for.

Every fault comes at a constant rate to nodes that chance picks. What that leaves out: errors come
in clusters, few nodes have most of them (on Lablup's fleet 3 of 63 nodes took more than half of
all exclusions), and switches take many nodes at once. Rates of less than ten events in a study are
guesses. Per 1,000 days of a node of 8 GPUs:
"""


def page() -> str:
    """Write the page."""
    lines = [OPENING, *_table(listing.HEADERS, listing.rows()), ""]
    for profile in PROFILES.values():
        if profile.mappings:
            lines += _section(profile)
    lines += ["## Boot times", "", "By kind of provider; read November 2026.", ""]
    lines += _table(("provider", "median", "slowest 1%", "never speaks", "from"), _boots())
    lines += ["", "## Spot markets", "", SPOT, ""]
    lines += _table(listing.SPOT_HEADERS, listing.spot_rows())
    return "\n".join(lines) + "\n"


SPOT: Final = """\
Measured over the traces that the authors of SkyPilot publish (AWS and GCP, 2022 and 2023; no H100
is among them). Of the lost machines 92% go together, because the market closes; it stays closed for
as long as makes the recorded share of time. The others go one at a time. `median` is the middle of
all traces in which machines were lost."""


def _section(profile: Profile) -> Iterator[str]:
    yield f"## {profile.name}"
    yield ""
    yield f"{profile.about}."
    if profile.all_causes[0]:
        whole = rates.rate(*profile.all_causes)
        yield (
            f"Its job-stopping faults are scaled together to {whole.per_1000_8gpu_node_days:g}, "
            f"the rate of {profile.all_causes[1]}."
        )
    yield ""
    yield from _table(
        ("rate", "study", "of", "fault", "put right by", "per 1,000 node-days", "why"),
        list(_rows(profile)),
    )
    yield ""
    if profile.left_out:
        yield "Left out:"
        yield ""
        for each in profile.left_out:
            yield f"- `{each.component}` ({each.source}): {each.because}"
        yield ""


def _rows(profile: Profile) -> Iterator[list[str]]:
    hazards = iter(profile.hazards(8))
    for mapping in profile.mappings:
        for share in mapping.shares:
            rate = next(hazards).per_node_day * 1000
            yield _row(mapping, share, rate)


def _row(mapping: Mapping, share: Share, rate: float) -> list[str]:
    fault = share.fault
    shown = f"XID {fault.xid}" if fault.xid else fault.kind.value
    part = "" if share.share == 1 else f" ({share.share:.0%})"
    cure = fault.cure.value
    if fault.cure is Remedy.NONE:
        minutes = 0 if fault.lasts is None else fault.lasts.total_seconds() / 60
        cure = f"time: {minutes:g} min" if minutes else "nothing is broken"
    return [
        f"`{mapping.component}`",
        mapping.source.partition(" (")[0],
        mapping.area.value,
        shown + part,
        cure,
        f"{rate:.3f}",
        mapping.because,
    ]


def _boots() -> list[list[str]]:
    rows = []
    for kind, boot in BOOTS.items():
        median = boot.time.median.total_seconds()
        slow = median * 2.718281828 ** (2.326 * boot.time.spread)
        never = f"{boot.never:.1%}"
        rows.append([kind, f"{median:g} s", f"{slow:.0f} s", never, boot.source])
    return rows


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headers)} |"
    yield f"|{'---|' * len(headers)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def main() -> int:
    """Write the page, and say so."""
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
