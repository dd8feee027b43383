"""`fetch` from a list to a pile, and the pile from there: checked, packed, grown, refreshed."""

from __future__ import annotations

import gzip
import hashlib
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fault_server import Exchange, FaultServer, running

import imagemill as mill
from imagemill.acquire.journal import Journal, Record
from imagemill.acquire.result import FetchResult
from imagemill.api.fetch import ListFacts
from imagemill.errors import ConfigError, RemoteError
from imagemill.testing.images import photo, saved
from imagemill.testing.piles import imagemill, save_photo, tree

SECRET = "hunter2"


class Web:
    """A server whose paths are bodies that a test can change; a number is a status instead."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes | int] = {}
        self.etags = True
        self.server = FaultServer(fallback=self._answer)

    async def _answer(self, exchange: Exchange) -> None:
        body = self.bodies.get(exchange.target.partition("?")[0], 404)
        if isinstance(body, int):
            await exchange.answer(b"", body)
            return
        etag = f'"{hash(body)}"'
        if self.etags and exchange.headers.get("if-none-match") == etag:
            await exchange.head(304, f"ETag: {etag}")
            return
        await exchange.answer(body, 200, *((f"ETag: {etag}",) if self.etags else ()))

    def url(self, path: str) -> str:
        return self.server.url + path

    @property
    def asked(self) -> dict[str, int]:
        """Requests a path since the last look, robots.txt aside."""
        found = {path: count for path, count in self.server.visits.items() if path != "/robots.txt"}
        self.server.visits.clear()
        return found


def jpeg(seed: int) -> bytes:
    return saved(photo(24, 32, seed), "JPEG")


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    for number in range(6):
        web.bodies[f"/{number}.jpg"] = jpeg(number)
    web.bodies["/same.jpg"] = jpeg(0)
    web.bodies["/picture.png"] = saved(photo(24, 32, 7), "PNG")
    web.bodies["/page.jpg"] = b"<!doctype html><html><body>not here</body></html>"
    web.bodies["/cut.jpg"] = jpeg(8)[:-200]
    web.bodies["/busy.jpg"] = 500
    with running(web.server):
        yield web


@pytest.fixture
def fetch(web: Web) -> Callable[..., FetchResult]:
    def run(urls: Path | str, out: Path, **options: Any) -> FetchResult:
        settings = {"attempts": 1, "workers": 1, "allow": [web.server.authority]}
        result = mill.fetch(urls, out, **{**settings, **options})
        assert isinstance(result, FetchResult)
        assert result.found == result.fetched + result.failed + result.bad_lines
        assert sum(result.reasons.values()) == result.failed + result.bad_lines
        assert not (out / ".imagemill").exists()
        return result

    return run


def listed(path: Path, web: Web, *paths: str) -> Path:
    path.write_text("".join(web.url(name) + "\n" for name in paths))
    return path


def index(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(out / "index.parquet").to_pylist()
    return found


def images(out: Path) -> dict[str, str]:
    return {path: digest for path, digest in tree(out).items() if path.startswith("images/")}


def test_a_list_becomes_a_pile(web: Web, fetch: Callable[..., FetchResult], tmp_path: Path) -> None:
    """What the colour pipeline's download did, without what it got wrong."""
    lines = [
        "# fall11_urls.txt",
        f"n01_1\t{web.url('/0.jpg')}",
        f"n01_2\t{web.url('/same.jpg')}",
        "",
        f"n01_3\t{web.url('/picture.png')}?token={SECRET}",
        f"n01_4\t{web.url('/page.jpg')}",
        f"n01_5\t{web.url('/cut.jpg')}?sig={SECRET}#{SECRET}",
        f"n01_6\thttp://u:{SECRET}@{web.server.authority}/gone.jpg",
        "n01_7 nothing",
        f"n01_8\t{web.url('/0.jpg')}",
    ]
    (tmp_path / "urls.txt").write_text("\n".join(lines))
    result = fetch(tmp_path / "urls.txt", tmp_path / "pile")
    assert (result.found, result.fetched, result.failed, result.bad_lines, result.repeats) == (8, 4, 3, 1, 1)
    assert result.images == 2
    assert dict(result.reasons) == {"bad-line": 1, "html": 1, "not-found": 1, "truncated": 1}
    assert web.asked == {
        f"/{name}": 1 for name in ("0.jpg", "same.jpg", "picture.png", "page.jpg", "cut.jpg", "gone.jpg")
    }
    rows = index(tmp_path / "pile")
    assert [row["id"] for row in rows] == [f"n01_{number}" for number in (1, 2, 3, 4, 5, 6, 8)]
    assert [row["number"] for row in rows] == list(range(7))
    assert [row["repeat_of"] for row in rows] == [None] * 6 + [0]
    assert [row["reason"] for row in rows] == [None, None, None, "html", "truncated", "not-found", None]
    assert rows[2]["url"] == f"{web.url('/picture.png')}?token={SECRET}"
    assert rows[2]["origin"] == f"{web.url('/picture.png')}?token=…"
    assert (rows[2]["format"], rows[2]["width"], rows[2]["height"]) == ("PNG", 32, 24)
    assert rows[0]["path"] == rows[1]["path"] == rows[6]["path"]
    for row in rows:
        if row["path"]:
            content = (tmp_path / "pile" / row["path"]).read_bytes()
            assert content == web.bodies[row["url"].removeprefix(web.server.url).partition("?")[0]]
            assert row["size_bytes"] == len(content)
            assert row["path"] == f"images/{row['sha256'][:2]}/{row['sha256'][2:4]}/{row['sha256']}.{row['path'][-3:]}"
    rejects = [json.loads(line) for line in (tmp_path / "pile" / "rejects.jsonl").read_text().splitlines()]
    assert [reject["key"] for reject in rejects] == ["urls.txt, line 9", "n01_4", "n01_5", "n01_6"]
    for name in ("rejects.jsonl", "run.jsonl"):
        assert SECRET not in (tmp_path / "pile" / name).read_text()
    assert SECRET not in json.dumps([{**row, "url": ""} for row in rows], default=str)


