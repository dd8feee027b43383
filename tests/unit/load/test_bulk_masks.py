"""Masks by the core: each pixel one of the mask's own, as the way of single samples gives them, whatever the file."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill import native
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, SampleError
from imagemill.testing.datasets import write_dataset
from imagemill.testing.images import exif_block, photo, saved
from imagemill.transforms import (
    CenterCrop,
    ColorJitter,
    HorizontalFlip,
    RandomCrop,
    RandomResizedCrop,
    RandomRotate90,
    VerticalFlip,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native core: {native.why_not()}")

TOTAL, SIDES = 14, (60, 84)
IMAGE, MASK = Field("image", "image"), Field("mask", "mask")
SCHEMA = Schema((MASK, IMAGE))

GEOMETRY: dict[str, list[Any]] = {
    "nothing": [],
    "crop": [RandomResizedCrop((40, 50)), HorizontalFlip(), VerticalFlip()],
    "padded": [RandomCrop(140, pad_if_needed=True, mask_fill=255), RandomRotate90(), CenterCrop(150, mask_fill=7)],
    "turned": [RandomRotate90(), RandomCrop(50), VerticalFlip()],
    "with colours": [RandomCrop((33, 44)), ColorJitter(0.5), dict],
}


def ids(number: int, sides: tuple[int, int] = SIDES) -> np.ndarray:
    rows, columns = np.indices(sides)
    return ((rows // 9 * 7 + columns // 11 + number) % 251).astype(np.uint8)


def png(values: np.ndarray, number: int) -> bytes:
    """Grey, palette, with another compression; all of them masks of 8 bits."""
    picture = Image.fromarray(values)
    if number % 3 == 1:
        picture.putpalette(bytes(range(256)) * 3)
        picture.info["transparency"] = 3
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=number % 10)
    return file.getvalue()


def written(path: Path, masks: list[bytes], schema: Schema = SCHEMA) -> Path:
    """The mask comes before the image, which decides all the same."""
    names = schema.names
    rows = []
    for number, mask in enumerate(masks):
        image = saved(photo(*SIDES, number), "PNG" if number % 4 == 2 else "JPEG")
        sides = {"image": SIDES, "mask": Image.open(io.BytesIO(mask)).size[::-1] if mask[:1] == b"\x89" else (1, 1)}
        rows.append(Row(str(number), {name: {"image": image, "mask": mask}[name] for name in names}, sides=sides))
    return write_dataset(path / "d", schema, {"train": rows})


def both(path: Path, transforms: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
    """Two epochs, by the core and sample by sample."""
    settings: Any = {"batch_size": 5, "transforms": transforms, "seed": 4, **options}
    loader = imagemill.Loader(path, **settings)
    assert loader._feed.bulk is not None
    whole = [batch for _ in range(2) for batch in loader]
    loader = imagemill.Loader(path, **settings)
    loader._feed = replace(loader._feed, bulk=None)
    return whole, [batch for _ in range(2) for batch in loader]


def assert_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert list(one) == list(other)
    assert one["key"] == other["key"]
    assert one["mask"].dtype == other["mask"].dtype
    assert one["mask"].is_contiguous()
    assert torch.equal(one["mask"], other["mask"])
    if "image" in one:
        assert (one["image"].int() - other["image"].int()).abs().float().mean((1, 2, 3)).max() <= 1


@pytest.mark.parametrize("name", GEOMETRY)
def test_files(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, [png(ids(number), number) for number in range(TOTAL)])
    for one, other in zip(*both(path, GEOMETRY[name]), strict=True):
        assert_alike(one, other)
    loader = imagemill.Loader(path, batch_size=5, transforms=GEOMETRY[name])
    monkeypatch.setattr(loader.dataset, "rows", None)
    assert sum(len(batch["key"]) for batch in loader) == TOTAL, "a sample took the long way"


@pytest.mark.parametrize("name", ["nothing", "crop", "padded"])
@pytest.mark.parametrize(
    ("dtype", "depth"), [("uint8", ()), ("uint16", ()), ("int32", (1,)), ("float32", (2,)), ("uint8", (3,))]
)
def test_raw_masks_of_any_type(tmp_path: Path, dtype: str, depth: tuple[int, ...], name: str) -> None:
    fields = (
        Field("mask", "mask", dtype, (*SIDES, *depth), "raw"),
        Field("image", "image", "uint8", (*SIDES, 3), "raw"),
    )
    rows = []
    for number in range(TOTAL):
        values = np.resize(ids(number), (*depth, *SIDES)).transpose(
            (*range(len(depth), len(depth) + 2), *range(len(depth)))
        )
        mask = (values * np.dtype(dtype).type(1.5 if dtype == "float32" else 1)).astype(dtype)
        rows.append(Row(str(number), {"mask": mask.tobytes(), "image": photo(*SIDES, number).tobytes()}))
    path = write_dataset(tmp_path / "d", Schema(fields), {"train": rows}, pixels="raw")
    if dtype == "float32" and name == "padded":
        assert imagemill.Loader(path, transforms=GEOMETRY[name])._feed.bulk is None, "the core fills integers only"
        return
    for one, other in zip(*both(path, GEOMETRY[name]), strict=True):
        assert_alike(one, other)


def test_masks_alone(tmp_path: Path) -> None:
    """Then the mask's sides decide what is drawn."""
    path = written(tmp_path, [png(ids(number), number) for number in range(TOTAL)], Schema((MASK,)))
    for one, other in zip(*both(path, GEOMETRY["crop"]), strict=True):
        assert_alike(one, other)


