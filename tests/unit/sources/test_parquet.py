"""Parquet files that Hugging Face's `datasets`, pandas and pyarrow write."""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.core.sample import Encoded, Sample
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import Scan, SourceOptions, account, listing_row
from imagemill.sources.parquet import ParquetSource
from imagemill.testing.sources import SourceConformance


def picture(seed: int, kind: str = "JPEG") -> bytes:
    array = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


PICTURES = [picture(seed) for seed in range(12)]


def structs(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"bytes": PICTURES[start + at], "path": f"{at}.jpg"} for at in range(count)]


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def opened(path: Path, tmp_path: Path, **options: Any) -> tuple[ParquetSource, Scan]:
    source = ParquetSource(path, SourceOptions(**options))
    return source, account(source.scan(tmp_path / "listing.arrow"))


def rows_of(scan: Scan) -> list[dict[str, Any]]:
    return [listing_row(scan.listing, scan.listing.column_names, at) for at in range(scan.listing.num_rows)]


def samples_of(source: ParquetSource, scan: Scan) -> list[Sample]:
    return [source.read(row) for row in rows_of(scan)]


def encoded(sample: Sample, field: str = "image") -> bytes:
    value = sample.values[field]
    assert isinstance(value, Encoded)
    return bytes(value.data)


def names_of(scan: Scan) -> list[tuple[str, str]]:
    return [(field.name, field.kind) for field in scan.fields]


class TestConformance(SourceConformance):
    @pytest.fixture(params=["file", "folder"])
    def source(self, tmp_path: Path, request: pytest.FixtureRequest) -> ParquetSource:
        columns = {"image": structs(5), "mask": [picture(1, "PNG")] * 5, "label": ["a", "b", None, "a", "a"]}
        columns |= {"text": ["schön"] * 5, "v": [[1.0, 2.0]] * 5, "n": [1, 2, None, 4, 5]}
        for number in range(2):
            write(tmp_path / "pile" / f"train-{number}.parquet", columns, row_group_size=2)
        (tmp_path / "pile" / "notes.md").write_text("mine")
        path = tmp_path / "pile"
        return ParquetSource(path / "train-0.parquet" if request.param == "file" else path, SourceOptions())

    def test_size_is_what_there_is_to_read(self, source: ParquetSource, scan: Scan) -> None:
        """Only the sum is right: an even share of a row group is all that can be known without reading it."""
        read = sum(len(encoded(s)) + len(encoded(s, "mask")) for s in samples_of(source, scan))
        assert sum(scan.listing["size"].to_pylist()) >= read


def test_what_hugging_face_datasets_writes(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog", "elk"]),
            "fine": datasets.ClassLabel(names=["a", "b"]),
            "caption": datasets.Value("string"),
            "embedding": datasets.Sequence(datasets.Value("float32"), length=3),
            "score": datasets.Value("float64"),
        }
    )
    columns = {
        "image": structs(5),
        "label": [2, 0, 1, -1, 2],
        "fine": [0, 1, None, 1, 0],
        "caption": [f"é {at}" for at in range(5)],
        "embedding": [[at, 0.5, 1] for at in range(5)],
        "score": [0.5, None, 1.5, 2.5, 3.5],
    }
    path = tmp_path / "data" / "validation-00000-of-00001.parquet"
    path.parent.mkdir()
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)
    source, scan = opened(tmp_path / "data", tmp_path)
    assert names_of(scan) == [
        ("image", "image"),
        ("label", "label"),
        ("fine", "label"),
        ("text", "text"),
        ("embedding", "vector"),
        ("score", "number"),
    ]
    assert scan.fields[1].class_names == ("cat", "dog", "elk")
    assert scan.fields[2].class_names == ("a", "b")
    assert (scan.fields[4].dtype, scan.fields[4].shape) == ("float32", (3,))
    samples = samples_of(source, scan)
    assert [sample.key for sample in samples] == [f"validation-00000-of-00001/{at:08d}" for at in range(5)]
    assert [encoded(sample) for sample in samples] == PICTURES[:5]
    assert [sample.values["label"] for sample in samples] == [2, 0, 1, -1, 2]
    assert [sample.values["fine"] for sample in samples] == [0, 1, -1, 1, 0]
    assert [sample.values["text"] for sample in samples] == columns["caption"]
    assert np.array_equal(np.stack([sample.values["embedding"] for sample in samples]), columns["embedding"])
    assert math.isnan(samples[1].values["score"])
    assert samples[3].values["score"] == 2.5
    assert samples[3].origins == {"image": "validation-00000-of-00001.parquet/00000003.jpg"}
    assert set(scan.listing["split"].to_pylist()) == {"val"}
    assert (scan.found, scan.rejects) == (5, ())


