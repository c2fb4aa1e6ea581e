"""Models on a web server: one file, or those of a listing in JSON.

An address that ends in a slash has ``manifest.json`` below it; one that ends in ``.json`` is a
listing itself. Any other is the one file of a model. The listing::

    {"revision": "v3", "files": [{"path": "config.json", "size": 651, "sha256": "9f86d0…"},
                                 {"path": "model.safetensors"}]}

Only ``path`` has to be there; ``url`` says where a file is if that is not its path. What the
listing does not say is asked of the server. A web server has no versions, so each file is pinned by
its ETag or date: one that changes while it is fetched is an error, never a mixture.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
from msgspec import Struct

from navarch.core.model.resources import Model
from navarch.errors import ModelError
from navarch.plugins.loaders.base import FILES_MAX, Manifest, ModelFile, ModelSource
from navarch.plugins.loaders.ranges import CONTENT_RANGE, open_range, tag_of
from navarch.plugins.loaders.web import TIMEOUT_SECONDS, Incoming, Web, refused, shown

COST: Final = 10.0
ASKED_AT_ONCE: Final = 8
"""Files of a listing about which the server is asked at a time."""


class _Listed(Struct, frozen=True):
    path: str
    size: int = -1
    sha256: str = ""
    url: str = ""


class _Listing(Struct, frozen=True):
    files: tuple[_Listed, ...]
    revision: str = ""


class HttpSource(ModelSource):
    """Brings models from a web server: one file, or those that a manifest.json lists."""

    name = "http"
    version = "1"

    class Config(Struct, frozen=True, kw_only=True):
        """How web servers are asked."""

        timeout: timedelta = timedelta(seconds=TIMEOUT_SECONDS)
        """How long a server may give nothing."""

    def __init__(self, config: Config | None = None) -> None:
        """Ask nobody yet."""
        self._web = Web(timeout=(config or self.Config()).timeout.total_seconds())

    def cost(self, model: Model) -> float | None:
        """Take addresses of the web."""
        uri = model.spec.weights_uri
        return COST if uri.startswith(("http://", "https://")) else None

    async def resolve(self, model: Model) -> Manifest:
        """Read the listing, and ask about what it leaves open."""
        return await asyncio.to_thread(self._resolve, model.spec.weights_uri)

    def open(self, manifest: Manifest, file: ModelFile, start: int, length: int) -> Incoming:
        """Ask for a range, if it is still of the same file."""
        return open_range(self._web, file.location, file, start, length)

    def release(self) -> None:
        """Close the connections that are kept."""
        self._web.close()

    def _resolve(self, uri: str) -> Manifest:
        path = urlsplit(uri).path
        if not path.endswith(("/", ".json")):
            name = unquote(path.rpartition("/")[2])
            return Manifest(files=(self._asked(_Listed(path=name), uri),), origin=shown(uri))
        url = urljoin(uri, "manifest.json") if path.endswith("/") else uri
        answer = self._web.get(url)
        if answer.status != 200:
            raise refused(answer.status, url)
        try:
            listing = msgspec.json.decode(answer.body, type=_Listing)
        except msgspec.MsgspecError as error:
            raise ModelError(f"{shown(url)} is no listing: {error}", lasting=True) from error
        if len(listing.files) > FILES_MAX:
            text = f"{shown(url)} lists more than {FILES_MAX} files"
            raise ModelError(text, lasting=True)
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            files = pool.map(
                lambda each: self._asked(each, urljoin(url, each.url or each.path)), listing.files
            )
            return Manifest(files=tuple(files), revision=listing.revision, origin=shown(url))

    def _asked(self, listed: _Listed, url: str) -> ModelFile:
        """Ask a server what it has, by a range of one byte: that also shows if it knows ranges."""
        incoming = self._web.open(url, {"range": "bytes=0-0"})
        try:
            status, headers = incoming.status, incoming.headers
            size = listed.size
            if status == 206:
                incoming.read(1)
                match = CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
                whole = match[3] if match else ""
            elif status == 200:
                whole = headers.get("content-length", "")
            elif status == 416 and size in (-1, 0):  # an empty file has no first byte
                whole = "0"
            else:
                raise refused(status, url)
        finally:
            incoming.close()
        if not (whole.isascii() and whole.isdigit()):
            raise ModelError(f"{shown(url)}: its server does not say how long it is", lasting=True)
        if size not in (-1, int(whole)):
            text = f"{shown(url)}: {whole} bytes, and its listing says {size}"
            raise ModelError(text, lasting=True)
        return ModelFile(
            path=listed.path,
            size=int(whole),
            sha256=listed.sha256.lower(),
            tag=tag_of(headers),
            location=url,
            ranged=status == 206,
        )
