"""What a run comes to: all commit records added up, the manifest they make, the result a user sees."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from imagemill.core.files import REJECTS_NAME
from imagemill.core.manifest import Manifest, ShardInfo
from imagemill.core.sample import Reject
from imagemill.prepare.assign import LEAK, shares_of
from imagemill.prepare.exclusions import EXCLUDED
from imagemill.prepare.job import Job, recipe_from_json, take
from imagemill.prepare.leaks import Leak, leak_from_json
from imagemill.prepare.shard import Commit, commit_path


@dataclass(frozen=True)
class PackResult:
    """What a run of `pack` did.

    Args:
        path: the dataset folder.
        found, kept, rejected, ignored: files; kept + rejected + ignored == found.
        ignored_kinds: suffix or name → ignored files.
        reasons: reason code → rejected samples.
        rejects: the first rejects, at most `SHOWN_REJECTS`.
        splits: split → samples.
        classes: split → class → samples, for labelled data.
        notes: what the pixel policy met → samples.
        bytes_in, bytes_out: of the kept source files, of the dataset.
        seconds: wall time of this run.
        samples_per_s: samples made by this run a second; 0 where nothing was left to do.
        finished: False where this rank is done and others are not yet.
        already: whether the dataset had been finished before this run.
        remarks: sentences for the user.
        reject_share: rejected samples over all samples, without those that `exclude` and `mend_leaks` left out.
        shares: split → share of the samples that was asked for.
        leaks: groups and near-duplicates that given splits part, as they were found.
        moved: samples brought into another split because of it; `moved.jsonl` in the dataset lists them.
    """

    path: Path
    found: int = 0
    kept: int = 0
    rejected: int = 0
    ignored: int = 0
    ignored_kinds: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    rejects: tuple[Reject, ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    samples_per_s: float = 0.0
    finished: bool = True
    already: bool = False
    remarks: tuple[str, ...] = ()
    reject_share: float = 0.0
    shares: Mapping[str, float] = field(default_factory=dict)
    leaks: tuple[Leak, ...] = ()
    moved: int = 0


SHOWN_REJECTS = 20
UNLABELLED = "(no label)"
"""What counts of named classes call samples without a label."""


@dataclass
class Totals:
    """All commit records of a job, added up.

    Args:
        splits: split → its shards.
        rejects: of the scan, then of the shards in the plan's order.
    """

    splits: dict[str, tuple[ShardInfo, ...]]
    rejects: list[Reject]
    kept_files: int
    bytes_in: int
    classes: dict[str, Counter[str]]
    notes: Counter[str]

    @classmethod
    def of(cls, out: Path, job: Job) -> Totals:
        """Totals of a job whose shards are all committed."""
        totals = cls({}, list(job.scan_rejects(out)), 0, 0, {}, Counter())
        for split in job.plan.splits:
            shards = []
            totals.classes[split] = Counter()
            for number in range(len(job.plan.bounds[split]) - 1):
                commit = Commit.from_json(commit_path(out, job.plan.shard_name(split, number)).read_bytes())
                shards.append(commit.shard)
                totals.rejects.extend(commit.rejects)
                totals.kept_files += commit.kept_files
                totals.bytes_in += commit.bytes_in
                totals.classes[split].update(commit.classes)
                for note, count in commit.notes.items():
                    totals.notes[_note_kind(note)] += count
            totals.splits[split] = tuple(shards)
        return totals

    def manifest(self, job: Job) -> Manifest:
        """The manifest these totals make."""
        labels = job.schema.of_kind("label")
        names = labels[0].class_names if labels else None
        counts: dict[str, Any] = {
            "found": job.found,
            "kept": self.kept_files,
            "rejected": sum(reject.files for reject in self.rejects),
            "ignored": sum(job.ignored.values()),
            "samples": sum(shard.count for shards in self.splits.values() for shard in shards),
            "rejected_samples": len(self.rejects),
            "reasons": dict(sorted(Counter(reject.reason for reject in self.rejects).items())),
            "ignored_kinds": dict(job.ignored),
            "notes": dict(sorted(self.notes.items())),
            "classes": {split: _named(counter, names) for split, counter in self.classes.items() if counter},
            "bytes_in": self.bytes_in,
        }
        if job.leaks:
            counts |= {"leaks": [asdict(leak) for leak in job.leaks], "moved": len(job.moved)}
        return Manifest(
            format=job.recipe.format,
            pixels=job.pixels,
            schema=job.schema,
            splits=self.splits,
            recipe=job.recipe.to_json(),
            versions=job.versions,
            counts=counts,
            source={"kind": job.recipe.source.get("kind", ""), "fingerprint": job.fingerprint},
        )


def _note_kind(note: str) -> str:
    """A note without values that differ from image to image: `image:frames=12` counts as `image:frames`."""
    kind, _, value = note.partition("=")
    return note if kind.endswith((":orientation", ":bits", ":not-recoded")) and value else kind


def _named(counter: Counter[str], names: Sequence[str] | None) -> dict[str, int]:
    """Class counts by name, in class order; -1 is a sample without a label."""
    ordered = sorted(counter.items(), key=lambda item: int(item[0]))
    if names is None:
        return dict(ordered)
    return {names[int(number)] if int(number) >= 0 else UNLABELLED: count for number, count in ordered}


def result_of(
    out: Path, manifest: Manifest, started: float, *, done: int, already: bool = False, remarks: tuple[str, ...] = ()
) -> PackResult:
    """The result that a finished dataset's manifest tells."""
    counts = manifest.counts
    recipe = recipe_from_json(manifest.recipe)
    seconds = time.monotonic() - started
    samples = counts["samples"] + counts["rejected_samples"]
    return PackResult(
        path=out,
        found=counts["found"],
        kept=counts["kept"],
        rejected=counts["rejected"],
        ignored=counts["ignored"],
        ignored_kinds=counts["ignored_kinds"],
        reasons=counts["reasons"],
        rejects=tuple(_first_rejects(out)),
        splits={split: manifest.count(split) for split in manifest.splits},
        classes=counts["classes"],
        notes=counts["notes"],
        bytes_in=counts["bytes_in"],
        bytes_out=sum(file.size_bytes for shards in manifest.splits.values() for s in shards for file in s.files),
        seconds=seconds,
        samples_per_s=done / seconds if seconds else 0.0,
        already=already,
        remarks=remarks,
        reject_share=unasked(counts["reasons"]) / samples if samples else 0.0,
        shares={name: float(share) for name, share in shares_of(recipe).items()},
        leaks=tuple(leak_from_json(leak) for leak in counts.get("leaks", ())),
        moved=counts.get("moved", 0),
    )