def test_splits_from_names_folders_and_columns(tmp_path: Path) -> None:
    for name in ("data/train-00000-of-00002", "data/train-00001-of-00002", "extra-00000-of-00001", "test/0000", "x"):
        write(tmp_path / "d" / f"{name}.parquet", {"image": structs(1), "n": [1]})
    (tmp_path / "d" / "README.md").write_text("card")
    _, scan = opened(tmp_path / "d", tmp_path)
    found = dict(zip(scan.listing["key"].to_pylist(), scan.listing["split"].to_pylist(), strict=True))
    assert found == {
        "data/train-00000-of-00002/00000000": "train",
        "data/train-00001-of-00002/00000000": "train",
        "extra-00000-of-00001/00000000": "extra",
        "test/0000/00000000": "test",
        "x/00000000": None,
    }
    assert scan.ignored == {".md": 1}
    path = write(tmp_path / "one.parquet", {"image": structs(2), "fold": ["Validation", "mine"], "who": ["a", "a"]})
    _, scan = opened(path, tmp_path, split_column="fold", group_column="who")
    assert scan.listing["split"].to_pylist() == ["val", "mine"]
    assert scan.listing["group"].to_pylist() == ["a", "a"]
    assert names_of(scan) == [("image", "image")]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_plain_bytes_that_are_images(kind: pa.DataType, tmp_path: Path) -> None:
    columns = {"pic": pa.array([None, *PICTURES[:2]], kind), "blob": pa.array([b"nothing"] * 3, kind)}
    source, scan = opened(write(tmp_path / "a.parquet", columns), tmp_path)
    assert names_of(scan) == [("image", "image")]
    rows = rows_of(scan)
    assert [encoded(source.read(row)) for row in rows[1:]] == PICTURES[:2]
    with pytest.raises(SampleError) as caught:
        source.read(rows[0])
    assert (caught.value.reason, caught.value.key) == ("missing-file", "a/00000000")
    assert any("left out: blob" in remark for remark in scan.remarks)


def test_text_labels_and_categories_of_pandas(tmp_path: Path) -> None:
    columns = {"image": structs(3), "class": pa.array(["dog", "cat", None]).dictionary_encode()}
    path = write(tmp_path / "a.parquet", columns)
    source, scan = opened(path, tmp_path)
    assert [sample.values["label"] for sample in samples_of(source, scan)] == ["dog", "cat", -1]
    assert scan.fields[1].class_names == ("cat", "dog")
    _, scan = opened(path, tmp_path, class_to_idx={"cat": 0})
    assert [(reject.key, reject.reason) for reject in scan.rejects] == [("a/00000000", "bad-value")]
    assert names_of(opened(path, tmp_path, labels=False)[1]) == [("image", "image"), ("class", "text")]