def test_the_same_command_again_asks_for_nothing(web: Web, fetch: Callable[..., FetchResult], tmp_path: Path) -> None:
    urls, out = listed(tmp_path / "urls.txt", web, "/0.jpg", "/1.jpg", "/busy.jpg", "/gone.jpg"), tmp_path / "pile"
    first = fetch(urls, out)
    before, web.server.visits = tree(out, without=()), type(web.server.visits)()
    again = fetch(urls, out)
    assert again.already
    assert (again.found, again.fetched, again.reasons) == (first.found, first.fetched, first.reasons)
    assert web.asked == {}
    assert tree(out, without=()) == before


def test_an_image_that_is_gone_or_cut_is_fetched_again(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path
) -> None:
    urls, out = listed(tmp_path / "urls.txt", web, "/0.jpg", "/1.jpg", "/2.jpg"), tmp_path / "pile"
    fetch(urls, out)
    whole = images(out)
    rows = index(out)
    (out / rows[0]["path"]).unlink()
    (out / rows[1]["path"]).write_bytes(b"cut off by a power cut")
    assert web.asked
    assert not fetch(urls, out).already
    assert web.asked == {"/0.jpg": 1, "/1.jpg": 1}
    assert images(out) == whole


def test_a_list_may_grow_and_change_its_order(web: Web, fetch: Callable[..., FetchResult], tmp_path: Path) -> None:
    out = tmp_path / "pile"
    fetch(listed(tmp_path / "urls.txt", web, "/0.jpg", "/1.jpg", "/gone.jpg"), out)
    old = {row["url"]: row for row in index(out)}
    assert web.asked
    result = fetch(listed(tmp_path / "more.txt", web, "/5.jpg", "/gone.jpg", "/1.jpg", "/0.jpg", "/5.jpg"), out)
    assert web.asked == {"/5.jpg": 1}
    assert (result.fetched, result.failed, result.repeats, result.asked) == (4, 1, 1, 1)
    rows = index(out)
    assert [row["url"] for row in rows] == [web.url(f"/{name}.jpg") for name in ("5", "gone", "1", "0", "5")]
    for row in rows[1:4]:
        assert {**row, "number": 0} == {**old[row["url"]], "number": 0}


