"""Images with masks in a parallel folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from unit.sources.source_files import column, pile, rejects, scan_of

from imagemill.core.sample import Encoded
from imagemill.errors import ConfigError
from imagemill.sources.base import Scan, SourceOptions
from imagemill.sources.masks import MASK_NAMES, MaskSource


def scan(root: Path, listing: Path, **options: object) -> Scan:
    return scan_of(MaskSource, root, listing, **options)


def matched(found: Scan) -> dict[str, str]:
    return {row["image"].decode(): row["mask"].decode() for row in found.listing.to_pylist()}


@pytest.mark.parametrize(("images", "masks"), MASK_NAMES)
def test_folders_by_their_usual_names(tmp_path: Path, listing: Path, images: str, masks: str) -> None:
    pile(tmp_path, f"{images}/a.jpg", f"{masks}/a.png", f"{images}/x/b.JPG", f"{masks}/x/b.npy")
    found = scan(tmp_path, listing)
    assert matched(found) == {f"{images}/a.jpg": f"{masks}/a.png", f"{images}/x/b.JPG": f"{masks}/x/b.npy"}
    assert column(found, "key") == list(matched(found))
    assert column(found, "files") == [2, 2]
    assert [(field.name, field.kind, field.codec) for field in found.fields] == [
        ("image", "image", "encoded"),
        ("mask", "mask", "encoded"),
    ]


def test_the_layout_of_camvid(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, *(f"{folder}/1.png" for folder in ("train", "trainannot", "val", "valannot", "test", "testannot")))
    found = scan(tmp_path, listing)
    assert matched(found) == {f"{split}/1.png": f"{split}annot/1.png" for split in ("test", "train", "val")}
    assert column(found, "split") == ["test", "train", "val"]


def test_folders_with_an_ending(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, "street/1.png", "street_masks/1.png", "street_masks/2.png", "notes/a.txt"), listing)
    assert matched(found) == {"street/1.png": "street_masks/1.png"}
    assert column(found, "split") == [None]
    assert found.ignored == {".txt outside the paired folders": 1}


@pytest.mark.parametrize("layout", ["{split}/{side}/1.png", "{side}/{split}/1.png"])
def test_splits_above_and_below(tmp_path: Path, listing: Path, layout: str) -> None:
    names = [layout.format(split=split, side=side) for split in ("train", "val") for side in ("images", "masks")]
    found = scan(pile(tmp_path, *names), listing)
    assert column(found, "split") == ["train", "val"]
    assert len(matched(found)) == 2


def test_a_mask_may_say_that_it_is_one(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "images/a.jpg", "masks/a_mask.png", "images/b_mask.jpg", "masks/b_mask.png")
    assert matched(scan(tmp_path, listing)) == {
        "images/a.jpg": "masks/a_mask.png",
        "images/b_mask.jpg": "masks/b_mask.png",
    }


def test_what_is_missing_or_ambiguous(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg", "images/d.jpg", "images/d.png")
    pile(tmp_path, "masks/a.png", "masks/c.png", "masks/c.npy", "masks/d.png", "masks/alone.npy", "masks/readme.txt")
    found = scan(tmp_path, listing)
    assert matched(found) == {"images/a.jpg": "masks/a.png"}
    assert rejects(found) == [
        ("masks/alone.npy", "missing-partner", 1),
        ("images/b.jpg", "missing-mask", 1),
        ("masks/c.npy", "duplicate-key", 3),
        ("images/d.jpg", "duplicate-key", 3),
    ]
    assert found.rejects[1].detail == "masks/b.* is not there"
    assert "masks/c.npy and masks/c.png" in found.rejects[2].detail
    assert found.ignored == {".txt": 1}


def test_an_array_is_no_image(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, "images/a.jpg", "images/b.npy", "masks/a.png", "masks/b.npy"), listing)
    assert matched(found) == {"images/a.jpg": "masks/a.png"}
    assert rejects(found) == [("masks/b.npy", "missing-partner", 1)]
    assert found.ignored == {".npy": 1}


def test_folders_named_by_the_options(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "rgb/a.jpg", "seg/a.png", "masks/a.png", "images/a.jpg")
    assert matched(scan(tmp_path, listing, images="rgb", masks="seg")) == {"rgb/a.jpg": "seg/a.png"}
    assert matched(scan(tmp_path, listing, images="rgb")) == {"rgb/a.jpg": "masks/a.png"}
    with pytest.raises(ConfigError, match="no folders 'images' and 'nope'"):
        scan(tmp_path, listing, masks="nope")


def test_masks_below_the_images(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, "a.jpg", "masks/a.png"), listing, images=".")
    assert matched(found) == {"a.jpg": "masks/a.png"}
    assert found.found == 2


def test_no_folder_of_masks(tmp_path: Path, listing: Path) -> None:
    with pytest.raises(ConfigError, match=r"images \+ masks, images \+ labels"):
        scan(pile(tmp_path, "a/x.jpg"), listing)


def test_empty_folders(tmp_path: Path, listing: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(ConfigError, match=r"no images in images \+ masks"):
        scan(tmp_path, listing)


def test_reading_gives_both_files_untouched(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "images/a.jpg", content=b"picture")
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks" / "a.npy", np.arange(6, dtype=np.float32).reshape(2, 3))
    row = scan(tmp_path, listing).listing.to_pylist()[0]
    sample = MaskSource(tmp_path, SourceOptions()).read(row)
    assert sample.values["image"] == Encoded(b"picture")
    assert sample.values["mask"] == Encoded((tmp_path / "masks" / "a.npy").read_bytes())
    assert sample.origins == {"image": "images/a.jpg", "mask": "masks/a.npy"}


def test_real_masks(shared_data: Path, listing: Path) -> None:
    found = scan(shared_data / "camvid", listing)
    assert (found.listing.num_rows, found.found, found.rejects) == (60, 120, ())
    assert all(mask == image.replace("images", "masks") for image, mask in matched(found).items())
