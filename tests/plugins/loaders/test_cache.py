"""The cache of a node: single flight, resuming, sharing, and what is told of it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from doubles.weights_server import WeightsServer
from navarch.core.model.resources import Model
from navarch.errors import CacheFull, ConfigError, ModelError
from navarch.plugins import Manifest, ModelFile, staging_folder
from navarch.plugins.loaders.cache import ModelCache
from navarch.plugins.loaders.file_source import FileSource
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Configured, Registry
from plugins.loaders.conftest import Clock, content, model, noise, until

Make = Callable[..., ModelCache]


def put(folder: Path, **files: bytes) -> str:
    """Write files of a model into a folder and return its address."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, written in files.items():
        (folder / name).write_bytes(written)
    return f"file://{folder}"


async def test_a_model_of_many_files_comes_as_it_is(make_cache: Make, tmp_path: Path) -> None:
    uri = put(tmp_path / "m", a=noise(70_001), b=b"", c=b"{}")
    put(tmp_path / "m" / "deep" / "er", d=noise(4096, 2))
    cache = make_cache()
    folder = await cache.load(model(uri))
    assert content(folder) == content(tmp_path / "m")
    assert folder == cache.path("default/m")
    (seen,) = cache.seen()
    assert (seen.complete, seen.bytes_done, seen.bytes_total) == (True, 74_099, 74_099)
    assert seen.digest == folder.name
    await cache.close()


async def test_loading_again_asks_nobody(make_cache: Make, web: WeightsServer) -> None:
    web.files["w.bin"] = noise(9_000)
    wanted = model(f"{web.url}/w.bin")
    cache = make_cache()
    first = await cache.load(wanted)
    count = len(web.requests)
    assert await cache.load(wanted) == first
    await cache.close()
    again = make_cache()  # as after a restart of the agent
    assert again.path("default/m") == first
    assert await again.load(wanted) == first
    assert len(web.requests) == count
    await again.close()


async def test_two_who_want_a_model_at_once_have_it_fetched_once(
    make_cache: Make, web: WeightsServer
) -> None:
    web.files["w.bin"] = noise(60_000)
    cache, other = make_cache(), make_cache()  # two processes would be two caches of one folder
    wanted = model(f"{web.url}/w.bin")
    folders = await asyncio.gather(*(each.load(wanted) for each in (cache, cache, other, other)))
    assert len(set(folders)) == 1
    assert web.bytes_asked() == 60_000
    await cache.close()
    await other.close()


