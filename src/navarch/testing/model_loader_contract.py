"""What every model loader must do, as checks that its author can run.

::

    class TestMine(ModelLoaderContract):
        @pytest.fixture
        def make_plugin(self, store: MyStore, tmp_path: Path) -> MakePlugin:
            self.store, self.folder = store, tmp_path
            return lambda: MyLoader(endpoint=store.url, directory=str(tmp_path))

        def put(self, files: Mapping[str, bytes]) -> str:
            return self.store.put(files)

        def landed(self, plugin: MyLoader, model: Model) -> dict[str, bytes] | None:
            return files_below(self.folder / model.name)

Loading is tried where `put` and `landed` say how. A class that can also make its source lie, or
break off, overrides `lie` and `break_off`; a check whose hook is missing is skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from navarch.core.model.resources import Model, ModelSpec, ObjectMeta
from navarch.plugins.protocols import ModelLoaderPlugin, PluginKind
from navarch.testing.findings import Broken, Plugin, checked, expect, not_shown, told
from navarch.testing.manners import Manners, pure

NODE: Final = "contract-1"

URIS: Final = (
    *("", " ", ":", "://", "s3:", "s3://", "s3:///", "s3://bucket", "s3://bucket/key/"),
    *("S3://Bucket/Key", "file:///models/llama", "file:relative", "file://host/x"),
    *("hf://org/name@main", "hf://", "https://example.org/a?b=c#d", "http://[::1", "gs://b/k"),
    *("oci://registry.example.org/a:b", "nvme", "../../etc/passwd", "s3://b/../../etc/passwd"),
    *("Größe://八", "x" * 5000, "\x00", "s3://bucket/\ud800", "none-has-this-scheme://x"),
)
"""Addresses as people and programs write them."""

UNKNOWN: Final = "none-has-this-scheme://x/y"

FILES: Final[Mapping[str, bytes]] = {
    "config.json": b'{"layers": 2}\n',
    "empty.txt": b"",
    "weights/part-1.safetensors": bytes(range(256)) * 1200,
    "weights/part-2.safetensors": bytes(reversed(range(256))) * 700,
}
"""A model of half a megabyte."""

CANCELLED_AT: Final = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
"""After so many turns of the loop a load is cancelled."""


def model_at(uri: str, name: str = "contract") -> Model:
    """Make a model whose weights are there."""
    return Model(metadata=ObjectMeta(name), spec=ModelSpec(weights_uri=uri))


def files_below(folder: Path) -> dict[str, bytes] | None:
    """Read all files below a folder, by relative path; None when there is no folder."""
    if not folder.is_dir():
        return None
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


class ModelLoaderContract(Manners):
    """The kit for model loaders: add the fixture `make_plugin`."""

    kind: ClassVar[str] = PluginKind.MODEL_LOADER

    files: ClassVar[Mapping[str, bytes]] = FILES
    """What is loaded. Names with folders in them where the source has such."""

    def put(self, files: Mapping[str, bytes]) -> str:
        """Publish files in the far end, and return their address; override it."""
        not_shown("`put` does not say how weights come into its source")

    def landed(self, plugin: Plugin, model: Model) -> Mapping[str, bytes] | None:
        """Read what is on the node; None: nothing. By default, of a plugin with a `directory`."""
        directory: object = getattr(plugin, "directory", None)
        if not isinstance(directory, str | Path):
            not_shown("`landed` does not say where weights come to lie")
        return files_below(Path(directory) / model.name)

    def lie(self, uri: str) -> None:
        """Make the source send other bytes than its digests, or its sizes, say; override it."""
        not_shown("`lie` does not say how its source is made to lie")

    def break_off(self, uri: str) -> None:
        """Make the source end its next answers in the middle; override it."""
        not_shown("`break_off` does not say how its source is made to break off")

    def mend(self) -> None:
        """Undo `lie` and `break_off`."""

    async def load(self, plugin: ModelLoaderPlugin, model: Model) -> None:
        """Load, within `patience`."""
        async with asyncio.timeout(self.patience.total_seconds()):
            await plugin.load(model, NODE)

    def expect_all(self, plugin: ModelLoaderPlugin, model: Model, when: str) -> None:
        """See that all files are there, to the byte, and nothing else."""
        have = self.landed(plugin, model) or {}
        missing = sorted(self.files.keys() - have.keys())
        expect(not missing, f"{when} these are missing: {', '.join(missing)}")
        strange = sorted(have.keys() - self.files.keys())
        expect(not strange, f"{when} these are there too: {', '.join(strange)}")
        for name, content in self.files.items():
            same = have[name] == content
            expect(same, f"{when} {name} is not as it was ({len(have[name])} bytes)")

    @checked
    def test_any_address_is_answered_true_or_false(self, plugin: ModelLoaderPlugin) -> str:
        """Every loader is asked about every model."""
        taken = []
        for uri in URIS:
            try:
                answer = plugin.can_load(model_at(uri))
                again = self.another().can_load(model_at(uri))
            except Exception as error:
                raise Broken(f"can_load of {uri!r:.60}: {told(error)}") from error
            expect(type(answer) is bool, f"can_load of {uri!r:.60} is {answer!r:.60}")
            expect(answer == again, f"can_load of {uri!r:.60} is {answer}, and asked again {again}")
            if answer:
                taken.append(uri)
        return f"{len(taken)} of {len(URIS)} addresses"

    @checked
    def test_looking_at_an_address_asks_nobody(self, plugin: ModelLoaderPlugin) -> None:
        """Whether it can is seen from the address: asking the source is what `load` does."""
        for uri in URIS:
            model = model_at(uri)
            pure("can_load", lambda model=model: plugin.can_load(model))  # type: ignore[misc]

    @checked
    async def test_what_it_cannot_load_is_refused_with_words(
        self, plugin: ModelLoaderPlugin
    ) -> None:
        """A replica that waits for it shows these words."""
        model = model_at(UNKNOWN)
        if plugin.can_load(model):
            not_shown("it takes every address")
        try:
            await self.load(plugin, model)
        except Exception as error:  # noqa: BLE001 - any exception will do, if it says something
            expect(str(error).strip(), f"{type(error).__name__} without a word")
            return
        raise Broken(f"load of {UNKNOWN} returned, although nothing can be there")

    @checked
    async def test_the_weights_arrive_to_the_byte(self, plugin: ModelLoaderPlugin) -> str:
        """What is loaded is what was published."""
        model = self._published(plugin)
        await self.load(plugin, model)
        self.expect_all(plugin, model, "after loading")
        return f"{len(self.files)} files, {sum(map(len, self.files.values())):,} bytes"

    @checked
    async def test_loading_twice_is_loading_once(self, plugin: ModelLoaderPlugin) -> None:
        """The command is repeated when its answer was lost."""
        model = self._published(plugin)
        await self.load(plugin, model)
        await self.load(plugin, model)
        await self.load(self.another(), model)
        self.expect_all(plugin, model, "after loading it three times")

    @checked
    async def test_a_load_that_is_cancelled_anywhere_can_be_repeated(
        self, plugin: ModelLoaderPlugin
    ) -> str:
        """Nodes restart in the middle of a terabyte."""
        model = self._published(plugin)
        cut = 0
        for turns in CANCELLED_AT:
            loading = asyncio.ensure_future(plugin.load(model, NODE))
            for _ in range(turns):
                await asyncio.sleep(0)
            loading.cancel()
            done, _ = await asyncio.wait([loading], timeout=self.patience.total_seconds())
            expect(done, f"a cancelled load has not ended after {self.patience}")
            if not loading.cancelled() and (error := loading.exception()):
                raise Broken(f"a load that was cancelled: {told(error)}")
            cut += loading.cancelled()
            await self.load(self.another(), model)
            self.expect_all(plugin, model, f"after a load cut at turn {turns}, and another,")
            await plugin.unload(model, NODE)
        return f"cut {cut} times"

    @checked
    async def test_unloading_twice_is_unloading_once(self, plugin: ModelLoaderPlugin) -> None:
        """What is not there need not be removed."""
        model = self._published(plugin)
        await plugin.unload(model, NODE)
        await self.load(plugin, model)
        await plugin.unload(model, NODE)
        await plugin.unload(model, NODE)
        left = self.landed(plugin, model)
        expect(not left, f"after unloading there are still {sorted(left or ())}")
        await self.load(plugin, model)
        self.expect_all(plugin, model, "after loading it again")

    @checked
    async def test_one_model_is_unloaded_and_its_neighbour_stays(
        self, plugin: ModelLoaderPlugin
    ) -> None:
        """Several models lie side by side on a disk, some with names that begin alike."""
        uri = self._published(plugin).spec.weights_uri
        short, long = model_at(uri, "llama"), model_at(uri, "llama-3")
        await self.load(plugin, short)
        await self.load(plugin, long)
        await plugin.unload(short, NODE)
        self.expect_all(plugin, long, "after unloading llama, of llama-3")

    @checked
    async def test_a_source_that_breaks_off_is_no_success(self, plugin: ModelLoaderPlugin) -> None:
        """Half of the weights must never be taken for all of them."""
        model = self._published(plugin)
        self.break_off(model.spec.weights_uri)
        await self._expect_failure(plugin, model, "whose source breaks off")

    @checked
    async def test_a_source_that_lies_is_found_out(self, plugin: ModelLoaderPlugin) -> None:
        """Digests and sizes are there to be compared."""
        model = self._published(plugin)
        self.lie(model.spec.weights_uri)
        await self._expect_failure(plugin, model, "whose source lies")

    async def _expect_failure(self, plugin: ModelLoaderPlugin, model: Model, which: str) -> None:
        try:
            await self.load(plugin, model)
        except Exception as error:  # noqa: BLE001 - any exception will do, if it says something
            expect(str(error).strip(), f"{type(error).__name__} without a word")
        else:
            self.expect_all(plugin, model, f"load of a model {which} returned, and")
        finally:
            self.mend()
        await self.load(plugin, model)
        self.expect_all(plugin, model, "after the source was mended, and loaded again,")

    def _published(self, plugin: ModelLoaderPlugin) -> Model:
        model = model_at(self.put(self.files))
        if not plugin.can_load(model):
            not_shown(f"it does not take {model.spec.weights_uri.partition(':')[0]}: addresses")
        return model
