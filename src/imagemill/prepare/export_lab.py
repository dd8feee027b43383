"""LAB fields as the colour pipeline's TFRecords: its keys and shapes, its file names, so many records a file.

`lab_images_0.tfrecord`, … of split train (or of a dataset's only split), `val_lab_images_0.tfrecord`, … of val, and
so on for splits of other names. Nothing else lies in the folder, since the pipeline reads by pattern.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from imagemill.core.files import replacing
from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Schema
from imagemill.errors import ConfigError
from imagemill.formats.protobuf import Kind, example_head, feature_head
from imagemill.formats.record_file import framed
from imagemill.formats.store import Store
from imagemill.formats.tfrecord import SUFFIXES, Compression, create
from imagemill.prepare.commit import clear_disk_errors, clear_temporary, make_output, refuse_inside
from imagemill.prepare.export import UNFINISHED_NAME, check_target

WANTED = ("image_ab", "image_l", "image_name")
EMBEDDING = "image_embedding"
EMBEDDING_NAMES = (EMBEDDING, "embedding", "vector")
"""Of the field that becomes it; a column of vectors in a table is `vector`."""


def export_lab(store: Store, out: Path, *, records_per_file: int = 500, compression: Compression = "") -> Iterator[str]:
    """Writes every sample of a dataset; yields each key.

    Args:
        records_per_file: the pipeline's own default is 500.
        compression: "", "gzip" or "zlib"; the pipeline's own reader takes none.

    Raises:
        ConfigError: the dataset has no LAB fields in float32, or OUT is neither new nor empty, or lies in it.
        DamageError: a stored value is damaged.
    """
    features = lab_features(store.schema)
    if records_per_file < 1:
        raise ConfigError(f"records a file are 1 or more, got {records_per_file}")
    refuse_inside(out, store.folder if isinstance(store.folder, Path) else None)
    check_target(out)
    with clear_disk_errors(out):
        make_output(out)
        (out / UNFINISHED_NAME).touch()
        clear_temporary(out.iterdir())
        for split in store.splits:
            prefix = "" if split == "train" or len(store.splits) == 1 else f"{split}_"
            rows = store.rows(split, [field for _, field in features])
            number = 0
            while part := list(islice(rows, records_per_file)):
                name = f"{prefix}lab_images_{number}{SUFFIXES[compression]}"
                with replacing(out / name) as temporary, create(temporary, compression) as file:
                    for row in part:
                        file.write(framed(lab_example(features, row)))
                yield from (row.key for row in part)
                number += 1
        (out / UNFINISHED_NAME).unlink()


def lab_features(schema: Schema) -> list[tuple[str, str]]:
    """(feature, field) of every feature of a record, sorted.

    Raises:
        ConfigError: a field is missing, or has another type than the pipeline reads.
    """
    for name in WANTED:
        if name not in schema.names or (name != "image_name" and schema[name].dtype != "float32"):
            raise ConfigError(
                f"the colour pipeline's records need {', '.join(WANTED)} in float32, this dataset has "
                f"{', '.join(schema.names)}: make them with `imagemill pack SRC OUT --fields lab`"
            )
    embedding = next((name for name in EMBEDDING_NAMES if name in schema.names), None)
    return sorted([*((name, name) for name in WANTED), *([(EMBEDDING, embedding)] if embedding else [])])


def lab_example(features: list[tuple[str, str]], row: Row) -> bytes:
    """The Example of a row."""
    parts: list[Buffer] = []
    size_bytes = 0
    for feature, field in features:
        value = row.values[field]
        kind: Kind = "bytes" if feature == "image_name" else "float"
        head = feature_head(feature.encode(), kind, len(value))
        parts += (head, value)
        size_bytes += len(head) + len(value)
    return b"".join([example_head(size_bytes), *parts])
