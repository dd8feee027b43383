"""Images with a .txt beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.sources.source_files import JPEG, column, pile, rejects, scan_of

from imagemill.core.sample import Encoded
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import Scan, SourceOptions
from imagemill.sources.captions import CaptionSource


def scan(root: Path, listing: Path, **options: object) -> Scan:
    return scan_of(CaptionSource, root, listing, **options)


def test_texts_beside_images(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", "train/b.PNG")
    pile(tmp_path, "a.txt", content=b"\xef\xbb\xbf  a caf\xc3\xa9\n")
    pile(tmp_path, "train/b.TXT", content=b"")
    found = scan(tmp_path, listing)
    source = CaptionSource(tmp_path, SourceOptions())
    samples = {row["key"]: source.read(row) for row in found.listing.to_pylist()}
    assert {key: sample.values["text"] for key, sample in samples.items()} == {"a.jpg": "a café", "train/b.PNG": ""}
    assert samples["a.jpg"].values["image"] == Encoded(JPEG)
    assert samples["a.jpg"].origins == {"image": "a.jpg"}
    assert column(found, "split") == [None, "train"]
    assert column(found, "size") == [len(JPEG) + 13, len(JPEG)]
    assert [(field.name, field.storage) for field in found.fields] == [("image", "bytes"), ("text", "text")]


def test_what_is_missing_or_left_over(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", "a.txt", "x/b.jpg", "alone.txt", "notes.md")
    found = scan(tmp_path, listing)
    assert column(found, "key") == ["a.jpg"]
    assert rejects(found) == [("x/b.jpg", "missing-caption", 1)]
    assert found.rejects[0].detail == "x/b.txt is not there"
    assert found.ignored == {".md": 1, ".txt without an image": 1}


def test_a_text_that_two_images_share_is_found_once(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, "a.jpg", "a.png", "a.txt"), listing)
    assert column(found, "key") == ["a.jpg", "a.png"]
    assert column(found, "files") == [2, 1]
    assert found.found == 3


def test_a_text_that_is_no_utf8(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", "a.txt")
    row = scan(tmp_path, listing).listing.to_pylist()[0]
    with pytest.raises(SampleError, match=r"a\.txt: bad-value: the caption is no UTF-8"):
        CaptionSource(tmp_path, SourceOptions()).read(row)


def test_nothing_to_read(tmp_path: Path, listing: Path) -> None:
    with pytest.raises(ConfigError, match="holds no images"):
        scan(pile(tmp_path, "a.txt"), listing)
    with pytest.raises(ConfigError, match="labels does not apply"):
        scan(pile(tmp_path, "a.jpg", "a.txt"), listing, labels=True)
