"""A model loader that downloads from S3, or from anything that speaks its protocol.

What was downloaded before a cut is kept and gone on from; a model appears under its name only when
all of it is there, in the sizes that the bucket lists, and with the digests where it has them.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import botocore.config  # type: ignore[import-untyped]
import botocore.exceptions  # type: ignore[import-untyped]
import botocore.session  # type: ignore[import-untyped]
from msgspec import Struct

from navarch.core.model.resources import ModelSpec
from navarch.plugins import Model

PIECE = 1 << 20
"""Bytes that are read before it is asked whether to go on."""

ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^\x00]+)")
MD5 = re.compile(r"[0-9a-f]{32}")

Work = Callable[[str, str, Path, threading.Event], object]
"""Given the bucket, the prefix, a folder, and what is set when it has to end."""


class Object(Struct, frozen=True):
    """A file in a bucket."""

    key: str
    size: int
    etag: str

    @property
    def md5(self) -> str:
        """Its digest; empty where the tag is none, as for what was uploaded in parts."""
        tag = self.etag.strip('"')
        return tag if MD5.fullmatch(tag) else ""


class S3Loader:
    """Downloads the weights of ``s3://bucket/prefix`` into a folder of the model's name."""

    name = "s3-loader"
    version = "1.0.0"
    priority = 100

    class Config(Struct, frozen=True):
        """Where the buckets are, and where models come to lie."""

        endpoint: str = ""
        """Of a server that is not Amazon's."""
        region: str = "us-east-1"
        directory: str = "/var/lib/navarch/acme-models"
        anonymous: bool = False
        """Whether requests are not signed: for public buckets."""
        cost: float = 5.0
        """The cheapest loader is asked first; the built-in one of S3 costs 10."""

    def __init__(self, config: Config | None = None) -> None:
        """Keep the configuration; the connection is made with the first download."""
        self.config = config or self.Config()
        self.directory = Path(self.config.directory)
        self._lock = threading.Lock()
        self._connection: Any = None

    def can_load(self, model: Model) -> bool:
        """Whether it is an address of S3; nobody is asked."""
        return ADDRESS.fullmatch(model.spec.weights_uri) is not None

    def cost(self, model: Model) -> float | None:
        """Say how it compares with other loaders; None: it cannot."""
        return self.config.cost if self.can_load(model) else None

    async def load(self, model: Model, node: str) -> None:
        """Download the weights; a model that is there already is left alone."""
        await self._run(self._download, model, self._target(model))

    async def load_into(self, model: Model, folder: Path) -> None:
        """Download into a node's cache of models, which owns the folder and clears it after a cut.

        The cache asks this instead of `load` where a loader has it.
        """
        await self._run(self._fetch_all, model, folder)

    async def unload(self, model: Model, node: str) -> None:
        """Remove the weights; no error where there are none."""
        await asyncio.to_thread(self._remove, self._target(model))

    async def _run(self, work: Work, model: Model, folder: Path) -> None:
        address = ADDRESS.fullmatch(model.spec.weights_uri)
        if address is None:
            raise ValueError(f"{self.name} does not load {model.spec.weights_uri}")
        stop = threading.Event()
        bucket, prefix = address[1], address[2].rstrip("/") + "/"
        try:
            await asyncio.to_thread(work, bucket, prefix, folder, stop)
        finally:
            stop.set()

    def _target(self, model: Model) -> Path:
        if model.name in ("", ".", "..") or "/" in model.name or model.name.startswith("."):
            raise ValueError(f"{model.name!r} is no name for a folder")
        return self.directory / model.name

    def _client(self) -> Any:  # noqa: ANN401 - botocore makes its classes at run time
        with self._lock:
            if self._connection is None:
                unsigned = {"signature_version": botocore.UNSIGNED} if self.config.anonymous else {}
                self._connection = botocore.session.get_session().create_client(
                    "s3",
                    region_name=self.config.region,
                    endpoint_url=self.config.endpoint or None,
                    config=botocore.config.Config(
                        s3={"addressing_style": "path"},
                        connect_timeout=5,
                        read_timeout=30,
                        **unsigned,
                    ),
                )
            return self._connection

    def _download(self, bucket: str, prefix: str, target: Path, stop: threading.Event) -> None:
        with _alone_with(target):
            if target.is_dir() or stop.is_set():
                return
            unfinished = _unfinished(target)
            if self._fetch_all(bucket, prefix, unfinished, stop):
                unfinished.replace(target)

    def _fetch_all(self, bucket: str, prefix: str, folder: Path, stop: threading.Event) -> bool:
        """Download all files, or what is missing of them; False when it was stopped."""
        objects = list(self._objects(bucket, prefix))
        if not objects:
            raise FileNotFoundError(f"nothing lies at s3://{bucket}/{prefix}")
        for each in objects:
            path = folder / each.key.removeprefix(prefix)
            if not path.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"the key {each.key} leads out of the model's folder")
            if not self._fetch(bucket, each, path, stop):
                return False
        return True

    def _objects(self, bucket: str, prefix: str) -> Iterator[Object]:
        pages = self._client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for each in page.get("Contents", ()):
                if not each["Key"].endswith("/"):
                    yield Object(each["Key"], each["Size"], each["ETag"])

    def _fetch(self, bucket: str, each: Object, path: Path, stop: threading.Event) -> bool:
        """Download a file, or what is missing of it; False when it was stopped."""
        if path.is_file():  # it was complete before a cut
            return True
        tag = hashlib.sha256(each.etag.encode()).hexdigest()[:16]
        part = path.with_name(f"{path.name}.{tag}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            have = file.tell()
            if have < each.size:
                answer = self._client().get_object(
                    Bucket=bucket, Key=each.key, Range=f"bytes={have}-", IfMatch=each.etag
                )
                try:
                    while piece := answer["Body"].read(PIECE):
                        file.write(piece)
                        if stop.is_set():
                            return False
                except botocore.exceptions.BotoCoreError as error:
                    raise ConnectionError(f"s3://{bucket}/{each.key}: {error}") from error
        _check(part, each, f"s3://{bucket}/{each.key}")
        part.replace(path)
        return True

    def _remove(self, target: Path) -> None:
        with _alone_with(target):
            shutil.rmtree(target, ignore_errors=True)
            shutil.rmtree(_unfinished(target), ignore_errors=True)


def _check(part: Path, each: Object, address: str) -> None:
    """See that a file is what the bucket says. Raises `OSError`; then it is loaded anew."""
    size = part.stat().st_size
    problem = f"has {size} bytes, expected {each.size}" if size != each.size else ""
    if not problem and each.md5:
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        if digest.hexdigest() != each.md5:
            problem = f"has the digest {digest.hexdigest()}, expected {each.md5}"
    if problem:
        if size >= each.size:
            part.unlink()
        raise OSError(f"{address} {problem}")


def _unfinished(target: Path) -> Path:
    return target.with_name(f".unfinished-{target.name}")


@contextmanager
def _alone_with(target: Path) -> Iterator[None]:
    """Wait until nobody else, of this process or another, works at a model."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".lock-{target.name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> list[bool]:
    """Say which addresses it takes; loading needs a bucket."""
    addresses = ("s3://models/llama/", "hf://org/llama", "s3://models")
    models = [Model(spec=ModelSpec(weights_uri=address)) for address in addresses]
    return [S3Loader().can_load(model) for model in models]


if __name__ == "__main__":
    print(*main())