def test_a_list_that_lacks_images_of_the_pile_is_refused(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path
) -> None:
    out = tmp_path / "pile"
    fetch(listed(tmp_path / "urls.txt", web, "/0.jpg", "/1.jpg", "/gone.jpg"), out)
    other = listed(tmp_path / "other.txt", web, "/1.jpg", "/2.jpg")
    before = tree(out)
    with pytest.raises(ConfigError, match="holds 1 images of URLs that this list does not name"):
        fetch(other, out)
    assert {path: digest for path, digest in tree(out).items() if not path.startswith(".imagemill/")} == before
    assert web.asked
    result = fetch(other, out, replace_list=True)
    assert web.asked == {"/2.jpg": 1}
    assert (result.found, result.fetched, result.images) == (2, 2, 2)
    assert len(images(out)) == 3
    back = fetch(listed(tmp_path / "urls.txt", web, "/0.jpg", "/1.jpg", "/2.jpg"), out)
    assert (back.fetched, back.asked) == (3, 1)


def test_the_refused_list_leaves_the_way_open_for_the_first_one(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path
) -> None:
    out = tmp_path / "pile"
    urls = listed(tmp_path / "urls.txt", web, "/0.jpg", "/1.jpg")
    fetch(urls, out)
    with pytest.raises(ConfigError, match="does not name"):
        fetch(listed(tmp_path / "other.txt", web, "/2.jpg"), out)
    assert web.asked
    assert fetch(urls, out).fetched == 2
    assert web.asked == {}


def test_more_of_the_same_list(web: Web, fetch: Callable[..., FetchResult], tmp_path: Path) -> None:
    urls, out = listed(tmp_path / "urls.txt", web, *(f"/{number}.jpg" for number in range(6))), tmp_path / "pile"
    assert fetch(urls, out, skip=1, count=2).fetched == 2
    assert web.asked == {"/1.jpg": 1, "/2.jpg": 1}
    assert [row["number"] for row in index(out)] == [1, 2]
    assert fetch(urls, out, count=4).fetched == 4
    assert web.asked == {"/0.jpg": 1, "/3.jpg": 1}
    with pytest.raises(ConfigError, match="does not name"):
        fetch(urls, out, skip=3)


def test_failures_are_tried_again_when_asked_for(web: Web, fetch: Callable[..., FetchResult], tmp_path: Path) -> None:
    urls, out = listed(tmp_path / "urls.txt", web, "/0.jpg", "/busy.jpg", "/new.jpg", "/page.jpg"), tmp_path / "pile"
    assert dict(fetch(urls, out).reasons) == {"html": 1, "http-5xx": 1, "not-found": 1}
    assert web.asked
    web.bodies["/busy.jpg"] = jpeg(1)
    web.bodies["/new.jpg"] = jpeg(2)
    assert fetch(urls, out).already
    result = fetch(urls, out, retry=["http-5xx"])
    assert web.asked == {"/busy.jpg": 1}
    assert dict(result.reasons) == {"html": 1, "not-found": 1}
    assert fetch(urls, out, retry=["http-5xx"]).already
    assert dict(fetch(urls, out, retry_failed=True).reasons) == {"html": 1}
    assert web.asked == {"/new.jpg": 1, "/page.jpg": 1}
    with pytest.raises(ConfigError, match="no URL fails for the reason 'weather'"):
        fetch(urls, out, retry=["weather"])


