"""An S3 store, moto's server: what `sync` brings there and back, and a dataset that lies there.

`test_s3.py` runs these in a process that has the packages for it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from s3_place import serve_s3

import imagemill
from imagemill.core.files import WORK_NAME
from imagemill.core.remote import RemoteFolder
from imagemill.errors import ConfigError, RemoteError, ShardError
from imagemill.prepare.sync_places import RECORD_NAME
from imagemill.testing.datasets import write_dataset
from imagemill.testing.piles import command, tree
from imagemill.testing.piles import imagemill as run
from imagemill.testing.rows import SCHEMAS, make_rows

FILES = {
    "a.jpg": b"one",
    "b/c.png": b"two" * 100_000,
    "b/sp ace+plus%20.jpg": b"three",
    "b/ünï#?&=.jpg": b"four",
    "b/[x]*.jpg": b"five",
    ".hidden": b"six",
    "empty": b"",
    "12:30.png": b"seven",
}
if os.name == "nt":
    FILES = {name: content for name, content in FILES.items() if not {"?", "*", ":"}.intersection(name)}


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """s3fs of a store; the environment says where it is, to other processes too."""
    with serve_s3() as url, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "FSSPEC_S3_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("NO_PROXY", "127.0.0.1")
        from s3fs import S3FileSystem

        yield S3FileSystem()
        S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket."""
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))
    name = f"bucket-{uuid.uuid4().hex}"
    store.mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def pile(tmp_path: Path) -> Path:
    return write(tmp_path / "pile", FILES)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """{relative path: bytes} of what a person sees."""
    own = {RECORD_NAME, WORK_NAME}
    files = (path for path in folder.rglob("*") if path.is_file() and own.isdisjoint(path.parts))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def objects(store: Any, url: str) -> dict[str, bytes]:
    """{key below the URL: bytes}, without the record."""
    store.invalidate_cache()
    root = url.removeprefix("s3://") + "/"
    found = {path.removeprefix(root): store.cat_file(path) for path in store.find(root)}
    found.pop(RECORD_NAME, None)
    return found


def told(result: Any) -> dict[str, tuple[str, ...]]:
    names = ("added", "updated", "deleted", "changed", "gone", "missing")
    return {name: getattr(result, name) for name in names if getattr(result, name)} | dict(result.failed)


def test_a_folder_goes_there_and_comes_back(store: Any, bucket: str, pile: Path, tmp_path: Path) -> None:
    url = f"{bucket}/deep/copy"
    store.pipe(f"{bucket}/deep/copy-of-another/file", b"mine")
    first = imagemill.sync(pile, url)
    assert told(first) == {"added": tuple(sorted(FILES))}
    assert objects(store, url) == FILES
    assert (imagemill.sync(pile, url).same, imagemill.sync(pile, url, check=True).clean) == (len(FILES), True)
    assert imagemill.sync(None, url, check=True).clean
    assert set(imagemill.sync(f"{url}/", tmp_path / "back").added) == set(FILES)
    assert content(tmp_path / "back") == FILES
    assert imagemill.sync(url, f"{bucket}/third").clean
    assert objects(store, f"{bucket}/third") == FILES
    assert objects(store, f"{bucket}/deep/copy-of-another") == {"file": b"mine"}


def test_what_changed_is_brought_and_deleted_when_asked(store: Any, bucket: str, pile: Path, tmp_path: Path) -> None:
    url = f"{bucket}/copy"
    imagemill.sync(pile, url)
    imagemill.sync(url, tmp_path / "back")
    (pile / "a.jpg").write_bytes(b"ONE")
    (pile / "b/c.png").unlink()
    before = objects(store, url)
    dry = imagemill.sync(pile, url, dry_run=True, delete=True)
    assert told(dry) == {"updated": ("a.jpg",), "deleted": ("b/c.png",)}
    assert objects(store, url) == before
    assert told(imagemill.sync(pile, url)) == {"updated": ("a.jpg",), "gone": ("b/c.png",)}
    assert told(imagemill.sync(pile, url, delete=True)) == {"deleted": ("b/c.png",)}
    assert objects(store, url) == content(pile)
    assert told(imagemill.sync(url, tmp_path / "back", delete=True)) == {"updated": ("a.jpg",), "deleted": ("b/c.png",)}
    assert content(tmp_path / "back") == content(pile)


