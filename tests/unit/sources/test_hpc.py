"""Every layout that hpc_pytorch_loader wrote, made here as its converters make it, and the golden ones."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.core.sample import Encoded, Sample
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import Scan, SourceOptions, account, listing_row
from imagemill.sources.hpc import HpcSource
from imagemill.testing.sources import SourceConformance

CLASSES = {"ant": 0, "bee": 1, "cat": 2}


def pixels(count: int, shape: tuple[int, ...] = (4, 6, 3), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def jpeg(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG")
    return buffer.getvalue()


def write_npy(path: Path, part: str, values: Any) -> None:
    np.asarray(values, np.int64 if np.ndim(values) == 1 else np.uint8).tofile(path.with_suffix(".npy"))


def write_hdf5(path: Path, part: str, values: Any) -> None:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file.create_dataset(part, data=np.asarray(values))


def write_parquet_v1(path: Path, part: str, values: Any) -> None:
    pq.write_table(pa.table({part: list(values)}), path.with_suffix(".parquet"))


def write_parquet_v2(path: Path, part: str, values: Any) -> None:
    pq.write_table(pa.table({str(at): [value] for at, value in enumerate(values)}), path.with_suffix(".parquet"))


def write_ipc(path: Path, part: str, values: Any) -> None:
    name = "image_data" if part == "images" else "label"
    batches = [pa.record_batch({name: [value]}) for value in values]
    with pa.ipc.new_file(str(path.with_suffix(".parquet")), batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def write_tar(path: Path, part: str, values: Any) -> None:
    if part == "labels":
        path.with_suffix(".json").write_text(json.dumps(list(values)))
        return
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        for at, value in enumerate(values):
            info = tarfile.TarInfo(f"image_{at}")
            info.size = len(value)
            archive.addfile(info, io.BytesIO(value))


ARRAYS: dict[str, Callable[[Path, str, Any], None]] = {"memmap": write_npy, "hdf5": write_hdf5}
ENCODED = {"parquet_v1": write_parquet_v1, "parquet_v2": write_parquet_v2, "ipc": write_ipc, "tar": write_tar}


def write_old(
    folder: Path,
    layout: str,
    images: Any,
    labels: Any,
    *,
    per_file: int = 4,
    classes: Any = CLASSES,
    shape: Any = (4, 6),
    mode: str = "RGB",
) -> Path:
    write = (ARRAYS | ENCODED)[layout]
    for part in ("images", "labels", "metadata"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(images), per_file)):
        write(folder / "images" / f"images_{number}", "images", images[start : start + per_file])
        write(folder / "labels" / f"labels_{number}", "labels", labels[start : start + per_file])
    about = {"num_images_per_array": per_file, "len": len(images), "len_last_array": 0, "total_num_arrays": 1}
    if layout in ARRAYS:
        about |= {"mode": mode, "shape": shape}
    (folder / "metadata" / "metadata.json").write_text(json.dumps(about))
    if classes is not None:
        (folder / "metadata" / "class_to_integer_mapping.json").write_text(json.dumps(classes))
    return folder


def opened(path: Path, tmp_path: Path, **options: Any) -> tuple[HpcSource, Scan]:
    source = HpcSource(path, SourceOptions(**options))
    return source, account(source.scan(tmp_path / "listing.arrow"))


def rows_of(scan: Scan) -> list[dict[str, Any]]:
    return [listing_row(scan.listing, scan.listing.column_names, at) for at in range(scan.listing.num_rows)]


def samples_of(source: HpcSource, scan: Scan) -> list[Sample]:
    return [source.read(row) for row in rows_of(scan)]


def encoded(sample: Sample, field: str = "image") -> bytes:
    value = sample.values[field]
    assert isinstance(value, Encoded)
    return bytes(value.data)


LABELS = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]


class TestConformance(SourceConformance):
    @pytest.fixture(params=[*ARRAYS, *ENCODED, "dense"])
    def source(self, tmp_path: Path, request: pytest.FixtureRequest) -> HpcSource:
        layout = "memmap" if request.param == "dense" else request.param
        images = pixels(6) if layout in ARRAYS else [jpeg(image) for image in pixels(6)]
        labels = pixels(6, seed=1) if request.param == "dense" else LABELS[:6]
        old = write_old(tmp_path / "old", layout, images, labels)
        (old / "images" / "images_7.npy").write_bytes(b"left over")
        return HpcSource(old, SourceOptions())

    def test_size_is_what_there_is_to_read(self, source: HpcSource, scan: Scan) -> None:
        """In Parquet only the sum is right: an even share of the file is all that can be known unread."""
        if list((source.path / "images").glob("*.parquet")):
            read = sum(len(encoded(sample)) for sample in samples_of(source, scan))
            assert sum(scan.listing["size"].to_pylist()) >= read
        else:
            super().test_size_is_what_there_is_to_read(source, scan)


@pytest.mark.parametrize("layout", ARRAYS)
def test_arrays_come_back_as_they_were(layout: str, tmp_path: Path) -> None:
    images = pixels(11)
    source, scan = opened(write_old(tmp_path / "old", layout, images, LABELS), tmp_path)
    samples = samples_of(source, scan)
    assert [sample.key for sample in samples] == [f"images_{at // 4}/{at % 4:05d}" for at in range(11)]
    assert np.array_equal(np.stack([sample.values["image"] for sample in samples]), images)
    assert [sample.values["label"] for sample in samples] == LABELS
    image, label = scan.fields
    assert (image.codec, image.shape, image.dtype) == ("raw", (4, 6, 3), "uint8")
    assert label.class_names == ("ant", "bee", "cat")
    assert (scan.found, scan.rejects, dict(scan.ignored)) == (11, (), {})
    assert scan.listing["size"].to_pylist() == [72] * 11


@pytest.mark.parametrize("layout", ENCODED)
def test_encoded_images_come_byte_for_byte(layout: str, tmp_path: Path) -> None:
    images = [jpeg(image) for image in pixels(11)]
    source, scan = opened(write_old(tmp_path / "old", layout, images, LABELS), tmp_path)
    samples = samples_of(source, scan)
    assert [encoded(sample) for sample in samples] == images
    assert [sample.values["label"] for sample in samples] == LABELS
    assert scan.fields[0].storage == "bytes"
    assert all(size > 0 for size in scan.listing["size"].to_pylist())


@pytest.mark.parametrize("layout", ["parquet_v1", "parquet_v2", "ipc", "tar"])
def test_one_image_a_file(layout: str, tmp_path: Path) -> None:
    images = [jpeg(image) for image in pixels(3)]
    source, scan = opened(write_old(tmp_path / "old", layout, images, [2, 0, 1], per_file=1), tmp_path)
    assert [encoded(sample) for sample in samples_of(source, scan)] == images
    assert scan.listing["label"].to_pylist() == [2, 0, 1]


@pytest.mark.parametrize("layout", [*ARRAYS, *ENCODED])
def test_rows_are_read_in_any_order_and_after_pickling(layout: str, tmp_path: Path) -> None:
    array = pixels(9)
    images = array if layout in ARRAYS else [jpeg(image) for image in array]
    source, scan = opened(write_old(tmp_path / "old", layout, images, LABELS[:9]), tmp_path)
    rows = rows_of(scan)
    wanted = [8, 0, 5, 4, 8, 1]
    first = [source.read(rows[at]) for at in wanted]
    copy = pickle.loads(pickle.dumps(source))
    again = [copy.read(rows[at]) for at in wanted]
    for at, one, other in zip(wanted, first, again, strict=True):
        assert (one.key, one.origins, one.values["label"]) == (other.key, other.origins, LABELS[at])
        if layout in ARRAYS:
            assert np.array_equal(one.values["image"], images[at])
            assert np.array_equal(other.values["image"], images[at])
        else:
            assert encoded(one) == encoded(other) == images[at]


def test_grey_arrays_get_a_channel_axis(tmp_path: Path) -> None:
    images = pixels(5, (4, 6))
    source, scan = opened(write_old(tmp_path / "old", "memmap", images, LABELS[:5], mode="L"), tmp_path)
    assert scan.fields[0].shape == (4, 6, 1)
    assert np.array_equal(np.stack([s.values["image"] for s in samples_of(source, scan)])[..., 0], images)


@pytest.mark.parametrize("mode", ["HSV", "CMYK", "I"])
def test_other_modes_keep_their_numbers_and_say_so(mode: str, tmp_path: Path) -> None:
    shape = {"HSV": (4, 6, 3), "CMYK": (4, 6, 4), "I": (4, 6)}[mode]
    images = pixels(4, shape)
    source, scan = opened(write_old(tmp_path / "old", "memmap", images, LABELS[:4], mode=mode), tmp_path)
    assert np.array_equal(np.stack([s.values["image"] for s in samples_of(source, scan)]).reshape(images.shape), images)
    assert any(f"mode {mode}" in remark for remark in scan.remarks)


def test_dense_arrays(tmp_path: Path) -> None:
    images, masks = pixels(7), pixels(7, seed=1)
    source, scan = opened(write_old(tmp_path / "old", "memmap", images, masks, classes=None), tmp_path)
    samples = samples_of(source, scan)
    assert np.array_equal(np.stack([sample.values["image"] for sample in samples]), images)
    assert np.array_equal(np.stack([sample.values["mask"] for sample in samples]), masks)
    mask = scan.fields[1]
    assert (mask.name, mask.kind, mask.shape, mask.codec) == ("mask", "mask", (4, 6, 3), "raw")
    assert samples[5].origins == {"image": "images/images_1.npy/00001", "mask": "labels/labels_1.npy/00001"}


def test_dense_encoded(tmp_path: Path) -> None:
    images, masks = [jpeg(image) for image in pixels(7)], [jpeg(mask) for mask in pixels(7, seed=1)]
    source, scan = opened(write_old(tmp_path / "old", "ipc", images, masks, classes=None), tmp_path)
    samples = samples_of(source, scan)
    assert [encoded(sample) for sample in samples] == images
    assert [encoded(sample, "mask") for sample in samples] == masks


def test_left_over_files_are_ignored_with_a_remark(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "hdf5", pixels(11), LABELS)
    write_old(tmp_path / "old", "hdf5", pixels(6, seed=1), LABELS[:6])
    (old / "images" / "notes.txt").write_text("mine")
    _, scan = opened(old, tmp_path)
    assert scan.listing.num_rows == 6
    assert scan.ignored == {"left over from an earlier conversion": 2, "no file of hpc_pytorch_loader": 1}
    assert any("images_2.h5" in remark and "earlier conversion" in remark for remark in scan.remarks)


@pytest.mark.parametrize(("part", "layout"), [("images", "memmap"), ("labels", "memmap"), ("images", "tar")])
def test_a_missing_file_rejects_its_samples(part: str, layout: str, tmp_path: Path) -> None:
    images = pixels(11) if layout == "memmap" else [jpeg(image) for image in pixels(11)]
    old = write_old(tmp_path / "old", layout, images, LABELS)
    next((old / part).glob(f"{part}_1.*")).unlink()
    _, scan = opened(old, tmp_path)
    assert [reject.key for reject in scan.rejects] == [f"images_1/{row:05d}" for row in range(4)]
    assert {reject.reason for reject in scan.rejects} == {"missing-file"}
    assert {reject.path for reject in scan.rejects} == {f"{part}/{part}_1"}
    assert scan.listing.num_rows == 7


@pytest.mark.parametrize("layout", ["hdf5", "parquet_v1", "parquet_v2", "ipc"])
def test_a_file_cut_short_rejects_its_samples(layout: str, tmp_path: Path) -> None:
    images = pixels(11) if layout == "hdf5" else [jpeg(image) for image in pixels(11)]
    old = write_old(tmp_path / "old", layout, images, LABELS)
    path = next((old / "images").glob("images_1.*"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _, scan = opened(old, tmp_path)
    assert [(reject.key, reject.reason) for reject in scan.rejects] == [
        (f"images_1/{r:05d}", "corrupt") for r in range(4)
    ]
    assert scan.listing.num_rows == 7


def test_a_tar_cut_short_loses_only_what_is_gone(tmp_path: Path) -> None:
    images = [jpeg(image) for image in pixels(8)]
    old = write_old(tmp_path / "old", "tar", images, LABELS[:8])
    path = old / "images" / "images_1.tar"
    with tarfile.open(path) as archive:
        second = archive.getmembers()[1]
    path.write_bytes(path.read_bytes()[: second.offset_data + 100])
    source, scan = opened(old, tmp_path)
    rows = rows_of(scan)
    assert [encoded(source.read(row)) for row in rows[:5]] == images[:5]
    with pytest.raises(SampleError, match="truncated") as caught:
        source.read(rows[5])
    assert caught.value.key == "images_1/00001"
    assert [reject.key for reject in scan.rejects] == ["images_1/00002", "images_1/00003"]


def test_a_memmap_of_another_size_is_no_whole_number_of_images(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "memmap", pixels(8), LABELS[:8])
    path = old / "images" / "images_1.npy"
    path.write_bytes(path.read_bytes()[:-5])
    _, scan = opened(old, tmp_path)
    assert len(scan.rejects) == 4
    assert "no whole number" in scan.rejects[0].detail


def test_a_memmap_with_rows_missing_rejects_just_those(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "hdf5", pixels(8), LABELS[:8])
    write_hdf5(old / "images" / "images_0", "images", pixels(3))
    source, scan = opened(old, tmp_path)
    assert [reject.key for reject in scan.rejects] == ["images_0/00003"]
    assert "ends after 3" in scan.rejects[0].detail
    assert np.array_equal(source.read(rows_of(scan)[2]).values["image"], pixels(3)[2])


def test_surplus_rows_are_ignored(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "hdf5", pixels(6), LABELS[:6])
    write_hdf5(old / "images" / "images_1", "images", pixels(4))
    write_hdf5(old / "labels" / "labels_1", "labels", [0, 1, 2, 2])
    _, scan = opened(old, tmp_path)
    assert (scan.listing.num_rows, dict(scan.ignored)) == (6, {"surplus rows": 2})


def test_a_label_that_is_no_integer_is_a_reject(tmp_path: Path) -> None:
    images = [jpeg(image) for image in pixels(4)]
    _, scan = opened(write_old(tmp_path / "old", "tar", images, [0, "bee", 1, None]), tmp_path)
    assert [(reject.key, reject.reason) for reject in scan.rejects] == [
        ("images_0/00001", "bad-value"),
        ("images_0/00003", "bad-value"),
    ]


def test_class_names_of_categories_are_read_the_other_way_round(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "memmap", pixels(4), [0, 1, 1, 2], classes={0: "x", 1: "y", 2: "z"})
    assert opened(old, tmp_path)[1].fields[1].class_names == ("x", "y", "z")


def test_class_names_that_do_not_fit_are_left_out(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "memmap", pixels(4), [0, 1, 7, 2])
    _, scan = opened(old, tmp_path)
    assert scan.fields[1].class_names is None
    assert any("class names left out" in remark for remark in scan.remarks)


def test_class_to_idx_renumbers_by_name(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "memmap", pixels(4), [0, 1, 2, 0])
    _, scan = opened(old, tmp_path, class_to_idx={"cat": 0, "ant": 1})
    assert scan.listing["label"].to_pylist() == [1, 0, 1]
    assert scan.fields[1].class_names == ("cat", "ant")
    assert [reject.key for reject in scan.rejects] == ["images_0/00001"]


def test_group_pattern(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "memmap", pixels(8), LABELS[:8])
    _, scan = opened(old, tmp_path, group_pattern="^(images_[0-9]+)/")
    assert scan.listing["group"].to_pylist() == ["images_0"] * 4 + ["images_1"] * 4


def test_two_formats_in_one_folder_are_refused(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "memmap", pixels(4), LABELS[:4])
    write_old(old, "hdf5", pixels(4), LABELS[:4])
    with pytest.raises(ConfigError, match=r"images_0\.h5 and images_0\.npy"):
        opened(old, tmp_path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "no json",
        "[]",
        '{"len": 4}',
        '{"len": 4, "num_images_per_array": 0}',
        '{"len": 4, "num_images_per_array": 4, "mode": "XYZ", "shape": [4, 6]}',
    ],
)
def test_metadata_that_cannot_be_used(metadata: str | None, tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "memmap", pixels(4), LABELS[:4])
    path = old / "metadata" / "metadata.json"
    path.unlink()
    if metadata is not None:
        path.write_text(metadata)
    with pytest.raises(ConfigError, match=r"metadata\.json"):
        opened(old, tmp_path)


def test_a_file_that_vanishes_between_scan_and_read(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "memmap", pixels(4), LABELS[:4])
    source, scan = opened(old, tmp_path)
    (old / "images" / "images_0.npy").unlink()
    with pytest.raises(SampleError, match="images_0") as caught:
        source.read(rows_of(scan)[0])
    assert (caught.value.reason, caught.value.key) == ("unreadable", "images_0/00000")


def test_nothing_readable_names_the_first_problem(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old", "hdf5", pixels(4), LABELS[:4])
    (old / "images" / "images_0.h5").write_bytes(b"not an HDF5 file")
    with pytest.raises(ConfigError, match=r"images_0\.h5.*neither HDF5"):
        opened(old, tmp_path)


def golden_pixels(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(folder / "memmap_decoded.npz") as stored:
        return np.stack([stored[f"img{at}"] for at in range(11)]), stored["labels"]


@pytest.mark.parametrize("layout", ["memmap", "hdf5"])
def test_golden_arrays(layout: str, shared_data: Path, tmp_path: Path) -> None:
    golden = shared_data / "golden" / "hpc"
    images, labels = golden_pixels(golden)
    source, scan = opened(golden / layout, tmp_path)
    samples = samples_of(source, scan)
    assert np.array_equal(np.stack([sample.values["image"] for sample in samples]), images)
    assert [sample.values["label"] for sample in samples] == labels.tolist()
    assert scan.fields[1].class_names == ("ant", "bee", "cat")


def test_golden_grey(shared_data: Path, tmp_path: Path) -> None:
    golden = shared_data / "golden" / "hpc" / "memmap_L"
    source, scan = opened(golden, tmp_path)
    stored = np.concatenate([np.fromfile(golden / "images" / f"images_{n}.npy", np.uint8) for n in range(3)])
    samples = samples_of(source, scan)
    assert np.array_equal(np.stack([s.values["image"] for s in samples]), stored.reshape(11, 32, 32, 1))


@pytest.mark.parametrize("layout", ["parquet_v1", "parquet_v2", "tar", "ipc"])
def test_golden_encoded(layout: str, shared_data: Path, tmp_path: Path) -> None:
    golden = shared_data / "golden" / "hpc"
    items = json.loads((golden / "log.json").read_text())[layout]["items"]
    source, scan = opened(golden / layout, tmp_path)
    samples = samples_of(source, scan)
    assert len(samples) == len(items) == 11
    reference = [encoded(sample) for sample in samples_of(*opened(golden / "ipc", tmp_path / ".."))]
    for sample, (size, mode, kind, label, _), same in zip(samples, items, reference, strict=True):
        with Image.open(io.BytesIO(encoded(sample))) as image:
            assert [list(image.size), image.mode, image.format] == [size, mode, kind]
        assert sample.values["label"] == label
        assert encoded(sample) == same


def test_golden_dense(shared_data: Path, tmp_path: Path) -> None:
    golden = shared_data / "golden" / "hpc"
    source, scan = opened(golden / "dense_memmap", tmp_path)
    with np.load(golden / "dense_memmap_decoded.npz") as stored:
        for at, sample in enumerate(samples_of(source, scan)):
            assert np.array_equal(sample.values["image"], stored[f"img{at}"])
            assert np.array_equal(sample.values["mask"], stored[f"lbl{at}"])
    source, scan = opened(golden / "dense_ipc", tmp_path)
    colours = json.loads((golden / "log.json").read_text())["dense_ipc"]["label_unique_colours_per_image"]
    for sample, count in zip(samples_of(source, scan), colours, strict=True):
        with Image.open(io.BytesIO(encoded(sample, "mask"))) as mask:
            found = np.unique(np.asarray(mask).reshape(-1, 3), axis=0)
        assert abs(len(found) - count) <= 0.05 * count, "JPEG decoders differ a little"
