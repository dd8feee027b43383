"""The table of a check, `checks.parquet`: what it says of each sample, and how it is read.

One row a sample that a source lists, good or bad, ordered by the UTF-8 bytes of `key`. (What the scan itself
rejects, half a pair for instance, never becomes a sample and is in `rejects.jsonl` only.)

================  ==================  ==========================================================================
`key`             string              stable key of the sample
`label`           string, null        class; a number as decimal text where it has no name; null where there is none
`split`           string, null        split that the source itself gives
`path`            string              origin of the first image or mask; of a bad sample the file at fault
`size`            int64               bytes of the sample's files
`files`           int32               how many found files the sample uses
`reason`          string              "" of a good sample, else a key of `imagemill.errors.REASONS`
`detail`          string              what exactly was found wrong, else ""
`notes`           string              what the pixel policy will do, `image:orientation=6;image:icc`
`flags`           list of string      names in `FLAGS`, sorted; empty for most samples and for bad ones
`cluster`         int64, null         samples that show the same picture have the same number; null for a picture of
                                      which there is one. Numbered from 0 in order of each cluster's smallest key
`duplicate_of`    string, null        key of the sample of the cluster that is kept in this one's place, which it
                                      resembles directly; null for those kept. The best of a cluster is always
                                      kept (most pixels, then files without loss, then most bytes, then first by
                                      key; of equal pixels the first by key); where a cluster is a chain (frames
                                      of a clip), others are too
`similarity`      string, null        how this sample resembles `duplicate_of`: one of `SIMILARITIES`
================  ==================  ==========================================================================

For every image field F, null in bad samples:

================  ==================  ==========================================================================
`origin.F`        string              path relative to the source, or URL
`height.F`        int32               pixels, as seen upright
`width.F`         int32               pixels, as seen upright
`format.F`        string              "JPEG", "PNG", …; "ARRAY" for pixels that came without a file
`mode.F`          string              Pillow's name of the stored pixels, "RGB", "L", "P", "CMYK", "I;16", …
`bits.F`          int16               bits a channel
`orientation.F`   int8                EXIF orientation 1–8; 1 is upright
`icc.F`           bool                whether there is a colour profile that is not plainly sRGB
`progressive.F`   bool                progressive JPEG or interlaced PNG
`frames.F`        int32               pictures in the file; 1 is a still
`content.F`       fixed binary (16)   xxh3-128 of the file's bytes, big-endian
================  ==================  ==========================================================================

and, null too where `--decode headers` looked at no pixels:

================  ==================  ==========================================================================
`pixels.F`        fixed binary (16)   xxh3-128 of height, width and the upright 8-bit pixels, colour profiles aside
`phash.F`         uint64              DCT hash of the upright picture, first bit (row-major) highest
`dhash.F`         uint64              hash of horizontal differences, first bit highest
`brightness.F`    float32             mean luma, 0 (black) to 1 (white)
`luma05.F`        float32             5th percentile of luma, 0 to 1
`luma95.F`        float32             95th percentile of luma, 0 to 1
`contrast.F`      float32             standard deviation of luma, 0 to 0.5
`entropy.F`       float32             bits of the histogram of luma, 0 to 8
`sharpness.F`     float32             see `imagemill.curate.quality.Measures`
`chroma.F`        float32             largest spread between the channels, 0 (no colour anywhere) to 1
================  ==================  ==========================================================================

For every mask field M: `origin.M`, `height.M`, `width.M`, `content.M`.

The file's metadata hold, under the key `imagemill`, JSON with "images" and "masks" (names of the fields),
"decode" ("full" or "headers"), "thresholds" (those that the flags follow from) and "embedding" (the field with vectors
that samples were compared by, or null).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from imagemill.errors import ConfigError

FILE_NAME = "checks.parquet"
"""The table's name in the folder that `check --out` makes."""

METADATA_KEY = b"imagemill"

FLAGS = {
    "blurred": "hardly any edge is sharp",
    "bright": "nearly all of it is white",
    "dark": "nearly all of it is black",
    "exact-duplicate": "another sample has the same files, byte for byte",
    "grey-in-rgb": "stored with colour channels, without any colour",
    "low-information": "an even surface, or next to it",
    "near-duplicate": "another sample shows the same picture: resized, re-encoded, cropped a little, mirrored, turned",
    "odd-aspect": "much wider or taller than the other samples",
    "odd-size": "much larger or smaller than the other samples",
    "same-pixels": "another sample has the same pixels in other files",
}
"""Flag → what it means. Samples that are kept in the place of others have none of the three of duplicates."""

