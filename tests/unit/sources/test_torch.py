"""Datasets given in Python: torch's own, look-alikes of torchvision's, and plain lists."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from imagemill.codecs import image as images
from imagemill.core.sample import Encoded, Sample
from imagemill.errors import ConfigError, SampleError
from imagemill.sources import SOURCES
from imagemill.sources.base import Scan, Source, SourceOptions, account, listing_row
from imagemill.sources.torch import TorchSource
from imagemill.testing.sources import SourceConformance

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'imagemill[torch]'")


def pixels(seed: int, shape: tuple[int, ...] = (6, 8, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def photo(seed: int) -> Image.Image:
    return Image.fromarray(pixels(seed))


def opened(dataset: Any, tmp_path: Path, **options: Any) -> tuple[TorchSource, Scan]:
    source = TorchSource(dataset, SourceOptions(**options))
    return source, account(source.scan(tmp_path / "listing.arrow"))


def rows_of(scan: Scan) -> list[dict[str, Any]]:
    return [listing_row(scan.listing, scan.listing.column_names, at) for at in range(scan.listing.num_rows)]


def samples_of(source: Source, scan: Scan) -> list[Sample]:
    return [source.read(row) for row in rows_of(scan)]


def only(item: Any, tmp_path: Path) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    source, scan = opened([item], tmp_path)
    return [(field.name, field.kind) for field in scan.fields], dict(samples_of(source, scan)[0].values)


class Photos(torch.utils.data.Dataset):  # type: ignore[misc]
    """(image, label), as most datasets are."""

    classes = ("cat", "dog")

    def __init__(self, count: int = 4, *, targets: bool = False) -> None:
        self.count = count
        if targets:
            self.targets = torch.arange(count) % 2

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if index == 2:
            raise OSError("the disk hiccuped")
        return photo(index), index % 2


class Folder(torch.utils.data.Dataset):  # type: ignore[misc]
    """The attributes of torchvision's ImageFolder."""

    def __init__(self, root: Path, transform: Any = None) -> None:
        self.root = str(root)
        self.transform = transform
        self.target_transform = None
        self.classes = sorted(path.name for path in root.iterdir())
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}
        files = sorted(path for path in root.glob("*/*"))
        self.samples = [(str(path), self.class_to_idx[path.parent.name]) for path in files]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        with Image.open(path) as image:
            shown = image.convert("RGB")
        return (self.transform(shown) if self.transform else shown), label