def test_what_somebody_else_wrote_there_is_told_and_left(store: Any, bucket: str, pile: Path, tmp_path: Path) -> None:
    url = f"{bucket}/copy"
    imagemill.sync(pile, url)
    store.pipe(f"{url}/a.jpg", b"eno")
    store.pipe(f"{url}/theirs.txt", b"theirs")
    done = run("sync", pile, url)
    assert (done.returncode, "changed by hand: a.jpg" in done.stderr) == (5, True)
    for source in (pile, None):
        result = imagemill.sync(source, url, check=True)
        assert (result.changed, result.extra, result.clean) == (("a.jpg",), 1, False)
    assert run("sync", url, "--check").returncode == 5
    assert imagemill.sync(pile, url, force=True, delete=True).clean
    assert objects(store, url) == {**FILES, "theirs.txt": b"theirs"}
    store.rm(f"{url}/a.jpg")
    assert imagemill.sync(None, url, check=True).missing == ("a.jpg",)


def test_folders_that_a_console_made_are_no_files(store: Any, bucket: str, pile: Path, tmp_path: Path) -> None:
    url = f"{bucket}/copy"
    for name in ("", "new folder/", "b/"):
        store.call_s3("put_object", Bucket=bucket.removeprefix("s3://"), Key=f"copy/{name}", Body=b"")
    result = imagemill.sync(pile, url)
    assert (result.extra, result.clean) == (0, True)
    for _ in range(2):
        result = imagemill.sync(url, tmp_path / "back")
        assert (told(result).keys() - {"added"}, result.clean) == (set(), True)
    assert content(tmp_path / "back") == FILES


def test_keys_that_lead_out_of_the_folder_stay_there(store: Any, bucket: str, tmp_path: Path) -> None:
    for key in ("copy/../../evil", "copy/good"):
        store.call_s3("put_object", Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"x")
    result = imagemill.sync(f"{bucket}/copy", tmp_path / "there" / "back")
    assert set(result.failed) == {"../../evil"}
    assert content(tmp_path / "there" / "back") == {"good": b"x"}
    assert not (tmp_path / "evil").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("to_the_store", [True, False])
