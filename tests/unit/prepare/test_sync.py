"""Folders brought up to date by digest: what is copied, told, left alone, refused; here and elsewhere; with git."""

from __future__ import annotations

import functools
import http.server
import json
import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
from http_place import serve

import imagemill
from imagemill.errors import ConfigError
from imagemill.prepare.sync import SyncResult
from imagemill.prepare.sync_places import RECORD_NAME, LocalTree
from imagemill.testing.piles import command, tree
from imagemill.testing.piles import imagemill as run

FILES = {"a.jpg": "one", "b/c.png": "two", "b/d e.txt": "three", ".hidden": "four"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pile(tmp_path: Path) -> Path:
    return write(tmp_path / "pile", FILES)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != RECORD_NAME and ".git" not in path.parts
    }


def told(result: SyncResult) -> dict[str, tuple[str, ...]]:
    names = ("added", "updated", "deleted", "changed", "gone", "missing")
    return {name: getattr(result, name) for name in names if getattr(result, name)}


def test_a_new_folder_gets_everything_and_the_second_time_nothing(pile: Path, tmp_path: Path) -> None:
    first = imagemill.sync(pile, tmp_path / "copy")
    assert set(first.added) == set(FILES)
    assert first.bytes_copied == sum(map(len, FILES.values()))
    assert content(tmp_path / "copy") == FILES
    assert not (tmp_path / "copy" / ".imagemill").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "copy").rglob("*")}
    second = imagemill.sync(pile, tmp_path / "copy")
    assert told(second) == {}
    assert (second.same, second.clean) == (4, True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "copy").rglob("*")} == before


def test_changed_added_removed_and_renamed_files(pile: Path, tmp_path: Path) -> None:
    imagemill.sync(pile, tmp_path / "copy")
    (pile / "a.jpg").write_text("ONE")
    (pile / "b/c.png").rename(pile / "renamed.png")
    (pile / ".hidden").unlink()
    write(pile, {"new/file": "five"})
    result = imagemill.sync(pile, tmp_path / "copy")
    assert told(result) == {
        "added": ("new/file", "renamed.png"),
        "updated": ("a.jpg",),
        "gone": (".hidden", "b/c.png"),
    }
    assert content(tmp_path / "copy") == {**content(pile), ".hidden": "four", "b/c.png": "two"}
    assert imagemill.sync(pile, tmp_path / "copy").gone == (".hidden", "b/c.png")
    result = imagemill.sync(pile, tmp_path / "copy", delete=True)
    assert told(result) == {"deleted": (".hidden", "b/c.png")}
    assert content(tmp_path / "copy") == content(pile)


def test_an_empty_folder_goes_with_its_last_file_and_others_stay(tmp_path: Path) -> None:
    pile = write(tmp_path / "pile", {"keep": "1", "deep/er/file": "2"})
    (tmp_path / "copy" / "mine").mkdir(parents=True)
    imagemill.sync(pile, tmp_path / "copy")
    (pile / "deep/er/file").unlink()
    imagemill.sync(pile, tmp_path / "copy", delete=True)
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == [RECORD_NAME, "keep", "mine"]


