"""The one place that guesses what kind of source a path is."""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.core.manifest import MANIFEST_NAME
from imagemill.errors import ConfigError
from imagemill.sources import SOURCES
from imagemill.sources.archive_members import ARCHIVE_SUFFIXES, is_archive
from imagemill.sources.base import Source, SourceOptions
from imagemill.sources.captions import captioned
from imagemill.sources.chunked import is_chunked
from imagemill.sources.fetched import is_fetched
from imagemill.sources.fetched_index import INDEX_NAME
from imagemill.sources.image_files import has_image_suffix, ignored_label, suffix_of
from imagemill.sources.masks import find_mask_folders, mask_matches
from imagemill.sources.matching import Match, Parallel, find_parallel, folder_names, matched_share
from imagemill.sources.pairs import PARALLEL_NAMES, marker_of, parallel_matches
from imagemill.sources.table import find_tables
from imagemill.sources.table_files import TABLE_SUFFIXES
from imagemill.sources.tfrecords import is_tfrecord
from imagemill.sources.walk import File, Tally, Walker, join

SURVEY_FILES = 20_000
"""How many file names are looked at before a kind is guessed; more only while none of them is an image."""

STEMS_COMPARED = 1000
"""How many names of parallel folders are compared before they count as belonging together."""

COMPANIONS = (".cls", ".json", ".txt")
"""Members that stand beside an image in a webdataset tar."""


def detect(path: Path, options: SourceOptions | None = None, kind: str | None = None) -> Source:
    """The source at a path, its kind as given or else guessed.

    The guess is the first that fits, in this order. A file: by suffix (and a Parquet file by its
    columns, a tar by its first members). A folder: `GUESSES`. What made it fit is `Source.reason`.

    Args:
        path: file or folder.
        options: what the user said about it.
        kind: a name in `SOURCES`; None guesses.

    Raises:
        ConfigError: the path does not exist, nothing fits, or the kind is unknown.
    """
    options = options or SourceOptions()
    if path.exists() and not (path.is_file() or path.is_dir()):
        # Opening a pipe would wait for somebody who writes into it.
        raise ConfigError(f"{path} is neither a file nor a folder: give a folder, an archive, a table or a dataset")
    if kind is not None:
        return SOURCES.get(kind)(path, options)
    if not path.exists():
        raise ConfigError(f"{path} does not exist: give a folder of images, an archive, a table or a dataset")
    guessed, why = _guess_folder(path, options) if path.is_dir() else _guess_file(path)
    source = SOURCES.get(guessed)(path, options)
    source.reason = f"taken as {guessed}: {why} (say --source KIND if that is wrong)"
    return source


def _guess_file(path: Path) -> tuple[str, str]:
    name = os.fsencode(path.name)
    suffix = suffix_of(name).decode("ascii", "replace")
    if suffix == ".parquet":
        return _guess_parquet(path)
    if suffix in TABLE_SUFFIXES:
        return "table", f"a {suffix} file"
    if is_tfrecord(name):
        return "tfrecord", "its suffix"
    if is_archive(name):
        return _guess_archive([path])
    if has_image_suffix(name):
        raise ConfigError(f"{path} is a single image: give the folder that it lies in")
    raise ConfigError(
        f"{path} is a file that no source reads: a table ({', '.join(TABLE_SUFFIXES)}), an archive "
        f"({', '.join(ARCHIVE_SUFFIXES)}), or a folder is wanted"
    )