def test_partners_of_other_sides(tmp_path: Path) -> None:
    """A mask of half the image's sides shows the same part of it, where a transform says a size."""
    halves = [png(ids(number, (SIDES[0] // 2, SIDES[1] // 2)), number) for number in range(TOTAL)]
    path = written(tmp_path, halves)
    for one, other in zip(*both(path, GEOMETRY["crop"]), strict=True):
        assert_alike(one, other)
    for one, other in zip(*both(path, []), strict=True):
        assert_alike(one, other)
        assert one["mask"].shape[1:] == (30, 42)


def test_the_mask_lies_on_the_image(tmp_path: Path) -> None:
    """Of a picture whose mask is its own grey level."""
    levels = [np.repeat(np.repeat(ids(number)[::12, ::12] // 2 * 2, 12, 0), 12, 1)[:60, :84] for number in range(TOTAL)]
    rows = [
        Row(str(number), {"mask": png(level, 0), "image": saved(np.dstack([level] * 3), "PNG")})
        for number, level in enumerate(levels)
    ]
    path = write_dataset(tmp_path / "d", SCHEMA, {"train": rows})
    loader = imagemill.Loader(path, transforms=[RandomRotate90(), RandomCrop(40), HorizontalFlip()])
    assert loader._feed.bulk is not None
    for batch in loader:
        assert torch.equal(batch["image"][:, 0], batch["mask"])


@pytest.mark.parametrize("name", ["crop", "with colours"])
def test_other_masks_go_the_way_they_did(tmp_path: Path, name: str) -> None:
    """16 bits, several channels, other formats: of all samples, of some, with an orientation."""
    deep = [saved(Image.fromarray(ids(n).astype(np.uint16) * 300), "PNG") for n in range(TOTAL)]
    colours = [saved(np.dstack([ids(n)] * 3), "PNG") for n in range(TOTAL)]
    tiffs = [saved(Image.fromarray(ids(n)), "TIFF" if n % 4 == 1 else "PNG") for n in range(TOTAL)]
    turned = [
        saved(Image.fromarray(ids(n).T if n == 3 else ids(n)), "PNG", exif=exif_block(6 if n == 3 else 1))
        for n in range(TOTAL)
    ]
    for place, masks in enumerate((deep, colours, tiffs, turned)):
        path = written(tmp_path / str(place), masks)
        for one, other in zip(*both(path, GEOMETRY[name]), strict=True):
            assert_alike(one, other)


def test_masks_of_unequal_types_are_no_batch_of_the_cores(tmp_path: Path) -> None:
    mixed = [saved(Image.fromarray(ids(n).astype(np.uint16 if n == 8 else np.uint8)), "PNG") for n in range(TOTAL)]
    for one, other in zip(*both(written(tmp_path, mixed), GEOMETRY["crop"]), strict=True):
        assert_alike(one, other)


def test_bad_masks(tmp_path: Path) -> None:
    masks = [png(ids(number), number) for number in range(TOTAL)]
    masks[4], masks[9] = masks[4][:-40], b"no mask"
    path = written(tmp_path, masks)
    one, other = both(path, GEOMETRY["crop"], on_error="skip")
    assert sum(len(batch["key"]) for batch in one) == 2 * (TOTAL - 2)
    for mine, theirs in zip(one, other, strict=True):
        assert_alike(mine, theirs)
    with pytest.raises(SampleError, match="4: truncated|9: not-an-image"):
        list(imagemill.Loader(path, transforms=GEOMETRY["crop"]))


def test_pictures_of_unequal_sides_are_told_as_ever(tmp_path: Path) -> None:
    masks = [png(ids(number, (50 + number, 60)), number) for number in range(6)]
    rows = [
        Row(
            str(n),
            {"mask": mask, "image": saved(photo(50 + n, 60, n), "JPEG")},
            sides=dict.fromkeys(("mask", "image"), (50 + n, 60)),
        )
        for n, mask in enumerate(masks)
    ]
    path = write_dataset(tmp_path / "d", SCHEMA, {"train": rows})
    with pytest.raises(ConfigError, match="size="):
        list(imagemill.Loader(path, batch_size=3))
    for one, other in zip(*both(path, [VerticalFlip()], batch_size=1), strict=True):
        assert_alike(one, other)
