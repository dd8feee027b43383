"""`imagemill.open`: what a sample looks like, and that it can go anywhere."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill.core.sample import Encoded, Row, Sample
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, DigestError, SampleError
from imagemill.testing.datasets import write_dataset
from imagemill.testing.rows import SCHEMAS, make_rows

LABEL = Field("label", "label", "int64", (), "raw", class_names=("cat", "dog"))
IMAGE = Field("image", "image")


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def labelled_row(number: int, image: bytes | None = None) -> Row:
    pixels = np.full((4, 6, 3), number, np.uint8)
    values = {"image": png(pixels) if image is None else image, "label": np.int64(number % 2).tobytes()}
    return Row(f"cat/{number:03d}", values, {"image": f"cat/{number:03d}.png"})


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled") / "dataset"
    splits = {"train": [labelled_row(n) for n in range(20)], "val": [labelled_row(n) for n in range(20, 23)]}
    return write_dataset(folder, Schema((IMAGE, LABEL)), splits)


def test_image_and_label(labelled: Path) -> None:
    dataset = imagemill.open(labelled, "train")
    assert len(dataset) == 20
    image, label = dataset[7]
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (6, 4))
    assert (np.asarray(image) == 7).all()
    assert label == 1
    assert type(label) is int


def test_what_image_folder_has(labelled: Path) -> None:
    dataset = imagemill.open(labelled, "train")
    assert dataset.classes == ["cat", "dog"]
    assert dataset.class_to_idx == {"cat": 0, "dog": 1}
    assert dataset.targets == [0, 1] * 10
    assert dataset.splits == {"train": 20, "val": 3}
    assert dataset.schema.names == ("image", "label")
    assert dataset.keys == [f"cat/{n:03d}" for n in range(20)]
    assert "samples=20" in repr(dataset)


def test_positions(labelled: Path) -> None:
    dataset = imagemill.open(labelled, "train", transform=lambda image: image.getpixel((0, 0))[0])
    assert [value for value, _ in dataset] == list(range(20))
    assert dataset[-1][0] == 19
    assert dataset[np.int64(3)][0] == 3
    assert [value for value, _ in dataset.__getitems__([9, 2, -2, 2])] == [9, 2, 18, 2]
    for wrong in (20, -21):
        with pytest.raises(IndexError, match=f"sample {wrong} of 20 in split 'train'"):
            dataset[wrong]


def test_a_slice_is_a_dataset(labelled: Path) -> None:
    dataset = imagemill.open(labelled, "train", transform=lambda image: image.getpixel((0, 0))[0])
    part = dataset[15:3:-4]
    assert isinstance(part, imagemill.load.dataset.ImageDataset)
    assert [value for value, _ in part] == [15, 11, 7]
    assert part.keys == ["cat/015", "cat/011", "cat/007"]
    assert part.targets == [1, 1, 1]
    assert part[1:][0][0] == 11
    assert len({dataset.fingerprint, part.fingerprint, dataset[:15].fingerprint}) == 3
    with pytest.raises(IndexError):
        part[3]


def test_the_split_must_be_said_where_there_are_several(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"say which: 'train' \(20\), 'val' \(3\)"):
        imagemill.open(labelled)
    with pytest.raises(ConfigError, match=r"no split 'test' .*train \(20\), val \(3\)"):
        imagemill.open(labelled, "test")
    alone = write_dataset(tmp_path / "dataset", Schema((IMAGE, LABEL)), {"everything": [labelled_row(0)]})
    assert imagemill.open(alone).split == "everything"


def test_options_that_cannot_be(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tuple, dict, sample"):
        imagemill.open(labelled, "train", "list")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="RGB"):
        imagemill.open(labelled, "train", mode="rgb")
    with pytest.raises(ConfigError, match="transforms"):
        imagemill.open(labelled, "train", "sample", transform=str)
    with pytest.raises(ConfigError, match="not a dataset"):
        imagemill.open(tmp_path)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ("images", ["RGB", "int"]),
        ("raw", ["RGB", "int"]),
        ("pair", ["RGB", "RGB"]),
        ("raw_pair", ["L", "RGB"]),
        ("masks", ["RGB", "L", "L", "float32(6, 5, 2)"]),
        ("text", ["RGB", "str"]),
        ("numbers", ["int", "float", "float", "int"]),
        ("vectors", ["RGB", "float32(16,)", "float32(1,)", "int64(1,)"]),
    ],
)
def test_tuple_of_every_kind(schema: str, expected: list[str], tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset", SCHEMAS[schema], {"train": make_rows(SCHEMAS[schema], 2)})
    values = imagemill.open(tmp_path / "dataset")[1]
    assert [kind_of(value) for value in values] == expected


def kind_of(value: object) -> str:
    if isinstance(value, Image.Image):
        return value.mode
    return f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def test_images_come_first_and_alone_without_a_tuple(tmp_path: Path) -> None:
    rows = [labelled_row(n) for n in range(2)]
    turned = write_dataset(tmp_path / "turned", Schema((LABEL, IMAGE)), {"train": rows})
    assert [kind_of(value) for value in imagemill.open(turned)[0]] == ["RGB", "int"]
    bare = [Row(row.key, {"image": row.values["image"]}, row.origins) for row in rows]
    alone = imagemill.open(write_dataset(tmp_path / "alone", Schema((IMAGE,)), {"train": bare}))
    assert isinstance(alone[0], Image.Image)
    assert alone.classes == []
    with pytest.raises(ConfigError, match="no labels"):
        _ = alone.targets


def test_dict_and_sample(labelled: Path) -> None:
    record = imagemill.open(labelled, "val", "dict", target_transform=str)[0]
    assert set(record) == {"image", "label"}
    assert record["label"] == "0"
    sample = imagemill.open(labelled, "val", "sample")[0]
    assert isinstance(sample, Sample)
    assert sample.key == "cat/020"
    assert sample.origins == {"image": "cat/020.png"}
    assert sample.values == {"image": Encoded(labelled_row(20).values["image"]), "label": 0}
    assert pickle.loads(pickle.dumps(sample)) == sample


def test_transforms_go_to_their_fields(tmp_path: Path) -> None:
    rows = make_rows(SCHEMAS["pair"], 3)
    folder = write_dataset(tmp_path / "pair", SCHEMAS["pair"], {"train": rows})
    before, after = imagemill.open(folder, transform=lambda image: image.resize((2, 3)))[0]
    assert before.size == after.size == (2, 3)
    folder = write_dataset(tmp_path / "masks", SCHEMAS["masks"], {"train": make_rows(SCHEMAS["masks"], 3)})
    values = imagemill.open(folder, transform=lambda _: "image", target_transform=lambda _: "mask")[0]
    assert values == ("image", "mask", "mask", "mask")


@pytest.mark.parametrize(
    ("dtype", "mode"), [("uint8", "L"), ("uint16", "I;16"), ("int32", "I"), ("float32", "F"), ("int64", "int64(5, 4)")]
)
def test_masks_keep_their_ids(dtype: str, mode: str, tmp_path: Path) -> None:
    ids = (np.arange(20).reshape(5, 4) * 12).astype(dtype)
    field = Field("mask", "mask", dtype, (5, 4), "raw")
    folder = write_dataset(tmp_path / "dataset", Schema((field,)), {"train": [Row("a", {"mask": ids.tobytes()})]})
    mask = imagemill.open(folder)[0]
    assert kind_of(mask) == mode
    assert np.array_equal(np.asarray(mask), ids)


def test_images_are_upright_and_in_the_mode_asked_for(tmp_path: Path) -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4), "red").save(stream, "JPEG", exif=exif)
    folder = write_dataset(tmp_path / "d", Schema((IMAGE, LABEL)), {"train": [labelled_row(0, stream.getvalue())]})
    assert imagemill.open(folder)[0][0].size == (4, 8)
    assert imagemill.open(folder, mode="L")[0][0].mode == "L"


@pytest.mark.parametrize(("pixels", "recipe", "mode"), [("resized", {"mode": "L"}, "L"), ("original", {}, "RGB")])
def test_mode_of_grey_files(pixels: str, recipe: dict[str, str], mode: str, tmp_path: Path) -> None:
    row = labelled_row(0, png(np.full((3, 5), 9, np.uint8)))
    folder = write_dataset(tmp_path / "d", Schema((IMAGE, LABEL)), {"train": [row]}, pixels=pixels, recipe=recipe)
    assert imagemill.open(folder)[0][0].mode == mode


def test_a_damaged_sample_is_named(labelled: Path, tmp_path: Path) -> None:
    rows = [labelled_row(n) for n in range(6)]
    folder = write_dataset(tmp_path / "d", Schema((IMAGE, LABEL)), {"train": rows})
    shard = next((folder / "data").iterdir())
    content = bytearray(shard.read_bytes())
    place = content.index(rows[4].values["image"])
    content[place + 40] ^= 1
    shard.write_bytes(content)
    dataset = imagemill.open(folder)
    assert (np.asarray(dataset[3][0]) == 3).all()
    with pytest.raises(DigestError, match="cat/004"):
        dataset[4]


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    row = labelled_row(1, labelled_row(1).values["image"][:45])
    folder = write_dataset(tmp_path / "d", Schema((IMAGE, LABEL)), {"train": [labelled_row(0), row]})
    with pytest.raises(SampleError, match=r"cat/001\.png: ") as caught:
        imagemill.open(folder)[1]
    assert caught.value.key == "cat/001"


def test_pickle_leaves_lists_behind(labelled: Path) -> None:
    dataset = imagemill.open(labelled, "train")[2:9]
    assert len(dataset.keys) == 7
    _ = dataset.targets
    assert b"cat/005" not in pickle.dumps(dataset)
    again = pickle.loads(pickle.dumps(dataset))
    assert again.keys == dataset.keys
    assert again.fingerprint == dataset.fingerprint
    assert np.array_equal(np.asarray(again[1][0]), np.asarray(dataset[1][0]))


def test_threads_read_one_dataset(labelled: Path) -> None:
    dataset = imagemill.open(labelled, "train", transform=lambda image: image.getpixel((0, 0))[0])
    wanted = list(range(20)) * 10
    with ThreadPoolExecutor(8) as pool:
        assert [value for value, _ in pool.map(dataset.__getitem__, wanted)] == wanted


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_opens_its_own_files(labelled: Path) -> None:
    dataset = imagemill.open(labelled, "train")
    parent_shard = dataset.store.shard("train", 0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        own = dataset.store.shard("train", 0)
        os.write(write, b"own" if own is not parent_shard and dataset[5][1] == 1 else b"shared")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"own"
    assert dataset.store.shard("train", 0) is parent_shard


def test_reading_does_without_what_it_does_not_need(labelled: Path) -> None:
    """A cold process: pandas, where it is installed, and locks take longer to import than all the rest to read."""
    code = (
        "import sys, imagemill; imagemill.open(sys.argv[1], 'train').rows([0]);"
        "sys.exit(', '.join({'pandas', 'filelock', 'torch', 'fsspec'} & {*sys.modules}) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code, labelled], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