class Turned(Folder):
    """A subclass that changes what it reads: its files are not what it gives."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = super().__getitem__(index)
        return image.rotate(180), label


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(["bee/b.png", "ant/a.jpg", "ant/c.JPG"]):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        photo(number).save(tmp_path / "root" / name, "PNG" if name.endswith("png") else "JPEG")
    return tmp_path / "root"


class TestItemsConform(SourceConformance):
    @pytest.fixture
    def source(self) -> Source:
        return TorchSource(
            [
                {"image": photo(at), "mask": pixels(at, (6, 8)), "label": at, "text": "x", "v": [1.0, 2.0]}
                for at in (0, 1, 2)
            ]
        )

    def test_labels_in_the_listing(self, scan: Scan) -> None:
        """They are not, where every item would have to be made to know them."""
        assert "label" not in scan.listing.column_names

    def test_what_is_gone_is_a_reject(self, tmp_path: Path) -> None:
        source, scan = opened(Photos(), tmp_path)
        with pytest.raises(SampleError, match="the disk hiccuped") as caught:
            source.read(rows_of(scan)[2])
        assert (caught.value.reason, caught.value.key) == ("unreadable", "00000002")

    def test_nothing_is_written_into_the_source(self, source: Source, scan: Scan) -> None:
        before = [images.encode_png(np.asarray(item["image"])) for item in source.dataset]  # type: ignore[attr-defined]
        samples_of(source, scan)
        after = [images.encode_png(np.asarray(item["image"])) for item in source.dataset]  # type: ignore[attr-defined]
        assert before == after


class TestImageFolderConforms(SourceConformance):
    @pytest.fixture
    def source(self, folder: Path) -> Source:
        return TorchSource(Folder(folder))

    def take_away(self, source: Source, sample: Sample) -> None:
        for path in Path(source.dataset.root).glob("*/*"):  # type: ignore[attr-defined]
            path.unlink()

    def test_nothing_is_written_into_the_source(self, source: Source, folder: Path, work: Path) -> None:
        before = {path: path.read_bytes() for path in folder.glob("*/*")}
        samples_of(source, source.scan(work / "l.arrow"))
        assert {path: path.read_bytes() for path in folder.glob("*/*")} == before


def test_a_torch_dataset_with_labels(tmp_path: Path) -> None:
    source, scan = opened(Photos(), tmp_path)
    assert [(field.name, field.kind, field.class_names) for field in scan.fields] == [
        ("image", "image", None),
        ("label", "label", ("cat", "dog")),
    ]
    assert scan.listing["key"].to_pylist() == ["00000000", "00000001", "00000002", "00000003"]
    sample = source.read(rows_of(scan)[3])
    assert np.array_equal(sample.values["image"], pixels(3))
    assert (sample.values["label"], sample.origins) == (1, {"image": "00000003"})


def test_targets_are_the_labels_of_the_listing(tmp_path: Path) -> None:
    _, scan = opened(Photos(targets=True), tmp_path)
    assert scan.listing["label"].to_pylist() == [0, 1, 0, 1]


def test_the_first_item_that_can_be_read_decides(tmp_path: Path) -> None:
    class LateStart(Photos):
        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(2 if index == 0 else index)

    _, scan = opened(LateStart(), tmp_path)
    assert len(scan.fields) == 2
    assert any("item 0 raised OSError" in remark for remark in scan.remarks)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (photo(1), pixels(1)),
        (Image.fromarray(pixels(1, (6, 8))), pixels(1, (6, 8, 1))),
        (pixels(1), pixels(1)),
        (pixels(1, (6, 8)), pixels(1, (6, 8, 1))),
        (torch.from_numpy(pixels(1)).permute(2, 0, 1), pixels(1)),
        (torch.from_numpy(pixels(1, (1, 6, 8))), pixels(1, (1, 6, 8)).transpose(1, 2, 0)),
        (torch.from_numpy(pixels(1)).permute(2, 0, 1) / 255, pixels(1)),
        ((torch.from_numpy(pixels(1)).permute(2, 0, 1) / 255).double(), pixels(1)),
    ],
)
def test_images_as_arrays(item: Any, expected: np.ndarray, tmp_path: Path) -> None:
    fields, values = only(item, tmp_path)
    assert fields == [("image", "image")]
    assert values["image"].dtype == np.uint8
    assert np.array_equal(values["image"], expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "CMYK", "I;16", "I"])
def test_other_modes_come_as_lossless_files(mode: str, tmp_path: Path) -> None:
    if mode in ("I;16", "I"):
        deep = np.arange(48, dtype=np.uint16 if mode == "I;16" else np.int32).reshape(6, 8) * 1000
        image = Image.fromarray(deep)
    else:
        image = photo(1).convert(mode)
    assert image.mode == mode
    _, values = only(image, tmp_path)
    with Image.open(io.BytesIO(values["image"].data)) as stored:
        assert np.array_equal(np.asarray(stored), np.asarray(image))
    assert images.decode(values["image"].data).shape == (6, 8, 3)


def test_rgba_and_16_bit_arrays(tmp_path: Path) -> None:
    _, values = only(pixels(1, (6, 8, 4)), tmp_path)
    assert isinstance(values["image"], Encoded)
    assert images.read_header(values["image"].data).mode == "RGBA"
    _, values = only(np.full((6, 8), 65535, np.uint16), tmp_path)
    assert images.decode(values["image"].data).max() == 255


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (Image.fromarray(pixels(2, (6, 8))).convert("P"), np.asarray(Image.fromarray(pixels(2, (6, 8))).convert("P"))),
        (Image.fromarray(pixels(2, (6, 8))), pixels(2, (6, 8))),
        (Image.fromarray(np.arange(48, dtype=np.int32).reshape(6, 8)), np.arange(48, dtype=np.int32).reshape(6, 8)),
        (pixels(2, (6, 8)), pixels(2, (6, 8))),
        (pixels(2, (6, 8, 5)), pixels(2, (6, 8, 5))),
        (pixels(2, (6, 8)) > 9, (pixels(2, (6, 8)) > 9).astype(np.uint8)),
        (np.ones((6, 8), np.float32) / 3, np.ones((6, 8), np.float32) / 3),
        (torch.full((6, 8), 300), np.full((6, 8), 300)),
        (torch.arange(48).reshape(1, 6, 8), np.arange(48).reshape(6, 8)),
        (torch.arange(96).reshape(2, 6, 8), np.arange(96).reshape(2, 6, 8).transpose(1, 2, 0)),
    ],
)
def test_masks(second: Any, expected: np.ndarray, tmp_path: Path) -> None:
    fields, values = only((photo(1), second), tmp_path)
    assert fields == [("image", "image"), ("mask", "mask")]
    assert values["mask"].dtype == expected.dtype
    assert np.array_equal(values["mask"], expected)


@pytest.mark.parametrize("second", [photo(2), torch.from_numpy(pixels(2)).permute(2, 0, 1) / 255])
def test_a_second_colour_image_makes_a_pair(second: Any, tmp_path: Path) -> None:
    fields, values = only((photo(1), second), tmp_path)
    assert fields == [("before", "image"), ("after", "image")]
    assert np.array_equal(values["before"], pixels(1))
    assert np.array_equal(values["after"], pixels(2))


@pytest.mark.parametrize("label", [3, np.int16(3), np.array(3), torch.tensor(3), torch.tensor(3, dtype=torch.uint8)])
def test_labels(label: Any, tmp_path: Path) -> None:
    fields, values = only((photo(1), label), tmp_path)
    assert fields == [("image", "image"), ("label", "label")]
    assert values["label"] == 3
    assert type(values["label"]) is int


def test_vectors_texts_and_numbers(tmp_path: Path) -> None:
    fields, values = only((photo(1), torch.tensor([0.5, 2]), "schön", 0.25, 7), tmp_path)
    assert fields[1:] == [("vector", "vector"), ("text", "text"), ("number", "number"), ("label", "label")]
    assert (values["vector"].dtype, values["vector"].tolist()) == (np.float32, [0.5, 2])
    assert (values["text"], values["number"], values["label"]) == ("schön", 0.25, 7)


def test_a_dict_names_its_fields(tmp_path: Path) -> None:
    item = {
        "seg": pixels(2, (6, 8)),
        "img": photo(1),
        "target": 1,
        "age": 33,
        "caption": "c",
        "embedding": [1, 2],
        "key": 5,
    }
    fields, values = only(item, tmp_path)
    assert fields == [
        ("mask", "mask"),
        ("image", "image"),
        ("label", "label"),
        ("age", "number"),
        ("text", "text"),
        ("embedding", "vector"),
        ("field_key", "number"),
    ]
    assert (values["age"], values["field_key"], values["embedding"].tolist()) == (33, 5, [1, 2])


@pytest.mark.parametrize(
    "other",
    [
        photo(1),
        (photo(1), 2, 3),
        {"image": photo(1)},
        (photo(1), "text"),
        (photo(1), 1.5),
        (pixels(1).astype(np.float64), 1),
        (torch.ones(3, 6, 8) * 1.01, 1),
        ("no image", 1),
        (torch.zeros(7, 6, 8), 1),
    ],
)
def test_an_item_of_another_structure_is_a_reject(other: Any, tmp_path: Path) -> None:
    source, scan = opened([(photo(0), 1), other], tmp_path)
    rows = rows_of(scan)
    assert source.read(rows[0]).values["label"] == 1
    with pytest.raises(SampleError) as caught:
        source.read(rows[1])
    assert (caught.value.reason, caught.value.key) == ("bad-value", "00000001")


def test_a_label_that_is_none(tmp_path: Path) -> None:
    source, scan = opened([(photo(0), 1), (photo(1), None)], tmp_path)
    assert [sample.values["label"] for sample in samples_of(source, scan)] == [1, -1]


def test_class_names_and_class_to_idx(tmp_path: Path) -> None:
    class Odd(Photos):
        def __getitem__(self, index: int) -> Any:
            return photo(index), index

    source, scan = opened(Odd(3), tmp_path)
    with pytest.raises(SampleError, match="no class"):
        source.read(rows_of(scan)[2])
    subset = torch.utils.data.Subset(Photos(), [1, 3])
    source, scan = opened(subset, tmp_path, class_to_idx={"dog": 0, "cat": 1})
    assert scan.fields[1].class_names == ("dog", "cat")
    assert [sample.values["label"] for sample in samples_of(source, scan)] == [0, 0]


def test_a_dataset_of_hugging_face(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "labels": datasets.ClassLabel(names=["rust", "healthy"])})
    rows = {"image": [images.encode_png(pixels(at)) for at in range(3)], "labels": [1, 0, 1]}
    rows["image"] = [{"bytes": content, "path": None} for content in rows["image"]]
    source, scan = opened(datasets.Dataset.from_dict(rows, features=features), tmp_path)
    assert scan.fields[1].class_names == ("rust", "healthy")
    samples = samples_of(source, scan)
    assert [sample.values["label"] for sample in samples] == [1, 0, 1]
    assert np.array_equal(samples[2].values["image"], pixels(2))


def test_an_image_folder_is_read_file_by_file(folder: Path, tmp_path: Path) -> None:
    source, scan = opened(Folder(folder), tmp_path)
    samples = samples_of(source, scan)
    assert [sample.key for sample in samples] == ["ant/a.jpg", "ant/c.JPG", "bee/b.png"]
    for sample in samples:
        value = sample.values["image"]
        assert isinstance(value, Encoded)
        assert bytes(value.data) == (folder / sample.key).read_bytes()
        assert sample.origins == {"image": sample.key}
    assert [sample.values["label"] for sample in samples] == [0, 0, 1]
    assert scan.fields[1].class_names == ("ant", "bee")
    _, scan = opened(Folder(folder), tmp_path, class_to_idx={"ant": 0})
    assert [(reject.path, reject.reason) for reject in scan.rejects] == [("bee/b.png", "bad-value")]


def test_a_broken_image_in_an_image_folder_is_left_to_the_pipeline(folder: Path, tmp_path: Path) -> None:
    (folder / "ant" / "a.jpg").write_bytes(b"no image")
    source, scan = opened(Folder(folder), tmp_path)
    assert len(samples_of(source, scan)) == 3


@pytest.mark.parametrize("kind", [Turned, lambda root: Folder(root, transform=lambda image: image.resize((4, 4)))])
def test_a_changed_image_folder_is_not(kind: Any, folder: Path, tmp_path: Path) -> None:
    source, scan = opened(kind(folder), tmp_path)
    assert scan.listing["key"].to_pylist() == ["00000000", "00000001", "00000002"]
    item = source.dataset[0][0]
    assert np.array_equal(samples_of(source, scan)[0].values["image"], np.asarray(item))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([], "no items"),
        ([(1, 2)], "no image"),
        ([("a.jpg", 1)], "no image"),
        ([object()], "cannot be stored"),
        ([(photo(0), object())], "cannot be stored"),
        ([{1: photo(0)}], "cannot be stored"),
        ([torch.ones(3, 4, 4) * 2], "leave Normalize out"),
        ([torch.zeros(3, 4, 4) - 1], "leave Normalize out"),
        ([np.zeros((3, 8, 8), np.uint8)], "an image array is"),
        ([np.zeros((8, 8, 3), np.float32)], "an image array is"),
        ([np.zeros((2, 2, 2, 2), np.uint8)], "cannot be stored"),
    ],
)
def test_what_cannot_be_packed(dataset: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        opened(dataset, tmp_path)


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="__len__"):
        TorchSource(iter([photo(0)]))
    with pytest.raises(ConfigError, match="is a Python object"):
        SOURCES.get("torch")(tmp_path, SourceOptions())
    with pytest.raises(ConfigError, match="can be read"):
        opened(torch.utils.data.Subset(Photos(), [2, 2]), tmp_path)
    with pytest.raises(ConfigError, match="does not apply"):
        opened([photo(0)], tmp_path, mask_column="x")


def test_pickling_follows_the_dataset(tmp_path: Path) -> None:
    source, scan = opened(Photos(), tmp_path)
    assert np.array_equal(pickle.loads(pickle.dumps(source)).read(rows_of(scan)[1]).values["image"], pixels(1))


def test_torch_is_not_imported() -> None:
    probe = (
        "import sys, tempfile, numpy as np\n"
        "from pathlib import Path\n"
        "from imagemill.sources.torch import TorchSource\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    source = TorchSource([(np.zeros((4, 4, 3), np.uint8), 1)])\n"
        "    scan = source.scan(Path(folder, 'l.arrow'))\n"
        "    source.read(scan.listing.to_pylist()[0])\n"
        "print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
