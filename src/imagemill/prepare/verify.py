"""`verify`: every byte of a dataset against its sha256, and of what is damaged, which samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagemill.core.manifest import FileInfo, Manifest, ShardInfo
from imagemill.errors import DigestError, ShardError
from imagemill.formats.store import OpenShard, shards_of
from imagemill.prepare.commit import BLOCK_BYTES


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it was written.

    Args:
        shard: the shard, or "" for a file that belongs to none.
        key: the damaged sample, or "" where the shard as a whole is hit.
        field: the damaged field, or "".
        detail: what is wrong.
    """

    shard: str
    key: str
    field: str
    detail: str

    def __str__(self) -> str:
        where = f"{self.shard}: " if self.shard else ""
        what = f"sample {self.key!r}, field {self.field!r}: " if self.key else ""
        return f"{where}{what}{self.detail}"


@dataclass(frozen=True)
class ShardCheck:
    """What `verify` found in one shard: bytes read, samples, damages."""

    size_bytes: int
    samples: int
    damages: tuple[Damage, ...]


@dataclass(frozen=True)
class VerifyTask:
    """One shard to verify; picklable."""

    folder: Path
    split: str
    number: int


def verify_shard(task: VerifyTask) -> ShardCheck:
    """Compares a shard's files with their sha256, and of a damaged one every value with its digest."""
    manifest = Manifest.load(task.folder)
    info = manifest.splits[task.split][task.number]
    broken = [damage for file in (*info.files, info.index) if (damage := check_file(task.folder, info, file))]
    if broken:
        broken.extend(damaged_samples(task.folder, manifest, info))
    return ShardCheck(sum(file.size_bytes for file in info.files), info.count, tuple(broken))


def check_file(folder: Path, info: ShardInfo, file: FileInfo) -> Damage | None:
    """What is wrong with one file of a shard, if anything."""
    sha256, size_bytes = hashlib.sha256(), 0
    try:
        with open(folder / file.path, "rb") as opened:
            while block := opened.read(BLOCK_BYTES):
                sha256.update(block)
                size_bytes += len(block)
    except OSError as error:
        return Damage(info.name, "", "", f"{file.path} cannot be read: {error.strerror}")
    if size_bytes != file.size_bytes:
        return Damage(info.name, "", "", f"{file.path} has {size_bytes} bytes, {file.size_bytes} were written")
    if sha256.hexdigest() != file.sha256:
        return Damage(info.name, "", "", f"{file.path} has another sha256 than was written")
    return None


def damaged_samples(folder: Path, manifest: Manifest, info: ShardInfo) -> Iterator[Damage]:
    """The samples of a damaged shard whose values are hit."""
    try:
        shard = OpenShard(folder, info, manifest.schema, manifest.format, "always")
    except ShardError as error:
        yield Damage(info.name, "", "", f"no sample of it can be read: {error.detail}")
        return
    for row in range(info.count):
        for name in manifest.schema.names:
            try:
                shard.read([row], [name])
            except DigestError as error:
                yield Damage(info.name, error.key, name, "digest mismatch")
            except ShardError as error:
                key = shard.index.strings("key", [row])[0]
                yield Damage(info.name, key, name, error.detail)
    shard.close()


def unlisted_files(folder: Path, manifest: Manifest) -> list[Damage]:
    """Files in `data/` and `index/` that the manifest does not know: left over from something else."""
    known = {file.path for _, _, info in shards_of(manifest) for file in (*info.files, info.index)}
    found = [f"{name}/{path.name}" for name in ("data", "index") for path in sorted((folder / name).glob("*"))]
    return [
        Damage("", "", "", f"{path} is not in the manifest: left over, no reader uses it")
        for path in found
        if path not in known
    ]
