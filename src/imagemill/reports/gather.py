"""From a pile to all facts of its report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imagemill.core.sample import Row
from imagemill.core.schema import Field
from imagemill.reports.charts import shortened
from imagemill.reports.counted import (
    classes_of_dataset,
    classes_of_source,
    count_notes,
    notes_of,
    shapes_of,
    splits_of_dataset,
    splits_of_source,
)
from imagemill.reports.duplicates import clustered, duplicates_of, leakage_of
from imagemill.reports.facts import Account, Classes, Facts, Finding, SafeSize, Shapes, Space, first_few
from imagemill.reports.hosts import hosts_of
from imagemill.reports.pile import DatasetPile, Pile, SourcePile
from imagemill.reports.quality import flags_of
from imagemill.reports.rejects import rejects_of_dataset, rejects_of_source
from imagemill.reports.safe_dimensions import halvings
from imagemill.reports.space import estimate
from imagemill.versions import library_versions

MUCH = 0.01
"""Share of the samples from which a flag or reject reason is worth a sentence."""
SHOWN_DIMENSIONS = 6
UNBALANCED = 10
"""Times as many samples in the largest class as in the smallest."""


def gather(pile: DatasetPile | SourcePile) -> Facts:
    """Everything that a report says of a pile but its pictures and the space it takes.

    Raises:
        DamageError: a stored value or the list of rejects is damaged.
    """
    table, good = pile.table, pile.good
    checked = pile.checks is not None
    members = clustered(good) if checked else None
    images = [field.name for field in pile.schema.of_kind("image")]
    facts = Facts(
        name=pile.name,
        checked=str(pile.checks["decode"]) if pile.checks is not None else "",
        findings=(),
        undecodable=rejects_of_source(table, ()) if isinstance(pile, DatasetPile) and checked else (),
        shapes=shapes_of(good, pile.schema),
        flags=flags_of(good, images) if checked else (),
        duplicates=None if members is None else duplicates_of(members),
        leakage=None if members is None else leakage_of(members),
        dimensions=(),
        hosts=hosts_of(pile.source.path) if isinstance(pile, SourcePile) and pile.source.kind == "fetched" else None,
        space=None,
        fields=tuple(map(_field, pile.schema)),
        **(_of_dataset(pile) if isinstance(pile, DatasetPile) else _of_source(pile)),
    )
    return replace(facts, findings=tuple(_findings(facts)), dimensions=tuple(_dimensions(facts.shapes)))


def _dimensions(shapes: Sequence[Shapes]) -> Iterator[SafeSize]:
    """How the most frequent sizes of all images and masks halve."""
    sizes: Counter[tuple[int, int]] = Counter()
    for shape in shapes:
        sizes.update(dict(shape.common))
    for size, count in sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0]))[:SHOWN_DIMENSIONS]:
        yield SafeSize(size, count, (halvings(size[0]), halvings(size[1])))


def space_of(pile: Pile, facts: Facts, rows: Sequence[Row]) -> Space | None:
    """What the pile would take in other formats and pixels, from a few of its rows."""
    if isinstance(pile, DatasetPile):
        fixed = [field.shape for field in pile.schema.of_kind("image") if field.shape is not None]
        size = f" {fixed[0][1]}x{fixed[0][0]}" if fixed else _resized_side(pile.manifest.recipe)
        stored = (
            facts.format,
            facts.pixels + (size if facts.pixels != "original" else ""),
            facts.account.stored_bytes or 0,
        )
        return estimate(pile.schema, rows, facts.account.samples, None, stored)
    return estimate(pile.schema, rows, facts.account.samples, facts.account.source_bytes, None)


def _resized_side(recipe: Mapping[str, Any]) -> str:
    size = recipe.get("size")
    if not size:
        return ""
    return f" {size[0]}" if size[0] == size[1] and recipe.get("fit") in ("short", "long") else f" {size[1]}x{size[0]}"


def _of_dataset(pile: DatasetPile) -> dict[str, Any]:
    manifest = pile.manifest
    counts: Mapping[str, Any] = manifest.counts
    splits = splits_of_dataset(manifest)
    account = Account(
        **{name: int(counts.get(name, 0)) for name in ("found", "kept", "rejected", "ignored")},
        ignored_kinds=dict(counts.get("ignored_kinds") or {}),
        samples=manifest.count(),
        rejected_samples=int(counts.get("rejected_samples", sum((counts.get("reasons") or {}).values()))),
        source_bytes=int(counts.get("bytes_in", 0)),
        stored_bytes=sum(split.size_bytes or 0 for split in splits),
    )
    made = {name: value for name, value in manifest.recipe.items() if value not in (None, {}, [])}
    return {
        "kind": "dataset",
        "format": manifest.format,
        "pixels": manifest.pixels,
        "account": account,
        "rejects": rejects_of_dataset(pile.store.folder, manifest),
        "splits": splits,
        "classes": classes_of_dataset(manifest),
        "notes": notes_of(manifest.counts.get("notes") or {}, pile.schema),
        "made": tuple((name, _text(value)) for name, value in made.items()),
        "versions": dict(sorted(manifest.versions.items())),
    }


def _of_source(pile: SourcePile) -> dict[str, Any]:
    scan, table, good = pile.scan, pile.table, pile.good
    bad = table.num_rows - good.num_rows
    rejected = sum(reject.files for reject in scan.rejects) + _sum(table, "files") - _sum(good, "files")
    account = Account(
        found=scan.found,
        kept=_sum(good, "files"),
        rejected=rejected,
        ignored=sum(scan.ignored.values()),
        ignored_kinds=dict(scan.ignored),
        samples=good.num_rows,
        rejected_samples=len(scan.rejects) + bad,
        source_bytes=_sum(good, "size"),
    )
    options = {name: value for name, value in vars(pile.source.options).items() if value is not None}
    made = {"source": pile.source.kind, **options, **dict(pile.checks or {})}
    return {
        "kind": pile.source.kind,
        "format": "",
        "pixels": "",
        "account": account,
        "rejects": rejects_of_source(table, scan.rejects),
        "splits": splits_of_source(good),
        "classes": classes_of_source(good, pile.schema),
        "notes": notes_of(count_notes(good), pile.schema),
        "made": tuple((name, _text(value)) for name, value in made.items()),
        "versions": library_versions("parquet"),
    }


def _sum(table: pa.Table, column: str) -> int:
    return int(pc.sum(table[column]).as_py() or 0)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _field(field: Field) -> tuple[str, str, str, str, str]:
    shape = "varies" if field.shape is None else " x ".join(map(str, field.shape)) or "one number"
    return field.name, field.kind, field.dtype, shape, field.codec


def _findings(facts: Facts) -> Iterator[Finding]:
    """What deserves a look before training, the gravest first."""
    account = facts.account
    if facts.undecodable:
        count = sum(reason.samples for reason in facts.undecodable)
        yield Finding(f"{count:,} stored {'samples' if count > 1 else 'sample'} cannot be decoded.", "rejects")
    if facts.leakage is not None and facts.leakage.clusters:
        what = f"{facts.leakage.clusters:,} pictures are" if facts.leakage.clusters > 1 else "1 picture is"
        yield Finding(f"{what} in more than one split, which flatters any model.", "leakage")
    total = account.samples + account.rejected_samples
    if account.rejected_samples > MUCH * total:
        yield Finding(f"{account.rejected_samples / total:.1%} of the samples were rejected.", "rejects")
    if facts.duplicates is not None and facts.duplicates.mixed:
        count = facts.duplicates.mixed
        where = f"{count:,} clusters" if count > 1 else "one cluster"
        yield Finding(f"In {where} the same picture has different classes.", "duplicates")
    if facts.duplicates is not None and facts.duplicates.spare:
        spare = facts.duplicates.spare
        what = f"{spare / max(account.samples, 1):.1%} of the samples ({spare:,})"
        yield Finding(f"{what} repeat a picture that is there.", "duplicates")
    if facts.classes is not None:
        yield from _class_findings(facts.classes)
    for flag in facts.flags:
        if flag.worst and flag.share >= MUCH:
            what = f"{flag.share:.1%} of the samples ({flag.samples:,})"
            yield Finding(f"{what} are flagged {flag.name}: {flag.meaning}.", "quality")
    for note in facts.notes:
        if note.name.startswith("lossy-mask"):
            yield Finding(f"{note.samples:,} samples have {note.meaning}.", "pixels")


def _class_findings(classes: Classes) -> Iterator[Finding]:
    largest, smallest = (shortened(name, 40) for name in (classes.shown[0][0], classes.shown[-1][0]))
    if classes.smallest and classes.largest >= UNBALANCED * classes.smallest:
        yield Finding(
            f"Classes are unbalanced: {largest!r} has {classes.largest:,} samples, {smallest!r} {classes.smallest:,}.",
            "classes",
        )
    for split, (count, first) in classes.missing.items():
        names = first_few([shortened(name, 40) for name in first], count)
        yield Finding(f"{count:,} of {classes.count:,} classes have no sample in {split!r}: {names}.", "classes")
    if classes.unlabelled:
        yield Finding(f"{classes.unlabelled:,} samples have no class.", "classes")