def _guess_parquet(path: Path) -> tuple[str, str]:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path} cannot be read as Parquet: {error}") from None
    for column in schema:
        if _holds_bytes(column.type):
            return "parquet", f"column {column.name!r} holds the bytes of images"
    return "table", "a .parquet file without image bytes"


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(part.name == "bytes" for part in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _guess_archive(archives: list[Path]) -> tuple[str, str]:
    if all(archive.suffix == ".tar" for archive in archives) and _is_webdataset(archives[0]):
        return "webdataset", f"members of one stem belong together in {archives[0].name}"
    return "archive", f"{archives[0].name}" + (f" and {len(archives) - 1} more" if len(archives) > 1 else "")


def _is_webdataset(path: Path) -> bool:
    """Whether, among the first members of a tar, an image stands beside a .cls, .json or .txt of its stem."""
    suffixes: dict[str, set[str]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for _, member in zip(range(64), archive, strict=False):
                folder, _, name = member.name.rpartition("/")
                stem, dot, rest = name.partition(".")
                suffixes.setdefault(f"{folder}/{stem}", set()).add(dot + rest.lower())
    except (tarfile.TarError, OSError):
        return False
    return any(
        any(suffix.endswith(COMPANIONS) for suffix in met) and any(has_image_suffix(b"x" + s.encode()) for s in met)
        for met in suffixes.values()
    )


@dataclass
class _Survey:
    """What the first file names of a folder say."""

    images: int = 0
    before: int = 0
    after: int = 0
    captions: int = 0
    archives: list[Path] = field(default_factory=list)
    suffixes: Counter[str] = field(default_factory=Counter)
    complete: bool = True

    @property
    def of(self) -> str:
        """`412` images, or that only the first ones were looked at."""
        return f"{self.images} images" if self.complete else f"the first {self.images} images"


class _Folder:
    """A folder, and what was looked up in it so far."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self.path = path
        self.options = options
        self.walker = Walker(path, Tally(), sizes=False)
        self.wants_classes = bool(options.labels) or options.class_to_idx is not None

    @cached_property
    def survey(self) -> _Survey:
        """Counts over the first `SURVEY_FILES` files, and on to the first image."""
        survey = _Survey()
        left = SURVEY_FILES
        for level in self.walker.levels():
            if left <= 0 and survey.images:
                survey.complete = False
                break
            files = level.files[0]
            # The walker looks into files of unknown suffix, so cutting here saves more than time in Python.
            self._survey_level(survey, level.path, files[: max(left, 0)])
            if not survey.images:
                self._survey_level(survey, level.path, files[max(left, 0) :])
            elif len(files) > left:
                survey.complete = False
            left -= len(files)
        return survey

    def _survey_level(self, survey: _Survey, folder: bytes, files: list[File]) -> None:
        for file in files:
            survey.suffixes[ignored_label(file.name)] += 1
            if is_archive(file.name):
                survey.archives.append(self.path / os.fsdecode(join(folder, file.name)))
        images, _ = captioned(self.walker, folder, files)
        markers = Counter(marker_of(image.name) for image, _ in images)
        survey.images += len(images)
        survey.before += markers["before"]
        survey.after += markers["after"]
        survey.captions += sum(caption is not None for _, caption in images)


def _guess_folder(path: Path, options: SourceOptions) -> tuple[str, str]:
    folder = _Folder(path, options)
    for guess in GUESSES:
        found = guess(folder)
        if found is not None:
            return found
    there = ", ".join(f"{count} {suffix}" for suffix, count in sorted(folder.survey.suffixes.items())) or "nothing"
    raise ConfigError(
        f"{path} holds no images (looked for images by suffix and content, archives, Parquet files, tables called "
        f"metadata.csv, .jsonl or .parquet, and datasets); there is: {there}"
    )


def _dataset(folder: _Folder) -> tuple[str, str] | None:
    manifest = folder.path / MANIFEST_NAME
    if not manifest.is_file():
        return None
    try:
        record = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return None
    if isinstance(record, dict) and "imagemill_dataset" in record:
        return "dataset", f"{MANIFEST_NAME} of a packed dataset"
    return None


def _fetched(folder: _Folder) -> tuple[str, str] | None:
    return ("fetched", f"{INDEX_NAME} of a fetched pile") if is_fetched(folder.path) else None


def _hpc(folder: _Folder) -> tuple[str, str] | None:
    has = folder.walker.has_folder
    if (folder.path / "metadata" / "metadata.json").is_file() and has(b"images") and has(b"labels"):
        return "hpc", "metadata/metadata.json, images and labels, as hpc_pytorch_loader writes them"
    return None


def _chunked(folder: _Folder) -> tuple[str, str] | None:
    if not is_chunked(folder.path, folder.walker.folders()):
        return None
    return "chunked", "folders of tiles with their centres or a reference image"


def _named_by_options(folder: _Folder) -> tuple[str, str] | None:
    if folder.options.before is not None or folder.options.after is not None:
        return "pairs", "before and after are given"
    if folder.options.images is not None or folder.options.masks is not None:
        return "masks", "images and masks are given"
    return None


def _table(folder: _Folder) -> tuple[str, str] | None:
    tables = find_tables(folder.path)
    return ("table", ", ".join(table.name for table in tables)) if tables else None


def _parquet(folder: _Folder) -> tuple[str, str] | None:
    count = folder.survey.suffixes[".parquet"]
    if count and not folder.survey.images and not folder.survey.archives:
        return "parquet", f"{count} .parquet files and no images"
    return None


def _tfrecord(folder: _Folder) -> tuple[str, str] | None:
    if folder.survey.images:
        return None
    packed = any(is_tfrecord(os.fsencode(path.name)) for path in folder.path.glob("*.tfrecord*"))
    count = folder.survey.suffixes[".tfrecord"] + folder.survey.suffixes[".tfrecords"]
    return ("tfrecord", "TFRecord files and no images") if count or packed else None


def _archive(folder: _Folder) -> tuple[str, str] | None:
    if folder.survey.archives and not folder.survey.images:
        return _guess_archive(folder.survey.archives)
    return None


def _pairs_in_parallel(folder: _Folder) -> tuple[str, str] | None:
    if folder.wants_classes:
        return None
    parallels = find_parallel(folder.walker, PARALLEL_NAMES)
    return _shared_names("pairs", parallels, (match for *_, match in parallel_matches(folder.walker, parallels)))


def _pairs_by_name(folder: _Folder) -> tuple[str, str] | None:
    survey = folder.survey
    if (
        folder.wants_classes
        or not (survey.before and survey.after)
        or 2 * (survey.before + survey.after) < survey.images
    ):
        return None
    return "pairs", f"{survey.before} names end in _before, {survey.after} in _after, of {survey.of}"


def _masks(folder: _Folder) -> tuple[str, str] | None:
    if folder.wants_classes:
        return None
    parallels = find_mask_folders(folder.walker)
    return _shared_names("masks", parallels, (match for *_, match in mask_matches(folder.walker, parallels)))


def _shared_names(kind: str, parallels: list[Parallel], matches: Iterable[Match]) -> tuple[str, str] | None:
    matched, looked_at = matched_share(matches, STEMS_COMPARED)
    if not matched or 2 * matched < looked_at:
        return None
    return kind, f"{matched} of {looked_at} names are the same in {folder_names(parallels)}"


def _captions(folder: _Folder) -> tuple[str, str] | None:
    survey = folder.survey
    if folder.wants_classes or not survey.captions or 2 * survey.captions < survey.images:
        return None
    return "captions", f"{survey.captions} of {survey.of} have a .txt beside them"


def _folder(folder: _Folder) -> tuple[str, str] | None:
    return ("folder", f"{folder.survey.of}, and no sign of anything else") if folder.survey.images else None


GUESSES: tuple[Callable[[_Folder], tuple[str, str] | None], ...] = (
    _dataset,
    _fetched,
    _hpc,
    _chunked,
    _named_by_options,
    _table,
    _parquet,
    _tfrecord,
    _archive,
    _pairs_in_parallel,
    _pairs_by_name,
    _masks,
    _captions,
    _folder,
)
"""Each returns (kind, why), or None where its kind does not fit; the first that fits is taken."""
