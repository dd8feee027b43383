"""Lists of URLs in every dress: what is read, and that only bad lines fail."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.acquire.url_list import BadLine, Beginning, Columns, Entry, ListOptions, UrlList, is_url_list
from imagemill.errors import ConfigError


def read(path: Path, **options: Any) -> tuple[list[Entry], list[BadLine]]:
    items = list(UrlList(path, ListOptions(**options)).items())
    entries = [item for item in items if isinstance(item, Entry)]
    return entries, [item for item in items if isinstance(item, BadLine)]


def urls(path: Path, **options: Any) -> list[str]:
    return [entry.url for entry in read(path, **options)[0]]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Text


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("http://a.org/x.jpg", ("http://a.org/x.jpg", None)),
        ("https://a.org/x.jpg", ("https://a.org/x.jpg", None)),
        ("HTTP://A.org/x.jpg", ("HTTP://A.org/x.jpg", None)),
        ("n0001_7\thttp://a.org/x.jpg", ("http://a.org/x.jpg", "n0001_7")),
        ("two words http://a.org/x.jpg", ("http://a.org/x.jpg", "two words")),
        ("  \thttp://a.org/x.jpg  ", ("http://a.org/x.jpg", None)),
        ('"http://a.org/x.jpg",', ("http://a.org/x.jpg", None)),
        ("'http://a.org/x.jpg';", ("http://a.org/x.jpg", None)),
        ("<http://a.org/x.jpg>", ("http://a.org/x.jpg", None)),
        ('"id","http://a.org/x.jpg"', ("http://a.org/x.jpg", "id")),
        ("id,http://a.org/x,y.jpg", ("http://a.org/x,y.jpg", "id")),
        ("http://a.org/x,y;z.jpg?a=1,2", ("http://a.org/x,y;z.jpg?a=1,2", None)),
        ("http://web.archive.org/2/http://a.org/x.jpg", ("http://web.archive.org/2/http://a.org/x.jpg", None)),
        ("http://münchen.de/größe.jpg", ("http://münchen.de/größe.jpg", None)),
        ("http://[2001:db8::1]:8080/x.jpg", ("http://[2001:db8::1]:8080/x.jpg", None)),
        ("http://a.org", ("http://a.org", None)),
    ],
)
def test_a_line_of_text(tmp_path: Path, line: str, found: tuple[str, str | None]) -> None:
    entries, bad = read(write(tmp_path / "urls.txt", line))
    assert bad == []
    assert [(entry.url, entry.id) for entry in entries] == [found]


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("nothing", "no URL"),
        ("ftp://a.org/x.jpg", "no URL"),
        ("file:///etc/passwd", "no URL"),
        ("//a.org/x.jpg", "no URL"),
        ("n0001_7", "no URL"),
        ("http://a.org/x y.jpg", "text behind the URL"),
        ("http://a.org/x.jpg a caption", "text behind the URL"),
        ("http://a.org/1.jpg http://a.org/2.jpg", "2 URLs in one line"),
        ("n0001_7 http://a.org/1.jpg,http://a.org/2.jpg", "2 URLs behind one id"),
        ("n0001_7,http://a.org/1.jpg,http://a.org/2.jpg", "2 URLs behind one id"),
        ("http://", "no URL|no host"),
        ("http:///x.jpg", "no host"),
        ("http://a.org:99999/x.jpg", "host or port"),
        ("http://u:secret@/x?token=secret", "no host"),
        ("http://a.org/" + "x" * 20_000, "the limit is"),
    ],
)
def test_a_bad_line_costs_itself_and_is_numbered(tmp_path: Path, line: str, detail: str) -> None:
    path = write(tmp_path / "urls.txt", f"# one\n\nhttp://a.org/1\n{line}\nhttp://a.org/2\n")
    entries, bad = read(path)
    assert [entry.url for entry in entries] == ["http://a.org/1", "http://a.org/2"]
    assert [entry.number for entry in entries] == [0, 1]
    assert len(bad) == 1
    assert bad[0].place == "urls.txt, line 4"
    assert any(part in bad[0].detail for part in detail.split("|"))
    assert "secret" not in bad[0].detail
    assert len(bad[0].detail) < 200


@pytest.mark.parametrize(
    ("line", "urls"),
    [
        ("http://a.org/1.jpg,http://b.org/2.jpg", ["http://a.org/1.jpg", "http://b.org/2.jpg"]),
        ("http://a.org/1,x.jpg, HTTPS://b.org/2.jpg ;", ["http://a.org/1,x.jpg", "HTTPS://b.org/2.jpg"]),
        ('"http://a.org/1.jpg" , "http://b.org/2.jpg",', ["http://a.org/1.jpg", "http://b.org/2.jpg"]),
        ("'http://a.org/1';'http://a.org/2';'http://a.org/3'", ["http://a.org/1", "http://a.org/2", "http://a.org/3"]),
        ("http://a.org/?u=http://b.org/1,2,httpx://c", ["http://a.org/?u=http://b.org/1,2,httpx://c"]),
    ],
)
def test_urls_with_commas_between_are_several(tmp_path: Path, line: str, urls: list[str]) -> None:
    entries, bad = read(write(tmp_path / "urls.txt", f"{line}\nid http://a.org/last\n"))
    assert bad == []
    assert [(entry.number, entry.url, entry.id) for entry in entries] == [
        *((number, url, None) for number, url in enumerate(urls)),
        (len(urls), "http://a.org/last", "id"),
    ]


def test_one_of_several_urls_may_be_bad(tmp_path: Path) -> None:
    entries, bad = read(write(tmp_path / "urls.txt", "http://a.org/1,http:///2,http://a.org/3"))
    assert [entry.url for entry in entries] == ["http://a.org/1", "http://a.org/3"]
    assert [line.place for line in bad] == ["urls.txt, line 1"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_encodings(tmp_path: Path, end: str, encoding: str) -> None:
    text = end.join(["# comment", "http://a.org/1", "", "  # another", "ä http://a.org/ö"])
    entries, bad = read(write(tmp_path / "urls.txt", text.encode(encoding)))
    assert bad == []
    assert [(entry.url, entry.id) for entry in entries] == [("http://a.org/1", None), ("http://a.org/ö", "ä")]


def test_bytes_that_are_no_utf8_are_the_bytes_of_the_url(tmp_path: Path) -> None:
    path = write(tmp_path / "urls.txt", b"caf\xe9 http://a.org/caf\xe9.jpg\nhttp://a.org/2\n")
    assert [(entry.url, entry.id) for entry in read(path)[0]] == [
        ("http://a.org/caf%E9.jpg", "caf\\xe9"),
        ("http://a.org/2", None),
    ]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "urls.txt", b"http://a.org/1\n" + b"x" * (24 << 20) + b"\nhttp://a.org/2\n")
    tracemalloc.start()
    entries, bad = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [entry.url for entry in entries] == ["http://a.org/1", "http://a.org/2"]
    assert [line.place for line in bad] == ["urls.txt, line 2"]
    assert peak < 12 << 20


def test_skip_and_count_count_urls_and_numbers_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "urls.txt", "bad\n# no\nhttp://a/0\nbad\nhttp://a/1\nbad\nhttp://a/2\nhttp://a/3\nbad\n")
    entries, bad = read(path, skip=1, count=2)
    assert [(entry.number, entry.url) for entry in entries] == [(1, "http://a/1"), (2, "http://a/2")]
    assert [line.place for line in bad] == ["urls.txt, line 4", "urls.txt, line 6"]
    assert urls(path, skip=9) == []
    with pytest.raises(ConfigError, match="skip must be 0 or more"):
        ListOptions(skip=-1)


# Tables

ROWS = [
    {"key": "k1", "url": "http://a.org/1", "caption": "one, two", "n": 1, "x": 0.5},
    {"key": "k2", "url": "http://a.org/2", "caption": None, "n": 2, "x": 1.5},
]


def delimited(rows: Sequence[Mapping[str, Any]], delimiter: str = ",") -> bytes:
    lines = [delimiter.join(rows[0])]
    lines += [delimiter.join("" if value is None else f'"{value}"' for value in row.values()) for row in rows]
    return "\n".join(lines).encode()


def as_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), file)
    return file.getvalue()


TABLES = {
    "t.csv": delimited(ROWS),
    "semicolon.csv": delimited(ROWS, ";"),
    "t.tsv": delimited(ROWS, "\t"),
    "t.jsonl": "\n\n".join(map(json.dumps, ROWS)).encode(),
    "t.ndjson": b"\xef\xbb\xbf" + "\n".join(map(json.dumps, ROWS)).encode(),
    "t.json": json.dumps(ROWS).encode(),
    "object.json": json.dumps({"info": {}, "images": ROWS, "annotations": [1]}).encode(),
    "one_list.json": json.dumps({"info": {}, "photos": ROWS}).encode(),
    "columns.json": json.dumps({name: [row.get(name) for row in ROWS] for name in ROWS[0]}).encode(),
    "pandas.json": json.dumps(
        {name: {str(number): row.get(name) for number, row in enumerate(ROWS)} for name in ROWS[0]}
    ).encode(),
    "t.parquet": as_parquet(ROWS),
    "no_suffix_jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "no_suffix_json": json.dumps(ROWS).encode(),
    "no_suffix_parquet": as_parquet(ROWS),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path: Path, name: str) -> None:
    entries, bad = read(write(tmp_path / name, TABLES[name]))
    assert bad == []
    assert [(entry.id, entry.url, entry.caption) for entry in entries] == [
        ("k1", "http://a.org/1", "one, two"),
        ("k2", "http://a.org/2", None),
    ]
    assert [{column: str(value) for column, value in entry.further.items()} for entry in entries] == [
        {"n": "1", "x": "0.5"},
        {"n": "2", "x": "1.5"},
    ]


def in_tar(members: Mapping[str, bytes], mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((f"{name}.gz", gzip.compress(content)) for name, content in TABLES.items() if "suffix" not in name),
        ("t.csv.bz2", bz2.compress(TABLES["t.csv"])),
        ("t.jsonl.xz", lzma.compress(TABLES["t.jsonl"])),
        ("really_gzip.csv", gzip.compress(TABLES["t.csv"])),
    ],
)
def test_compressed(tmp_path: Path, name: str, content: bytes) -> None:
    assert urls(write(tmp_path / name, content)) == ["http://a.org/1", "http://a.org/2"]


@pytest.mark.parametrize("suffix", [".tar", ".tgz", ".tar.gz", ".tar.xz"])
def test_lists_in_a_tar_are_read_one_after_the_other(tmp_path: Path, suffix: str) -> None:
    members = {
        "README.md": b"http://a.org/readme",
        "a/._x.txt": b"http://a.org/hidden",
        "a/x.txt": b"http://a.org/0\nbad\n",
        "b.csv.gz": gzip.compress(TABLES["t.csv"]),
        "../../evil.parquet": TABLES["t.parquet"],
    }
    mode = {".tar": "w", ".tar.xz": "w:xz"}.get(suffix, "w:gz")
    entries, bad = read(write(tmp_path / f"lists{suffix}", in_tar(members, mode)))
    assert [entry.url[-1] for entry in entries] == ["0", "1", "2", "1", "2"]
    assert [entry.number for entry in entries] == [0, 1, 2, 3, 4]
    assert [line.place for line in bad] == [f"lists{suffix}/a/x.txt, line 2"]
    assert [path.name for path in tmp_path.iterdir()] == [f"lists{suffix}"]
    assert not (tmp_path.parent / "evil.parquet").exists()


def test_a_folder_of_lists(tmp_path: Path) -> None:
    write(tmp_path / "part-1.parquet", TABLES["t.parquet"])
    write(tmp_path / "part-0.parquet", as_parquet([{"url": "http://a.org/0"}]))
    write(tmp_path / "notes.md", "http://a.org/9")
    assert urls(tmp_path) == ["http://a.org/0", "http://a.org/1", "http://a.org/2"]


def test_broken_rows_of_a_csv(tmp_path: Path) -> None:
    lines = [
        "id,url,caption",
        '1,http://a.org/1,"two\nlines"',
        "2,http://a.org/2",
        "3,http://a.org/3,a,b",
        '4,http://a.org/4,"a quote that does not end',
        "5,http://a.org/5,five",
        '6,http://a.org/6,a 5" disk',
        "7,,no URL",
        "8,data:image/png;base64,AAAA,x",
        '9,http://a.org/9,"""quoted"""',
        f"10,http://a.org/10,{'x' * 200_000}",
        '11,http://a.org/11,"' + "and on\n" * 5,
        "12,http://a.org/12,end",
    ]
    entries, bad = read(write(tmp_path / "t.csv", "\n".join(lines)))
    assert [(entry.id, entry.caption) for entry in entries] == [
        ("1", "two\nlines"),
        ("5", "five"),
        ("6", 'a 5" disk'),
        ("9", '"quoted"'),
        ("12", "end"),
    ]
    numbers = {int(line.place.rpartition(" ")[2]): line.detail for line in bad}
    assert numbers[4] == "2 fields, the header has 3"
    assert numbers[5] == "4 fields, the header has 3"
    assert numbers[6] == "a quote does not end"
    assert numbers[9] == "column 'url' is empty"
    assert numbers[10] == "4 fields, the header has 3"
    assert "field larger than field limit" in numbers[12]
    assert numbers[13] == "a quote does not end"
    assert set(numbers) == {4, 5, 6, 9, 10, 12, 13, *range(14, 18)}


def test_broken_rows_of_json_lines(tmp_path: Path) -> None:
    lines = ['{"url": "http://a.org/1"}', "", "{broken", "7", '{"url": 7}', '{"other": 1}', '{"url": "http://a.org/2"}']
    entries, bad = read(write(tmp_path / "t.jsonl", "\n".join(lines)))
    assert [entry.url for entry in entries] == ["http://a.org/1", "http://a.org/2"]
    assert [(line.place, line.detail) for line in bad] == [
        ("t.jsonl, line 3", "Expecting property name enclosed in double quotes at column 2"),
        ("t.jsonl, line 4", "an object or a URL is wanted, not int"),
        ("t.jsonl, line 5", "column 'url' holds int, not text"),
        ("t.jsonl, line 6", "column 'url' is empty"),
    ]


def test_strings_are_urls_in_json(tmp_path: Path) -> None:
    assert urls(write(tmp_path / "t.json", '["http://a.org/1", "http://a.org/2"]')) == [
        "http://a.org/1",
        "http://a.org/2",
    ]
    assert urls(write(tmp_path / "t.jsonl", '"http://a.org/1"\n')) == ["http://a.org/1"]


def test_a_csv_without_header(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "7,http://a.org/1\n8,http://a.org/2\n")
    entries, _ = read(path)
    assert [(entry.url, dict(entry.further)) for entry in entries] == [
        ("http://a.org/1", {"1": "7"}),
        ("http://a.org/2", {"1": "8"}),
    ]
    assert [entry.id for entry in read(path, id_column="1")[0]] == ["7", "8"]


# Columns


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (("url", "text"), Columns("url", None, "text")),
        (("URL", "TEXT", "ID"), Columns("URL", "ID", "TEXT")),
        (("anything",), Columns("anything", None, None)),
        (("photo_id", "photo_image_url", "photo_url"), Columns("photo_image_url", None, None)),
        (("ImageID", "OriginalURL", "OriginalLandingURL", "License"), Columns("OriginalURL", "ImageID", None)),
        (("license", "coco_url", "flickr_url", "id"), Columns("coco_url", "id", None)),
    ],
)
def test_columns_are_found_by_values_and_names(tmp_path: Path, names: tuple[str, ...], columns: Columns) -> None:
    row = {name: "7" if "id" in name.lower() else "http://a.org/1" for name in names}
    row |= {name: "words" for name in names if name.lower() == "text"}
    items = UrlList(write(tmp_path / "t.jsonl", json.dumps(row))).items()
    beginning = next(items)
    assert isinstance(beginning, Beginning)
    assert beginning.columns == columns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "--url-column must say which column has the URLs of the images; columns with URLs are a, b"),
        ({"url_column": "z"}, "has no column 'z'; the columns are a, b, n"),
        ({"caption_column": "z"}, "has no column 'z'"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, options: dict[str, str], message: str) -> None:
    path = write(tmp_path / "t.jsonl", '{"a": "http://a.org/1", "b": "http://a.org/2", "n": 1}')
    with pytest.raises(ConfigError, match=message):
        read(path, **options)


def test_given_columns_are_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", '{"a": "http://a.org/1", "b": "http://a.org/2", "n": 7, "t": ["x", "y"]}')
    entries, _ = read(path, url_column="b", id_column="n", caption_column="t")
    assert entries == [Entry(0, "http://a.org/2", "7", '["x", "y"]', {"a": "http://a.org/1"})]


# Files that are no lists


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("u.txt", b"\x89PNG\0\0\0", "is no text"),
        ("u.parquet", b"PAR1 is not all", "cannot be read as parquet"),
        ("u.json", b"{broken", "is no JSON"),
        ("u.json", b'{"a": 1}', "a list of objects or URLs is wanted"),
        ("u.csv", b"a,a\n1,2\n", "two columns are called 'a'"),
        ("u.csv", b"a,b\n1,2\n", "--url-column must say"),
        ("u.txt.gz", gzip.compress(b"http://a.org/1\n" * 100_000)[:2000], "cannot be read to its end"),
        ("u.tar", in_tar({"x.md": b"1"}, "w"), "holds no list of URLs"),
        ("u.tgz", in_tar({"x.txt": b"http://a.org/1\n" * 100_000}, "w:gz")[:500], "cannot be read to its end"),
    ],
)
def test_what_is_no_list(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(write(tmp_path / name, content))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read(tmp_path / "urls.txt")
    with pytest.raises(ConfigError, match="holds no list of URLs"):
        read(tmp_path)


def test_identity_follows_content_and_options(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "http://a.org/1")
    same = write(tmp_path / "b.txt", "http://a.org/1")
    other = write(tmp_path / "c.txt", "http://a.org/2")
    assert UrlList(path).identity() == UrlList(same).identity()
    assert UrlList(path).identity() != UrlList(other).identity()
    assert UrlList(path).identity() != UrlList(path, ListOptions(skip=1)).identity()


@pytest.mark.parametrize(
    ("name", "content", "is_list"),
    [
        ("u.txt", "http://a.org/1", True),
        ("u.txt.gz", gzip.compress(b"id http://a.org/1"), True),
        ("notes.txt", "no URL here", False),
        ("t.csv", "url,label\nhttp://a.org/1,x", True),
        ("t.csv", "image,label\nhttp://a.org/1,x", True),
        ("t.csv", "file_name,url\na.jpg,http://a.org/1", False),
        ("t.csv", "file_name,label\na.jpg,x", False),
        ("t.parquet", TABLES["t.parquet"], True),
        ("u.tgz", in_tar({"x.txt": b"http://a.org/1"}, "w:gz"), False),
        ("u.bin", "http://a.org/1", False),
    ],
)
def test_what_is_taken_for_a_list_of_urls(tmp_path: Path, name: str, content: str | bytes, is_list: bool) -> None:
    assert is_url_list(write(tmp_path / name, content)) == is_list
