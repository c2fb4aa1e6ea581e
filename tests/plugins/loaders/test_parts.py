"""Parts, manifests and evictions: what survives damage, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.core.model.resources import CachePolicy
from navarch.errors import ModelError
from navarch.plugins.loaders.base import Manifest, ModelFile, checked, content_digest
from navarch.plugins.loaders.eviction import Resident, plan
from navarch.plugins.loaders.part import Part, records
from plugins.loaders.conftest import noise

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def filled(folder: Path) -> bytes:
    """Leave a part of ten chunks and a half in a folder."""
    whole = noise(10_752)
    part = Part(folder, 0, len(whole), 1024)
    for number in range(part.count):
        part.write(number, memoryview(whole)[number * 1024 : (number + 1) * 1024])
    part.close()
    return whole


def missing(folder: Path) -> list[int]:
    part = Part(folder, 0, 10_752, 1024)
    found = part.missing()
    part.close()
    return found


def test_what_was_recorded_is_found_again(tmp_path: Path) -> None:
    filled(tmp_path)
    assert missing(tmp_path) == []


def test_content_that_a_power_cut_tore_is_fetched_again(tmp_path: Path) -> None:
    filled(tmp_path)
    with (tmp_path / "0.part").open("r+b") as file:
        file.seek(3 * 1024 + 500)
        file.write(b"\0" * 800)
    assert missing(tmp_path) == [3, 4]
    (tmp_path / "0.part").write_bytes(noise(10_752)[:5_000])
    assert missing(tmp_path) == [3, 4, 5, 6, 7, 8, 9, 10]


@given(cut=st.integers(0, 176), noise_=st.binary(max_size=40))
def test_records_that_were_torn_cost_their_chunks_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise_: bytes
) -> None:
    folder = tmp_path_factory.mktemp("part")
    filled(folder)
    log = folder / "0.chunks"
    kept = log.read_bytes()[:cut]
    log.write_bytes(kept + noise_)
    assert missing(folder) == list(range(cut // 16, 11))
    assert len(log.read_bytes()) == cut // 16 * 16
    assert len(records(log.read_bytes())) == cut // 16


PATHS = st.text(
    st.characters(codec="utf-8") | st.sampled_from(list("/\\.\0\n")), max_size=20
) | st.sampled_from(["../x", "/etc/passwd", "a/../../b", "a//b", ".", "a/.", "x" * 256, ""])


@given(paths=st.lists(PATHS, max_size=6), size=st.integers(-5, 10))
def test_no_listing_leads_out_of_the_folder_of_its_model(paths: list[str], size: int) -> None:
    try:
        manifest = checked(Manifest(files=tuple(ModelFile(each, size) for each in paths)))
    except ModelError:
        return
    assert size >= 0
    root = Path("/models/m")
    for file in manifest.files:
        target = (root / file.path).resolve()
        assert target.is_relative_to(root)
        assert target != root
        assert target.relative_to(root).as_posix() == file.path
    assert len({each.path for each in manifest.files}) == len(paths)


@pytest.mark.parametrize(
    "paths, text",
    [
        ((), "has no files"),
        (("a", "a"), "is named twice"),
        (("a", "a/b"), "'a' is a file and a folder"),
        (("../a",), "leaves the folder"),
        (("a\nb",), "cannot be printed"),
    ],
)
def test_a_listing_is_refused_with_its_reason(paths: tuple[str, ...], text: str) -> None:
    with pytest.raises(ModelError, match=text):
        checked(Manifest(files=tuple(ModelFile(each, 1) for each in paths)))


def test_the_same_contents_from_two_places_are_the_same_model() -> None:
    vouched = ModelFile("w", 1, sha256="a" * 64, tag="x")
    one = Manifest(files=(vouched,), revision="1", origin="http://a")
    two = Manifest(files=(ModelFile("w", 1, sha256="a" * 64, tag="y"),), origin="s3://b")
    assert one.identity == two.identity
    tagged = Manifest(files=(ModelFile("w", 1, tag="x"),), origin="http://a")
    moved = Manifest(files=(ModelFile("w", 1, tag="x"),), origin="http://b")
    changed = Manifest(files=(ModelFile("w", 1, tag="y"),), origin="http://a")
    assert len({tagged.identity, moved.identity, changed.identity}) == 3


def test_the_digest_is_that_of_sha256sum() -> None:
    # printf 'b94d…  w\n' | sha256sum
    known = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
    assert content_digest([("w", known)]) == content_digest(iter([("w", known)]))
    assert content_digest([("a", known), ("b", known)]) == content_digest(
        [("b", known), ("a", known)]
    )


def resident(name: str, size: int, age: int, **policy: object) -> Resident:
    shaped = CachePolicy(**policy)  # type: ignore[arg-type]
    return Resident(name, {name: size}, shaped, NOW - timedelta(hours=age))


def test_the_lowest_priority_goes_first_and_then_the_longest_unused() -> None:
    residents = [
        resident("old", 10, 9),
        resident("new", 10, 1),
        resident("low", 10, 0, priority="low"),
        resident("kept", 10, 99, eviction_policy="never"),
        resident("busy", 10, 99),
    ]

    def evicted(needed: int) -> tuple[str, ...]:
        return plan(
            residents,
            needed=needed,
            wanted=CachePolicy(),
            in_use={"busy"},
            keep=(),
            now=NOW,
        ).evicted

    assert evicted(0) == ()
    assert evicted(5) == ("low",)
    assert evicted(15) == ("low", "old")
    assert evicted(30) == ("low", "old", "new")
    assert evicted(31) == ()


def test_a_model_gives_way_to_higher_priority_only_if_its_policy_says_so() -> None:
    residents = [resident("m", 10, 5, eviction_policy="low-priority", priority="medium")]
    for priority, goes in (("low", False), ("medium", False), ("high", True)):
        wanted = CachePolicy(priority=priority)  # type: ignore[arg-type]
        chosen = plan(residents, needed=5, wanted=wanted, in_use=(), keep=(), now=NOW)
        assert bool(chosen.evicted) is goes
        if not goes:
            told = "m has priority medium and gives way to a higher one only"
            assert (chosen.missing, chosen.kept) == (5, (told,))


def test_a_file_of_two_models_comes_free_with_the_last_model_that_has_it() -> None:
    shared = {"base": 100}
    residents = [
        Resident("a", {**shared, "a": 1}, CachePolicy(), NOW - timedelta(hours=3)),
        Resident("b", {**shared, "b": 1}, CachePolicy(), NOW - timedelta(hours=2)),
    ]
    both = plan(residents, needed=50, wanted=CachePolicy(), in_use=(), keep=(), now=NOW)
    assert both.evicted == ("a", "b")
    kept = plan(residents, needed=50, wanted=CachePolicy(), in_use=(), keep=("base",), now=NOW)
    assert (kept.evicted, kept.missing) == ((), 48)
