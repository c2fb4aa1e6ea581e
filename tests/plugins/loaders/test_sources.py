"""The sources: what they make of addresses and listings, and whom they believe."""

from __future__ import annotations

import http.client
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from doubles.weights_server import WeightsServer, serving_weights
from navarch.errors import ModelChanged, ModelError
from navarch.plugins import staging_folder
from navarch.plugins.loaders.base import ModelSource, staging
from navarch.plugins.loaders.cache import ModelCache
from navarch.plugins.loaders.file_source import FileSource
from navarch.plugins.loaders.http_source import HttpSource
from navarch.plugins.loaders.hub_source import HubSource
from navarch.plugins.loaders.s3_source import S3Source
from navarch.plugins.registry import get_global_registry
from plugins.loaders.conftest import content, model, noise

Make = Callable[..., ModelCache]


def test_the_built_in_loaders_are_registered_and_know_their_addresses() -> None:
    loaders = {each.name: each for each in get_global_registry().model_loaders}
    assert {"file", "http", "s3", "hf"} <= set(loaders)
    addresses = {
        "file": ("file:///m", "/m"),
        "http": ("http://h/m", "https://h/m/"),
        "s3": ("s3://bucket/m",),
        "hf": ("hf://org/m@v1",),
    }
    for name, uris in addresses.items():
        for uri in uris:
            able = {each for each in addresses if loaders[each].can_load(model(uri))}
            assert able == {name}


async def test_a_source_also_loads_in_the_documents_form(tmp_path: Path) -> None:
    (tmp_path / "m" / "deep").mkdir(parents=True)
    (tmp_path / "m" / "deep" / "w").write_bytes(noise(3_000))
    (tmp_path / "out").mkdir()
    with staging(tmp_path / "out"):
        await FileSource().load(model(f"{tmp_path}/m"), "node")
        assert staging_folder() == tmp_path / "out"
    assert content(tmp_path / "out") == {"deep/w": noise(3_000)}
    await FileSource().unload(model(f"{tmp_path}/m"), "node")


async def refused(source: ModelSource, uri: str) -> str:
    with pytest.raises(ModelError) as caught:
        await source.resolve(model(uri))
    source.release()
    return str(caught.value)


# --- files


async def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(noise(3_000))
    source = FileSource()
    manifest = await source.resolve(model(str(path)))
    reader = source.open(manifest, manifest.files[0], 0, 3_000)
    path.write_bytes(noise(3_001))
    with pytest.raises(ModelChanged, match="changed while it was read"):
        reader.readinto(memoryview(bytearray(100)))
    reader.close()


async def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    source = FileSource()
    assert "neither a file nor a folder" in await refused(source, f"{tmp_path}")
    assert "No such file" in await refused(source, "/not/there")
    assert "names no file of this node" in await refused(source, "file://other-host/m")


# --- web servers


async def test_a_listing_may_leave_sizes_open_and_lie_elsewhere(
    make_cache: Make, web: WeightsServer
) -> None:
    web.files["m/manifest.json"] = (
        b'{"revision": "v3", "files": [{"path": "a b.bin", "url": "a%20b.bin"},'
        b' {"path": "deep/c", "url": "/elsewhere"}, {"path": "empty"}]}'
    )
    web.files |= {"m/a b.bin": noise(9_000), "elsewhere": b"here", "m/empty": b""}
    cache = make_cache()
    folder = await cache.load(model(f"{web.url}/m/"))
    assert content(folder) == {"a b.bin": noise(9_000), "deep/c": b"here", "empty": b""}
    await cache.close()


async def test_bad_listings_are_refused_by_name(web: WeightsServer) -> None:
    source = HttpSource()
    uri = f"{web.url}/manifest.json"
    assert "is not there (status 404)" in await refused(source, uri)
    web.files["manifest.json"] = b'{"files": 3}'
    assert "is no listing: Expected `array`" in await refused(source, uri)
    web.files |= {"manifest.json": b'{"files": [{"path": "w", "size": 5}]}', "w": b"1234"}
    assert "4 bytes, and its listing says 5" in await refused(source, uri)
    assert "Connection refused" in await refused(source, "http://127.0.0.1:1/m")


async def test_credentials_in_an_address_are_not_told() -> None:
    source = HttpSource()
    told = await refused(source, "http://user:secret@127.0.0.1:1/m?token=secret")
    assert "127.0.0.1:1/m" in told
    assert "secret" not in told


