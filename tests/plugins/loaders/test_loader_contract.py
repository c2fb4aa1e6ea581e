"""The built-in sources of models keep what every loader must, as a node's cache uses them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from doubles.weights_server import WeightsServer
from navarch.core.model.resources import Model
from navarch.plugins.loaders import BUILT_IN
from navarch.plugins.loaders.cache import ModelCache
from navarch.plugins.loaders.fetching import Fetching
from navarch.plugins.loaders.file_source import FileSource
from navarch.plugins.loaders.http_source import HttpSource
from navarch.plugins.loaders.hub_source import HubSource
from navarch.plugins.loaders.s3_source import S3Source
from navarch.testing import MakePlugin, ModelLoaderContract
from navarch.testing.model_loader_contract import files_below


def _now() -> datetime:
    return datetime(2026, 5, 1, tzinfo=UTC)


HOW = Fetching(workers=4, range_bytes=256 * 1024, chunk_bytes=16 * 1024, backoff=0.001)


class InCache:
    """A source, and a cache that fetches by it."""

    def __init__(self, source: Any, folder: Path) -> None:  # noqa: ANN401 - of any kind
        self.source, self.folder = source, folder
        self.name, self.priority = source.name, source.priority

    def can_load(self, model: Model) -> bool:
        """As the source says."""
        return bool(self.source.can_load(model))

    async def load(self, model: Model, node: str) -> None:
        """Load into the cache's folder."""
        cache = self._cache(node)
        try:
            await cache.load(model)
        finally:
            await cache.close()

    async def unload(self, model: Model, node: str) -> None:
        """Remove from the cache's folder."""
        cache = self._cache(node)
        try:
            await cache.unload(model.full_name)
        finally:
            await cache.close()

    def _cache(self, node: str) -> ModelCache:
        return ModelCache(self.folder, 0, [self.source], now=_now, node=node, how=HOW)


class CacheContract(ModelLoaderContract):
    """What is alike for all of them."""

    __test__ = False

    def landed(self, plugin: InCache, model: Model) -> Mapping[str, bytes] | None:
        """Read what programs would be given."""
        for path in (plugin.folder / "records").glob("*.json"):
            record = json.loads(path.read_bytes())
            if record["name"] == model.full_name:
                return files_below(plugin.folder / "models" / record["digest"])
        return None


class TestFileSource(CacheContract):
    """Files of the node."""

    __test__ = True

    @pytest.fixture
    def make_plugin(self, tmp_path: Path) -> MakePlugin:
        """Make one."""
        self.folder = tmp_path / "source"
        return lambda: InCache(FileSource(), tmp_path / "cache")

    def put(self, files: Mapping[str, bytes]) -> str:
        """Write them."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return f"file://{self.folder}"


class Served(CacheContract):
    """What is alike for those that ask a web server, which can lie and break off."""

    web: WeightsServer
    honest: Mapping[str, bytes]

    def lie(self, uri: str) -> None:
        """Send other bytes than the listing says."""
        self.honest = dict(self.web.files)
        for name, content in self.honest.items():
            if name.endswith(".safetensors"):
                self.web.files[name] = bytes(255 - byte for byte in content)

    def break_off(self, uri: str) -> None:
        """End the next answers in the middle."""
        self.honest = dict(self.web.files)
        self.web.broken_off = 3

    def mend(self) -> None:
        """Send what there is."""
        self.web.files.update(self.honest)
        self.web.broken_off = 0


class TestHttpSource(Served):
    """A listing with digests."""

    __test__ = True

    @pytest.fixture
    def make_plugin(self, tmp_path: Path, web: WeightsServer) -> Iterator[MakePlugin]:
        """Make one."""
        self.web = web
        source = HttpSource()
        yield lambda: InCache(source, tmp_path / "cache")
        source.release()

    def put(self, files: Mapping[str, bytes]) -> str:
        """Serve them, with a listing."""
        self.web.files.update(files)
        listed = [
            {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        ]
        self.web.files["manifest.json"] = json.dumps({"files": listed}).encode()
        return f"{self.web.url}/"


class TestHubSource(Served):
    """A hub, which says the digests of large files."""

    __test__ = True

    @pytest.fixture
    def make_plugin(
        self, tmp_path: Path, web: WeightsServer, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[MakePlugin]:
        """Make one."""
        self.web = web
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        source = HubSource()
        yield lambda: InCache(source, tmp_path / "cache")
        source.release()

    def put(self, files: Mapping[str, bytes]) -> str:
        """Serve them as a revision of a repository."""
        commit = "c0ffee" * 6 + "c0ff"
        self.web.repos["org/tiny"] = {"main": commit}
        self.web.files.update(
            {f"org/tiny/{commit}/{name}": content for name, content in files.items()}
        )
        return "hf://org/tiny"

    def lie(self, uri: str) -> None:
        """Send other bytes than the hub says, which says what was true before."""
        said = self.web.listing("org/tiny", "main")
        self.web.listing = lambda *_: said  # type: ignore[method-assign]
        super().lie(uri)


class TestS3Source(CacheContract):
    """What can be said without a bucket: the other tests of it have one."""

    __test__ = True

    @pytest.fixture
    def make_plugin(self, tmp_path: Path) -> MakePlugin:
        """Make one."""
        return lambda: InCache(S3Source(), tmp_path / "cache")


def test_every_built_in_source_is_held_to_the_contract() -> None:
    assert set(BUILT_IN) == {FileSource, HttpSource, HubSource, S3Source}