@pytest.mark.parametrize("etags", [True, False])
def test_what_changed_is_told_and_kept_beside(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path, etags: bool
) -> None:
    web.etags = etags
    urls, out = listed(tmp_path / "urls.txt", web, "/0.jpg", "/1.jpg", "/2.jpg", "/page.jpg"), tmp_path / "pile"
    fetch(urls, out)
    before, old = images(out), index(out)
    web.bodies["/1.jpg"] = jpeg(50)
    web.bodies["/2.jpg"] = 404
    assert web.asked
    result = fetch(urls, out, refresh=True)
    assert (result.changed, result.unchanged, result.unchecked) == (1, 1, 1)
    assert web.asked == {"/0.jpg": 1, "/1.jpg": 1, "/2.jpg": 1}
    rows = index(out)
    assert [row["checked"] for row in rows] == ["unchanged", "changed", "not-found", None]
    assert [row["path"] for row in rows] == [row["path"] for row in old]
    assert (out / rows[1]["changed_path"]).read_bytes() == jpeg(50)
    assert images(out).items() > before.items()
    assert len(images(out)) == 4
    # Without being asked to, nothing is looked at again; and what was found stays known when the list grows.
    assert fetch(urls, out).already
    more = listed(tmp_path / "more.txt", web, "/0.jpg", "/1.jpg", "/2.jpg", "/page.jpg", "/3.jpg")
    assert fetch(more, out).changed == 1
    assert index(out)[1]["changed_path"] == rows[1]["changed_path"]
    web.bodies["/1.jpg"] = jpeg(1)
    again = fetch(more, out, refresh=True)
    assert (again.changed, again.unchanged, again.unchecked) == (0, 3, 1)


def test_a_list_at_a_url(web: Web, fetch: Callable[..., FetchResult], tmp_path: Path) -> None:
    lines = "".join(web.url(f"/{number}.jpg") + "\n" for number in range(3))
    web.bodies["/lists/urls.txt.gz"] = gzip.compress(lines.encode())
    where = f"{web.url('/lists/urls.txt.gz')}?token={SECRET}"
    result = fetch(where, tmp_path / "pile")
    assert (result.found, result.fetched) == (3, 3)
    assert fetch(where, tmp_path / "pile").already
    for name in ("rejects.jsonl", "run.jsonl"):
        assert SECRET not in (tmp_path / "pile" / name).read_text()
    with pytest.raises(RemoteError, match=r"urls.txt\?token=… cannot be had: not-found") as gone:
        fetch(f"{web.url('/urls.txt')}?token={SECRET}", tmp_path / "other")
    assert SECRET not in str(gone.value)
    with pytest.raises(ConfigError, match="refused-address"):
        fetch(where, tmp_path / "third", allow=())