# --- a hub


async def test_a_branch_of_a_hub_becomes_a_commit(web: WeightsServer) -> None:
    web.repos["org/m"] = {"main": "c0ffee", "v1": "beef"}
    web.files |= {"org/m/c0ffee/model.bin": noise(5_000), "org/m/c0ffee/config.json": b"{}"}
    web.files |= {"org/m/beef/pytorch.bin": noise(10), "org/m/c0ffee/a/b c.txt": b"x"}
    source = HubSource(HubSource.Config(endpoint=web.url, exclude=("a/*",)))
    manifest = await source.resolve(model("hf://org/m"))
    assert manifest.revision == "c0ffee"
    assert [(each.path, each.size, len(each.sha256)) for each in manifest.files] == [
        ("config.json", 2, 0),
        ("model.bin", 5_000, 64),
    ]
    assert (await source.resolve(model("hf://org/m@v1"))).revision == "beef"
    assert (await source.resolve(model("hf://org/m@c0ffee"))).revision == "c0ffee"
    assert "is not there" in await refused(source, "hf://org/other")
    assert "names no model" in await refused(source, "hf://a/b/c")


async def test_a_token_goes_to_the_hub_and_not_to_where_it_redirects(
    make_cache: Make, web: WeightsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving_weights({"store/1": noise(9_000)}) as store:
        web.repos["org/m"] = {"main": "c0ffee"}
        web.files |= {"org/m/c0ffee/model.bin": noise(9_000), "org/m/c0ffee/c": b"{}"}
        web.redirects["org/m/resolve/c0ffee/model.bin"] = f"{store.url}/store/1"
        cache = make_cache(loaders=[HubSource(HubSource.Config(endpoint=web.url))])
        folder = await cache.load(model("hf://org/m"))
        assert content(folder) == {"model.bin": noise(9_000), "c": b"{}"}
        assert {each.authorization for each in web.asked} == {"Bearer hf_secret"}
        assert {each.authorization for each in store.asked} == {""}
        await cache.close()


# --- buckets


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # noqa: TID251 - its level only
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def put(url: str, path: str, content: bytes | None = None) -> None:
    """Make a bucket, or an object in one."""
    host = urlsplit(url)
    connection = http.client.HTTPConnection(host.hostname or "", host.port, timeout=30)
    headers = {"authorization": "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/x/us-east-1/s3/aws4"}
    connection.request("PUT", path, body=content, headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    answer.read()
    connection.close()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> S3Source:
    monkeypatch.setenv("TEST_KEY", "AKIAEXAMPLE")
    monkeypatch.setenv("TEST_SECRET", "secret")
    config = S3Source.Config(
        endpoint=s3, region="us-east-1", access_key_env="TEST_KEY", secret_key_env="TEST_SECRET"
    )
    return S3Source(config)


async def test_all_objects_below_a_prefix_are_a_model(
    make_cache: Make, s3: str, bucket: S3Source
) -> None:
    put(s3, "/models")
    files = {"w 1+2.bin": noise(70_000), "deep/config.json": b"{}", "empty": b""}
    for name, written in files.items():
        put(s3, f"/models/llama/{quote(name)}", written)
    put(s3, "/models/llama-2/other", b"not this one")
    cache = make_cache(loaders=[bucket])
    assert content(await cache.load(model("s3://models/llama/", "one"))) == files
    assert content(await cache.load(model("s3://models/llama", "two"))) == files
    single = await cache.load(model("s3://models/llama-2/other", "three"))
    assert content(single) == {"other": b"not this one"}
    await cache.close()


async def test_an_object_that_changes_is_an_error(s3: str, bucket: S3Source) -> None:
    put(s3, "/changing")
    put(s3, "/changing/w", noise(5_000))
    manifest = await bucket.resolve(model("s3://changing/w"))
    put(s3, "/changing/w", noise(5_000, 2))
    with pytest.raises(ModelChanged, match="has changed"):
        bucket.open(manifest, manifest.files[0], 0, 1_000)
    bucket.release()


async def test_buckets_that_are_not_there_are_named(
    make_cache: Make, bucket: S3Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "s3://nowhere/m" in await refused(bucket, "s3://nowhere/m")
    assert "names no bucket" in await refused(bucket, "s3:///m")
    unset = S3Source(S3Source.Config(endpoint="http://x", access_key_env="NOT_SET"))
    assert "the variable NOT_SET is not set" in await refused(unset, "s3://b/m")
