"""`verify`: every byte of a dataset against its sha256, and of what is damaged, which samples."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagemill.codecs.recoded import as_file
from imagemill.core.manifest import FileInfo, Manifest, ShardInfo
from imagemill.core.remote import Place
from imagemill.core.schema import Schema
from imagemill.errors import DigestError, SampleError, ShardError
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

    place: Place
    info: ShardInfo
    schema: Schema
    format: str


def verify_shard(task: VerifyTask) -> ShardCheck:
    """Compares a shard's files with their sha256, and of a damaged one every value with its digest.

    Recoded JPEGs of a sound shard are given back, and the digest of each JPEG is compared.

    Raises:
        RemoteError: the shard lies elsewhere, and the place refuses or cannot be reached.
    """
    info = task.info
    with _at_hand(task.place, info) as folder:
        broken = [damage for file in (*info.files, info.index) if (damage := check_file(folder, info, file))]
        broken.extend(damaged_samples(folder, task) if broken else unrestorable_samples(folder, task))
    return ShardCheck(sum(file.size_bytes for file in info.files), info.count, tuple(broken))


@contextmanager
def _at_hand(place: Place, info: ShardInfo) -> Iterator[Path]:
    """A folder with the files of a shard; of a remote one a copy, past the cache, as they are there."""
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="imagemill-verify-") as name:
        for file in (*info.files, info.index):
            copy = Path(name) / file.path
            copy.parent.mkdir(exist_ok=True)
            try:
                with open(copy, "wb") as out:
                    place.fetch(file.path, out, file.size_bytes)
            except FileNotFoundError:
                copy.unlink()
        yield Path(name)


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


def unrestorable_samples(folder: Path, task: VerifyTask) -> Iterator[Damage]:
    """The samples of a sound shard whose recoded JPEGs do not give their JPEGs back."""
    names = [field.name for field in task.schema if field.codec == "recoded"]
    if not names:
        return
    shard = OpenShard(folder, task.info, task.schema, task.format, "always")
    try:
        for row in range(task.info.count):
            values, key = shard.reader.read([row], names)[0], shard.index.strings("key", [row])[0]
            for name in names:
                try:
                    as_file(values[name])
                except SampleError as error:
                    yield Damage(task.info.name, key, name, error.detail)
    finally:
        shard.close()


def damaged_samples(folder: Path, task: VerifyTask) -> Iterator[Damage]:
    """The samples of a damaged shard whose values are hit."""
    info = task.info
    try:
        shard = OpenShard(folder, info, task.schema, task.format, "always")
    except ShardError as error:
        yield Damage(info.name, "", "", f"no sample of it can be read: {error.detail}")
        return
    for row in range(info.count):
        for name in task.schema.names:
            try:
                shard.read([row], [name])
            except DigestError as error:
                yield Damage(info.name, error.key, name, "digest mismatch")
            except ShardError as error:
                key = shard.index.strings("key", [row])[0]
                yield Damage(info.name, key, name, error.detail)
    shard.close()


def unlisted_files(place: Place, manifest: Manifest) -> list[Damage]:
    """Files in `data/` and `index/` that the manifest does not know; elsewhere nothing is listed."""
    if not isinstance(place, Path):
        return []
    known = {file.path for _, _, info in shards_of(manifest) for file in (*info.files, info.index)}
    found = [f"{name}/{path.name}" for name in ("data", "index") for path in sorted((place / name).glob("*"))]
    return [
        Damage("", "", "", f"{path} is not in the manifest: left over, no reader uses it")
        for path in found
        if path not in known
    ]
