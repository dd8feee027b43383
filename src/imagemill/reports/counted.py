"""Counts over the columns of a pile: splits, classes, sizes, encodings, notes of the pixel policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.core.imagenet import class_title
from imagemill.core.manifest import Manifest
from imagemill.core.schema import Field, Schema
from imagemill.prepare.totals import UNLABELLED
from imagemill.reports.charts import bins_of
from imagemill.reports.facts import Classes, Note, Shapes, Split
from imagemill.sources.layout import NO_LABEL

SHOWN_CLASSES = 30
"""Up to so many classes each has its own row; of more, the largest 20 and the smallest 10."""
SHOWN_SIZES = 5
SHOWN_ENCODINGS = 12
SHOWN_MISSING = 5
NO_SPLIT = "(no split)"

NOTES = {
    "orientation": "turned upright by the orientation in its EXIF data",
    "icc": "a colour profile other than sRGB, converted",
    "cmyk": "CMYK, converted to RGB",
    "bits": "not 8 bits a channel, scaled by its full range",
    "alpha": "transparent pixels, laid over white",
    "palette": "palette colours, expanded",
    "frames": "several frames, the first is taken",
    "grey": "stored without colour channels",
    "progressive": "a progressive JPEG: slower to decode",
    "lossy-mask": "a mask in a lossy format: its class ids may have been falsified before it came here",
    "jpeg-warning": "harmless irregularities in a JPEG",
    "not-recoded": "stored as it came: no JPEG, or one that is not recoded (CMYK, arithmetic coding, …)",
    "recoded-otherwise": "a JPEG coded in a way of its own: another file with the same coefficients comes back",
    "later-frames-unchecked": "only the first frame was proved whole",
}
"""Note of the pixel policy → what it means for the image."""
IMAGE_NOTES = ("icc", "cmyk", "bits", "alpha", "palette", "grey")
"""Notes that mean nothing for masks: class ids are taken as they are stored."""


def codes_of(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[str]]:
    """A text column as numbers: (code of each row, -1 where null; the names, in order of first appearance)."""
    if not column.null_count and not len(column):
        return np.empty(0, np.int64), []
    encoded = pc.dictionary_encode(column).unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


def splits_of_dataset(manifest: Manifest) -> tuple[Split, ...]:
    """A line a split, from the manifest."""
    total = manifest.count() or 1
    counted: Mapping[str, Mapping[str, int]] = manifest.counts.get("classes") or {}
    labelled = bool(manifest.schema.of_kind("label") and counted)
    return tuple(
        Split(
            name,
            manifest.count(name),
            manifest.count(name) / total,
            len(_named(counted.get(name, {}))) if labelled else None,
            sum(file.size_bytes for shard in shards for file in shard.files),
            len(shards),
        )
        for name, shards in manifest.splits.items()
    )


def splits_of_source(table: pa.Table) -> tuple[Split, ...]:
    """A line for each split that a source itself gives; none where it gives none."""
    codes, names = codes_of(table["split"])
    if not names:
        return ()
    sizes = pc.fill_null(table["size"], 0).to_numpy()
    labels, classes = codes_of(table["label"])
    places = [(name, codes == number) for number, name in enumerate(names)]
    if (codes < 0).any():
        places.append((NO_SPLIT, codes < 0))
    return tuple(
        Split(
            name,
            int(rows.sum()),
            float(rows.mean()),
            len(np.unique(labels[rows & (labels >= 0)])) if classes else None,
            int(sizes[rows].sum()),
            None,
        )
        for name, rows in sorted(places, key=lambda place: split_order(place[0]))
    )


def split_order(name: str) -> tuple[int, str]:
    """Sorts train, val and test before other splits."""
    usual = ("train", "val", "test")
    return (usual.index(name) if name in usual else len(usual), name)


def classes_of_dataset(manifest: Manifest) -> Classes | None:
    """Samples a class and split, from the manifest; None where there are no labels."""
    labels = manifest.schema.of_kind("label")
    counted: Mapping[str, Mapping[str, int]] = manifest.counts.get("classes") or {}
    if not labels or not counted:
        return None
    splits = tuple(manifest.splits)
    names = list(
        dict.fromkeys([*(labels[0].class_names or ()), *(name for s in splits for name in _named(counted.get(s, {})))])
    )
    counts = np.array([[counted.get(split, {}).get(name, 0) for split in splits] for name in names], np.int64)
    without = (UNLABELLED, str(NO_LABEL))
    unlabelled = sum(count for split in splits for name, count in counted.get(split, {}).items() if name in without)
    return _classes(names, splits, counts.reshape(len(names), len(splits)), unlabelled)


def _named(counts: Mapping[str, int]) -> list[str]:
    return [name for name, count in counts.items() if count and name not in (UNLABELLED, str(NO_LABEL))]


def classes_of_source(table: pa.Table, schema: Schema) -> Classes | None:
    """Samples a class and split, from the rows; None where there are no labels."""
    labels, names = codes_of(table["label"])
    if not schema.of_kind("label") or not names:
        return None
    codes, splits = codes_of(table["split"])
    if not splits or (codes < 0).any():
        codes, splits = codes + 1, ["" if not splits else NO_SPLIT, *splits]
    labelled = labels >= 0
    flat = labels[labelled] * len(splits) + codes[labelled]
    counts = np.bincount(flat, minlength=len(names) * len(splits)).reshape(len(names), len(splits))
    order = sorted(range(len(splits)), key=lambda column: split_order(splits[column]))
    kept = [column for column in order if counts[:, column].any()]
    return _classes(names, tuple(splits[column] for column in kept), counts[:, kept], int((~labelled).sum()))


def _classes(
    names: Sequence[str], splits: tuple[str, ...], counts: npt.NDArray[np.int64], unlabelled: int
) -> Classes | None:
    """Classes with their counts, shape (classes, splits), cut down to what can be shown."""
    if not len(names):
        return None
    names = [class_title(name) for name in names]
    totals = counts.sum(axis=1)
    order = np.array(sorted(range(len(names)), key=lambda row: (-totals[row], names[row])), np.int64)
    head = len(order) if len(order) <= SHOWN_CLASSES else SHOWN_CLASSES * 2 // 3
    tail = 0 if head == len(order) else SHOWN_CLASSES - head
    between = order[head : len(order) - tail]
    shown = [*order[:head].tolist(), *(order[len(order) - tail :].tolist() if tail else [])]
    missing = {}
    for column, split in enumerate(splits):
        lacking = order[counts[order, column] == 0]
        if len(lacking) and len(splits) > 1:
            first = sorted(names[row] for row in lacking.tolist())[:SHOWN_MISSING]
            missing[split] = (len(lacking), tuple(first))
    return Classes(
        count=len(names),
        splits=splits,
        shown=tuple((names[row], tuple(counts[row].tolist())) for row in shown),
        left_out=(len(between), int(totals[between].sum())),
        largest=int(totals.max()),
        median=float(np.median(totals)),
        smallest=int(totals.min()),
        missing=missing,
        unlabelled=unlabelled,
        ranks=totals[order],
    )


def shapes_of(table: pa.Table, schema: Schema) -> tuple[Shapes, ...]:
    """Sides and encodings of every image and mask field whose sides are known."""
    shapes = (_shapes(table, field) for field in schema.of_kind("image", "mask"))
    return tuple(found for found in shapes if found is not None)


def _shapes(table: pa.Table, field: Field) -> Shapes | None:
    if f"height.{field.name}" not in table.column_names:
        return None
    height, width = (
        pc.fill_null(table[f"{side}.{field.name}"], 0).to_numpy().astype(np.int64) for side in ("height", "width")
    )
    known = (height > 0) & (width > 0)
    if not known.any():
        return None
    height, width = height[known], width[known]
    # One number a size sorts many times faster than pairs do.
    sizes, counts = np.unique(height << 32 | width, return_counts=True)
    order = np.lexsort((sizes, -counts))[:SHOWN_SIZES]
    common = tuple(
        ((size >> 32, size & 0xFFFF_FFFF), count)
        for size, count in zip(sizes[order].tolist(), counts[order].tolist(), strict=True)
    )
    single = f"{width[0]}x{height[0]}" if len(sizes) == 1 else None
    return Shapes(
        field=field.name,
        samples=len(height),
        single=single,
        shorter=None if single else bins_of(np.minimum(height, width)),
        longer=None if single else bins_of(np.maximum(height, width)),
        aspect=None if single else bins_of(width / height),
        sizes=len(sizes),
        common=common,
        encodings=_encodings(table, field.name),
    )


def _encodings(table: pa.Table, field: str) -> tuple[tuple[str, str, int, int], ...]:
    names = [f"{column}.{field}" for column in ("format", "mode", "bits")]
    if not set(names) <= set(table.column_names):
        return ()
    counted = table.select(names).group_by(names).aggregate([([], "count_all")]).to_pylist()
    found = [
        (row[names[0]], row[names[1]], row[names[2]], row["count_all"]) for row in counted if row[names[0]] is not None
    ]
    return tuple(sorted(found, key=lambda entry: (-entry[3], entry[0], entry[1])))[:SHOWN_ENCODINGS]


def notes_of(counts: Mapping[str, int], schema: Schema) -> tuple[Note, ...]:
    """Everything the pixel policy met, the most frequent first.

    Args:
        counts: note (`image:orientation=6`) → samples.
        schema: says which fields are masks.
    """
    masks = {field.name for field in schema.of_kind("mask")}
    notes = []
    for note, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        field, _, text = note.rpartition(":")
        kind = text.partition("=")[0]
        if field not in masks or kind not in IMAGE_NOTES:
            notes.append(Note(field, text, count, NOTES.get(kind, "")))
    return tuple(notes)


def count_notes(table: pa.Table) -> Counter[str]:
    """Note → rows; of values, those of orientation, bits and of why a JPEG was not recoded alone are kept apart."""
    counter: Counter[str] = Counter()
    for entry in pc.value_counts(table["notes"]).to_pylist():
        for note in set(_kinds(entry["values"] or "")):
            counter[note] += entry["counts"]
    return counter


def _kinds(notes: str) -> Iterator[str]:
    for note in filter(None, notes.split(";")):
        kind, _, _ = note.partition("=")
        yield note if kind.endswith((":orientation", ":bits", ":not-recoded")) else kind
