"""What a report says in numbers, gathered from manifest, indices and rejects; no shard's values are read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.core.manifest import Manifest
from imagemill.core.remote import Place, read_file
from imagemill.errors import REASONS, DamageError, RemoteError
from imagemill.formats.store import Store
from imagemill.prepare.totals import UNLABELLED
from imagemill.sources.layout import NO_LABEL

SHOWN_REJECTS = 200

NOTES = {
    "orientation": "turned upright by the orientation in its EXIF data",
    "icc": "a colour profile other than sRGB, converted",
    "cmyk": "CMYK, converted to RGB",
    "bits": "not 8 bits a channel, scaled by its full range",
    "alpha": "transparent pixels, laid over white",
    "palette": "palette colours, expanded",
    "frames": "several frames, the first is taken",
    "grey": "no colour",
    "lossy-mask": "a mask in a lossy format: its class ids may have been falsified before it came here",
    "jpeg-warning": "harmless irregularities in a JPEG",
    "later-frames-unchecked": "only the first frame was proved whole",
}
"""Note of the pixel policy → what it means for the image."""
IMAGE_NOTES = ("icc", "cmyk", "bits", "alpha", "palette", "grey")
"""Notes that mean nothing for masks: class ids are taken as they are stored."""


@dataclass(frozen=True)
class SplitFacts:
    """A split: samples, their share of all, shards, bytes of its data files."""

    name: str
    samples: int
    share: float
    shards: int
    size_bytes: int


@dataclass(frozen=True)
class Classes:
    """How many samples each class has.

    Args:
        names: classes, the largest first.
        splits: names of the splits.
        counts: int64, shape (classes, splits).
        unlabelled: samples that have no class.
    """

    names: tuple[str, ...]
    splits: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    unlabelled: int

    @property
    def totals(self) -> npt.NDArray[np.int64]:
        """Samples of each class over all splits."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def missing(self) -> dict[str, list[str]]:
        """Split → classes that have no sample in it, for splits that lack some."""
        lacking = {
            split: [name for name, count in zip(self.names, self.counts[:, column], strict=True) if not count]
            for column, split in enumerate(self.splits)
        }
        return {split: names for split, names in lacking.items() if names}


@dataclass(frozen=True)
class Sides:
    """Sides of one image or mask field over all splits, where they are known.

    Args:
        field: its name.
        height, width: int64 pixels, shape (samples with known sides,).
    """

    field: str
    height: npt.NDArray[np.int64]
    width: npt.NDArray[np.int64]

    @property
    def single(self) -> str | None:
        """WIDTHxHEIGHT where all are of one size."""
        if len(np.unique(self.height)) > 1 or len(np.unique(self.width)) > 1:
            return None
        return f"{self.width[0]}x{self.height[0]}"


@dataclass(frozen=True)
class Rejects:
    """Rejected samples: how many, and the first of them as `rejects.jsonl` has them."""

    total: int
    reasons: tuple[tuple[str, int, str], ...]
    shown: tuple[Mapping[str, Any], ...]


def split_facts(manifest: Manifest) -> list[SplitFacts]:
    """A line for each split."""
    total = manifest.count() or 1
    return [
        SplitFacts(
            name,
            manifest.count(name),
            manifest.count(name) / total,
            len(shards),
            sum(file.size_bytes for shard in shards for file in shard.files),
        )
        for name, shards in manifest.splits.items()
    ]


def class_facts(manifest: Manifest) -> Classes | None:
    """Samples a class and split; None where there are no labels."""
    labels = manifest.schema.of_kind("label")
    counted: Mapping[str, Mapping[str, int]] = manifest.counts.get("classes") or {}
    if not labels or not counted:
        return None
    splits = tuple(manifest.splits)
    totals: Counter[str] = Counter(dict.fromkeys(labels[0].class_names or (), 0))
    for split in splits:
        totals.update(counted.get(split, {}))
    unlabelled = sum(totals.pop(name, 0) for name in (UNLABELLED, str(NO_LABEL)))
    if not totals:
        return None
    names = tuple(sorted(totals, key=lambda name: (-totals[name], name)))
    counts = np.array([[counted.get(split, {}).get(name, 0) for split in splits] for name in names], np.int64)
    return Classes(names, splits, counts.reshape(len(names), len(splits)), unlabelled)