def test_killed_in_the_middle_it_goes_on(store: Any, bucket: str, tmp_path: Path, to_the_store: bool) -> None:
    pile = write(tmp_path / "pile", {f"{number % 7}/{number}": str(number).encode() * 4000 for number in range(300)})
    url, back = f"{bucket}/copy", tmp_path / "back"
    if not to_the_store:
        imagemill.sync(pile, url)
    places = (pile, url) if to_the_store else (url, back)

    def seen() -> int:
        store.invalidate_cache()
        return len(store.find(url) if to_the_store else content(back))

    with subprocess.Popen(command("sync", *places), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and seen() < 30:
            time.sleep(0.01)
        process.kill()
    there = objects(store, url) if to_the_store else content(back)
    assert 30 <= len(there) < 300
    assert there.items() <= content(pile).items(), "a file was seen before it was whole"
    last = imagemill.sync(*places)
    assert (last.changed, last.clean) == ((), True)
    assert len(last.added) <= 300 - len(there)
    assert (objects(store, url) if to_the_store else content(back)) == content(pile)
    assert not (back / ".imagemill").exists()


def test_places_that_are_not_there_are_named(bucket: str, pile: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no files, or is not there"):
        imagemill.sync(f"{bucket}/nothing", tmp_path / "new")
    with pytest.raises(ConfigError, match="holds no files, or is not there"):
        imagemill.sync("s3://no-such-bucket-anywhere/x", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(RemoteError, match="s3://no-such-bucket-anywhere/x refuses: .*bucket does not exist"):
        imagemill.sync(pile, "s3://no-such-bucket-anywhere/x")


def test_without_credentials_it_says_so_at_once(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3FileSystem

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    S3FileSystem.clear_instance_cache()
    began = time.monotonic()
    with pytest.raises(RemoteError, match=r"no credentials: .*AWS_ACCESS_KEY_ID"):
        RemoteFolder(f"{bucket}/ds").read("manifest.json")
    assert time.monotonic() - began < 2, "asked again and again"
    S3FileSystem.clear_instance_cache()


SCHEMA = SCHEMAS["images"]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    rows = make_rows(SCHEMA, 25)
    return write_dataset(tmp_path / "ds", SCHEMA, {"train": rows[:20], "val": rows[20:]}, shard_samples=3)


def test_a_dataset_is_read_where_it_was_synced_to(store: Any, bucket: str, dataset: Path, tmp_path: Path) -> None:
    url = f"{bucket}/datasets/ds"
    assert imagemill.sync(dataset, url).clean
    assert {**imagemill.info(url), "path": ""} == {**imagemill.info(dataset), "path": ""}
    done = run("verify", url)
    assert (done.returncode, "25" in done.stdout) == (0, True), done.stderr
    here, there = (imagemill.open(place, "train", returns="sample") for place in (dataset, url))
    assert list(there) == list(here)
    imagemill.convert(url, tmp_path / "tar", format="tar", workers=0)
    imagemill.convert(dataset, tmp_path / "tar-of-here", format="tar", workers=0)
    assert tree(tmp_path / "tar") == tree(tmp_path / "tar-of-here")
    packed = run("pack", url, tmp_path / "packed", "--format", "parquet", "--workers", "0", "--json")
    assert json.loads(packed.stdout)["kept"] == 25, packed.stderr
    assert imagemill.verify(tmp_path / "packed", workers=0).damages == ()
    assert imagemill.report(url, tmp_path / "page.html").facts.account.samples == 25


def test_the_loader_reads_a_dataset_there(bucket: str, dataset: Path) -> None:
    pytest.importorskip("torch")
    imagemill.sync(dataset, f"{bucket}/ds")
    here, there = (list(imagemill.Loader(place, "train", 8, size=16)) for place in (dataset, f"{bucket}/ds"))
    assert [batch["key"] for batch in there] == [batch["key"] for batch in here]
    assert all((one["image"] == other["image"]).all() for one, other in zip(here, there, strict=True))


def test_damage_there_is_found(store: Any, bucket: str, dataset: Path) -> None:
    url = f"{bucket}/ds"
    imagemill.sync(dataset, url)
    shard = f"{url}/data/train-00003-of-00007.arrow"
    content = bytearray(store.cat_file(shard))
    content[content.index(make_rows(SCHEMA, 25)[10].values["image"]) + 30] ^= 1
    store.pipe(shard, bytes(content))
    store.rm(f"{url}/data/train-00005-of-00007.arrow")
    done = run("verify", url)
    assert done.returncode == 5
    assert "train-00003-of-00007" in done.stderr
    assert "train-00005-of-00007" in done.stderr
    with pytest.raises(ShardError, match="train-00003-of-00007"):
        imagemill.open(url, "train", returns="sample")[10]
    assert not imagemill.sync(None, url, check=True).clean
    again = imagemill.sync(dataset, url, force=True)
    assert len(again.changed) == len(again.missing) == 1
    assert imagemill.verify(url, workers=0).damages == ()


def test_what_cannot_be_there_is_refused_before_anything_is_written(
    bucket: str, dataset: Path, pile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir(tmp_path))
    done = run("pack", pile, f"{bucket}/out")
    assert done.returncode == 2
    assert f"{bucket}/out is a URL" in done.stderr
    assert "imagemill sync FOLDER URL" in done.stderr
    for verb in (imagemill.convert, imagemill.export):
        with pytest.raises(ConfigError, match="is a URL"):
            verb(dataset, f"{bucket}/out", **({"format": "tar"} if verb is imagemill.convert else {}))
    imagemill.sync(pile, f"{bucket}/photos")
    with pytest.raises(ConfigError, match=rf"images at a URL come to a disk first: imagemill sync {bucket}/photos"):
        imagemill.pack(f"{bucket}/photos", tmp_path / "out")
    assert [name for name in sorted(os.listdir(tmp_path)) if name != "cache"] == before


def test_the_endpoint_may_be_one_of_fsspec(store: Any, bucket: str, pile: Path) -> None:
    environment = dict(os.environ)
    environment["FSSPEC_S3_ENDPOINT_URL"] = environment.pop("AWS_ENDPOINT_URL")
    places = [str(pile), f"{bucket}/copy"]
    subprocess.run([sys.executable, "-m", "imagemill", "sync", *places], env=environment, check=True)
    assert objects(store, f"{bucket}/copy") == FILES
