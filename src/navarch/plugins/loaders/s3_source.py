"""Models in object stores that speak S3: ``s3://bucket/prefix/``.

obstore lists and signs; the bytes come over connections of ours, which is quicker than its own way
(``bench/loader.py``) and the same for all sources. It is imported when a bucket is first asked.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from navarch.core.model.resources import Model
from navarch.errors import ModelError
from navarch.plugins.loaders.base import FILES_MAX, Manifest, ModelFile, ModelSource
from navarch.plugins.loaders.ranges import open_range
from navarch.plugins.loaders.web import TIMEOUT_SECONDS, Incoming, Web

COST: Final = 10.0
SIGNED_FOR: Final = timedelta(hours=1)
"""How long a signed address holds. Each range gets a new one."""
LISTED_MAX: Final = 1_000
"""Objects a page, S3's own limit."""


class S3Source(ModelSource):
    """Brings models from buckets of Amazon S3, or of any store that speaks its protocol."""

    name = "s3"
    version = "1"

    class Config(Struct, frozen=True, kw_only=True):
        """Which store; what is empty here is taken from the usual variables ``AWS_*``."""

        endpoint: str = ""
        """Such as ``http://minio:9000``; empty: Amazon's own."""
        region: str = ""
        access_key_env: str = ""
        """The variable that holds the id of the key."""
        secret_key_env: str = ""
        """The variable that holds the secret of the key."""
        anonymous: bool = False
        """Whether requests are not signed: for public buckets."""
        virtual_hosts: bool = False
        """Whether the bucket is a part of the host's name, as Amazon prefers it."""
        timeout: timedelta = timedelta(seconds=TIMEOUT_SECONDS)
        """How long a store may give nothing."""

    def __init__(self, config: Config | None = None) -> None:
        """Ask nobody yet."""
        self._config = config or self.Config()
        self._web = Web(timeout=self._config.timeout.total_seconds())
        self._stores: dict[str, Any] = {}
        self._lock = threading.Lock()

    def cost(self, model: Model) -> float | None:
        """Take addresses of buckets."""
        return COST if model.spec.weights_uri.startswith("s3://") else None

    async def resolve(self, model: Model) -> Manifest:
        """List what begins with the prefix; one object of exactly that name is taken alone."""
        return await asyncio.to_thread(self._resolve, model.spec.weights_uri)

    def open(self, manifest: Manifest, file: ModelFile, start: int, length: int) -> Incoming:
        """Sign a request, and ask for a range if it is still of the same object."""
        bucket, _, key = file.location.partition("/")
        url = _library().sign(self._store(bucket), "GET", key, SIGNED_FOR)
        headers = {"if-match": file.tag} if file.tag else {}
        return open_range(self._web, url, file, start, length, headers=headers, tag_name="etag")

    def release(self) -> None:
        """Close the connections that are kept."""
        self._web.close()

    def _resolve(self, uri: str) -> Manifest:
        parts = urlsplit(uri)
        bucket, prefix = parts.netloc, uri.partition("://")[2].partition("/")[2]
        if not bucket:
            raise ModelError(f"{uri!r} names no bucket: expected s3://bucket/prefix/", lasting=True)
        obstore = _library()
        store = self._store(bucket)
        files: list[ModelFile] = []
        try:
            if prefix and not prefix.endswith("/"):
                try:
                    found = [obstore.head(store, prefix)]
                except FileNotFoundError:
                    found = []
                files = [_file(bucket, prefix.rpartition("/")[0], each) for each in found]
            if not files:
                folder = prefix.rstrip("/")
                for page in obstore.list(store, folder or None, chunk_size=LISTED_MAX):
                    files.extend(_file(bucket, folder, each) for each in page)
                    if len(files) > FILES_MAX:
                        raise ModelError(f"{uri} has more than {FILES_MAX} files", lasting=True)
        except (obstore.exceptions.BaseError, FileNotFoundError, PermissionError) as error:
            told = " ".join(str(error).split())[:300]
            raise ModelError(f"{uri}: {told}") from error
        kept = tuple(each for each in files if not each.path.endswith("/") and each.path)
        return Manifest(files=kept, origin=uri)

    def _store(self, bucket: str) -> Any:  # noqa: ANN401 - the library is imported by need
        with self._lock:
            if bucket not in self._stores:
                self._stores[bucket] = self._new_store(bucket)
            return self._stores[bucket]

    def _new_store(self, bucket: str) -> Any:  # noqa: ANN401 - the library is imported by need
        config = self._config
        seconds = timedelta(seconds=config.timeout.total_seconds())
        given: dict[str, Any] = {
            "client_options": {"timeout": seconds, "allow_http": True},
            "retry_config": {"max_retries": 2, "retry_timeout": seconds},
            "virtual_hosted_style_request": config.virtual_hosts,
        }
        secrets = (
            ("access_key_id", config.access_key_env),
            ("secret_access_key", config.secret_key_env),
        )
        for key, variable in secrets:
            if variable:
                if not os.environ.get(variable):
                    raise ModelError(f"the variable {variable} is not set", lasting=True)
                given[key] = os.environ[variable]
        if config.endpoint:
            given["endpoint"] = config.endpoint
        if config.region:
            given["region"] = config.region
        if config.anonymous:
            given["skip_signature"] = True
        return importlib.import_module("obstore.store").S3Store(bucket, **given)


def _library() -> Any:  # noqa: ANN401 - the library is imported by need
    try:
        return importlib.import_module("obstore")
    except ImportError as error:
        text = "models of S3 need obstore: install navarch[models]"
        raise ModelError(text, lasting=True) from error


def _file(bucket: str, folder: str, found: Any) -> ModelFile:  # noqa: ANN401 - the library's own
    key = str(found["path"])
    path = key.removeprefix(folder).lstrip("/") if folder else key
    return ModelFile(
        path=path,
        size=int(found["size"]),
        tag=str(found.get("e_tag") or ""),
        location=f"{bucket}/{key}",
    )
