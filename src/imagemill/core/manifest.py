"""`manifest.json`: what a finished dataset is. Written last; present means complete."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagemill.core.remote import Place, RemoteFolder
from imagemill.core.schema import Schema
from imagemill.errors import ConfigError, DamageError

MANIFEST_NAME = "manifest.json"
DATASET_FORMAT = 1
"""Version of the layout of a dataset folder; a reader refuses a newer one."""


@dataclass(frozen=True)
class FileInfo:
    """One file of a dataset.

    Args:
        path: relative to the dataset folder, with `/`.
        size_bytes: its length.
        sha256: hex digest of all its bytes, checked by `verify`.
        xxh3: hex xxh3-64 of all its bytes, the quick check at opening (index files only).
    """

    path: str
    size_bytes: int
    sha256: str
    xxh3: str

    def to_json(self) -> dict[str, Any]:
        """A plain dict of the four values."""
        return {"path": self.path, "size_bytes": self.size_bytes, "sha256": self.sha256, "xxh3": self.xxh3}


@dataclass(frozen=True)
class ShardInfo:
    """One shard: its name, how many rows, the files that hold them, and their index."""

    name: str
    count: int
    files: tuple[FileInfo, ...]
    index: FileInfo

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` gives the shard back."""
        return {
            "name": self.name,
            "count": self.count,
            "files": [file.to_json() for file in self.files],
            "index": self.index.to_json(),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ShardInfo:
        """The shard that `to_json` described."""
        return cls(
            name=record["name"],
            count=record["count"],
            files=tuple(FileInfo(**file) for file in record["files"]),
            index=FileInfo(**record["index"]),
        )


@dataclass(frozen=True)
class Manifest:
    """Schema, splits, shards, recipe, versions and counts of a dataset.

    Args:
        format: registered name of the storage format.
        pixels: "original", "recoded", "recoded-compact", "resized" or "raw".
        schema: fields of every row.
        splits: split name → its shards, in order.
        recipe: the data part of the recipe: what decides the bytes.
        versions: version of imagemill and of every library that had a say in the bytes.
        counts: found, kept, rejected, ignored (files), reasons, samples, notes.
        source: kind of the source and a fingerprint of its listing.
    """

    format: str
    pixels: str
    schema: Schema
    splits: Mapping[str, tuple[ShardInfo, ...]]
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    counts: Mapping[str, Any]
    source: Mapping[str, Any]

    def count(self, split: str | None = None) -> int:
        """Samples in a split, or in all."""
        names = self.splits if split is None else [split]
        return sum(shard.count for name in names for shard in self.splits[name])

    def to_json(self) -> str:
        """Canonical JSON text: equal manifests give equal bytes."""
        record = {
            "imagemill_dataset": DATASET_FORMAT,
            "format": self.format,
            "pixels": self.pixels,
            "schema": self.schema.to_json(),
            "splits": {
                name: {"count": self.count(name), "shards": [shard.to_json() for shard in shards]}
                for name, shards in self.splits.items()
            },
            "counts": self.counts,
            "recipe": self.recipe,
            "source": self.source,
            "versions": self.versions,
        }
        record["sha256"] = _sha256(record)
        return json.dumps(record, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """The manifest that `to_json` described.

        Raises:
            DamageError: the text is no manifest, or not as it was written.
            ConfigError: a newer imagemill wrote it.
        """
        try:
            record = json.loads(text)
            version = record["imagemill_dataset"]
        except (ValueError, KeyError, TypeError) as error:
            raise DamageError(f"{MANIFEST_NAME} cannot be read: {error}") from None
        if version > DATASET_FORMAT:
            raise ConfigError(
                f"the dataset has layout version {version}, this imagemill reads up to {DATASET_FORMAT}: "
                "pip install -U imagemill"
            )
        if record.pop("sha256", None) != _sha256(record):
            raise DamageError(f"{MANIFEST_NAME} is not as it was written: damaged, or changed by hand")
        try:
            return cls(
                format=record["format"],
                pixels=record["pixels"],
                schema=Schema.from_json(record["schema"]),
                splits={
                    name: tuple(ShardInfo.from_json(shard) for shard in split["shards"])
                    for name, split in record["splits"].items()
                },
                recipe=record["recipe"],
                versions=record["versions"],
                counts=record["counts"],
                source=record["source"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DamageError(f"{MANIFEST_NAME} is damaged: {error!r}") from None

    @classmethod
    def load(cls, place: Place) -> Manifest:
        """The manifest of a dataset folder, here or elsewhere.

        Raises:
            ConfigError: the folder holds no finished dataset.
            DamageError: the manifest cannot be read, or one from elsewhere names files outside its folder.
            RemoteError: the place refuses or cannot be reached.
        """
        try:
            if isinstance(place, RemoteFolder):
                return _without_escapes(_fetched(place))
            path = place / MANIFEST_NAME
            # Reading a pipe would wait for ever.
            if not stat.S_ISREG(path.stat().st_mode):
                raise ConfigError(f"{path} is no plain file: not a dataset of imagemill")
            return cls.from_json(path.read_bytes())
        except DamageError as error:
            raise DamageError(f"{place}: {error}") from None
        except (FileNotFoundError, NotADirectoryError):
            if not isinstance(place, RemoteFolder) and not place.exists():
                raise ConfigError(f"{place} does not exist: give the folder of a dataset") from None
            raise ConfigError(
                f"{place} has no {MANIFEST_NAME}: not a dataset, or one whose `imagemill pack` did not finish "
                "(run the same command again to finish it)"
            ) from None


def _fetched(place: RemoteFolder) -> Manifest:
    """A manifest from elsewhere; damage may have come on the way, so it is fetched once more."""
    try:
        return Manifest.from_json(place.read(MANIFEST_NAME))
    except DamageError:
        return Manifest.from_json(place.read(MANIFEST_NAME))


def _without_escapes(manifest: Manifest) -> Manifest:
    """The manifest of a stranger, whose files will be written below a folder of ours and nowhere else."""
    for shards in manifest.splits.values():
        for info in shards:
            paths = [file.path for file in (*info.files, info.index)]
            names = [info.name, *(path.partition("/")[2] for path in paths)]
            if not all(path.startswith(("data/", "index/")) for path in paths) or not all(map(_is_name, names)):
                raise DamageError(f"shard {info.name!r} of {MANIFEST_NAME} names files outside the dataset: {paths}")
    return manifest


def _is_name(text: str) -> bool:
    """Whether this names a file in a folder, on every system."""
    return bool(text) and text not in (".", "..") and not set(text) & set("/\\:\0")


def _sha256(record: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of everything else in the manifest."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