def unasked(reasons: Mapping[str, int]) -> int:
    """Rejected samples that nobody asked to leave out."""
    return sum(count for reason, count in reasons.items() if not reason.startswith(EXCLUDED) and reason != LEAK)


def planned_classes(job: Job) -> dict[str, dict[str, int]]:
    """Split → class → planned samples, by name where the source names classes; empty without labels."""
    if "label" not in job.listing.column_names:
        return {}
    counts = {}
    for split in job.plan.splits:
        bounds = job.plan.bounds[split]
        labels = take(job.listing.select(["label"]), job.plan.order[bounds[0] : bounds[-1]])["label"]
        found = {each["values"]: each["counts"] for each in pc.value_counts(labels).to_pylist()}
        missing = found.pop(None, 0)
        counts[split] = {str(label): found[label] for label in sorted(found)}
        if missing:
            counts[split][UNLABELLED] = missing
    return counts


class Drift(NamedTuple):
    """How far a class's share of a split is from what was asked.

    Args:
        split, name: of the split and the class.
        share, asked: of the class's samples.
    """

    split: str
    name: str
    share: float
    asked: float


def largest_drift(classes: Mapping[str, Mapping[str, int]], shares: Mapping[str, float]) -> Drift | None:
    """The class that is furthest from the asked shares, by samples; None where none is by a whole sample.

    Args:
        classes: split → class → samples.
        shares: split → share of the samples that was asked for.
    """
    totals: Counter[str] = Counter()
    for split in shares:
        totals.update(classes.get(split, {}))
    drifts = {
        Drift(split, name, classes.get(split, {}).get(name, 0) / total, share): total
        for name, total in totals.items()
        for split, share in shares.items()
    }
    samples = {drift: abs(drift.share - drift.asked) * total for drift, total in drifts.items()}
    furthest = max(samples, key=samples.__getitem__, default=None)
    return None if furthest is None or samples[furthest] < 1 else furthest


def _first_rejects(out: Path) -> Iterator[Reject]:
    with open(out / REJECTS_NAME, encoding="utf-8") as file:
        for line, _ in zip(file, range(SHOWN_REJECTS), strict=False):
            yield Reject(**json.loads(line))
