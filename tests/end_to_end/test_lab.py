"""LAB fields: what the colour pipeline stored, its records read in and written again, and TensorFlow reading ours."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage.color import rgb2lab
from tensorflow_env import run_with_tensorflow

import imagemill as mill
from imagemill.errors import ConfigError, DamageError
from imagemill.formats.example import parse_example
from imagemill.formats.record_file import find_records
from imagemill.testing.piles import class_folders, imagemill, save_photo, tree
from imagemill.transforms.lab_fields import contain, lab_fields, plain_lab
from imagemill.transforms.lab_options import LabOptions

FORMATS = ["arrow", "hdf5", "memmap", "parquet", "tar", "tfrecord"]


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "source"
    for number in range(6):
        save_photo(folder / f"im{number}.jpg", 60 + 30 * number, 90, number)
    Image.open(folder / "im0.jpg").convert("L").save(folder / "grey.jpg")
    (folder / "broken.jpg").write_bytes((folder / "im0.jpg").read_bytes()[:400])
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_the_same_arrays(name: str, pile: Path, tmp_path: Path) -> None:
    before = tree(pile)
    result = mill.pack(pile, tmp_path / "d", format=name, fields="lab", size=40, lab_padding=True, workers=0)
    assert (result.kept, result.reasons) == (7, {"truncated": 1})
    assert tree(pile) == before
    for sample in mill.open(tmp_path / "d", "train", returns="dict"):
        with Image.open(pile / sample["image_name"]) as opened:
            canvas, (top, left, bottom, right) = contain(np.asarray(opened.convert("RGB")), (40, 40))
        lab = rgb2lab(canvas)
        assert sample["image_l"].shape == (40, 40, 1)
        assert sample["image_l"].dtype == sample["image_ab"].dtype == np.float32
        assert np.abs(sample["image_l"][..., 0] - (2 * lab[..., 0] / 100 - 1)).max() < 1e-3
        assert np.abs(sample["image_ab"] - lab[..., 1:] / 127).max() < 1e-3
        padding = np.zeros((40, 40), np.uint8)
        padding[top:bottom, left:right] = 1
        assert np.array_equal(sample["image_padding"], padding)


@pytest.mark.parametrize(
    ("options", "light", "chroma"),
    [
        (LabOptions((64, 48)), 1e-3, 1e-3),
        (LabOptions((64, 48), scaled=False), 1e-3, 1e-3),
        (LabOptions((64, 48), dtype="float16"), 0.03, 0.08),
        (LabOptions((64, 48), scaled=False, dtype="float16"), 0.04, 0.04),
        (LabOptions((64, 48), dtype="uint8"), 0.2, 0.51),
    ],
)
def test_stored_lab_comes_back_with_the_error_that_is_stated(options: LabOptions, light: float, chroma: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    made = lab_fields(pixels, options)
    assert made.lightness.dtype == options.dtype
    lab = plain_lab(made.lightness, made.chroma, scaled=options.scaled)
    true = rgb2lab(pixels)
    assert np.abs(lab[..., 0] - true[..., 0]).max() <= light
    assert np.abs(lab[..., 1:] - true[..., 1:]).max() <= chroma


@pytest.mark.parametrize("sides", [(10, 10), (1, 500), (500, 1), (40, 39), (300, 200)])
def test_an_image_is_contained_on_white(sides: tuple[int, int]) -> None:
    canvas, (top, left, bottom, right) = contain(np.zeros((*sides, 3), np.uint8), (40, 40))
    assert canvas.shape == (40, 40, 3)
    assert not canvas[top:bottom, left:right].any()
    canvas[top:bottom, left:right] = 255
    assert (canvas == 255).all()


@pytest.mark.parametrize(
    "options",
    [
        {"fields": "yuv"},
        {"fields": "lab", "pixels": "resized", "size": 8},
        {"fields": "lab-legacy", "size": 224},
        {"fields": "lab", "lab_dtype": "int8"},
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], pile: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        mill.pack(pile, tmp_path / "d", workers=0, **options)
    assert not (tmp_path / "d").exists()


def test_pairs_have_two_images_and_are_refused(tmp_path: Path) -> None:
    for name in ("a_before.jpg", "a_after.jpg"):
        save_photo(tmp_path / "pairs" / name, 20, 20, 1)
    with pytest.raises(ConfigError, match="one image a sample"):
        mill.pack(tmp_path / "pairs", tmp_path / "d", fields="lab", workers=0)


def test_labels_stay(tmp_path: Path) -> None:
    mill.pack(class_folders(tmp_path / "pile", bad=False), tmp_path / "d", fields="lab", size=8, workers=0)
    assert {sample["label"] for sample in mill.open(tmp_path / "d", returns="dict")} == {0, 1, 2}


def test_records_have_the_pipeline_s_names_keys_and_splits(pile: Path, tmp_path: Path) -> None:
    mill.pack(pile, tmp_path / "d", fields="lab", size=16, split="60/40", split_counts="exact", workers=0)
    done = imagemill("export", tmp_path / "d", tmp_path / "records", "--layout", "lab", "--records", "3")
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "records").iterdir())
    assert names == ["lab_images_0.tfrecord", "val_lab_images_0.tfrecord", "val_lab_images_1.tfrecord"]
    counts = {}
    for name in names:
        values = np.fromfile(tmp_path / "records" / name, np.uint8)
        records = list(zip(*find_records(values), strict=True))
        counts[name] = len(records)
        for start, end in records:
            assert set(parse_example(bytes(values.data[start:end]))) == {"image_name", "image_l", "image_ab"}
    assert list(counts.values()) == [3, 3, 1]
    again = mill.pack(tmp_path / "records", tmp_path / "again", workers=0)
    assert dict(again.splits) == {"train": 3, "val": 4}
    ours = {sample["image_name"]: sample for sample in mill.open(tmp_path / "d", ["train", "val"], returns="dict")}
    for sample in mill.open(tmp_path / "again", ["train", "val"], returns="dict"):
        assert np.array_equal(sample["image_ab"], ours[sample["image_name"]]["image_ab"])


@pytest.mark.parametrize("compression", ["gzip", "zlib"])
def test_compressed_records_are_read_again(compression: str, pile: Path, tmp_path: Path) -> None:
    mill.pack(pile, tmp_path / "d", fields="lab", size=16, workers=0)
    mill.export(tmp_path / "d", tmp_path / "records", layout="lab", compression=compression)  # type: ignore[arg-type]
    assert mill.pack(tmp_path / "records", tmp_path / "again", workers=0).kept == 7


def test_a_dataset_without_lab_fields_has_no_such_records(pile: Path, tmp_path: Path) -> None:
    mill.pack(pile, tmp_path / "d", workers=0)
    with pytest.raises(ConfigError, match="--fields lab"):
        mill.export(tmp_path / "d", tmp_path / "records", layout="lab")
    mill.pack(pile, tmp_path / "half", fields="lab", size=8, lab_dtype="float16", workers=0)
    with pytest.raises(ConfigError, match="in float32"):
        mill.export(tmp_path / "half", tmp_path / "records", layout="lab")


def test_a_damaged_dataset_is_not_exported(pile: Path, tmp_path: Path) -> None:
    mill.pack(pile, tmp_path / "d", fields="lab", size=8, workers=0)
    shard = next((tmp_path / "d" / "data").iterdir())
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DamageError):
        mill.export(tmp_path / "d", tmp_path / "records", layout="lab")


def test_the_original_s_values_to_the_last_bit(shared_data: Path, tmp_path: Path) -> None:
    golden = shared_data / "golden" / "koalarization"
    mill.pack(golden / "resized", tmp_path / "d", fields="lab-legacy", workers=0)
    decoded = np.load(golden / "decoded.npz")
    compared = 0
    for sample in mill.open(tmp_path / "d", returns="dict"):
        if f"{sample['image_name']}|l" not in decoded:
            continue
        assert np.abs(sample["image_l"] - decoded[f"{sample['image_name']}|l"]).max() < 1e-3
        assert np.abs(sample["image_ab"] - decoded[f"{sample['image_name']}|ab"]).max() < 1e-3
        compared += 1
    assert compared == 15


def test_the_original_s_contained_images(shared_data: Path) -> None:
    golden = shared_data / "golden" / "koalarization"
    compared = 0
    for path in sorted((golden / "original").iterdir()):
        made = golden / "resized" / path.name
        if not made.exists():
            continue
        with Image.open(path) as original, Image.open(made) as resized:
            ours, _ = contain(np.asarray(original.convert("RGB")), (299, 299))
            again = io.BytesIO()
            Image.fromarray(ours).save(again, "JPEG", quality=75)
            difference = np.asarray(Image.open(again)).astype(float) - np.asarray(resized.convert("RGB"))
        assert np.abs(difference).mean() < 1, path.name
        compared += 1
    assert compared > 10


def test_the_original_s_records_are_read_and_written_again(shared_data: Path, tmp_path: Path) -> None:
    records = shared_data / "golden" / "koalarization" / "tfrecords_b5"
    assert mill.pack(records, tmp_path / "d", workers=0).kept == 15
    mill.export(tmp_path / "d", tmp_path / "again", layout="lab", records_per_file=5)
    for path in sorted(records.iterdir()):
        theirs, ours = (np.fromfile(folder / path.name, np.uint8) for folder in (records, tmp_path / "again"))
        for (a, b), (c, d) in zip(
            zip(*find_records(theirs), strict=True), zip(*find_records(ours), strict=True), strict=True
        ):
            wanted, found = parse_example(bytes(theirs.data[a:b])), parse_example(bytes(ours.data[c:d]))
            assert wanted.keys() == found.keys()
            assert all(np.array_equal(wanted[name], found[name]) for name in wanted)


def test_tensorflow_reads_what_is_exported_by_the_original_s_feature_spec(pile: Path, tmp_path: Path) -> None:
    mill.pack(pile, tmp_path / "lab", fields="lab-legacy", split="60/40", split_counts="exact", workers=0)
    items = [
        (split, sample) for split in ("train", "val") for sample in mill.open(tmp_path / "lab", split, returns="dict")
    ]
    # An embedding beside LAB, as a table of vectors would bring it.
    rows = [
        {"name": sample["image_name"], "split": split, "embedding": np.arange(1001, dtype=np.float32).tolist()}
        for split, sample in items
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "table.parquet")
    for row in rows:
        (tmp_path / row["name"]).write_bytes((pile / row["name"]).read_bytes())
    mill.pack(
        tmp_path / "table.parquet",
        tmp_path / "d",
        fields="lab-legacy",
        path_column="name",
        split_column="split",
        vector_column="embedding",
        workers=0,
    )
    mill.export(tmp_path / "d", tmp_path / "records", layout="lab")
    run_with_tensorflow(Path(__file__).with_name("read_lab.py"), tmp_path / "records", tmp_path / "out.npz")
    read = np.load(tmp_path / "out.npz")
    for split, sample in items:
        name = ("val_" if split == "val" else "") + Path(sample["image_name"]).name
        assert np.array_equal(read[f"{name}|l"], sample["image_l"])
        assert np.array_equal(read[f"{name}|ab"], sample["image_ab"])
        assert np.array_equal(read[f"{name}|emb"], np.arange(1001, dtype=np.float32))


def test_a_dataset_without_images_is_checked(pile: Path, tmp_path: Path) -> None:
    mill.pack(pile, tmp_path / "d", fields="lab", size=8, workers=0)
    result = mill.check(tmp_path / "d", workers=0)
    assert (result.samples, result.rejected) == (7, 0)
