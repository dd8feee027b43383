"""Pages taken apart, and piles with tables of checks made by hand."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.curate.table import METADATA_KEY, check_schema
from imagemill.reports.page import Report, write_report
from imagemill.reports.pile import DatasetPile
from imagemill.testing.datasets import write_dataset

HOSTILE = '"><script>alert(1)</script>&'
IMAGE = Field("image", "image")
WEBP = "data:image/webp;base64,"


class Page(HTMLParser):
    """A page taken apart: its tags, its text without style and script, its pictures."""

    VOID = ("meta", "img", "br", "link", "line", "input", "wbr")

    def __init__(self, content: str) -> None:
        super().__init__()
        self.content = content
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert self._open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "wbr":
            self.text = self.text[:-1]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.text += f"{data} "

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)

    def count(self, tag: str) -> int:
        return sum(1 for _ in self.all(tag))

    def pictures(self) -> list[Image.Image]:
        uris = [attributes["src"] or "" for attributes in self.all("img")]
        return [Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(WEBP)))) for uri in uris]


def write(folder: Path, out: Path, *, checks: pa.Table | None = None, thumbnails: int = 96) -> Report:
    """The report of a dataset."""
    with closing(DatasetPile(folder, checks)) as pile:
        return write_report(pile, out, thumbnails=thumbnails)


def report(folder: Path, *, checks: pa.Table | None = None, thumbnails: int = 96) -> Page:
    """The page of a dataset."""
    out = folder.parent / "report.html"
    write(folder, out, checks=checks, thumbnails=thumbnails)
    return Page(out.read_text("utf-8"))


def facts_of(folder: Path, checks: pa.Table | None = None) -> dict[str, Any]:
    """The facts of a dataset, as JSON has them."""
    with closing(DatasetPile(folder, checks)) as pile:
        record: dict[str, Any] = json.loads(json.dumps(write_report(pile, None).facts.to_json()))
        return record


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def checks_of(
    rows: Sequence[Mapping[str, Any]], *, images: Sequence[str] = ("image",), masks: Sequence[str] = ()
) -> pa.Table:
    """A table of checks; what a row leaves out is that of a good sample, alone."""
    plain = {"size": 1, "files": 1, "reason": "", "detail": "", "notes": "", "path": "", "flags": []}
    ordered = sorted((plain | dict(row) for row in rows), key=lambda row: row["key"].encode())
    metadata = {"images": list(images), "masks": list(masks), "decode": "full", "thresholds": {"dark": 0.1}}
    table = pa.Table.from_pylist(ordered, check_schema(images, masks))
    return table.replace_schema_metadata({METADATA_KEY: json.dumps(metadata)})


def small_dataset(folder: Path, keys: Mapping[str, Sequence[str]], **options: Any) -> Path:
    """A dataset of one tiny picture a key: {split: keys}."""
    content = png(np.full((6, 8, 3), 90, np.uint8))
    splits = {split: [Row(key, {"image": content}) for key in names] for split, names in keys.items()}
    return write_dataset(folder, Schema((IMAGE,)), splits, **options)
