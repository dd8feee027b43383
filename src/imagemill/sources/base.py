"""What a source is: scanned once into a listing, then read row by row in any process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from imagemill.core.sample import Reject, Sample
from imagemill.core.schema import Field
from imagemill.errors import ConfigError

LISTING_COLUMNS = {
    "key": pa.string(),
    "group": pa.string(),
    "split": pa.string(),
    "size": pa.int64(),
    "files": pa.int32(),
}
"""Columns that every listing has: stable key; what must not straddle splits (null: the key);
the split the source itself gives (null: the plan decides); bytes to be read; how many found
files the sample uses. A `label` column (string class names or int64) comes along where there
are labels, and whatever columns the source needs to read the row again."""

GROUP_HASH = "group_hash"
"""Column (uint64) of a source that knows the hashes of its groups and not their names."""

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class SourceOptions:
    """What a user can say about a source; every option has its own name on the command line.

    Args:
        path_column: column of a table that names the image, relative to the table.
        label_column: column with classes (text) or class ids (integers).
        caption_column: column with text, stored as field `text`.
        vector_column: column with lists of numbers, stored as field `vector`.
        mask_column: column that names the mask, relative to the table.
        split_column: column that names the split.
        group_column: column whose equal values never straddle splits.
        group_pattern: regular expression on the key; its first group is the group.
        images: sub-folder with the images, where there are several.
        masks: sub-folder with the masks.
        before: sub-folder with the `before` images of parallel folders.
        after: sub-folder with the `after` images.
        class_to_idx: class name → integer; None numbers the sorted names.
        labels: whether folder names are classes; None decides by what is there.
        references: of chunked folders: each tile carries the reference image of its folder.
    """

    path_column: str | None = None
    label_column: str | None = None
    caption_column: str | None = None
    vector_column: str | None = None
    mask_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    group_pattern: str | None = None
    images: str | None = None
    masks: str | None = None
    before: str | None = None
    after: str | None = None
    class_to_idx: Mapping[str, int] | None = None
    labels: bool | None = None
    references: bool | None = None


@dataclass(frozen=True)
class Scan:
    """What a source found: a listing of samples, and an account of everything else.

    Args:
        listing: `LISTING_COLUMNS`, perhaps `label`, and the source's own columns; one row a
            sample, in an order that depends on nothing but the source's content; keys unique.
        fields: fields of every sample as the source gives them.
        rejects: what cannot become a sample, known without decoding.
        ignored: suffix or name → how many files were passed over on purpose.
        found: files found; sum of `files` over listing and rejects, plus ignored.
        remarks: sentences for the user, "taken as class folders: 250 classes".
    """

    listing: pa.Table
    fields: tuple[Field, ...]
    rejects: tuple[Reject, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    found: int = 0
    remarks: tuple[str, ...] = ()


class Source(ABC):
    """A pile of samples that can be scanned, and read again by row in another process.

    An instance is picklable: it holds what it was made from; handles are opened on demand
    and left out of `__getstate__`. Reading is deterministic and safe from several processes.
    Nothing is ever written into the source.
    """

    kind: str
    """Registered name."""

    reason: str = ""
    """Why `detect` took this kind, told to the user among the remarks; empty where the user named it."""

    pixels = "original"
    """How the pixels were made before they got here; a packed dataset says what its manifest says."""

    remote = False
    """Whether samples may first have to be fetched from elsewhere, or computed, which `fetch` does."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self.path = path
        self.options = options

    @abstractmethod
    def scan(self, listing_path: Path) -> Scan:
        """Finds all samples without reading pixels; called once, in one process.

        Args:
            listing_path: file that the listing is written to (`ListingBuilder`), then mapped.

        Raises:
            ConfigError: there is nothing to read here, or options contradict what is there.
        """

    @abstractmethod
    def read(self, row: Mapping[str, Any]) -> Sample:
        """The sample of one listing row, its image bytes untouched.

        Args:
            row: {column: value} of the listing, paths as `bytes`.

        Raises:
            SampleError: "unreadable", with key and origin, where the bytes cannot be had.
        """

    def described(self) -> dict[str, Any]:
        """What the recipe says of this source: its kind, and the options that were given."""
        given = {name: value for name, value in asdict(self.options).items() if value is not None}
        return {"kind": self.kind, **given}

    def fetch(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Brings a sample within reach of `read`; may take longer than a sample may take to read and decode.

        Returns:
            The row for `read`, perhaps with what was found.
        """
        return row


class ListingBuilder:
    """Writes a listing in batches, so that ten million rows need no ten million Python objects.

    Args:
        path: Arrow IPC file to write.
        columns: the source's own columns beside `LISTING_COLUMNS`, with their types.
    """

    def __init__(self, path: Path, columns: Mapping[str, pa.DataType]) -> None:
        self._path = path
        self._schema = pa.schema({**LISTING_COLUMNS, **columns})
        self._pending: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self._writer = pa.ipc.new_file(str(path), self._schema)
        self.rows = 0

    def add(
        self, *, key: str, size: int, files: int = 1, group: str | None = None, split: str | None = None, **own: Any
    ) -> None:
        """Appends one sample; `own` has exactly the source's own columns."""
        pending = self._pending
        pending["key"].append(key)
        pending["group"].append(group)
        pending["split"].append(split)
        pending["size"].append(size)
        pending["files"].append(files)
        for name, value in own.items():
            pending[name].append(value)
        self.rows += 1
        if len(pending["key"]) >= BATCH_ROWS:
            self._flush()

    def add_batch(self, columns: Mapping[str, pa.Array]) -> None:
        """Appends samples that are Arrow arrays already: {name: array} for every column of the listing."""
        if self._pending["key"]:
            self._flush()
        arrays = [columns[name] for name in self._schema.names]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self.rows += len(columns["key"])

    def _flush(self) -> None:
        arrays = [pa.array(self._pending[name], self._schema.field(name).type) for name in self._schema.names]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._pending = {name: [] for name in self._schema.names}

    def finish(self) -> pa.Table:
        """The listing, memory-mapped."""
        if self._pending["key"]:
            self._flush()
        self._writer.close()
        return open_listing(self._path)

    def __enter__(self) -> ListingBuilder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()


def open_listing(path: Path) -> pa.Table:
    """A listing that `ListingBuilder` wrote, memory-mapped."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def listing_row(listing: pa.Table, columns: Sequence[str], index: int) -> dict[str, Any]:
    """One row of a listing as plain Python values."""
    return {name: listing[name][index].as_py() for name in columns}


def refuse_other_options(kind: str, options: SourceOptions, allowed: Collection[str]) -> None:
    """Checks that only options are given that this kind of source understands.

    Args:
        kind: name of the source.
        options: what the user said.
        allowed: names of the `SourceOptions` that mean something here.

    Raises:
        ConfigError: another option is set; the message lists those that apply.
    """
    given = [option.name for option in fields(SourceOptions) if getattr(options, option.name) is not None]
    for name in given:
        if name not in allowed:
            applies = f"{', '.join(sorted(allowed))} do" if allowed else "none does"
            raise ConfigError(
                f"{name} does not apply to a source of kind {kind!r}: {applies} (--source chooses the kind)"
            )


def account(scan: Scan) -> Scan:
    """The same scan, after a check that every found file is accounted for.

    Raises:
        ConfigError: files got lost between found and listed: a bug of the source.
    """
    listed = sum(chunk.to_numpy(zero_copy_only=False).sum() for chunk in scan.listing["files"].chunks)
    total = int(listed) + sum(reject.files for reject in scan.rejects) + sum(scan.ignored.values())
    if total != scan.found:
        raise ConfigError(f"the source accounts for {total} files and found {scan.found}: please report this as a bug")
    return scan


def name_text(raw: str) -> str:
    """A file name as valid Unicode: bytes that are no UTF-8 appear as `\\xNN`."""
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def count_ignored(names: Sequence[str]) -> dict[str, int]:
    """Suffix (or the name where it has none) → count, sorted by name."""
    counts = Counter(Path(name).suffix.lower() or Path(name).name for name in names)
    return dict(sorted(counts.items()))
