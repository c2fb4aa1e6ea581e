"""What a place costs, and how long it takes until a replica serves there."""

from __future__ import annotations

import math
import re
from typing import Final

import numpy as np

from navarch.core.model.resources import AgentPool
from navarch.core.serving.scheduling.batch import Easing, Floats, changed
from navarch.core.serving.scheduling.gpus import ask_of
from navarch.core.serving.scheduling.nodes import Asked, Static
from navarch.core.serving.scheduling.snapshot import UNIT, Ints, Snapshot
from navarch.core.serving.views import Pod

RATE: Final = 250e6
"""Bytes a second that a node is taken to load weights with which has not loaded any: two gigabits,
a fifth of a network card of ten."""
HALF: Final = 60.0
"""Seconds of loading that halve the score."""
UNKNOWN: Final = 25.0
"""The score of a node that lacks weights of unknown size."""
SLICES: Final = 7
"""Parts that a GPU can be divided into at most: ``max_gpu_instances`` of NVIDIA's profiles
(nvidia.github.io/k8s-test-infra/mig, read November 2026)."""
_SLICES_OF = re.compile(r"(\d+)[gc]")


def price_of(pod: Pod, snapshot: Snapshot) -> Floats:
    """Say by row what the pod's share of the node costs, in US dollars an hour; 0: not known.

    The share is that of the node's GPUs; of a slice, its sevenths of one. What asks for no GPU
    costs nothing.
    """
    ask = ask_of(pod)
    gpus = ask.count * ask.units / UNIT
    if ask.kind == "mig":
        found = _SLICES_OF.search(pod.mig_profile)
        gpus = ask.count * min(int(found[1]) if found else SLICES, SLICES) / SLICES
    price: Floats = snapshot.price * gpus / np.maximum(snapshot.slot_count, 1)
    return price


class Price(Static):
    """Lets pods only where their share costs no more than they may; prefers what is cheap.

    The score is the cheapest known price of any node in percent of this node's; 0 where the price
    is not known.
    """

    name = "price"
    priority = 1040
    weight = 0.5
    filters = True
    scores = True
    essential = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Asked | None:
        """Work out every node's price."""
        price = price_of(pod, snapshot)
        if not price.any() and not (pod.cost_max and ask_of(pod).count):
            return None
        known = price > 0
        cheapest = price[known].min(initial=math.inf)
        scores = np.where(known, 100.0 * cheapest / np.where(known, price, 1.0), 0.0)
        codes = np.zeros(len(snapshot), dtype=np.int64)
        if pod.cost_max:
            codes[price > pod.cost_max] = 1
            codes[~known] = 2
        texts = (f"costs more than ${pod.cost_max:g} an hour", "price not known")
        return Asked(codes, texts, scores)

    def easings(self, pod: Pod, state: Asked, snapshot: Snapshot, rows: Ints) -> list[Easing]:
        """Allow what the cheapest of these nodes costs, rounded up to a cent; or anything."""
        price = price_of(pod, snapshot)[rows]
        above = price[price > pod.cost_max]
        if not len(above):
            return [changed(pod, "cost", "set no maxCostPerHour", math.inf, cost_max=0.0)]
        least = math.ceil(float(above.min()) * 100) / 100
        text = f"raise maxCostPerHour to ${least:.2f}"
        return [changed(pod, "cost", text, least, cost_max=least)]


class Spot(Static):
    """Lets pods on machines that may be taken away only where they may run there."""

    name = "spot"
    priority = 1030
    filters = True
    essential = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Asked | None:
        """Look at every node."""
        if pod.spot_allowed:
            return None
        return Asked(np.where(snapshot.spot, 1, 0), ("spot machine",))

    def easings(self, pod: Pod, state: Asked, snapshot: Snapshot, rows: Ints) -> list[Easing]:
        """Allow them."""
        return [changed(pod, "spot", "allow spot machines", spot_allowed=True)]


class ModelCache(Static):
    """Prefers nodes where a replica is ready soon: those whose disk holds its weights.

    The score is 100 where they are there, 50 after a minute of loading, 9 after ten:
    100 / (1 + seconds / 60), by the rate with which the node has loaded weights lately.
    """

    name = "model-cache"
    scores = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Asked | None:
        """Work out the seconds for every node."""
        if not pod.model:
            return None
        here = snapshot.has_model(pod.model)
        if not pod.model_bytes:
            return Asked(scores=np.where(here, 100.0, UNKNOWN))
        return Asked(scores=100.0 / (1 + seconds_to_load(pod, snapshot) / HALF))


def seconds_to_load(pod: Pod, snapshot: Snapshot) -> Floats:
    """Say by row how long loading the weights will take; 0 where they are there."""
    rate = np.where(snapshot.fetch > 0, snapshot.fetch, RATE)
    seconds: Floats = np.where(snapshot.has_model(pod.model), 0.0, pod.model_bytes / rate)
    return seconds


class Regions(Static):
    """Prefers nodes in the regions where the data is: 100 there, 0 elsewhere."""

    name = "data-regions"
    weight = 0.5
    scores = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Asked | None:
        """Compare each region once."""
        if not pod.data_regions:
            return None
        good = [100.0 if region in pod.data_regions else 0.0 for region in snapshot.regions]
        return Asked(scores=np.array(good, dtype=np.float64)[snapshot.region])
