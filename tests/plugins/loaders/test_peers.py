"""Caches of other nodes: asked first, and never believed."""

from __future__ import annotations

import asyncio
import http.client
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from doubles.weights_server import WeightsServer
from navarch.errors import ConfigError
from navarch.plugins.loaders.cache import Lending, ModelCache
from plugins.loaders.conftest import model, noise, until

Make = Callable[..., ModelCache]
LENDING = Lending(listen="127.0.0.1:0")


def blob(folder: Path) -> Path:
    """Return the one large file of a cache."""
    return max((folder / "blobs").iterdir(), key=lambda each: each.stat().st_size)


def damage(path: Path, at: int) -> None:
    """Turn a byte of a file over, as a disk does."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0xFF]))


async def test_what_a_peer_has_is_not_asked_of_the_origin(
    make_cache: Make, web: WeightsServer
) -> None:
    web.files["w.bin"] = noise(50_000)
    lender, borrower = make_cache("one", lending=LENDING), make_cache("two")
    wanted = model(f"{web.url}/w.bin")
    await lender.load(wanted)
    folder = await borrower.load(wanted, ("http://127.0.0.1:1", lender.address))
    assert (folder / "w.bin").read_bytes() == web.files["w.bin"]
    assert web.bytes_asked() == 50_000
    assert (lender.address.startswith("http://127.0.0.1:"), borrower.address) == (True, "")
    await lender.close()
    await borrower.close()


async def test_a_damaged_chunk_of_a_peer_comes_from_the_origin(
    make_cache: Make, web: WeightsServer, tmp_path: Path
) -> None:
    web.files["w.bin"] = noise(50_000)
    lender, borrower = make_cache("one", lending=LENDING), make_cache("two")
    wanted = model(f"{web.url}/w.bin")
    await lender.load(wanted)
    damage(blob(tmp_path / "one"), 20_000)
    folder = await borrower.load(wanted, (lender.address,))
    assert (folder / "w.bin").read_bytes() == web.files["w.bin"]
    assert web.bytes_asked() == 50_000 + 1024
    await lender.close()
    await borrower.close()


async def test_a_peer_that_lies_consistently_is_found_by_the_digest(
    make_cache: Make, web: WeightsServer, tmp_path: Path
) -> None:
    web.files["w.bin"] = noise(50_000)
    lender, borrower = make_cache("one", lending=LENDING), make_cache("two")
    wanted = model(f"{web.url}/w.bin")
    await lender.load(wanted)
    path = blob(tmp_path / "one")
    damage(path, 20_000)
    whole = path.read_bytes()
    sums = [zlib.crc32(whole[at : at + 1024]) for at in range(0, 50_000, 1024)]
    (tmp_path / "one" / "sums" / path.name).write_bytes(struct.pack(f"<{len(sums)}I", *sums))
    folder = await borrower.load(wanted, (lender.address,))
    assert (folder / "w.bin").read_bytes() == web.files["w.bin"]
    assert web.bytes_asked() == 100_000
    await lender.close()
    await borrower.close()


async def test_a_peer_that_goes_away_in_the_middle_is_done_without(
    make_cache: Make, web: WeightsServer
) -> None:
    web.files["w.bin"] = noise(200_000)
    lender, borrower = make_cache("one", lending=LENDING), make_cache("two")
    wanted = model(f"{web.url}/w.bin")
    await lender.load(wanted)
    loading = asyncio.create_task(borrower.load(wanted, (lender.address,)))
    await until(lambda: any(each.bytes_done > 5_000 for each in borrower.seen()))
    await lender.unload("default/m")
    folder = await loading
    assert (folder / "w.bin").read_bytes() == web.files["w.bin"]
    assert 200_000 <= web.bytes_asked() <= 400_000
    await lender.close()
    await borrower.close()


def asked(url: str, path: str, **headers: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    told = answer.status, answer.read()
    connection.close()
    return told


async def test_the_server_gives_content_by_digest_and_nothing_else(
    make_cache: Make, web: WeightsServer, tmp_path: Path
) -> None:
    web.files["w.bin"] = noise(5_000)
    cache = make_cache("one", lending=LENDING)
    await cache.load(model(f"{web.url}/w.bin"))
    path = f"/v1/blobs/{blob(tmp_path / 'one').name}"

    def look() -> None:
        url = cache.address
        assert asked(url, path) == (200, noise(5_000))
        assert asked(url, path, range="bytes=10-19") == (206, noise(5_000)[10:20])
        assert asked(url, path, range="bytes=4990-9999") == (206, noise(5_000)[4990:])
        for wrong in ("bytes=5000-5001", "bytes=9-1", "bytes=-5", "lines=1-2"):
            assert asked(url, path, range=wrong) == (416, b"")
        for wrong in ("/", "/v1/blobs/../cache.lock", f"/v1/models/{'0' * 64}", path[:-1]):
            assert asked(url, wrong) == (404, b"")

    await asyncio.to_thread(look)
    await cache.close()


def test_a_place_that_cannot_be_listened_at_is_refused(make_cache: Make) -> None:
    with pytest.raises(ConfigError, match="expected HOST:PORT"):
        make_cache("one", lending=Lending(listen="9650"))
    with pytest.raises(ConfigError, match="cannot serve models at"):
        make_cache("one", lending=Lending(listen="192.0.2.1:9650"))
