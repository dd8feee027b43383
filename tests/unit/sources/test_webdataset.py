"""Tars that webdataset's own writer makes, and those that others make with plain tar."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image

from imagemill.core.sample import Encoded, Sample
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import Scan, SourceOptions, account, listing_row
from imagemill.sources.webdataset import WebDatasetSource
from imagemill.testing.sources import SourceConformance


def picture(seed: int, kind: str = "JPEG") -> bytes:
    array = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def opened(path: Path, tmp_path: Path, **options: Any) -> tuple[WebDatasetSource, Scan]:
    source = WebDatasetSource(path, SourceOptions(**options))
    scan = account(source.scan(tmp_path / "listing.arrow"))
    assert not list(tmp_path.glob("*.members"))
    return source, scan


def samples_of(source: WebDatasetSource, scan: Scan) -> list[Sample]:
    names = scan.listing.column_names
    return [source.read(listing_row(scan.listing, names, at)) for at in range(scan.listing.num_rows)]


def encoded(sample: Sample, field: str = "image") -> bytes:
    value = sample.values[field]
    assert isinstance(value, Encoded)
    return bytes(value.data)


def names_of(scan: Scan) -> list[tuple[str, str]]:
    return [(field.name, field.kind) for field in scan.fields]


class TestConformance(SourceConformance):
    @pytest.fixture(params=["file", "folder"])
    def source(self, tmp_path: Path, request: pytest.FixtureRequest) -> WebDatasetSource:
        for number in range(2):
            members = [("readme", b""), ("9.cls", b"5")]
            for at in range(3):
                members += [(f"{at}.jpg", picture(at)), (f"{at}.seg.png", picture(at, "PNG")), (f"{at}.cls", b"cat")]
                members += [(f"{at}.txt", "schön".encode()), (f"{at}.json", b'{"n": 1, "s": "x", "f": 0.5}')]
                members += [(f"{at}.npy", npy(np.arange(3.0)))]
            write_tar(tmp_path / "pile" / f"train-{number}.tar", members)
        path = tmp_path / "pile"
        return WebDatasetSource(path / "train-0.tar" if request.param == "file" else path, SourceOptions())


def test_what_webdatasets_own_writer_makes(tmp_path: Path) -> None:
    path = tmp_path / "train-000.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for at in range(5):
            about = {"title": f"number {at}", "score": at / 2, "odd": bool(at % 2), "boxes": [at]}
            vector = np.full(4, at, np.float32)
            writer.write(
                {
                    "__key__": f"{at:06d}",
                    "jpg": picture(at),
                    "cls": at % 3,
                    "txt": f"é {at}",
                    "json": about,
                    "npy": vector,
                }
            )
    source, scan = opened(path, tmp_path)
    samples = samples_of(source, scan)
    assert names_of(scan) == [
        ("image", "image"),
        ("label", "label"),
        ("text", "text"),
        ("vector", "vector"),
        ("odd", "number"),
        ("score", "number"),
        ("title", "text"),
    ]
    assert [field.dtype for field in scan.fields] == ["uint8", "int64", "uint8", "float32", "int64", "float64", "uint8"]
    assert scan.fields[3].shape == (4,)
    for at, sample in enumerate(samples):
        assert sample.key == f"{at:06d}"
        assert encoded(sample) == picture(at)
        assert sample.origins == {"image": f"{at:06d}.jpg"}
        plain = {name: sample.values[name] for name in ("label", "text", "title", "score", "odd")}
        assert plain == {"label": at % 3, "text": f"é {at}", "title": f"number {at}", "score": at / 2, "odd": at % 2}
        assert np.array_equal(sample.values["vector"], np.full(4, at, np.float32))
    assert set(scan.listing["split"].to_pylist()) == {"train"}
    assert (scan.found, scan.rejects) == (25, ())
    assert any("boxes" in remark for remark in scan.remarks)


def test_a_folder_of_tars_gives_splits_and_keys(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for at, name in enumerate(["imagenet-train-000", "imagenet-train-001", "val/000", "imagenet-validation-7", "x"]):
        write_tar(root / f"{name}.tar", [("a/0001.JPG", picture(at)), ("a/0001.cls", b"7\n")])
    (root / "index.json").write_text("{}")
    source, scan = opened(root, tmp_path)
    found = dict(zip(scan.listing["key"].to_pylist(), scan.listing["split"].to_pylist(), strict=True))
    assert found == {
        "imagenet-train-000/a/0001": "train",
        "imagenet-train-001/a/0001": "train",
        "imagenet-validation-7/a/0001": "val",
        "x/a/0001": None,
        "val/000/a/0001": "val",
    }
    assert scan.ignored == {".json": 1}
    samples = {sample.key: sample for sample in samples_of(source, scan)}
    assert encoded(samples["x/a/0001"]) == picture(4)
    assert samples["x/a/0001"].origins == {"image": "x.tar/a/0001.JPG"}
    assert samples["x/a/0001"].values["label"] == 7


def test_class_names_as_labels(tmp_path: Path) -> None:
    members = [
        (f"{at}.{ext}", data)
        for at in range(3)
        for ext, data in [("png", picture(at)), ("cls", b"dog" if at else b"cat")]
    ]
    path = write_tar(tmp_path / "a.tar", members)
    source, scan = opened(path, tmp_path)
    assert [sample.values["label"] for sample in samples_of(source, scan)] == ["cat", "dog", "dog"]
    assert scan.fields[-1].class_names == ("cat", "dog")
    _, scan = opened(path, tmp_path, class_to_idx={"dog": 0})
    assert [(reject.key, reject.reason) for reject in scan.rejects] == [("0", "bad-value")]
    assert opened(path, tmp_path, labels=False)[1].fields[-1].kind == "image"


@pytest.mark.parametrize(("labels", "expected"), [([3, 1], [3, 1]), (["b", "a"], ["b", "a"]), ([5, None], [5, -1])])
def test_label_of_the_json(labels: list[Any], expected: list[Any], tmp_path: Path) -> None:
    members = [
        (f"{at}.{ext}", content)
        for at, label in enumerate(labels)
        for ext, content in [("webp", picture(at, "WEBP")), ("json", json.dumps({"label": label, "n": at}).encode())]
    ]
    source, scan = opened(write_tar(tmp_path / "a.tar", members), tmp_path)
    assert [sample.values["label"] for sample in samples_of(source, scan)] == expected
    assert names_of(scan) == [("image", "image"), ("label", "label"), ("n", "number")]


def test_label_column_names_an_entry(tmp_path: Path) -> None:
    members = [("0.jpg", picture(0)), ("0.json", b'{"kind": 4, "label": 1}')]
    path = write_tar(tmp_path / "a.tar", members)
    source, scan = opened(path, tmp_path, label_column="kind")
    assert samples_of(source, scan)[0].values["label"] == 4
    with pytest.raises(ConfigError, match="neither the extension"):
        opened(path, tmp_path, label_column="nothing")


def test_pairs_masks_and_several_images(tmp_path: Path) -> None:
    members = [
        (f"{at}.{ext}", picture(at + shift, "PNG"))
        for at in range(2)
        for shift, ext in enumerate(["after.png", "before.png", "seg.png", "depth-map.png"])
    ]
    source, scan = opened(write_tar(tmp_path / "a.tar", members), tmp_path)
    assert names_of(scan) == [("before", "image"), ("after", "image"), ("depth_map", "image"), ("mask", "mask")]
    sample = samples_of(source, scan)[1]
    assert [encoded(sample, name) for name in ("after", "before", "mask", "depth_map")] == [
        picture(at, "PNG") for at in (1, 2, 3, 4)
    ]


def test_jpg_and_png_of_one_sample(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.png", picture(1, "PNG")), ("0.jpg", picture(0))])
    source, scan = opened(path, tmp_path)
    assert names_of(scan) == [("image", "image"), ("image_2", "image")]
    assert any("--mask-column png" in remark for remark in scan.remarks)
    source, scan = opened(path, tmp_path, mask_column=".png")
    assert names_of(scan) == [("image", "image"), ("mask", "mask")]
    assert encoded(samples_of(source, scan)[0], "mask") == picture(1, "PNG")


def test_the_only_image_is_called_image(tmp_path: Path) -> None:
    source, scan = opened(write_tar(tmp_path / "a.tar", [("0.rgb.png", picture(0, "PNG"))]), tmp_path)
    assert names_of(scan) == [("image", "image")]
    assert encoded(samples_of(source, scan)[0]) == picture(0, "PNG")


def test_an_incomplete_sample_is_a_reject_that_names_what_lacks(tmp_path: Path) -> None:
    members = [
        (f"{at}.{ext}", data) for at in range(4) for ext, data in [("jpg", picture(at)), ("cls", b"1"), ("txt", b"t")]
    ]
    del members[4]
    _, scan = opened(write_tar(tmp_path / "a.tar", members), tmp_path)
    assert [(reject.key, reject.reason, reject.files) for reject in scan.rejects] == [("1", "missing-partner", 2)]
    assert "no label" in scan.rejects[0].detail
    assert scan.listing["key"].to_pylist() == ["0", "2", "3"]


def test_what_few_samples_have_is_ignored_with_a_remark(tmp_path: Path) -> None:
    members = [(f"{at}.jpg", picture(at)) for at in range(4)] + [("2.txt", b"only here")]
    _, scan = opened(write_tar(tmp_path / "a.tar", members), tmp_path)
    assert (names_of(scan), dict(scan.ignored)) == ([("image", "image")], {".txt": 1})
    assert any("fewer than half" in remark and "text" in remark for remark in scan.remarks)


def test_members_that_do_not_lie_side_by_side_are_joined(tmp_path: Path) -> None:
    members = [(f"{at}.jpg", picture(at)) for at in range(3)] + [(f"{at}.cls", str(at).encode()) for at in range(3)]
    source, scan = opened(write_tar(tmp_path / "a.tar", members), tmp_path)
    assert [sample.values["label"] for sample in samples_of(source, scan)] == [0, 1, 2]
    assert any("2 samples" in remark or "3 samples have members" in remark for remark in scan.remarks)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    trap = pickle.dumps(Trap())
    members = [("0.jpg", picture(0)), ("0.pyd", trap), ("0.npy", npy(np.array([Trap()], object), allow_pickle=True))]
    members += [("1.jpg", picture(1)), ("1.pyd", trap)]
    source, scan = opened(write_tar(tmp_path / "a.tar", members), tmp_path)
    assert [encoded(sample) for sample in samples_of(source, scan)] == [picture(0), picture(1)]
    assert scan.ignored == {".npy": 1, ".pyd": 2}
    assert any("2 pickles ignored" in remark for remark in scan.remarks)
    assert not (tmp_path / "sprung").exists()


def test_vectors_of_several_lengths_and_types(tmp_path: Path) -> None:
    arrays = [np.arange(3, dtype=np.float32), np.arange(5, dtype=np.float64)]
    members = [
        (f"{at}.{ext}", c) for at, a in enumerate(arrays) for ext, c in [("jpg", picture(at)), ("emb.npy", npy(a))]
    ]
    source, scan = opened(write_tar(tmp_path / "a.tar", members), tmp_path)
    assert (scan.fields[1].name, scan.fields[1].shape, scan.fields[1].dtype) == ("emb", (None,), "float64")
    for sample, array in zip(samples_of(source, scan), arrays, strict=True):
        assert np.array_equal(sample.values["emb"], array)


def test_a_bad_json_or_vector_is_a_reject(tmp_path: Path) -> None:
    members = []
    for at in range(6):
        about = b"{broken" if at == 1 else b'{"a": 1}'
        vector = npy(np.zeros((2, 2) if at == 3 else 4))
        members += [(f"{at}.jpg", picture(at)), (f"{at}.json", about), (f"{at}.npy", vector)]
    _, scan = opened(write_tar(tmp_path / "a.tar", members), tmp_path)
    assert [(reject.key, reject.reason) for reject in scan.rejects] == [("1", "bad-value"), ("3", "bad-value")]
    assert "shape (2, 2)" in scan.rejects[1].detail


def test_a_tar_cut_short(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "d" / "a.tar", [(f"{at}.jpg", picture(at)) for at in range(4)])
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2]
    path.write_bytes(path.read_bytes()[: third.offset_data + 100])
    source, scan = opened(path.parent, tmp_path)
    assert [encoded(sample) for sample in samples_of(source, scan)] == [picture(0), picture(1)]
    assert [(reject.key, reject.reason) for reject in scan.rejects] == [("a.tar", "corrupt"), ("a/2", "truncated")]


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "d" / "a.tar", [(f"{at}.jpg", picture(at)) for at in range(4)])
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2]
    content = bytearray(path.read_bytes())
    content[third.offset + 20] ^= 1
    path.write_bytes(content)
    _, scan = opened(path.parent, tmp_path)
    assert scan.listing.num_rows == 2
    assert [(reject.path, reject.reason) for reject in scan.rejects] == [("a.tar", "corrupt")]
    assert "damaged header" in scan.rejects[0].detail


def test_what_is_no_tar(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("0.jpg"))
    with pytest.raises(ConfigError, match="compressed"):
        opened(path, tmp_path)
    good = write_tar(tmp_path / "d" / "b.tar", [("0.jpg", picture(0))])
    good.with_name("a.tar").write_bytes(path.read_bytes())
    _, scan = opened(good.parent, tmp_path)
    assert [reject.path for reject in scan.rejects] == ["a.tar"]
    assert scan.listing.num_rows == 1
    with pytest.raises(ConfigError, match="does not exist"):
        opened(tmp_path / "nowhere.tar", tmp_path)
    with pytest.raises(ConfigError, match="webdataset of pictures"):
        opened(write_tar(tmp_path / "c.tar", [("0.txt", b"no picture")]), tmp_path)


def test_names_that_webdataset_passes_over_are_ignored(tmp_path: Path) -> None:
    members = [
        ("0.jpg", picture(0)),
        ("._0.jpg", b"x"),
        ("readme", b"x"),
        ("__meta__/info.json", b"{}"),
        ("d/.x.y", b"x"),
    ]
    _, scan = opened(write_tar(tmp_path / "a.tar", members), tmp_path)
    assert scan.listing["key"].to_pylist() == ["0"]
    assert sum(scan.ignored.values()) == 4


def test_a_name_twice_in_a_tar(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.jpg", picture(0)), ("0.JPG", picture(1))])
    source, scan = opened(path, tmp_path)
    assert encoded(samples_of(source, scan)[0]) == picture(0)
    assert [(reject.path, reject.reason) for reject in scan.rejects] == [("0.JPG", "duplicate-key")]


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    source, scan = opened(write_tar(tmp_path / "a.tar", [("0.jpg", picture(0)), ("0.txt", b"\xff\xfe")]), tmp_path)
    with pytest.raises(SampleError) as caught:
        samples_of(source, scan)
    assert (caught.value.reason, caught.value.origin) == ("bad-value", "0.txt")


def test_reading_after_pickling_and_after_the_tar_is_gone(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.jpg", picture(0))])
    source, scan = opened(path, tmp_path)
    copy = pickle.loads(pickle.dumps(source))
    assert encoded(samples_of(copy, scan)[0]) == picture(0)
    path.unlink()
    with pytest.raises(SampleError) as caught:
        samples_of(pickle.loads(pickle.dumps(source)), scan)
    assert caught.value.reason == "unreadable"


def test_other_options_are_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.jpg", picture(0))])
    with pytest.raises(ConfigError, match="vector_column"):
        opened(path, tmp_path, vector_column="npy")


def test_a_folder_without_tars_is_refused_as_such(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"a")
    with pytest.raises(ConfigError, match=r"there is no \.tar"):
        opened(folder, tmp_path)
