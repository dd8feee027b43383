"""Datasets at URLs: every verb, and whatever a network, a server, a kill or another process may do."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from http_place import FaultyServer, serve

import imagemill
from imagemill.core import remote
from imagemill.core.manifest import Manifest
from imagemill.core.remote import RemoteFolder, place_of
from imagemill.errors import ConfigError, DamageError, MissingExtra, RemoteError, ShardError
from imagemill.formats import FORMATS, cache
from imagemill.formats.store import Store, shards_of
from imagemill.testing.datasets import write_dataset
from imagemill.testing.piles import tree
from imagemill.testing.rows import SCHEMAS, make_rows

SCHEMA = SCHEMAS["images"]
SHARD = "/ds/data/train-00003-of-00007.arrow"


def write(folder: Path, seed: int = 0, format: str = "arrow") -> Path:
    rows = make_rows(SCHEMA, 25, seed)
    return write_dataset(folder, SCHEMA, {"train": rows[:20], "val": rows[20:]}, shard_samples=3, format=format)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("remote") / "ds")


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(remote, "DELAYS_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(remote, "TIMEOUT_S", 1.0)


@pytest.fixture
def server(dataset: Path, tmp_path: Path) -> Iterator[FaultyServer]:
    shutil.copytree(dataset, tmp_path / "www" / "ds")
    with serve(tmp_path / "www") as running:
        yield running


def images(place: str | Path, **options: object) -> list[bytes]:
    return [row.values["image"] for row in Store(place, **options).rows("train")]  # type: ignore[arg-type,misc]


def cached_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file())


def test_every_verb_reads_a_url(server: FaultyServer, dataset: Path, tmp_path: Path) -> None:
    url = f"{server.url}/ds/"
    before = tree(server.folder)
    here, there = imagemill.info(dataset), imagemill.info(url)
    assert {**there, "path": ""} == {**here, "path": ""}
    checked = imagemill.verify(url, workers=0)
    assert (checked.damages, checked.samples, checked.shards) == ((), 25, 9)
    ours = imagemill.open(url, "train", returns="sample")
    assert list(ours) == list(imagemill.open(dataset, "train", returns="sample"))
    for name, source in (("here", dataset), ("there", url)):
        imagemill.convert(source, tmp_path / f"tar-{name}", format="tar", workers=0)
        imagemill.export(source, tmp_path / f"plain-{name}")
    assert tree(tmp_path / "tar-there") == tree(tmp_path / "tar-here")
    assert tree(tmp_path / "plain-there") == tree(tmp_path / "plain-here")
    assert imagemill.report(url, tmp_path / "page.html").facts.account.samples == 25
    assert "<html" in (tmp_path / "page.html").read_text("utf-8")
    assert tree(server.folder) == before


def test_the_loader_reads_a_url(server: FaultyServer, dataset: Path) -> None:
    pytest.importorskip("torch")
    here, there = (list(imagemill.Loader(place, "train", 8, size=16)) for place in (dataset, f"{server.url}/ds"))
    assert [batch["key"] for batch in there] == [batch["key"] for batch in here]
    assert all((one["image"] == other["image"]).all() for one, other in zip(here, there, strict=True))


def test_a_shard_that_was_packed_broken_is_fetched_once(server: FaultyServer) -> None:
    path = server.folder / SHARD.lstrip("/")
    path.write_bytes(bytes(path.stat().st_size))
    manifest = server.folder / "ds" / "manifest.json"
    record = json.loads(manifest.read_bytes())
    record["splits"]["train"]["shards"][3]["files"][0]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(rewritten(record), "utf-8")
    with pytest.raises(ShardError, match="train-00003-of-00007"):
        Store(f"{server.url}/ds").read("train", [10])
    assert server.requests.count(SHARD) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # that Python 3.12 has for every fork with threads
def test_workers_of_a_dataloader_read_a_url(server: FaultyServer, dataset: Path) -> None:
    data = pytest.importorskip("torch.utils.data")
    there = imagemill.open(f"{server.url}/ds", "train", returns="dict", transform=lambda image: image.size)
    there[0]  # the parent has used its connection before it forks
    loader = data.DataLoader(there, batch_size=None, num_workers=2, multiprocessing_context="fork")
    here = imagemill.open(dataset, "train", returns="dict", transform=lambda image: image.size)
    assert [tuple(map(int, item["image"])) for item in loader] == [item["image"] for item in here]


def test_the_command_line_reads_a_url(server: FaultyServer) -> None:
    command = [sys.executable, "-m", "imagemill"]
    info = [*command, "info", "--json", f"{server.url}/ds"]
    shown = subprocess.run(info, capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)["splits"]["train"]["samples"] == 20
    server.faults[SHARD] = ["always damaged"]
    done = subprocess.run([*command, "verify", f"{server.url}/ds"], capture_output=True, text=True, check=False)
    assert (done.returncode, "train-00003-of-00007" in done.stderr) == (5, True)


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format(format: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "www" / "ds", format=format)
    with serve(tmp_path / "www") as server:
        assert images(f"{server.url}/ds") == images(folder)


def test_memory_and_file_urls(dataset: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(dataset), "/there", recursive=True)
    before = {path: memory.cat(path) for path in memory.find("/")}
    assert images("memory://there") == images(dataset) == images(dataset.as_uri())
    assert imagemill.info("memory://there")["splits"] == imagemill.info(dataset)["splits"]
    assert {path: memory.cat(path) for path in memory.find("/")} == before
    memory.rm("/there", recursive=True)


def test_manifest_and_indices_come_before_shards(server: FaultyServer, dataset: Path) -> None:
    there = imagemill.open(f"{server.url}/ds", "train")
    assert server.requests == ["/ds/manifest.json"]
    assert there.keys == imagemill.open(dataset, "train").keys
    assert not [path for path in server.requests if "/data/" in path]
    there[10]
    assert server.requests[-1:] == [SHARD]
    seen = len(server.requests)
    assert images(f"{server.url}/ds") == images(dataset)
    assert len(set(server.requests[seen:])) == 1 + 6  # the manifest, and the shards that were not there
    pickle.loads(pickle.dumps(there))[10]
    assert server.requests.count(SHARD) == 1


@pytest.mark.parametrize("faults", [["500"], ["503", "429"], ["truncated"], ["short"], ["hang"], ["drop"], ["damaged"]])
@pytest.mark.parametrize("path", [SHARD, SHARD.replace("data", "index"), "/ds/manifest.json"])
def test_what_passes_by_does_no_harm(server: FaultyServer, dataset: Path, path: str, faults: list[str]) -> None:
    server.faults[path] = list(faults)
    assert images(f"{server.url}/ds") == images(dataset)
    assert server.requests.count(path) == len(faults) + 1


@pytest.mark.parametrize(
    ("fault", "error", "words", "requests"),
    [
        ("404", ShardError, "is not there", 1),
        ("403", RemoteError, "permission denied .HTTP 403.: check the credentials", 1),
        ("500", RemoteError, "HTTP 500", 4),
        ("hang", RemoteError, "nothing arrived for", 4),
        ("drop", RemoteError, "cannot be read", 4),
        ("damaged", ShardError, "twice as other bytes than the manifest says", 2),
        ("short", ShardError, "twice as other bytes", 2),
        ("endless", ShardError, "twice as other bytes", 2),
    ],
)
def test_what_stays_is_a_clear_error(
    server: FaultyServer, tmp_path: Path, fault: str, error: type[Exception], words: str, requests: int
) -> None:
    server.faults[SHARD] = [f"always {fault}"]
    there = Store(f"{server.url}/ds")
    with pytest.raises(error, match=words):
        there.read("train", [10])
    # aiohttp by itself asks once more where a connection is closed without an answer.
    assert server.requests.count(SHARD) == (2 * requests if fault == "drop" else requests)
    names = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert not {name for name in names if name.endswith(".part")}
    assert not list((tmp_path / "cache").glob(f"datasets/*/*/data/{Path(SHARD).name}"))
    assert there.read("train", [0])  # other shards are not touched by it


def test_no_dataset_there(server: FaultyServer) -> None:
    with pytest.raises(ConfigError, match=r"nothing-here has no manifest.json"):
        imagemill.open(f"{server.url}/nothing-here")
    server.faults["/ds/manifest.json"] = ["always damaged"]
    with pytest.raises(DamageError, match=r"manifest.json"):
        imagemill.open(f"{server.url}/ds")
    server.faults["/ds/manifest.json"] = ["always 401"]
    with pytest.raises(RemoteError, match=r"ds/manifest.json cannot be read: permission denied .HTTP 401."):
        imagemill.open(f"{server.url}/ds")


def test_verify_looks_at_the_place_and_not_at_the_cache(server: FaultyServer, dataset: Path) -> None:
    assert images(f"{server.url}/ds") == images(dataset)
    victim = server.folder / SHARD.lstrip("/")
    content = bytearray(victim.read_bytes())
    content[content.index(make_rows(SCHEMA, 25)[10].values["image"]) + 30] ^= 1
    victim.write_bytes(content)
    (server.folder / "ds/data/train-00005-of-00007.arrow").unlink()
    found = imagemill.verify(f"{server.url}/ds", workers=0).damages
    assert {damage.shard for damage in found} == {"train-00003-of-00007", "train-00005-of-00007"}
    assert [damage.key for damage in found if damage.key] == [make_rows(SCHEMA, 25)[10].key]


def test_another_dataset_at_the_same_url_never_mixes(server: FaultyServer, tmp_path: Path) -> None:
    url = f"{server.url}/ds"
    old = Store(url)
    first = old.read("train", [0])[0].values
    shutil.rmtree(server.folder / "ds")
    new = write(server.folder / "ds", seed=1)
    assert images(url) == images(new)
    assert old.read("train", [0])[0].values == first
    with pytest.raises(ShardError, match="the dataset was replaced since it was opened"):
        old.read("train", [19])


def test_the_cache_holds_no_more_than_its_limit(server: FaultyServer, dataset: Path, tmp_path: Path) -> None:
    limit = cached_limit(dataset, shards=3)
    there, most = Store(f"{server.url}/ds", cache_limit=limit), 0
    for _ in range(2):
        for position in range(20):
            assert there.read("train", [position])[0].values["image"] == make_rows(SCHEMA, 25)[position].values["image"]
            most = max(most, cached_bytes(tmp_path))
    assert most <= limit
    assert len(there._open) <= 3  # what is evicted is let go of, else the disk would not get it back
    assert server.requests.count(SHARD) == 2


def cached_limit(dataset: Path, shards: int) -> int:
    """Bytes that so many of the largest shards take with their indices."""
    every = (info for _, _, info in shards_of(Manifest.load(dataset)))
    sizes = [sum(file.size_bytes for file in (*info.files, info.index)) for info in every]
    return sum(sorted(sizes)[-shards:])


def test_the_least_recently_used_goes_first(
    server: FaultyServer, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "TOUCH_S", 0.0)
    monkeypatch.setenv("IMAGEMILL_CACHE_LIMIT", str(cached_limit(dataset, shards=3)))
    there = Store(f"{server.url}/ds")
    for position in (0, 3, 6, 0, 9, 0, 12):
        there.read("train", [position])
        time.sleep(0.02)
    assert server.requests.count("/ds/data/train-00000-of-00007.arrow") == 1
    assert set(there._open) >= {"train-00000-of-00007", "train-00004-of-00007"}
    assert "train-00001-of-00007" not in there._open


READ_ALL = """
import random, sys
from imagemill.formats.store import Store
from imagemill.testing.rows import SCHEMAS, make_rows
rows = make_rows(SCHEMAS["images"], 25)
random.seed(int(sys.argv[2]))
store = Store(sys.argv[1])
for turn in range(int(sys.argv[3])):
    for position in random.sample(range(20), 20):
        assert store.read("train", [position])[0].values["image"] == rows[position].values["image"]
