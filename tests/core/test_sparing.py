"""Equal texts of records are kept once, and nobody can tell but by the memory."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from factories import START, a_fleet, a_node, an_instance, name
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model.fleet import Fleet
from navarch.core.model.gpu import GPU
from navarch.core.model.node import Metadata, Node
from navarch.core.model.sparing import Sparing

WORDS = st.text(max_size=6)
GPUS = st.builds(GPU, st.integers(0, 7), WORDS, WORDS, WORDS, st.integers(0, 2**40), WORDS, WORDS)


def a_registration(n: int) -> ev.NodeRegistered:
    """Return the fact of a node, read from bytes of its own."""
    gpus = tuple(
        GPU(at, f"GPU-{n}-{at}", "NVIDIA H100", f"0000:{at}B", 80 << 30, "550.54", "12.4")
        for at in range(2)
    )
    labels = {"rack": "r7"}
    fact = ev.NodeRegistered(
        START,
        name(n),
        provider="alpha",
        region="east-of-eden",
        instance_type="gpu_8x_h100",
        pool="training",
        instance_id=name(n),
        gpus=gpus,
        metadata=Metadata(f"host-{n}", kernel_version="6.8.0-52-generic", labels=labels),
    )
    decoded = ev.decode(ev.encode(fact))
    assert isinstance(decoded, ev.NodeRegistered)
    return decoded


def assert_spared(one: Node, other: Node) -> None:
    assert one.region is other.region
    assert one.instance_type is other.instance_type
    assert one.instance_id is one.id
    assert one.metadata.kernel_version is other.metadata.kernel_version
    assert one.metadata.labels["rack"] is other.metadata.labels["rack"]
    for gpu, twin in zip(one.gpus, other.gpus, strict=True):
        assert gpu.name is twin.name
        assert gpu.pci_bus_id is twin.pci_bus_id
        assert gpu.memory_total is twin.memory_total
        assert gpu.uuid != twin.uuid


def test_nodes_that_register_share_their_texts_and_after_a_restart_too() -> None:
    fleet = Fleet()
    for n in (1, 2):
        fold.apply(fleet, a_registration(n))
    assert_spared(fleet.nodes[name(1)], fleet.nodes[name(2)])
    again = fleets.decode(fleets.encode(fleet))
    assert again == fleet
    assert_spared(again.nodes[name(1)], again.nodes[name(2)])


@given(
    st.lists(GPUS, max_size=4),
    st.dictionaries(WORDS, WORDS, max_size=3),
    WORDS,
    st.integers(0, 5),
)
def test_a_record_that_was_spared_says_the_same(
    gpus: list[GPU], labels: dict[str, str], word: str, known_max: int
) -> None:
    sparing = Sparing(known_max)
    for n in (1, 2, 1):
        node = a_node(n, gpus=tuple(gpus), metadata=Metadata(word, labels=labels), region=word)
        assert sparing.node(replace(node)) == node
        instance = an_instance(n, zone=word, because=word)
        assert sparing.instance(replace(instance)) == instance


def test_what_is_known_is_bounded() -> None:
    sparing = Sparing(known_max=10)
    for n in range(100):
        sparing.instance(an_instance(1, zone=f"zone-{n}"))
    assert len(sparing._texts) <= 11  # noqa: SLF001 - nothing shows it but the memory


def test_the_collector_leaves_the_records_of_nodes_alone() -> None:
    fleet = a_fleet(3)
    records = [*fleet.nodes.values(), *fleet.instances.values()]
    assert not any(map(gc.is_tracked, records))