@pytest.mark.parametrize("hand", ["", "changed by hand"])
def test_what_was_changed_by_hand_is_told_and_left(hand: str, pile: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    imagemill.sync(pile, copy)
    (copy / "a.jpg").write_text(hand)
    (copy / "b/c.png").write_text("gone at the source, and changed")
    (pile / "b/c.png").unlink()
    (pile / "a.jpg").write_text("newer")
    result = imagemill.sync(pile, copy, delete=True)
    assert told(result) == {"changed": ("a.jpg", "b/c.png")}
    assert not result.clean
    assert (copy / "a.jpg").read_text() == hand
    assert told(imagemill.sync(pile, copy, delete=True)) == {"changed": ("a.jpg", "b/c.png")}
    imagemill.sync(pile, copy, delete=True, force=True)
    assert content(copy) == content(pile)
    assert imagemill.sync(pile, copy).clean


def test_files_that_sync_did_not_bring_are_left_alone(pile: Path, tmp_path: Path) -> None:
    copy = write(tmp_path / "copy", {"a.jpg": "mine, in the way", "b/c.png": "two", "mine.txt": "mine"})
    result = imagemill.sync(pile, copy, delete=True)
    assert told(result) == {"added": (".hidden", "b/d e.txt"), "changed": ("a.jpg",)}
    assert (result.same, result.extra) == (1, 1)
    assert (copy / "a.jpg").read_text() == "mine, in the way"
    assert (copy / "mine.txt").read_text() == "mine"


def test_a_file_that_got_lost_is_brought_again(pile: Path, tmp_path: Path) -> None:
    imagemill.sync(pile, tmp_path / "copy")
    (tmp_path / "copy" / "a.jpg").unlink()
    assert told(imagemill.sync(pile, tmp_path / "copy")) == {"added": ("a.jpg",), "missing": ("a.jpg",)}
    assert content(tmp_path / "copy") == FILES


def test_a_dry_run_and_a_check_write_nothing(pile: Path, tmp_path: Path) -> None:
    assert not imagemill.sync(pile, tmp_path / "copy", dry_run=True).clean
    assert not (tmp_path / "copy").exists()
    imagemill.sync(pile, tmp_path / "copy")
    assert imagemill.sync(pile, tmp_path / "copy", check=True).clean
    (pile / "a.jpg").write_text("newer")
    before = tree(tmp_path / "copy")
    for options in ({"dry_run": True}, {"check": True}):
        result = imagemill.sync(pile, tmp_path / "copy", **options)
        assert (result.updated, result.clean, result.written) == (("a.jpg",), False, False)
    assert tree(tmp_path / "copy") == before


def test_a_check_reads_everything_even_where_times_were_put_back(pile: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    imagemill.sync(pile, copy)
    status = (copy / "a.jpg").stat()
    (copy / "a.jpg").write_text("eno")
    os.utime(copy / "a.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    for result in (imagemill.sync(None, copy, check=True), imagemill.sync(pile, copy, check=True)):
        assert (result.changed, result.clean) == (("a.jpg",), False)
    (copy / "b/c.png").unlink()
    assert imagemill.sync(None, copy, check=True).missing == ("b/c.png",)


def test_digests_are_taken_once(pile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in pile.rglob("*"):
        os.utime(path, (time.time() - 60, time.time() - 60))
    imagemill.sync(pile, tmp_path / "copy")
    monkeypatch.setattr("imagemill.prepare.sync_places.LocalTree.digest", lambda *_: pytest.fail("read again"))
    assert imagemill.sync(pile, tmp_path / "copy").same == 4
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.undo()
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))
    assert imagemill.sync(pile, tmp_path / "copy").same == 4


def test_the_record_says_where_from_and_what(pile: Path, tmp_path: Path) -> None:
    imagemill.sync(pile, tmp_path / "copy")
    head, *lines = map(json.loads, (tmp_path / "copy" / RECORD_NAME).read_text().splitlines())
    assert head == {"source": str(pile), "digest": "sha256"}
    assert [line["path"] for line in lines] == sorted(FILES)
    assert lines[1]["size"] == 3
    (pile / "a.jpg").write_text("by the record")
    assert told(imagemill.sync(None, tmp_path / "copy")) == {"updated": ("a.jpg",)}


def test_what_cannot_be_copied_is_named_and_the_rest_is_brought(pile: Path, tmp_path: Path) -> None:
    (pile / "broken").symlink_to("nowhere")
    (pile / "folder").symlink_to("b")
    os.mkfifo(pile / "pipe")
    (pile / "link").symlink_to("a.jpg")
    result = imagemill.sync(pile, tmp_path / "copy")
    assert (set(result.failed), result.clean) == ({"broken", "folder", "pipe"}, False)
    assert content(tmp_path / "copy") == {**FILES, "link": "one"}
    assert not (tmp_path / "copy" / "link").is_symlink()


def test_a_sync_that_fails_leaves_nothing_of_its_own(pile: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    for copy in ("copy", "new/deep/copy"):
        with pytest.raises(ConfigError, match="holds no files"):
            imagemill.sync(f"memory://{tmp_path.name}/nowhere", tmp_path / copy)
    assert not list((tmp_path / "copy").iterdir())
    assert not (tmp_path / "new").exists()
    write(tmp_path / "copy", {RECORD_NAME: "no record", ".imagemill/tmp/of-a-killed-run": "half"})
    with pytest.raises(ConfigError, match="is damaged"):
        imagemill.sync(pile, tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == [RECORD_NAME]


def test_an_interrupted_sync_stops_and_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pile = write(tmp_path / "pile", {str(number): str(number) for number in range(400)})
    copy_to = LocalTree.copy_to

    def slowly(*words: Any) -> str:
        time.sleep(0.01)
        return copy_to(*words)

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalTree, "copy_to", slowly)
    with pytest.raises(KeyboardInterrupt):
        imagemill.sync(pile, tmp_path / "copy", on_progress=interrupted)
    there = content(tmp_path / "copy")
    assert 0 < len(there) < 200
    assert not (tmp_path / "copy" / ".imagemill").exists()
    last = imagemill.sync(pile, tmp_path / "copy")
    assert (len(last.added), last.same, last.clean) == (400 - len(there), len(there), True)


def test_a_link_in_the_destination_leads_nowhere(pile: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "b").symlink_to(tmp_path / "elsewhere")
    result = imagemill.sync(pile, tmp_path / "copy")
    assert set(result.failed) == {"b/c.png", "b/d e.txt"}
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(("source", "destination"), [("pile", "pile"), ("pile", "pile/b"), ("pile/b", "pile")])
def test_places_in_each_other_are_refused(source: str, destination: str, pile: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lie in each other"):
        imagemill.sync(tmp_path / source, tmp_path / destination)
    assert content(pile) == FILES


@pytest.mark.skipif(os.name == "nt", reason="names that Windows has not")
def test_names_as_people_and_programs_give_them(tmp_path: Path) -> None:
    names = (
        "Screenshot 12:30:45.png",
        "C:/x",
        "back\\slash",
        "line\u2028end",
        "next\x85line",
        "new\nline",
        "..a",
        "end. ",
    )
    pile = write(tmp_path / "pile", {name: str(place) for place, name in enumerate(names)})
    assert set(imagemill.sync(pile, tmp_path / "copy").added) == set(names)
    assert imagemill.sync(pile, tmp_path / "copy").same == len(names)
    assert imagemill.sync(None, tmp_path / "copy", check=True).clean
    assert content(tmp_path / "copy") == content(pile)


@pytest.mark.parametrize("path", ["../out", "/out", "a/../../out"] + ["..\\out", "C:out"] * (os.name == "nt"))
def test_a_record_that_leads_out_of_the_folder_is_refused(path: str, tmp_path: Path) -> None:
    entry = {"path": path, "size": 1, "sha256": "0" * 64}
    write(tmp_path / "copy", {RECORD_NAME: json.dumps({"source": "x"}) + "\n" + json.dumps(entry) + "\n"})
    with pytest.raises(ConfigError, match="damaged"):
        imagemill.sync(None, tmp_path / "copy", check=True)


def test_a_folder_without_a_record_cannot_be_checked_alone(pile: Path) -> None:
    with pytest.raises(ConfigError, match="never synced"):
        imagemill.sync(None, pile, check=True)


def test_to_and_from_a_place_of_fsspec(pile: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/copy"
    assert set(imagemill.sync(pile, url).added) == set(FILES)
    (pile / "a.jpg").write_text("ONE")
    (pile / ".hidden").unlink()
    assert told(imagemill.sync(pile, url, delete=True)) == {"updated": ("a.jpg",), "deleted": (".hidden",)}
    assert imagemill.sync(None, url, check=True).clean
    with fsspec.open(f"{url}/b/c.png", "wb") as file:
        file.write(b"by hand")
    assert imagemill.sync(pile, url).changed == ("b/c.png",)
    imagemill.sync(url, tmp_path / "back")
    assert content(tmp_path / "back") == {**content(pile), "b/c.png": "by hand"}


def test_a_place_of_fsspec_without_files_empties_nothing(pile: Path, tmp_path: Path) -> None:
    imagemill.sync(pile, tmp_path / "copy")
    with pytest.raises(ConfigError, match="holds no files, or is not there"):
        imagemill.sync(f"memory://{tmp_path.name}/nowhere", tmp_path / "copy", delete=True)
    assert content(pile).items() <= content(tmp_path / "copy").items()


def test_from_a_web_server_that_has_a_record(pile: Path, tmp_path: Path) -> None:
    (pile / "b/d e.txt").unlink()  # the server of these tests does not take %20 for a space
    imagemill.sync(pile, tmp_path / "served")
    with serve(tmp_path / "served") as server:
        assert set(imagemill.sync(server.url, tmp_path / "copy").added) == {".hidden", "a.jpg", "b/c.png"}
        server.requests.clear()
        assert imagemill.sync(server.url, tmp_path / "copy").same == 3
        assert server.requests == [f"/{RECORD_NAME}"]
        (pile / "a.jpg").write_text("ONE")
        imagemill.sync(pile, tmp_path / "served")
        server.faults["/a.jpg"] = ["always damaged"]
        broken = imagemill.sync(server.url, tmp_path / "copy")
        assert "what arrived is not what" in broken.failed["a.jpg"]
        assert (tmp_path / "copy" / "a.jpg").read_text() == "one"
        server.faults.clear()
        assert imagemill.sync(server.url, tmp_path / "copy").updated == ("a.jpg",)
        with pytest.raises(ConfigError, match="read only"):
            imagemill.sync(pile, server.url)
    assert content(tmp_path / "copy") == content(pile)


class _Listing(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:  # the name that http.server calls
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()


def test_from_a_web_server_with_nothing_but_index_pages(pile: Path, tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Listing, directory=str(pile)))
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        assert set(imagemill.sync(url, tmp_path / "copy").added) == set(FILES)
        server.asked.clear()  # type: ignore[attr-defined]
        assert imagemill.sync(url, tmp_path / "copy").same == 4
        assert set(server.asked) <= {f"/{RECORD_NAME}", "/", "/b", "/b/"}, "files were fetched again"  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert content(tmp_path / "copy") == FILES


def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    rng = random.Random(5)
    pile = write(tmp_path / "pile", {f"{number % 7}/{number}": str(number) * 4000 for number in range(400)})
    copy, arguments = tmp_path / "copy", command("sync", tmp_path / "pile", tmp_path / "copy")
    interrupted = 0
    for _ in range(3):
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wanted = len(content(copy)) + rng.randrange(20, 90) if copy.exists() else 30
        while process.poll() is None and (not copy.exists() or len(_visible(copy)) < wanted):
            time.sleep(0.002)
        process.kill()
        process.wait()
        for name in _visible(copy):
            assert (copy / name).read_text() == (pile / name).read_text()
        interrupted += not (copy / RECORD_NAME).exists()
    assert interrupted >= 2
    for name in list(_visible(copy))[:5]:
        (pile / name).write_text("changed since the kill")
    last = imagemill.sync(pile, copy)
    assert (last.changed, len(last.updated)) == ((), 5)
    assert content(copy) == content(pile)


def _visible(folder: Path) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [name for name in names if not name.startswith(".")]


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def project(pile: Path, tmp_path: Path) -> Path:
    """A project that holds the data as a submodule, brought there by sync."""
    data, project = tmp_path / "data.git", tmp_path / "project"
    imagemill.sync(pile, data)
    for folder in (data, project):
        folder.mkdir(exist_ok=True)
        git(folder, "init", "-q", "-b", "main")
    git(data, "add", "-A")
    git(data, "commit", "-qm", "data")
    git(project, "submodule", "add", "-q", str(data), "data")
    git(project, "commit", "-qm", "with data")
    return project


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_data_held_as_a_git_submodule(project: Path, pile: Path, tmp_path: Path) -> None:
    data = project / "data"
    assert imagemill.sync(None, data, check=True).clean
    assert (data / ".git").is_file()
    head = git(data, "rev-parse", "HEAD")
    (pile / "a.jpg").write_text("ONE")
    (pile / "b/c.png").unlink()
    assert not imagemill.sync(pile, data, check=True, delete=True).clean
    assert imagemill.sync(pile, data, delete=True).clean
    assert content(data) == content(pile)
    changed = {line.split()[-1] for line in git(data, "status", "--porcelain").splitlines()}
    assert changed == {"a.jpg", "b/c.png", RECORD_NAME}
    git(data, "commit", "-qam", "newer data")
    git(project, "commit", "-qam", "newer data")
    assert imagemill.sync(None, data, check=True).clean
    git(data, "checkout", "-q", head.strip())
    assert imagemill.sync(None, data, check=True).clean, "the record went back with the files"
    assert run("sync", pile, data, "--check").returncode == 5
    git(project, "submodule", "update", "-q")
    assert imagemill.sync(pile, data, check=True).clean
    imagemill.sync(data, tmp_path / "copy")
    assert content(tmp_path / "copy") == content(pile)
    assert not (tmp_path / "copy" / ".git").exists()


def test_a_check_that_fails_says_what_and_exits_5(pile: Path, tmp_path: Path) -> None:
    imagemill.sync(pile, tmp_path / "copy")
    (tmp_path / "copy" / "a.jpg").write_text("by hand")
    for arguments in ((tmp_path / "copy", "--check"), (pile, tmp_path / "copy")):
        done = run("sync", *arguments)
        assert done.returncode == 5
        assert "changed by hand: a.jpg" in done.stderr
    assert imagemill.sync(pile, tmp_path / "copy", check=True).changed == ("a.jpg",)