async def test_a_file_that_two_models_share_is_fetched_and_kept_once(
    make_cache: Make, web: WeightsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big, commits = noise(50_000), {"main": "c1", "next": "c2"}
    web.repos["org/m"] = commits
    for commit in commits.values():
        web.files[f"org/m/{commit}/model.safetensors"] = big
        web.files[f"org/m/{commit}/config.json"] = commit.encode()
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    cache = make_cache()
    one = await cache.load(model("hf://org/m", "one"))
    two = await cache.load(model("hf://org/m@next", "two"))
    assert web.bytes_asked("org/m/c2/model.safetensors") == 0
    assert len({(each / "model.safetensors").stat().st_ino for each in (one, two)}) == 1
    assert (one / "config.json").read_bytes() != (two / "config.json").read_bytes()
    await cache.unload("default/one")
    assert (two / "model.safetensors").read_bytes() == big
    await cache.unload("default/two")
    assert content(tmp_path / "cache") == {"cache.lock": b""}
    await cache.close()


async def test_a_cancelled_load_ends_soon_and_goes_on_later_where_it_was(
    make_cache: Make, web: WeightsServer
) -> None:
    web.files["w.bin"] = noise(100_000)
    cache = make_cache()
    wanted = model(f"{web.url}/w.bin")
    loading = asyncio.create_task(cache.load(wanted))
    await until(lambda: web.bytes_asked() >= 40_000)
    web.gate = threading.Event()
    await asyncio.to_thread(web.reached.wait, 10)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert cache.path("default/m") is None
    assert cache.seen() == ()
    web.gate.set()
    web.gate = None
    before = web.bytes_asked()
    folder = await cache.load(wanted)
    assert (folder / "w.bin").read_bytes() == web.files["w.bin"]
    assert before < 100_000 + 4 * 4096
    assert web.bytes_asked() <= 100_000 + 16 * 1024
    await cache.close()


async def test_progress_tells_how_much_and_how_quickly(
    make_cache: Make, web: WeightsServer, clock: Clock
) -> None:
    web.files["w.bin"] = noise(100_000)
    web.gate = threading.Event()
    cache = make_cache()
    loading = asyncio.create_task(cache.load(model(f"{web.url}/w.bin")))
    await asyncio.to_thread(web.reached.wait, 10)
    (seen,) = cache.seen()
    assert (seen.model, seen.complete, seen.bytes_total) == ("default/m", False, 100_000)
    web.gate.set()
    clock.advance(2)
    await loading
    (seen,) = cache.seen()
    assert seen.complete
    await cache.close()


async def test_a_server_that_breaks_off_is_asked_for_the_rest(
    make_cache: Make, web: WeightsServer
) -> None:
    web.files["w.bin"] = noise(50_000)
    web.broken_off, web.refused = 5, 3
    cache = make_cache()
    folder = await cache.load(model(f"{web.url}/w.bin"))
    assert (folder / "w.bin").read_bytes() == web.files["w.bin"]
    assert web.bytes_asked() <= 50_000 + 5 * 4096
    await cache.close()


async def test_a_source_that_never_comes_back_is_given_up_and_told(
    make_cache: Make, web: WeightsServer
) -> None:
    web.files["w.bin"] = noise(50_000)
    web.refused = 10_000
    cache = make_cache()
    with pytest.raises(ModelError, match="status 503"):
        await cache.load(model(f"{web.url}/w.bin"))
    (seen,) = cache.seen()
    assert "status 503" in seen.problem
    assert not seen.complete
    await cache.unload("default/m")
    assert cache.seen() == ()
    await cache.close()


async def test_a_file_that_changes_meanwhile_is_an_error_and_never_a_mixture(
    make_cache: Make, web: WeightsServer
) -> None:
    web.files["w.bin"] = noise(100_000)
    web.gate = threading.Event()
    cache = make_cache()
    wanted = model(f"{web.url}/w.bin")
    loading = asyncio.create_task(cache.load(wanted))
    await asyncio.to_thread(web.reached.wait, 10)
    web.files["w.bin"] = noise(100_000, 2)
    gate, web.gate = web.gate, None
    gate.set()
    with pytest.raises(ModelError, match="has changed"):
        await loading
    folder = await cache.load(wanted)
    assert (folder / "w.bin").read_bytes() == noise(100_000, 2)
    await cache.close()


async def test_a_server_without_ranges_gives_the_whole_file(
    make_cache: Make, web: WeightsServer
) -> None:
    web.files["w.bin"] = noise(50_000)
    web.has_ranges, web.broken_off = False, 2
    cache = make_cache()
    folder = await cache.load(model(f"{web.url}/w.bin"))
    assert (folder / "w.bin").read_bytes() == web.files["w.bin"]
    await cache.close()


async def test_content_that_is_not_what_the_source_vouches_for_is_never_shown(
    make_cache: Make, web: WeightsServer
) -> None:
    web.files["manifest.json"] = (
        b'{"files": [{"path": "w.bin", "sha256": "' + b"0" * 64 + b'", "size": 9000}]}'
    )
    web.files["w.bin"] = noise(9_000)
    cache = make_cache()
    with pytest.raises(ModelError, match="damaged at its source"):
        await cache.load(model(f"{web.url}/"))
    assert cache.path("default/m") is None
    await cache.close()


async def test_a_full_disk_is_told_and_what_came_is_kept(
    make_cache: Make, web: WeightsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["w.bin"] = noise(50_000)
    cache = make_cache()
    wanted = model(f"{web.url}/w.bin")
    real, writes = os.pwrite, iter(range(10_000))

    def full(fd: int, written: bytes, offset: int) -> int:
        if next(writes) >= 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, written, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(CacheFull, match="the disk of the cache is full"):
        await cache.load(wanted)
    monkeypatch.undo()
    folder = await cache.load(wanted)
    assert (folder / "w.bin").read_bytes() == web.files["w.bin"]
    assert web.bytes_asked() <= 50_000 + 16 * 1024
    await cache.close()


async def test_no_more_than_the_quota_is_kept_and_the_longest_unused_goes_first(
    make_cache: Make, tmp_path: Path, clock: Clock
) -> None:
    cache = make_cache(quota=25_000)
    for number, name in enumerate(("one", "two")):
        await cache.load(model(put(tmp_path / name, w=noise(10_000, number)), name))
        clock.advance(60)
    with cache.lease("default/one"):
        await cache.load(model(put(tmp_path / "three", w=noise(10_000, 3)), "three"))
        assert [each.model for each in cache.seen()] == ["default/one", "default/three"]
        with pytest.raises(CacheFull, match="default/one is in use"):
            await cache.load(model(put(tmp_path / "huge", w=noise(16_000, 4)), "huge"))
        with pytest.raises(ModelError, match="in use"):
            await cache.unload("default/one")
    assert cache.path("default/three") is not None  # nobody goes for one that does not fit
    await cache.load(model(put(tmp_path / "huge", w=noise(20_000, 4)), "huge"))
    assert [each.model for each in cache.seen()] == ["default/huge"]
    with pytest.raises(ModelError, match="is not on this node"), cache.lease("default/one"):
        raise AssertionError("it is gone")
    await cache.close()


async def test_a_pinned_model_stays_until_its_time_has_come(
    make_cache: Make, tmp_path: Path, clock: Clock
) -> None:
    cache = make_cache(quota=15_000)
    uri = put(tmp_path / "one", w=noise(10_000))
    await cache.load(model(uri, "one", pin_duration=timedelta(hours=1)))
    other = model(put(tmp_path / "two", w=noise(10_000, 2)), "two", priority="critical")
    with pytest.raises(CacheFull, match="default/one is pinned until 2026-05-01T01:00:00Z"):
        await cache.load(other)
    clock.advance(3601)
    await cache.load(other)
    assert cache.path("default/one") is None
    await cache.close()


async def test_room_is_reserved_by_what_is_on_its_way(
    make_cache: Make, web: WeightsServer, tmp_path: Path
) -> None:
    web.files["w.bin"] = noise(10_000)
    web.gate = threading.Event()
    cache = make_cache(quota=15_000)
    first = asyncio.create_task(cache.load(model(f"{web.url}/w.bin", "one")))
    await asyncio.to_thread(web.reached.wait, 10)
    with pytest.raises(CacheFull, match="no room for default/two"):
        await cache.load(model(put(tmp_path / "two", w=noise(10_000, 2)), "two"))
    web.gate.set()
    await first
    await cache.close()


async def test_an_address_that_nobody_knows_names_those_who_were_asked(make_cache: Make) -> None:
    cache = make_cache()
    with pytest.raises(ModelError, match=r"no loader can bring 'gopher://x' \(of file, http"):
        await cache.load(model("gopher://x"))
    await cache.close()


class Documented:
    """A loader in the documents' form: it makes files where it is told."""

    name = "documented"
    priority = 5

    def __init__(self) -> None:
        self.unloaded: list[tuple[str, str]] = []

    def can_load(self, model: Model) -> bool:
        return model.spec.weights_uri.startswith("made:")

    async def load(self, model: Model, node: str) -> None:
        if model.spec.weights_uri == "made:nothing":
            return
        (staging_folder() / "deep").mkdir()
        (staging_folder() / "deep" / "w.bin").write_bytes(noise(5_000))
        (staging_folder() / "node").write_text(node)

    async def unload(self, model: Model, node: str) -> None:
        self.unloaded.append((model.spec.weights_uri, node))


async def test_a_loader_of_the_documents_form_gets_a_folder_and_the_cache_does_the_rest(
    make_cache: Make, tmp_path: Path
) -> None:
    loader = Documented()
    cache = make_cache(loaders=[loader], node="gpu-7")
    folder = await cache.load(model("made:well"))
    assert content(folder) == {"deep/w.bin": noise(5_000), "node": b"gpu-7"}
    assert cache.seen()[0].complete
    await cache.unload("default/m")
    assert loader.unloaded == [("made:well", "gpu-7")]
    with pytest.raises(ModelError, match="left nothing in its staging folder"):
        await cache.load(model("made:nothing"))
    await cache.close()


class Streaming:
    """A source that gives its bytes asynchronously, in odd pieces."""

    name = "streaming"
    priority = 0

    def __init__(self, cost: float = 1.0) -> None:
        self._cost = cost
        self.asked = 0

    def cost(self, model: Model) -> float | None:
        return self._cost

    async def resolve(self, model: Model) -> Manifest:
        return Manifest(files=(ModelFile(path="w.bin", size=20_000, tag="1"),), revision="1")

    async def stream(
        self, manifest: Manifest, file: ModelFile, start: int, length: int
    ) -> AsyncIterator[bytes]:
        self.asked += 1
        whole = noise(20_000)[start : start + length]
        for at in range(0, length, 777):
            await asyncio.sleep(0)
            yield whole[at : at + 777]


async def test_a_source_may_be_asynchronous(make_cache: Make) -> None:
    cache = make_cache(loaders=[Streaming()])
    folder = await cache.load(model("any:thing"))
    assert (folder / "w.bin").read_bytes() == noise(20_000)
    await cache.close()


async def test_the_cheaper_loader_is_asked_first_and_the_other_helps_out(
    make_cache: Make, tmp_path: Path
) -> None:
    cheap, dear = FileSource(), Streaming(50)
    cache = make_cache(loaders=[dear, cheap])
    uri = put(tmp_path / "one", w=b"local")
    assert content(await cache.load(model(uri, "one"))) == {"w": b"local"}
    assert dear.asked == 0
    folder = await cache.load(model("file:///not/there", "two"))
    assert (folder / "w.bin").read_bytes() == noise(20_000)
    await cache.close()


LOADER = PluginKind.MODEL_LOADER


class Doubtful(Documented):
    """Does not even say whether it can."""

    name = "doubtful"

    def can_load(self, model: Model) -> bool:
        raise ConnectionError("no index")


class Slow(Documented):
    """Never ends."""

    name = "slow"

    async def load(self, model: Model, node: str) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("uri,first", [("file:///not/there", "file"), ("made:well", "doubtful")])
@pytest.mark.parametrize("on_error", ["", "neutral", "fail_closed"])
async def test_after_one_that_fails_closed_no_other_is_tried(
    make_cache: Make, uri: str, first: str, on_error: str
) -> None:
    held, helper = Registry(), Streaming(50)
    for each in (FileSource(), Doubtful(), helper):
        held.register(LOADER, each)
    held.configure(LOADER, first, Configured(on_error=on_error))
    cache = make_cache(loaders=held)
    if on_error == "fail_closed":
        with pytest.raises(ModelError, match=r"/not/there|doubtful: .*: no index; it"):
            await cache.load(model(uri))
        assert helper.asked == 0
    else:
        assert content(await cache.load(model(uri))) == {"w.bin": noise(20_000)}
    await cache.close()


async def test_a_loader_is_given_up_at_its_own_deadline(make_cache: Make) -> None:
    held = Registry()
    held.register(LOADER, Slow())
    held.configure(LOADER, "slow", Configured(deadline=timedelta(milliseconds=20)))
    cache = make_cache(loaders=held)
    with pytest.raises(ModelError, match=r"loader slow: no answer within 0\.02 s"):
        await cache.load(model("made:well"))
    await cache.close()


def test_a_folder_that_cannot_be_written_is_refused_at_once(
    make_cache: Make, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ConfigError, match="cannot be used for models"):
        make_cache()
