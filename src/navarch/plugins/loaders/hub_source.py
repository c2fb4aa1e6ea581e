"""Models of a hub with the API of Hugging Face: ``hf://org/name@revision``.

Three calls of its HTTP API are used (huggingface.co/docs/hub/api, read 2026-11-22):
``/api/models/{repo}/revision/{revision}?blobs=true`` says to which commit a branch or tag leads and
lists the files, with the SHA-256 of large ones; ``/{repo}/resolve/{commit}/{path}`` gives a file,
mostly by a redirect to a store that does not get our token.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from navarch.core.model.resources import Model
from navarch.errors import ModelError
from navarch.plugins.loaders.base import Manifest, ModelFile, ModelSource
from navarch.plugins.loaders.ranges import open_range
from navarch.plugins.loaders.web import TIMEOUT_SECONDS, Incoming, Web, refused, shown

COST: Final = 10.0
SCHEME: Final = "hf://"
PUBLIC: Final = "https://huggingface.co"
COMMIT_HEADER: Final = "x-repo-commit"
"""Which commit an answer is of; it stands in the first answer, before any redirect."""


class _Lfs(Struct, frozen=True):
    sha256: str = ""
    size: int = -1


class _Sibling(Struct, frozen=True):
    rfilename: str
    size: int | None = None
    lfs: _Lfs | None = None


class _Repo(Struct, frozen=True):
    sha: str
    siblings: tuple[_Sibling, ...] = ()


class HubSource(ModelSource):
    """Brings models from the Hugging Face hub, or one with its API, at one commit."""

    name = "hf"
    version = "1"

    class Config(Struct, frozen=True, kw_only=True):
        """Which hub, and what of its models."""

        endpoint: str = ""
        """Empty: what ``HF_ENDPOINT`` says, or the public hub."""
        token_env: str = "HF_TOKEN"  # noqa: S105 - the name of a variable, not its content
        """The variable that holds a token; it may be unset."""
        exclude: tuple[str, ...] = ()
        """Patterns of files that are left out, such as ``*.bin`` or ``original/*``."""
        timeout: timedelta = timedelta(seconds=TIMEOUT_SECONDS)
        """How long the hub may give nothing."""

    def __init__(self, config: Config | None = None) -> None:
        """Ask nobody yet."""
        self._config = config or self.Config()
        self._web = Web(timeout=self._config.timeout.total_seconds())

    def cost(self, model: Model) -> float | None:
        """Take addresses of the hub."""
        return COST if model.spec.weights_uri.startswith(SCHEME) else None

    async def resolve(self, model: Model) -> Manifest:
        """Find the commit of a branch, a tag or the main line, and its files."""
        return await asyncio.to_thread(self._resolve, model.spec.weights_uri)

    def open(self, manifest: Manifest, file: ModelFile, start: int, length: int) -> Incoming:
        """Ask for a range of a file at the commit of the manifest."""
        url = f"{self._endpoint()}/{file.location}"
        return open_range(
            self._web, url, file, start, length, headers=self._headers(), tag_name=COMMIT_HEADER
        )

    def release(self) -> None:
        """Close the connections that are kept."""
        self._web.close()

    def _resolve(self, uri: str) -> Manifest:
        repo, _, revision = uri.removeprefix(SCHEME).rstrip("/").partition("@")
        if not 1 <= len(repo.split("/")) <= 2 or not all(repo.split("/")):
            raise ModelError(
                f"{uri!r} names no model: expected hf://org/name@revision", lasting=True
            )
        asked = f"/api/models/{quote(repo)}/revision/{quote(revision or 'main', safe='')}"
        url = f"{self._endpoint()}{asked}?blobs=true"
        answer = self._web.get(url, self._headers())
        if answer.status != 200:
            raise refused(answer.status, url)
        try:
            found = msgspec.json.decode(answer.body, type=_Repo)
        except msgspec.MsgspecError as error:
            raise ModelError(f"{shown(url)}: no model of a hub: {error}", lasting=True) from error
        files = tuple(
            self._file(repo, found.sha, each)
            for each in found.siblings
            if not any(fnmatchcase(each.rfilename, one) for one in self._config.exclude)
        )
        return Manifest(files=files, revision=found.sha, origin=f"{SCHEME}{repo}")

    def _file(self, repo: str, commit: str, found: _Sibling) -> ModelFile:
        size = found.lfs.size if found.lfs is not None else found.size
        if size is None or size < 0:
            text = f"{repo}: the hub does not say how long {found.rfilename} is"
            raise ModelError(text, lasting=True)
        return ModelFile(
            path=found.rfilename,
            size=size,
            sha256=found.lfs.sha256 if found.lfs is not None else "",
            tag=commit,
            location=f"{quote(repo)}/resolve/{quote(commit)}/{quote(found.rfilename)}",
        )

    def _endpoint(self) -> str:
        return (self._config.endpoint or os.environ.get("HF_ENDPOINT", "") or PUBLIC).rstrip("/")

    def _headers(self) -> dict[str, str]:
        token = os.environ.get(self._config.token_env, "") if self._config.token_env else ""
        return {"authorization": f"Bearer {token}"} if token else {}
