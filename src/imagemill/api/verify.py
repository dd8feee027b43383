"""`verify`: every byte of a dataset against its sha256."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from imagemill.api.given import (
    OnProgress,
    PathLike,
)
from imagemill.core.manifest import Manifest
from imagemill.core.remote import place_of
from imagemill.engines.local import LocalEngine
from imagemill.formats.store import shards_of
from imagemill.prepare.verify import Damage, VerifyTask, unlisted_files, verify_shard


@dataclass(frozen=True)
class VerifyResult:
    """What `verify` found.

    Args:
        path: the dataset folder or URL.
        shards, samples, size_bytes: looked at.
        damages: everything that is not as it was written; empty means clean.
        seconds: wall time.
    """

    path: Path | str
    shards: int
    samples: int
    size_bytes: int
    damages: tuple[Damage, ...]
    seconds: float


def verify(dataset: PathLike, *, workers: int | None = None, on_progress: OnProgress | None = None) -> VerifyResult:
    """Checks every byte of a dataset against its sha256, and names what is damaged.

    Args:
        dataset: folder or URL; of a URL everything is fetched, past the cache.
        on_progress: called with the number of shards done since the last call.

    Raises:
        ConfigError: no finished dataset there.
        DamageError: the manifest itself cannot be read.
        RemoteError: the URL refuses or cannot be reached.
    """
    started = time.monotonic()
    place = place_of(dataset)
    manifest = Manifest.load(place)
    tasks = [VerifyTask(place, info, manifest.schema, manifest.format) for _, _, info in shards_of(manifest)]
    # Starting a process costs as much as hashing half a gigabyte.
    small = sum(file.size_bytes for _, _, info in shards_of(manifest) for file in info.files) < 2**29
    damages: list[Damage] = []
    samples = size_bytes = 0
    for result in LocalEngine(0 if small and workers is None else workers).run(verify_shard, tasks):
        damages.extend(result.damages)
        samples += result.samples
        size_bytes += result.size_bytes
        if on_progress is not None:
            on_progress(1)
    damages.sort(key=lambda damage: damage.shard)
    damages.extend(unlisted_files(place, manifest))
    path = place if isinstance(place, Path) else str(place)
    return VerifyResult(path, len(tasks), samples, size_bytes, tuple(damages), time.monotonic() - started)