def test_label_column_of_floats(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": structs(5), "y": [3.0, None, 0.5, math.inf, math.nan]})
    _, scan = opened(path, tmp_path, label_column="y")
    assert scan.listing["label"].to_pylist() == [3, None]
    assert [reject.key for reject in scan.rejects] == ["a/00000002", "a/00000003", "a/00000004"]


def test_class_to_idx_renumbers_class_labels(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    path = tmp_path / "a.parquet"
    datasets.Dataset.from_dict({"image": structs(3), "label": [0, 1, -1]}, features=features).to_parquet(path)
    _, scan = opened(path, tmp_path, class_to_idx={"b": 0, "a": 1})
    assert scan.listing["label"].to_pylist() == [1, 0, -1]
    assert scan.fields[1].class_names == ("b", "a")


def test_several_images_and_masks(tmp_path: Path) -> None:
    mask = picture(3, "PNG")
    columns = {"depth": structs(1, 4), "after": structs(1, 1), "before": structs(1, 2), "annotation": [mask]}
    source, scan = opened(write(tmp_path / "a.parquet", columns), tmp_path)
    assert names_of(scan) == [("before", "image"), ("after", "image"), ("image", "image"), ("mask", "mask")]
    sample = samples_of(source, scan)[0]
    assert encoded(sample, "before") == PICTURES[2]
    assert encoded(sample, "image") == PICTURES[4]
    assert encoded(sample, "mask") == mask
    assert sorted(sample.origins.values()) == [
        "a.parquet/00000000.jpg",
        "a.parquet/00000000_after.jpg",
        "a.parquet/00000000_before.jpg",
        "a.parquet/00000000_mask",
    ]
    columns = {"left": structs(1), "right": structs(1, 1)}
    source, scan = opened(write(tmp_path / "b.parquet", columns), tmp_path, path_column="right")
    assert names_of(scan) == [("image", "image"), ("image_2", "image")]
    assert encoded(samples_of(source, scan)[0]) == PICTURES[1]
    _, scan = opened(tmp_path / "b.parquet", tmp_path, mask_column="left")
    assert names_of(scan) == [("image", "image"), ("mask", "mask")]


def test_masks_that_are_npy_files(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(80, dtype=np.uint16).reshape(8, 10))
    source, scan = opened(write(tmp_path / "a.parquet", {"image": structs(1), "mask": [buffer.getvalue()]}), tmp_path)
    assert names_of(scan) == [("image", "image"), ("mask", "mask")]
    assert encoded(samples_of(source, scan)[0], "mask") == buffer.getvalue()


def test_keys_of_a_key_column_unless_they_repeat(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"key": ["x/1.jpg", "x/2.jpg"], "image": structs(2)})
    source, scan = opened(path, tmp_path)
    assert [sample.key for sample in samples_of(source, scan)] == ["x/1.jpg", "x/2.jpg"]
    path = write(tmp_path / "b.parquet", {"key": ["C major", "C major"], "image": structs(2)})
    source, scan = opened(path, tmp_path)
    assert scan.listing["key"].to_pylist() == ["b/00000000", "b/00000001"]
    assert names_of(scan) == [("image", "image"), ("field_key", "text")]
    assert any("repeat" in remark for remark in scan.remarks)


def test_images_beside_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    (folder / "sub" / "pics").mkdir(parents=True)
    (folder / "sub" / "pics" / "0.jpg").write_bytes(PICTURES[7])
    (tmp_path / "outside.jpg").write_bytes(PICTURES[0])
    paths = ["pics/0.jpg", "pics/gone.jpg", "../../outside.jpg", str(tmp_path / "outside.jpg"), None]
    images = [{"bytes": None, "path": path} for path in paths]
    write(
        folder / "sub" / "a.parquet",
        {"image": pa.array(images, pa.struct({"bytes": pa.binary(), "path": pa.string()}))},
    )
    source, scan = opened(folder, tmp_path)
    rows = rows_of(scan)
    sample = source.read(rows[0])
    assert (encoded(sample), sample.origins) == (PICTURES[7], {"image": "sub/pics/0.jpg"})
    for row in rows[1:]:
        with pytest.raises(SampleError) as caught:
            source.read(row)
        assert (caught.value.reason, caught.value.key) == ("missing-file", row["key"])


def test_rows_of_many_row_groups_in_any_order(tmp_path: Path) -> None:
    for at in range(3):
        write(tmp_path / "d" / f"{at}.parquet", {"image": structs(4, 4 * at), "n": range(4)}, row_group_size=3)
    source, scan = opened(tmp_path / "d", tmp_path)
    rows = rows_of(scan)
    copy = pickle.loads(pickle.dumps(source))
    for at in [11, 0, 5, 3, 4, 11, 2]:
        for one in (source, copy):
            sample = one.read(rows[at])
            assert (encoded(sample), sample.values["n"]) == (PICTURES[at], at % 4)


def test_vectors_and_numbers_keep_their_types(tmp_path: Path) -> None:
    columns = {
        "image": structs(2),
        "even": pa.array([[1, 2], [3, 4]], pa.list_(pa.int16())),
        "odd": pa.array([[1.0], [1.0, 2.0]], pa.list_(pa.float64())),
        "small": pa.array([1, 2], pa.uint8()),
        "gap": pa.array([1, None], pa.int32()),
        "yes": [True, False],
        "when": pa.array([1, 2], pa.timestamp("s")),
        "Note": ["a", None],
        "note": ["b", "c"],
    }
    source, scan = opened(write(tmp_path / "a.parquet", columns), tmp_path)
    types = {field.name: (field.dtype, field.shape) for field in scan.fields[1:]}
    assert types == {
        "even": ("int16", (2,)),
        "odd": ("float64", (None,)),
        "small": ("uint8", ()),
        "gap": ("float64", ()),
        "yes": ("int64", ()),
        "Note": ("uint8", None),
        "note_2": ("uint8", None),
    }
    second = samples_of(source, scan)[1].values
    assert (second["yes"], second["small"], second["Note"], second["note_2"]) == (0, 2, "", "c")
    assert math.isnan(second["gap"])
    assert any("left out: when" in remark for remark in scan.remarks)


def test_a_null_caption_or_vector_is_a_reject(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": structs(2), "text": [None, "x"], "v": [[1.0], None]})
    source, scan = opened(path, tmp_path)
    reasons = []
    for row in rows_of(scan):
        with pytest.raises(SampleError) as caught:
            source.read(row)
        reasons.append(caught.value.reason)
    assert reasons == ["missing-caption", "bad-value"]


def test_a_damaged_page_is_no_sample(tmp_path: Path) -> None:
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True, "write_statistics": False}
    path = write(tmp_path / "a.parquet", {"image": structs(4), "label": range(4)}, row_group_size=2, **options)
    good = path.read_bytes()
    path.write_bytes(flipped(good, good.index(PICTURES[2]) + 200))
    source, scan = opened(path, tmp_path)
    rows = rows_of(scan)
    assert [encoded(source.read(row)) for row in rows[:2]] == PICTURES[:2]
    with pytest.raises(SampleError) as caught:
        source.read(rows[2])
    assert caught.value.reason == "unreadable"
    path.write_bytes(flipped(good, good.rindex((3).to_bytes(8, "little"))))
    _, scan = opened(path, tmp_path)
    assert [(reject.key, reject.reason) for reject in scan.rejects] == [
        ("a/00000002", "corrupt"),
        ("a/00000003", "corrupt"),
    ]
    assert scan.listing.num_rows == 2


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def test_files_that_do_not_open_or_do_not_fit(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    write(folder / "a.parquet", {"image": structs(1)})
    (folder / "b.parquet").write_bytes(b"PAR1 and nothing more")
    _, scan = opened(folder, tmp_path)
    assert [(reject.path, reject.reason) for reject in scan.rejects] == [("b.parquet", "corrupt")]
    write(folder / "b.parquet", {"image": structs(1), "more": [1]})
    with pytest.raises(ConfigError, match=r"b\.parquet has other columns.*more"):
        opened(folder, tmp_path)
    with pytest.raises(ConfigError, match="--source table"):
        opened(write(tmp_path / "t.parquet", {"file_name": ["a.jpg"]}), tmp_path)
    (tmp_path / "e").mkdir()
    with pytest.raises(ConfigError, match="no Parquet file that can be read"):
        opened(tmp_path / "e", tmp_path)
    empty = pa.array([], pa.struct({"bytes": pa.binary()}))
    with pytest.raises(ConfigError, match="no rows"):
        opened(write(tmp_path / "f.parquet", {"image": empty}), tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        opened(tmp_path / "gone.parquet", tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_column": "nope"}, "is no column"),
        ({"caption_column": "n"}, "cannot be the caption"),
        ({"vector_column": "n"}, "cannot be the vector"),
        ({"labels": True}, "--label-column"),
        ({"labels": False, "label_column": "n"}, "switched off"),
        ({"group_column": "n", "group_pattern": "(x)"}, "give one of them"),
        ({"images": "x"}, "does not apply"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": structs(1), "n": [1]})
    with pytest.raises(ConfigError, match=message):
        opened(path, tmp_path, **options)


def test_a_file_that_vanishes_between_scan_and_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": structs(1)})
    source, scan = opened(path, tmp_path)
    path.unlink()
    with pytest.raises(SampleError) as caught:
        source.read(rows_of(scan)[0])
    assert caught.value.reason == "unreadable"