def side_facts(store: Store) -> list[Sides]:
    """Sides of every image and mask field that has known ones, from the indices."""
    facts = []
    for field in store.schema.of_kind("image", "mask"):
        parts = [
            [store.shard(split, number).index.numbers(f"{side}.{field.name}") for side in ("height", "width")]
            for split, shards in store.manifest.splits.items()
            for number in range(len(shards))
        ]
        height, width = (
            np.concatenate([np.empty(0, np.int64), *(part[axis] for part in parts)]).astype(np.int64)
            for axis in range(2)
        )
        known = (height > 0) & (width > 0)
        if known.any():
            facts.append(Sides(field.name, height[known], width[known]))
    return facts


def note_facts(manifest: Manifest) -> list[tuple[str, int, str]]:
    """(field and note, samples, meaning) of everything the pixel policy met, most frequent first."""
    masks = {field.name for field in manifest.schema.of_kind("mask")}
    notes: Mapping[str, int] = manifest.counts.get("notes") or {}
    facts = []
    for note, count in sorted(notes.items(), key=lambda item: (-item[1], item[0])):
        field, _, text = note.rpartition(":")
        kind = text.partition("=")[0]
        if field not in masks or kind not in IMAGE_NOTES:
            facts.append((note, count, NOTES.get(kind, "")))
    return facts


def reject_facts(place: Place, manifest: Manifest) -> Rejects:
    """Rejects by reason, and the first `SHOWN_REJECTS`.

    Raises:
        DamageError: `rejects.jsonl` is missing although there are rejects, or is no JSON lines.
    """
    reasons: Mapping[str, int] = manifest.counts.get("reasons") or {}
    total = int(manifest.counts.get("rejected_samples", sum(reasons.values())))
    lines = tuple(
        (reason, count, REASONS.get(reason, ""))
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    )
    if not total:
        return Rejects(0, lines, ())
    try:
        file = BytesIO(read_file(place, "rejects.jsonl"))
        shown = tuple(json.loads(line) for line in islice(file, SHOWN_REJECTS))
    except RemoteError:
        raise
    except (OSError, ValueError) as error:
        raise DamageError(f"{place}/rejects.jsonl cannot be read: {error}") from None
    return Rejects(total, lines, shown)


def findings(manifest: Manifest, classes: Classes | None, rejects: Rejects) -> list[str]:
    """Sentences on what deserves a look before training."""
    found = []
    samples = manifest.count()
    if rejects.total and rejects.total > 0.01 * (samples + rejects.total):
        found.append(f"{rejects.total / (samples + rejects.total):.1%} of the samples were rejected: see why below.")
    if classes is not None:
        found.extend(_class_findings(classes))
    for note, count, meaning in note_facts(manifest):
        if note.rpartition(":")[2].startswith("lossy-mask"):
            found.append(f"{count:,} samples have {meaning}.")
    return found


def _class_findings(classes: Classes) -> list[str]:
    found = []
    totals = classes.totals
    if len(totals) > 1 and totals[-1] and totals[0] >= 10 * totals[-1]:
        found.append(
            f"Classes are unbalanced: {classes.names[0]!r} has {totals[0]:,} samples, "
            f"{classes.names[-1]!r} {totals[-1]:,}."
        )
    for split, names in classes.missing.items():
        found.append(
            f"{len(names):,} of {len(classes.names):,} classes have no sample in {split!r}: {first_few(names)}."
        )
    if classes.unlabelled:
        found.append(f"{classes.unlabelled:,} samples have no label (-1).")
    return found


def first_few(names: Sequence[str], shown: int = 5) -> str:
    """The first names, and how many there are beside them."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
