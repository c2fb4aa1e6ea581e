"""A node's cache of models: asks loaders, fetches, keeps, evicts, and lends to other nodes.

::

    cache = ModelCache(Path("/var/lib/navarch/models"), loaders=registry.model_loaders, now=now)
    folder = await cache.load(model, peers=("http://10.0.0.7:9650",))
    with cache.lease(model.full_name):
        serve(folder)

What loaders differ in is theirs; what is alike is here: single flight, resuming, verifying, room,
pins, and that a model is visible as a whole or not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct, structs

from navarch.core.model.replica import ModelSeen
from navarch.core.model.resources import Model, ModelSpec, ObjectMeta
from navarch.errors import CacheFull, ModelError
from navarch.plugins.calls import Caller, Direct
from navarch.plugins.loaders import choosing
from navarch.plugins.loaders.arrival import Arrival
from navarch.plugins.loaders.base import Manifest, ModelFile, staging
from navarch.plugins.loaders.choosing import Choice
from navarch.plugins.loaders.fetching import Fetch, Fetching, Stopped, opens_of
from navarch.plugins.loaders.peering import Peers
from navarch.plugins.loaders.progress import Progress
from navarch.plugins.loaders.serving import CacheServer
from navarch.plugins.loaders.shelf import Lock, Record, Shelf
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Registry
from navarch.plugins.terms import TermsOf, unsaid
from navarch.telemetry.log import Log

log = Log(__name__)

_T = TypeVar("_T")

Loaders = Sequence[object] | Callable[[], Sequence[object]]

LOADS_MAX: Final = 4
"""Models that are fetched at a time; more wait."""
THREADS_MAX: Final = 16
FAILED_MAX: Final = 256
"""Models that did not come and are still told of; the oldest is forgotten first."""
POLL_SECONDS: Final = 0.1
"""How often one looks whether another process is done with a model."""


class Lending(Struct, frozen=True, kw_only=True):
    """Where other nodes may fetch what is here."""

    listen: str
    """``HOST:PORT``; port 0: any."""
    host: str = ""
    """The host that they are told; empty: that of `listen`."""


class _Flight(Struct):
    """A load that is under way, and who waits for it."""

    uri: str
    task: asyncio.Task[Path]
    progress: Progress
    waiters: int = 0


class ModelCache:
    """The weights on this node's disk. Made anywhere, used from one event loop."""

    def __init__(
        self,
        folder: Path,
        quota_bytes: int = 0,
        loaders: Registry | Loaders = (),
        *,
        now: Callable[[], datetime],
        node: str = "",
        caller: Caller | None = None,
        lending: Lending | None = None,
        how: Fetching | None = None,
    ) -> None:
        """Keep models in `folder`, with `quota_bytes` in all; 0: what the disk has, less a reserve.

        `loaders` is asked anew for each model where it is a function, or a registry, which also
        says how long each may take and what its failure means. `node` is what loaders of the
        documents' form are told. Without `lending` no other node may fetch from here.

        Raises `ConfigError` where folder or address cannot be used.
        """
        self._shelf = Shelf(folder, quota_bytes)
        self._terms: TermsOf = unsaid
        if isinstance(loaders, Registry):
            self._terms, held = loaders.terms(PluginKind.MODEL_LOADER), loaders
            self._loaders: Loaders = lambda: held.model_loaders
        else:
            self._loaders = loaders
        self._now, self._node, self._caller = now, node, caller or Direct()
        self._how = how or Fetching()
        self._threads = ThreadPoolExecutor(THREADS_MAX, "model-cache")
        self._flights: dict[str, _Flight] = {}
        self._failed: dict[str, ModelSeen] = {}
        self._slots = asyncio.Semaphore(LOADS_MAX)
        self._records: dict[str, Record] = {}
        self._seen: dict[str, ModelSeen] = {}
        self._refresh()
        self._server: CacheServer | None = None
        self._host = ""
        if lending is not None:
            self._server = CacheServer(self._shelf, lending.listen, self._of_identity)
            self._host = lending.host or lending.listen.rpartition(":")[0]

    @property
    def address(self) -> str:
        """Where other nodes may fetch what is here; empty: they may not."""
        return f"http://{self._host}:{self._server.port}" if self._server is not None else ""

    async def load(self, model: Model, peers: Sequence[str] = ()) -> Path:
        """Bring all of a model here, from `peers` where they have it; return its folder.

        Doing it twice, also at one time or from two processes, is the same as once: a model that is
        here under this name and address is not looked for again. Raises `ModelError` or `OSError`
        when it does not come; what has come is kept for the next try.
        """
        name, uri = model.full_name, model.spec.weights_uri
        while (flight := self._flights.get(name)) is not None and flight.uri != uri:
            await asyncio.wait((flight.task,))
        if flight is None:
            progress = Progress(name, self._now)
            task = asyncio.create_task(self._load(model, tuple(peers), progress))
            flight = self._flights[name] = _Flight(uri, task, progress)
            task.add_done_callback(lambda _: self._landed(name))
        flight.waiters += 1
        try:
            await asyncio.wait((flight.task,))
        finally:
            flight.waiters -= 1
            if flight.waiters == 0 and not flight.task.done():
                flight.task.cancel()
                await asyncio.wait((flight.task,))
        return flight.task.result()

    async def unload(self, name: str) -> None:
        """Remove a model, and what has come of it; nothing happens where there is none.

        Raises `ModelError` while it is in use.
        """
        if (flight := self._flights.get(name)) is not None:
            flight.task.cancel()
            await asyncio.wait((flight.task,))
        record = await self._do(self._shelf.record, name)
        if record is not None:
            await self._tell_loader(record)
        await self._do(self._remove, name, record)
        self._failed.pop(name, None)
        self._note(name, None)

    def path(self, name: str) -> Path | None:
        """Return the folder of a model that is here whole; None for any other."""
        record = self._records.get(name)
        if record is None:
            return None
        folder = self._shelf.model(record.digest)
        return folder if folder.is_dir() else None

    @contextmanager
    def lease(self, name: str) -> Iterator[Path]:
        """Keep a model from being removed for as long as the block lasts.

        Raises `ModelError` when it is not here.
        """
        record = self._records.get(name)
        if record is None:
            raise ModelError(f"{name} is not on this node")
        folder = self._shelf.model(record.digest)
        try:
            lock = Lock.take(folder, shared=True, wait=True)
        except FileNotFoundError as error:
            raise ModelError(f"{name} is not on this node any more") from error
        assert lock is not None, "it was waited for"
        try:
            yield folder
        finally:
            lock.free()
            self._touch(name, None)

    def seen(self) -> tuple[ModelSeen, ...]:
        """Tell of every model that is here or on its way, in the order of names."""
        told = {**self._failed, **self._seen}
        told.update((name, each.progress.seen()) for name, each in self._flights.items())
        return tuple(told[name] for name in sorted(told))

    async def close(self) -> None:
        """End what is under way, and serve nobody any more. What has come stays."""
        for flight in list(self._flights.values()):
            flight.task.cancel()
        if tasks := [each.task for each in self._flights.values()]:
            await asyncio.wait(tasks)
        if self._server is not None:
            await asyncio.to_thread(self._server.close)
        await asyncio.to_thread(self._threads.shutdown)

    # --- one model

    async def _load(self, model: Model, peers: tuple[str, ...], progress: Progress) -> Path:
        name = model.full_name
        try:
            async with self._slots:
                record = await self._do(self._known, model)
                if record is None:
                    record = await self._by_any(model, peers, progress)
        except (ModelError, OSError) as error:
            self._failed.pop(name, None)
            while len(self._failed) >= FAILED_MAX:
                del self._failed[next(iter(self._failed))]
            seen = progress.seen()
            self._failed[name] = structs.replace(seen, problem=str(error), bytes_per_second=0)
            raise
        self._failed.pop(name, None)
        await self._do(self._refresh)
        return self._shelf.model(record.digest)

    def _known(self, model: Model) -> Record | None:
        record = self._shelf.record(model.full_name)
        if record is None or record.uri != model.spec.weights_uri:
            return None
        return self._touch(model.full_name, model) or record

    async def _by_any(self, model: Model, peers: tuple[str, ...], progress: Progress) -> Record:
        """Have loaders try, one after the other, until one has brought it."""
        loaders = self._loaders() if callable(self._loaders) else self._loaders
        problems: list[ModelError | OSError] = []
        for choice in choosing.choices(loaders, model, self._caller, self._terms):
            try:
                if choice.rich:
                    try:
                        return await self._by_source(choice, model, peers, progress)
                    finally:
                        await choosing.release(choice, self._caller, model)
                return await self._by_loader(choice, model, progress)
            except CacheFull:
                raise
            except (ModelError, OSError) as error:
                log.warning(
                    "loader_failed", loader=choice.name, model=model.full_name, error=str(error)
                )
                progress.troubled(str(error))
                problems.append(error)
                if choice.is_final:
                    break
        if len(problems) == 1:
            raise problems[0]
        text = "; ".join(str(each) for each in problems)
        lasting = all(getattr(each, "lasting", False) for each in problems)
        raise ModelError(text, lasting=lasting)

    async def _by_source(
        self, choice: Choice, model: Model, peers: tuple[str, ...], progress: Progress
    ) -> Record:
        manifest = await choosing.resolve(choice, model, self._caller)
        progress.begin(manifest.size, 0)
        chunk = self._how.chunk_bytes
        arrival = Arrival(self._shelf, model, choice.name, manifest, chunk)
        lock = await self._occupied(arrival, progress)
        try:
            twin = await self._do(self._twin, manifest.identity)
            if twin is not None:
                await self._do(arrival.adopt, twin)
            missing = await self._do(arrival.prepare, self._now())
            progress.begin(manifest.size, manifest.size - sum(file.size for _, file in missing))
            if missing:
                await self._fetch(choice, arrival, missing, peers, progress)
            return await self._do(arrival.publish, self._now())
        finally:
            lock.free()

    async def _fetch(
        self,
        choice: Choice,
        arrival: Arrival,
        missing: list[tuple[int, ModelFile]],
        peers: tuple[str, ...],
        progress: Progress,
    ) -> None:
        loop = asyncio.get_running_loop()
        others = Peers([each for each in peers if each != self.address], self._how.chunk_bytes)
        fetch = Fetch(
            arrival.manifest,
            arrival.folder,
            opens_of(choice.plugin, loop),
            how=self._how,
            progress=progress,
            finish=arrival.finish,
            peers=others,
        )

        def run() -> None:
            try:
                others.find(arrival.manifest.identity)
                fetch.run(missing)
            finally:
                others.close()

        running = loop.run_in_executor(self._threads, run)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            fetch.stop()
            await asyncio.wait((running,))
            failure = running.exception()
            if failure is not None and not isinstance(failure, Stopped):
                log.warning("cancelled_work_failed", work="fetch", error=str(failure))
            raise

    async def _by_loader(self, choice: Choice, model: Model, progress: Progress) -> Record:
        """Have a loader of the documents' form bring it into a folder of its own."""
        spec, size = model.spec, model.spec.size
        name = f"{choice.name}\n{model.full_name}\n{spec.weights_uri}"
        stand_in = hashlib.sha256(name.encode()).hexdigest()
        manifest = Manifest(
            files=(ModelFile(path="model", size=size),), origin=spec.weights_uri, revision=stand_in
        )
        progress.begin(size, 0)
        arrival = Arrival(self._shelf, model, choice.name, manifest, self._how.chunk_bytes)
        lock = await self._occupied(arrival, progress)
        try:
            await self._do(arrival.prepare, self._now())
            folder = await self._do(arrival.stage)
            with staging(folder):
                await choosing.load(choice, model, self._node, self._caller, folder)
            await self._do(arrival.take_over, folder, self._now())
            return await self._do(arrival.publish, self._now())
        finally:
            lock.free()

    async def _occupied(self, arrival: Arrival, progress: Progress) -> Lock:
        """Wait until no other process, and no other name, fetches the same."""
        while (lock := arrival.occupy()) is None:
            progress.troubled("it is being fetched under another name or by another process")
            await asyncio.sleep(POLL_SECONDS)
        progress.troubled("")
        return lock

    async def _tell_loader(self, record: Record) -> None:
        loaders = self._loaders() if callable(self._loaders) else self._loaders
        for loader in loaders:
            if getattr(loader, "name", "") != record.loader or hasattr(loader, "resolve"):
                continue
            namespace, _, name = record.name.partition("/")
            meta = ObjectMeta(name=name, namespace=namespace)
            model = Model(metadata=meta, spec=ModelSpec(weights_uri=record.uri))
            await choosing.unload(loader, model, self._node, self._caller, self._terms)

    # --- what is here

    def _twin(self, identity: str) -> Record | None:
        found = self._shelf.all_records()
        return next((each for each in found if each.identity == identity), None)

    def _of_identity(self, identity: str) -> Record | None:
        records = list(self._records.values())
        return next((each for each in records if each.identity == identity), None)

    def _remove(self, name: str, record: Record | None) -> None:
        with self._shelf.locked():
            if record is not None:
                self._shelf.remove(record)
            self._shelf.forget(name)

    def _refresh(self) -> None:
        records = {each.name: each for each in self._shelf.all_records()}
        self._seen = {name: _complete(each) for name, each in records.items()}
        self._records = records

    def _note(self, name: str, record: Record | None) -> None:
        records = {key: each for key, each in self._records.items() if key != name}
        if record is not None:
            records[name] = record
        self._records = records
        self._seen = {key: _complete(each) for key, each in records.items()}

    def _touch(self, name: str, model: Model | None) -> Record | None:
        """Note that a model is used now, and the policy that it has by now."""
        record = self._shelf.record(name)
        if record is None:
            return None
        policy = record.policy if model is None else model.spec.cache_policy
        record = structs.replace(record, used_at=max(record.used_at, self._now()), policy=policy)
        self._shelf.write_record(record, durable=False)
        return record

    def _landed(self, name: str) -> None:
        flight = self._flights.pop(name)
        if not flight.task.cancelled():
            flight.task.exception()  # whoever waits is told; nobody may be waiting any more

    async def _do(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Run what blocks in a thread, to its end: a cancelled caller waits for it."""
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, lambda: function(*arguments))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait((running,))
            if (error := running.exception()) is not None:
                log.warning("cancelled_work_failed", work="cache", error=str(error))
            raise


def _complete(record: Record) -> ModelSeen:
    size = record.size
    return ModelSeen(
        model=record.name, digest=record.digest, bytes_done=size, bytes_total=size, complete=True
    )