print("all equal")
"""


def start(url: str, seed: int = 0, turns: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", READ_ALL, url, str(seed), str(turns)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("all equal\n", 0), err


def test_while_a_shard_is_fetched_others_are_read(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TIMEOUT_S", 10.0)
    there = Store(f"{server.url}/ds")
    there.read("train", [0])
    server.faults[SHARD] = ["slow"]
    with ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(there.read, "train", [10]) for _ in range(2)]
        while SHARD not in server.requests:
            time.sleep(0.001)
        there.read("train", [1])  # open already
        there.read("train", [19])  # fetched meanwhile
        assert not any(future.done() for future in slow)
        assert slow[0].result()[0].key == slow[1].result()[0].key
    assert server.requests.count(SHARD) == 1


def test_processes_share_a_cache_smaller_than_the_dataset(
    server: FaultyServer, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = cached_limit(dataset, shards=2)
    monkeypatch.setenv("IMAGEMILL_CACHE_LIMIT", str(limit))
    processes = [start(f"{server.url}/ds", seed) for seed in range(3)]
    for process in processes:
        finish(process)
    assert cached_bytes(tmp_path) <= limit


def test_processes_fetch_a_shard_once(server: FaultyServer) -> None:
    server.faults[SHARD] = ["slow"]
    for process in [start(f"{server.url}/ds", seed) for seed in range(3)]:
        finish(process)
    assert server.requests.count(SHARD) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_process_killed_while_it_fetches_blocks_nobody(
    server: FaultyServer, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults[SHARD] = ["hang"]
    victim = start(f"{server.url}/ds")
    assert server.hanging.wait(30)
    waiting = start(f"{server.url}/ds")
    deadline = time.monotonic() + 20
    while not (parts := list((tmp_path / "cache").rglob("*.part"))) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert len(parts) == 1
    finish(waiting)
    assert images(f"{server.url}/ds") == images(dataset)
    # What the dead one left goes with its shard.
    cache.make_room(tmp_path / "cache" / "datasets", 0, 0, keep=tmp_path)
    assert cached_bytes(tmp_path) == 0


def test_the_cache_may_be_deleted_at_any_time(server: FaultyServer, dataset: Path, tmp_path: Path) -> None:
    url, stop = f"{server.url}/ds", threading.Event()
    rows, deletions = images(dataset), []
    there = Store(url, verify="always")
    there.read("train", [0])

    def delete() -> None:
        while not stop.wait(0.2):
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
            deletions.append(time.monotonic())

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        while len(deletions) < 5:
            assert images(url) == rows
            assert there.read("train", [1])[0].values["image"] == rows[1]
    finally:
        stop.set()
        thread.join()


def test_what_this_disk_damages_is_fetched_again(server: FaultyServer, dataset: Path, tmp_path: Path) -> None:
    assert images(f"{server.url}/ds") == images(dataset)
    short = next((tmp_path / "cache").glob(f"datasets/*/*/data/{Path(SHARD).name}"))
    short.write_bytes(short.read_bytes()[:-9])
    index = next((tmp_path / "cache").glob("datasets/*/*/index/train-00001*"))
    index.write_bytes(index.read_bytes()[:-9] + b"damaged!!")
    assert images(f"{server.url}/ds") == images(dataset)


def test_a_slow_server_is_no_slow_decoder(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing stays in the cache between the scan and the reading of a sample.
    monkeypatch.setenv("IMAGEMILL_CACHE_LIMIT", "1B")
    monkeypatch.setattr(remote, "TIMEOUT_S", 10.0)
    late = "/ds/data/val-00001-of-00002.arrow"  # samples before it have set the alarm
    server.faults[late] = ["", "slow"]
    result = imagemill.convert(f"{server.url}/ds", tmp_path / "out", format="tar", workers=1, max_seconds=1.2)
    assert (result.rejected, server.requests.count(late)) == (0, 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda shard: shard["files"][0].update(path="data/../../../escaped"),
        lambda shard: shard["files"][0].update(path="/tmp/escaped"),
        lambda shard: shard["index"].update(path="index/..\\escaped"),
        lambda shard: shard.update(name="../../escaped"),
    ],
)
def test_a_manifest_that_names_files_outside_is_refused(
    server: FaultyServer, change: Callable[[dict[str, object]], None]
) -> None:
    path = server.folder / "ds" / "manifest.json"
    record = json.loads(path.read_bytes())
    change(record["splits"]["train"]["shards"][0])
    forged = Manifest.from_json(rewritten(record))
    path.write_text(forged.to_json(), "utf-8")
    with pytest.raises(DamageError, match="names files outside the dataset"):
        imagemill.open(f"{server.url}/ds", "train")


def rewritten(record: dict[str, object]) -> str:
    """The manifest with the digest that fits it, as a forger would make it."""
    record.pop("sha256")
    record["sha256"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    return json.dumps(record)


def test_places() -> None:
    assert place_of("data/ds") == Path("data/ds")
    assert place_of(Path("data/ds").absolute().as_uri()) == Path("data/ds").absolute()
    place = place_of("https://me:secret@host:8443/a/ds/?sig=token")
    assert isinstance(place, RemoteFolder)
    assert (str(place), place.name) == ("https://host:8443/a/ds/", "ds")
    with pytest.raises(ConfigError, match="as text"):
        place_of(Path("https://host/ds"))


def test_a_query_goes_with_every_file(server: FaultyServer, dataset: Path) -> None:
    assert images(f"{server.url}/ds?sig=token") == images(dataset)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    # What was used once is known there.
    monkeypatch.delitem(importlib.import_module("fsspec.registry")._registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtra, match=r"imagemill\[s3\]"):
        imagemill.info("s3://bucket/ds")
    with pytest.raises(ConfigError, match="gcsfs"):
        imagemill.info("gs://bucket/ds")
    with pytest.raises(ConfigError, match="nosuch"):
        imagemill.info("nosuch://bucket/ds")


def test_only_datasets_are_read_from_urls(server: FaultyServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only packed datasets are read from URLs"):
        imagemill.pack(f"{server.url}/ds", tmp_path / "out", kind="folder")


def test_a_cache_that_cannot_be_written(server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="set IMAGEMILL_CACHE to a folder of yours"):
        images(f"{server.url}/ds")
    with pytest.raises(ConfigError, match="no size in bytes"):
        Store(f"{server.url}/ds", cache_limit="much")
