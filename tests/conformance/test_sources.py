"""The conformance suite over sources that are files and folders."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from imagemill.api.pack import pack
from imagemill.codecs.centers import encode_centers
from imagemill.sources import SourceOptions
from imagemill.sources.archive import ArchiveSource
from imagemill.sources.base import Source
from imagemill.sources.captions import CaptionSource
from imagemill.sources.chunked import ChunkedSource
from imagemill.sources.fetched import FetchedSource
from imagemill.sources.folder import FolderSource
from imagemill.sources.masks import MaskSource
from imagemill.sources.pairs import PairSource
from imagemill.sources.table import TableSource
from imagemill.sources.tfrecords import TFRecordSource
from imagemill.testing import piles
from imagemill.testing.sources import SourceConformance


class TestClassFolders(SourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        return FolderSource(piles.class_folders(tmp_path / "pile", classes=2, per_class=2), SourceOptions())


class TestFlatFolder(SourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        piles.class_folders(tmp_path / "pile", classes=1, per_class=3, bad=False)
        return FolderSource(tmp_path / "pile" / "class_0", SourceOptions())


class TestPairsByName(SourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        folder = piles.pairs(tmp_path / "pile", 3)
        (folder / "lonely_before.jpg").write_bytes(b"\xff\xd8\xff")
        return PairSource(folder, SourceOptions())


class TestParallelPairs(SourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        for side in ("noisy", "clean"):
            for number in range(3):
                piles.save_photo(tmp_path / "pile" / "train" / side / f"{number}.jpg", 9, 8, number)
        return PairSource(tmp_path / "pile", SourceOptions())


class TestMasks(SourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        folder = piles.masked(tmp_path / "pile", 3)
        piles.save_photo(folder / "images" / "array.png", 9, 8, 1)
        np.save(folder / "masks" / "array.npy", np.zeros((9, 8), np.float32))
        return MaskSource(folder, SourceOptions())


class TestCaptions(SourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        for number in range(3):
            piles.save_photo(tmp_path / "pile" / f"{number}.jpg", 9, 8, number)
            (tmp_path / "pile" / f"{number}.txt").write_text(f"bild nummer {number}, schön\n", "utf-8")
        return CaptionSource(tmp_path / "pile", SourceOptions())


TABLES = {
    "metadata.csv": "file_name,label,age,caption\na.jpg,cat,3,one\nb.jpg,,,two\n",
    "metadata.jsonl": '{"file_name": "a.jpg", "label": 1, "v": [1, 2.5]}\n{"file_name": "b.jpg", "v": [1]}\n',
}


class TestTable(SourceConformance):
    @pytest.fixture(params=TABLES)
    def source(self, tmp_path: Path, request: pytest.FixtureRequest) -> Source:
        for number, name in enumerate(("a.jpg", "b.jpg", "unnamed.jpg")):
            piles.save_photo(tmp_path / "pile" / name, 9, 8, number)
        (tmp_path / "pile" / request.param).write_text(TABLES[request.param])
        return TableSource(tmp_path / "pile", SourceOptions())


class TestTableWithMasks(SourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        piles.masked(tmp_path / "pile", 3)
        lines = [f"images/frame_{number:04d}.png\tmasks/frame_0000.png" for number in range(3)]
        (tmp_path / "pile" / "list.tsv").write_text("\n".join(["path\tmask", *lines]))
        return TableSource(tmp_path / "pile" / "list.tsv", SourceOptions(mask_column="mask"))

    def take_away(self, source: Source, sample: object) -> None:
        for file in sorted(source.path.parent.rglob("*.png")):
            file.unlink()


class TestArchive(SourceConformance):
    @pytest.fixture(params=["tar", "tar.gz", "tar.bz2", "tar.xz", "zip", "stored.zip"])
    def source(self, tmp_path: Path, request: pytest.FixtureRequest) -> Source:
        folder = piles.class_folders(tmp_path / "made", classes=2, per_class=2)
        path = tmp_path / f"pile.{request.param}"
        if request.param.endswith("zip"):
            method = zipfile.ZIP_STORED if request.param.startswith("stored") else zipfile.ZIP_DEFLATED
            with zipfile.ZipFile(path, "w", method) as archive:
                for file in sorted(folder.rglob("*.*")):
                    archive.write(file, file.relative_to(folder))
        else:
            with tarfile.open(path, f"w:{request.param.removeprefix('tar').removeprefix('.')}") as archive:
                archive.add(folder, "made")
        return ArchiveSource(path, SourceOptions())


class TestFolderOfArchives(SourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        folder = piles.class_folders(tmp_path / "made", classes=2, per_class=2)
        (tmp_path / "pile").mkdir()
        for name in ("class_0", "class_1"):
            with tarfile.open(tmp_path / "pile" / f"{name}.tar", "w") as archive:
                archive.add(folder / name, ".")
        return ArchiveSource(tmp_path / "pile", SourceOptions(labels=True))


class TestFetched(SourceConformance):
    @pytest.fixture(params=[{}, {"label_column": "kind", "group_pattern": "^(.)"}, {"group_column": "kind"}])
    def source(self, tmp_path: Path, request: pytest.FixtureRequest) -> Source:
        rows = [
            "url,id,kind,n",
            "http://a.org/0,a,x,1",
            "http://a.org/1,b,y,2",
            "http://a.org/0?s=1,b,,",
            "http://a.org/2,,x,4",
            "http://a.org/9,c,x,5",
        ]
        (tmp_path / "list.csv").write_text("\n".join([*rows, "broken line"]))
        return FetchedSource(piles.fetched(tmp_path / "pile", tmp_path / "list.csv"), SourceOptions(**request.param))


class TestChunked(SourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        for name in ("a.jpg", "b.jpg"):
            folder = tmp_path / "tiles" / name
            for number in range(3):
                piles.save_photo(folder / f"{number:08d}.jpg", 8, 8, number)
            piles.save_photo(folder / "ref.jpg", 8, 8, 9)
            (folder / "centers.pt").write_bytes(encode_centers(dict.fromkeys(range(3), ((4, 4), 8))))
        (tmp_path / "tiles" / "b.jpg" / "00000007.jpg").write_bytes(b"a tile without a centre")
        return ChunkedSource(tmp_path / "tiles", SourceOptions())


class TestTFRecords(SourceConformance):
    @pytest.fixture(params=["tfrecord", "tfrecord-gzip", "tfrecord-zlib"])
    def source(self, tmp_path: Path, request: pytest.FixtureRequest) -> Source:
        pile = piles.class_folders(tmp_path / "pile", classes=2, per_class=2, bad=False)
        pack(pile, tmp_path / "dataset", format=request.param, workers=0)
        records = tmp_path / "records"
        shutil.copytree(tmp_path / "dataset" / "data", records)
        (records / "notes.txt").write_text("no records")
        (records / "broken.tfrecord").write_bytes(b"\x01\x02\x03")
        return TFRecordSource(records, SourceOptions())