DUPLICATE_FLAGS = {"bytes": "exact-duplicate", "pixels": "same-pixels", "near": "near-duplicate"}
"""Similarity → the flag that goes with it."""

SIMILARITIES = tuple(DUPLICATE_FLAGS)
"""From the strictest to the loosest: all files equal byte for byte, all pixels equal, the same picture."""

DIGEST = pa.binary(16)

SAMPLE_COLUMNS = {
    "key": pa.string(),
    "label": pa.string(),
    "split": pa.string(),
    "path": pa.string(),
    "size": pa.int64(),
    "files": pa.int32(),
    "reason": pa.string(),
    "detail": pa.string(),
    "notes": pa.string(),
}
"""Columns that are known once a sample was looked at, before samples are compared."""

COMPARED_COLUMNS = {
    "flags": pa.list_(pa.string()),
    "cluster": pa.int64(),
    "duplicate_of": pa.string(),
    "similarity": pa.string(),
}
"""Columns that follow from all samples together."""

HEADER_COLUMNS = {
    "origin": pa.string(),
    "height": pa.int32(),
    "width": pa.int32(),
    "format": pa.string(),
    "mode": pa.string(),
    "bits": pa.int16(),
    "orientation": pa.int8(),
    "icc": pa.bool_(),
    "progressive": pa.bool_(),
    "frames": pa.int32(),
    "content": DIGEST,
}
"""Columns of an image field that its header and its bytes give."""

PIXEL_COLUMNS = {
    "pixels": DIGEST,
    "phash": pa.uint64(),
    "dhash": pa.uint64(),
    "brightness": pa.float32(),
    "luma05": pa.float32(),
    "luma95": pa.float32(),
    "contrast": pa.float32(),
    "entropy": pa.float32(),
    "sharpness": pa.float32(),
    "chroma": pa.float32(),
}
"""Columns of an image field that its pixels give."""

MASK_COLUMNS = {name: HEADER_COLUMNS[name] for name in ("origin", "height", "width", "content")}


def field_columns(images: Sequence[str], masks: Sequence[str]) -> dict[str, pa.DataType]:
    """`COLUMN.FIELD` → type, of image fields and then of mask fields."""
    columns: dict[str, pa.DataType] = {}
    for field in images:
        columns |= {f"{name}.{field}": kind for name, kind in (HEADER_COLUMNS | PIXEL_COLUMNS).items()}
    for field in masks:
        columns |= {f"{name}.{field}": kind for name, kind in MASK_COLUMNS.items()}
    return columns


def check_schema(images: Sequence[str], masks: Sequence[str]) -> pa.Schema:
    """All columns of the table of samples with these fields, in order."""
    return pa.schema({**SAMPLE_COLUMNS, **COMPARED_COLUMNS, **field_columns(images, masks)})


def read_checks(path: Path, columns: Callable[[str], bool] | None = None) -> pa.Table:
    """The table that `check --out` wrote.

    Args:
        path: `checks.parquet`, or the folder it lies in.
        columns: says by its name whether a column is wanted; None reads all.

    Returns:
        The columns above, by key; `image_fields` says which fields there are.

    Raises:
        ConfigError: there is no such table.
    """
    import pyarrow.parquet as pq  # 15 ms that workers, who load this module, need not spend

    file = path / FILE_NAME if path.is_dir() else path
    try:
        schema = pq.read_schema(file)
        wanted = None if columns is None else [name for name in schema.names if columns(name)]
        table = pq.read_table(file, columns=wanted, memory_map=True)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(
            f"{file} is no table of checks: {error}; `imagemill check SRC --out DIR` writes one"
        ) from None
    lacking = [name for name in (*SAMPLE_COLUMNS, *COMPARED_COLUMNS) if name not in schema.names]
    if lacking or METADATA_KEY not in (schema.metadata or {}):
        what = f"it has no column {lacking[0]!r}" if lacking else "its metadata do not say so"
        raise ConfigError(f"{file} is no table of checks: {what}; {_HOW}")
    return table


_HOW = "`imagemill check SRC --out DIR` writes one"


def check_metadata(table: pa.Table) -> dict[str, Any]:
    """What a table of checks says of itself: "images", "masks", "decode", "thresholds"."""
    record: dict[str, Any] = json.loads(table.schema.metadata[METADATA_KEY])
    return record


def image_fields(table: pa.Table) -> tuple[str, ...]:
    """Image fields of a table of checks, in the order of its source; duplicates are judged on the first."""
    return tuple(check_metadata(table)["images"])