def test_a_list_that_cannot_be_taken_leaves_nothing(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("# nothing yet\n")
    web.bodies["/empty.txt"] = b"\n"
    mine = tmp_path / "mine"
    mine.mkdir()
    lists = {
        tmp_path / "empty.txt": ConfigError,
        web.url("/empty.txt"): ConfigError,
        web.url("/nowhere.txt"): RemoteError,
        "http://127.0.0.1:1/urls.txt": ConfigError,
    }
    for urls, error in lists.items():
        for out in (tmp_path / "new" / "pile", mine):
            with pytest.raises(error):
                fetch(urls, out)
        assert not (tmp_path / "new").exists()
        assert list(mine.iterdir()) == []


def test_a_finished_pile_stays_as_it_was_when_a_list_is_refused(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path
) -> None:
    out = tmp_path / "pile"
    fetch(listed(tmp_path / "urls.txt", web, "/0.jpg", "/1.jpg"), out)
    before = tree(out)
    (tmp_path / "empty.txt").touch()
    for urls in (tmp_path / "empty.txt", listed(tmp_path / "other.txt", web, "/2.jpg"), web.url("/nowhere.txt")):
        with pytest.raises((ConfigError, RemoteError)):
            fetch(urls, out)
        assert tree(out) == before
        assert not (out / ".imagemill").exists()


def test_what_a_killed_run_fetched_outlives_lists_that_are_refused(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path
) -> None:
    web.bodies["/urls.txt"] = "\n".join(map(web.url, ("/0.jpg", "/1.jpg"))).encode()
    web.bodies["/others.txt"] = "\n".join(map(web.url, ("/0.jpg", "/1.jpg", "/2.jpg"))).encode()
    web.bodies["/empty.txt"] = b"\n"
    out = tmp_path / "pile"
    command = ("fetch", web.url("/urls.txt"), out, "--allow", web.server.authority, "--in-flight", "1")
    killed = imagemill(*command, environment={"IMAGEMILL_FAULT": "journal.put.after:2"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert web.asked == {"/urls.txt": 1, "/0.jpg": 1, "/1.jpg": 1}
    for refused in (web.url("/empty.txt"), web.url("/nowhere.txt")):
        with pytest.raises((ConfigError, RemoteError)):
            fetch(refused, out)
    assert web.asked == {"/empty.txt": 1, "/nowhere.txt": 1}
    assert fetch(web.url("/others.txt"), out).fetched == 3
    assert web.asked == {"/others.txt": 1, "/2.jpg": 1}


def test_a_list_at_a_url_that_was_empty_is_asked_for_again(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path
) -> None:
    web.bodies["/urls.txt"] = b"\n"
    with pytest.raises(ConfigError, match="has no URLs"):
        fetch(web.url("/urls.txt"), tmp_path / "pile")
    web.bodies["/urls.txt"] = web.url("/0.jpg").encode()
    assert fetch(web.url("/urls.txt"), tmp_path / "pile").fetched == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": 3}, "unknown option 'speed'"),
        ({"in_flight": 0}, "in_flight must be a number above 0"),
        ({"total_s": -1}, "total_s must be"),
        ({"decode": "half"}, "decode 'half' is none of full, headers"),
        ({"allow": ["nonsense:port:x"]}, "nonsense"),
        ({"count": 0}, "count 1 or more"),
    ],
)
def test_options_that_cannot_work(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        fetch(listed(tmp_path / "urls.txt", web, "/0.jpg"), tmp_path / "pile", **options)


def test_folders_that_are_something_else_are_refused(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path
) -> None:
    urls = listed(tmp_path / "urls.txt", web, "/0.jpg")
    save_photo(tmp_path / "photos" / "a.jpg", 8, 8, 1)
    with pytest.raises(ConfigError, match="is no fetched pile"):
        fetch(urls, tmp_path / "photos")
    mill.pack(tmp_path / "photos", tmp_path / "dataset", workers=0)
    with pytest.raises(ConfigError, match="holds a packed dataset"):
        fetch(urls, tmp_path / "dataset")
    (tmp_path / "table").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "table" / "index.parquet")
    with pytest.raises(ConfigError, match="is no index of a fetched pile"):
        fetch(urls, tmp_path / "table")
    with pytest.raises(ConfigError, match="urls.txt"):
        fetch(urls, urls)
    assert web.asked == {}


def test_headers_that_are_no_text_do_no_harm(web: Web, fetch: Callable[..., FetchResult], tmp_path: Path) -> None:
    async def hostile(exchange: Exchange) -> None:
        head = b'HTTP/1.1 200 X\r\nContent-Length: %d\r\nETag: "\xff\xfe"\r\nContent-Type: i/\xe9\r\n\r\n'
        await exchange.send(head % len(jpeg(0)), jpeg(0))

    web.server.routes = {"/hostile.jpg": hostile}
    urls = listed(tmp_path / "urls.txt", web, "/hostile.jpg", "/1.jpg")
    assert fetch(urls, tmp_path / "pile").fetched == 2
    assert index(tmp_path / "pile")[0]["content_type"] == "i/\\xe9"
    assert fetch(urls, tmp_path / "pile", refresh=True).unchanged == 2


def test_a_list_that_changes_meanwhile_is_told_and_the_next_run_follows_it(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path
) -> None:
    urls, out = listed(tmp_path / "urls.txt", web, "/0.jpg", "/1.jpg"), tmp_path / "pile"

    def change(*_: object) -> None:
        listed(urls, web, "/0.jpg", "/2.jpg", "/1.jpg")

    with pytest.raises(ConfigError, match="was changed while it was being fetched"):
        fetch(urls, out, on_start=change)
    assert not (out / "index.parquet").exists()
    assert fetch(urls, out).fetched == 3
    assert [row["path"] for row in index(out)] == [f"images/{d[:2]}/{d[2:4]}/{d}.jpg" for d in digests(0, 2, 1)]


def digests(*seeds: int) -> list[str]:
    return [hashlib.sha256(jpeg(seed)).hexdigest() for seed in seeds]


def test_nothing_but_bad_lines(web: Web, fetch: Callable[..., FetchResult], tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("one\ntwo\n")
    result = fetch(tmp_path / "urls.txt", tmp_path / "pile")
    assert (result.found, result.bad_lines, result.reject_share) == (2, 2, 1.0)
    assert index(tmp_path / "pile") == []
    with pytest.raises(ConfigError, match="the index has no rows"):
        mill.check(tmp_path / "pile", workers=0)


def test_the_log_of_another_journal_is_not_taken_for_the_new_ones(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path
) -> None:
    """What a kill while cleaning up might leave."""
    urls, out = listed(tmp_path / "urls.txt", web, "/0.jpg", "/gone.jpg"), tmp_path / "pile"
    fetch(urls, out)
    other = tmp_path / "other.sqlite"
    with Journal(other) as journal:
        journal.put_all(Record(number, bytes(16), "failed", "gone") for number in range(500))
        left_over = Path(f"{other}-wal").read_bytes()
    (out / ".imagemill").mkdir()
    for name in ("journal.sqlite-wal", "journal.sqlite.seed-wal"):
        (out / ".imagemill" / name).write_bytes(left_over)
    assert web.asked
    result = fetch(urls, out, retry_failed=True)
    assert web.asked == {"/gone.jpg": 1}
    assert dict(result.reasons) == {"not-found": 1}


# The pile as a source


def table_of(web: Web, path: Path) -> Path:
    rows = [
        {"key": "a", "url": web.url("/0.jpg"), "caption": "nought", "label": "x", "n": 1, "width": 7},
        {"key": "b", "url": web.url("/1.jpg"), "caption": None, "label": "y", "n": 2, "width": 8},
        {"key": "a", "url": web.url("/same.jpg"), "caption": "the same", "label": "x", "n": 3, "width": 9},
        {"key": None, "url": web.url("/2.jpg"), "caption": "two", "label": None, "n": 4, "width": None},
        {"key": "e", "url": web.url("/gone.jpg"), "caption": "gone", "label": "z", "n": 5, "width": 1},
        {"key": "f", "url": web.url("/0.jpg"), "caption": "again", "label": "y", "n": 6, "width": 2},
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_a_pile_is_packed_with_captions_labels_and_columns(
    web: Web, fetch: Callable[..., FetchResult], tmp_path: Path
) -> None:
    fetch(table_of(web, tmp_path / "list.parquet"), tmp_path / "pile")
    assert index(tmp_path / "pile")[0]["list_width"] == 7
    assert index(tmp_path / "pile")[0]["width"] == 32
    result = mill.pack(tmp_path / "pile", tmp_path / "dataset", split="50/50", workers=0)
    assert (result.found, result.kept, result.ignored) == (6, 5, 1)
    assert dict(result.ignored_kinds) == {"not fetched (not-found)": 1}
    found = {}
    for split in ("train", "val"):
        dataset = mill.open(tmp_path / "dataset", split, returns="sample")
        for place in range(len(dataset)):
            sample = dataset[place]
            found[sample.key] = (split, sample)
    assert set(found) == {"a", "b", "a#000000002", "#000000003", "f"}
    assert found["a"][0] == found["a#000000002"][0] == found["f"][0]
    assert found["f"][1].values["text"] == "again"
    assert found["b"][1].values["text"] == ""
    assert found["f"][1].origins["image"] == web.url("/0.jpg")
    assert bytes(found["f"][1].values["image"].data) == jpeg(0)
    names = json.loads((tmp_path / "dataset" / "manifest.json").read_text())["schema"]
    assert [field["name"] for field in names] == ["image", "label", "text", "n", "list_width"]
    checked = mill.check(tmp_path / "pile", workers=0)
    assert (checked.found, checked.kept) == (6, 5)


def test_options_of_the_source(web: Web, fetch: Callable[..., FetchResult], tmp_path: Path) -> None:
    pile = tmp_path / "pile"
    fetch(table_of(web, tmp_path / "list.parquet"), pile)
    result = mill.pack(pile, tmp_path / "d1", workers=0, caption_column="caption", class_to_idx={"x": 0})
    assert {(reject.key, reject.reason) for reject in result.rejects} == {("b", "missing-caption"), ("f", "bad-value")}
    assert result.found == result.kept + result.rejected + result.ignored == 6
    with pytest.raises(ConfigError, match="the samples form 1 group, never parted"):
        mill.pack(pile, tmp_path / "d2", workers=0, group_column="host", labels=False, split="50/50")
    with pytest.raises(ConfigError, match="has no column 'nothing'"):
        mill.pack(pile, tmp_path / "d3", workers=0, label_column="nothing")
    with pytest.raises(ConfigError, match="does not apply to a source of kind 'fetched'"):
        mill.pack(pile, tmp_path / "d3", workers=0, masks="x")
    (pile / "index.parquet").unlink()
    with pytest.raises(ConfigError, match="no finished pile"):
        mill.pack(pile, tmp_path / "d3", workers=0, kind="fetched")


# The command line


def test_the_command_line(web: Web, tmp_path: Path) -> None:
    urls, out = listed(tmp_path / "urls.txt", web, "/0.jpg", "/1.jpg", "/gone.jpg", "/gone2.jpg"), tmp_path / "pile"
    with urls.open("a") as file:
        file.write(f"no URL\n{web.url('/0.jpg')}\n")
    dry = imagemill("fetch", urls, out, "--dry-run")
    assert dry.returncode == 0
    assert "bad line: urls.txt, line 5: no URL" in dry.stderr
    assert f"5 {web.server.authority}" in dry.stdout
    assert not out.exists()
    assert web.asked == {}
    allow = ("--allow", web.server.authority, "--workers", "1")
    done = imagemill("fetch", urls, out, *allow)
    assert done.returncode == 6, done.stderr
    said = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert said[:6] == [
        "found 6 URLs, 1 of them bad lines",
        "kept 3: 2 different images, " + said[1].partition("images, ")[2],
        "rejected 3",
        "2 not-found (HTTP 404)",
        "1 bad-line (a line of the list without a usable URL)",
        f"by host 2 not-found {web.server.authority}",
    ]
    assert "more than --max-rejects 1.0%: exit 6" in done.stderr
    again = imagemill("fetch", urls, out, *allow, "--json", "--max-rejects", "50%")
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    assert json.loads(again.stdout)["already"] is True
    refused = imagemill("fetch", tmp_path / "nothing.txt", tmp_path / "other")
    assert refused.returncode == 2
    assert "does not exist" in refused.stderr
    assert not (tmp_path / "other").exists()


def test_a_server_that_was_refused_is_asked_once_it_is_allowed(web: Web, tmp_path: Path) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_text("".join(f"{web.url(path)}\n" for path in ("/0.jpg", "/1.jpg", "/nowhere.jpg")))
    environment = {"IMAGEMILL_CACHE": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"}
    host = web.server.url.removeprefix("http://")
    refused = imagemill("pack", urls, tmp_path / "dataset", environment=environment)
    assert refused.returncode != 0
    assert "3 refused-address (the host is no public address (--allow HOST:PORT opens one))" in refused.stderr
    assert web.asked == {}
    done = imagemill("pack", urls, tmp_path / "dataset", "--allow", host, environment=environment)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 fetched" in done.stderr
    assert "1 not-found" in done.stderr
    assert web.asked == {"/0.jpg": 1, "/1.jpg": 1, "/nowhere.jpg": 1}

    pile = tmp_path / "pile"
    refused = imagemill("fetch", urls, pile, environment=environment)
    assert f"3 refused-address: the same command with --allow {host} --retry refused-address" in refused.stdout
    assert "--retry-failed" not in refused.stdout
    done = imagemill("fetch", urls, pile, "--allow", host, "--retry", "refused-address", environment=environment)
    assert "1 would fail again (not-found)" in done.stdout
    assert "--retry" not in done.stdout


def test_a_list_is_packed_straight_through_the_cache(web: Web, tmp_path: Path) -> None:
    urls = listed(tmp_path / "urls.csv", web, "/0.jpg", "/1.jpg", "/gone.jpg")
    urls.write_text("url,label\n" + "".join(f"{line},x\n" for line in urls.read_text().splitlines()))
    environment = {"IMAGEMILL_CACHE": str(tmp_path / "cache")}
    allow = ("--allow", web.server.authority, "--workers", "1", "--json")
    done = imagemill("pack", urls, tmp_path / "dataset", *allow, environment=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["splits"] == {"train": 2}
    assert "2 of 3 fetched into" in done.stderr
    assert web.asked
    again = imagemill("pack", urls, tmp_path / "dataset", *allow, environment=environment)
    assert json.loads(again.stdout)["already"] is True
    assert web.asked == {}
    dry = imagemill("pack", urls, tmp_path / "other", "--dry-run", environment=environment)
    assert dry.returncode == 2
    assert "imagemill fetch" in dry.stderr


def test_what_a_dry_run_tells_in_python(web: Web, tmp_path: Path) -> None:
    facts = mill.fetch(table_of(web, tmp_path / "list.parquet"), tmp_path / "pile", dry_run=True)
    assert isinstance(facts, ListFacts)
    assert (facts.found, facts.urls, facts.bad_lines, facts.repeats) == (6, 6, 0, 1)
    assert dict(facts.columns) == {"label": "string", "n": "int64", "width": "int64"}
    assert not (tmp_path / "pile").exists()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A file system of 500 kB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    arguments = ["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(folder)]
    mounted = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_with_4_and_the_same_command_goes_on(web: Web, mount: Path, tmp_path: Path) -> None:
    for number in range(20):
        web.bodies[f"/big{number}.png"] = saved(photo(120, 160, number), "PNG")
    urls, out = listed(tmp_path / "urls.txt", web, *(f"/big{number}.png" for number in range(20))), mount / "pile"
    arguments = ("fetch", urls, out, "--allow", web.server.authority, "--workers", "1", "--in-flight", "2")
    full = imagemill(*arguments)
    assert full.returncode == 4, full.stderr
    assert full.stderr.startswith("error: no space left")
    assert len(full.stderr.strip().splitlines()) == 1
    assert 0 < len(images(out)) < 20
    subprocess.run(["mount", "-o", "remount,size=20m", str(mount)], check=True)
    before = web.asked
    done = imagemill(*arguments)
    assert done.returncode == 0, done.stderr
    assert len(images(out)) == 20
    assert sum(before.values()) + sum(web.asked.values()) <= 20 + 2
