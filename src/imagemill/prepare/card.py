"""`README.md`: the dataset card, for people and for Hugging Face.

The block on top is YAML that the Hub reads (https://huggingface.co/docs/hub/datasets-cards); its values are
written as JSON, which is YAML. `croissant.json` comes from the neighbour module and is offered here too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from imagemill.core.manifest import Manifest, ShardInfo
from imagemill.core.schema import Field, Schema
from imagemill.errors import REASONS
from imagemill.formats.parquet_columns import hub_feature
from imagemill.prepare.croissant import PNG_DTYPES, croissant, description, shard_patterns

__all__ = ["croissant", "dataset_card"]

HUB_FORMATS = ("parquet",)
"""Formats whose files the Hub shows as a table, image by image."""

MAX_CLASS_ROWS = 200
"""Longer tables of classes are cut: the manifest has them all."""

_SIZE_STEPS = ((10**3, "1K"), (10**4, "10K"), (10**5, "100K"), (10**6, "1M"), (10**7, "10M"), (10**8, "100M"))

_CODED_ANEW = "The JPEGs among the image files were coded anew for decoding speed"
_GIVEN_BACK = (
    "without loss: imagemill decodes them to the same pixels, and gives each file back (`imagemill export`, "
    "`imagemill convert --pixels original`). Other readers see bytes that are no image. Files that are no such JPEG "
    "are stored as they came."
)

_PIXELS = {
    "original": "Image files are stored byte for byte as they came. What a reader has to apply when it decodes "
    "(orientation, colour profile) is noted per sample; imagemill applies it.",
    "recoded": f"{_CODED_ANEW}, {_GIVEN_BACK}",
    "recoded-compact": f"{_CODED_ANEW}, compactly, {_GIVEN_BACK}",
    "resized": "Images were brought to the recipe's size once, upright and in sRGB, and encoded as JPEG.",
    "raw": "Images were decoded once, upright and in sRGB, and stored as uint8 arrays of one size.",
}


def dataset_card(manifest: Manifest) -> str:
    """The text of `README.md`: YAML for the Hub, then what a person wants to know.

    A pure function: equal manifests give equal text. It claims no licence: whoever publishes adds one.
    """
    parts = [
        f"---\n{_yaml(_front_matter(manifest))}---\n",
        f"# Dataset of {manifest.count():,} samples\n\n{description(manifest)}\n",
        f"## Fields\n\n{_fields_table(manifest.schema)}",
        f"## Splits\n\n{_splits_table(manifest)}",
        _classes_section(manifest),
        f"## Pixels\n\n{_PIXELS[manifest.pixels]}\n{_notes_table(manifest)}",
        f"## What was found\n\n{_found_section(manifest)}",
        f"## How to load it\n\n{_loading_section(manifest)}",
        f"## How it was made\n\n{_made_section(manifest)}",
    ]
    return "\n".join(part for part in parts if part)


# YAML


def _front_matter(manifest: Manifest) -> dict[str, Any]:
    front: dict[str, Any] = {"tags": ["imagemill"], "size_categories": [_size_category(manifest.count())]}
    tasks = _task_categories(manifest.schema)
    if tasks:
        front["task_categories"] = tasks
    if manifest.format in HUB_FORMATS:
        front["configs"] = [{"config_name": "default", "data_files": _data_files(manifest)}]
        front["dataset_info"] = _dataset_info(manifest)
    return front


def _data_files(manifest: Manifest) -> list[dict[str, str]]:
    return [{"split": _hub_split(split), "path": shard_patterns(manifest, split)[0]} for split in manifest.splits]


def _dataset_info(manifest: Manifest) -> dict[str, Any]:
    splits = [
        {"name": _hub_split(split), "num_bytes": _size_bytes(shards), "num_examples": manifest.count(split)}
        for split, shards in manifest.splits.items()
    ]
    size_bytes = sum(map(_size_bytes, manifest.splits.values()))
    return {**_features(manifest.schema), "splits": splits, "download_size": size_bytes, "dataset_size": size_bytes}


def _features(schema: Schema) -> dict[str, Any]:
    """The columns, where the schema tells: encoded masks are PNG or .npy files, and the shards say which."""
    if any(field.kind == "mask" and field.codec == "encoded" for field in schema):
        return {}
    return {"features": [{"name": "key", "dtype": "string"}, *map(_feature, schema)]}


def _hub_split(split: str) -> str:
    """The Hub allows letters, digits, `_` and dots in the name of a split."""
    return split.replace("-", "_")


def _size_category(count: int) -> str:
    lower = ""
    for limit, name in _SIZE_STEPS:
        if count < limit:
            return f"{lower}<n<{name}" if lower else f"n<{name}"
        lower = name
    return "100M<n<1B" if count < 10**9 else "n>1T" if count > 10**12 else "1B<n<10B"


def _task_categories(schema: Schema) -> list[str]:
    """What the fields are plainly made for; nothing where that is a guess."""
    images = schema.of_kind("image")
    if schema.of_kind("mask"):
        return ["image-segmentation"]
    if len(images) == 2:
        return ["image-to-image"]
    if len(images) == 1 and schema.of_kind("label"):
        return ["image-classification"]
    return ["image-to-text"] if images and schema.of_kind("text") else []


def _feature(field: Field) -> dict[str, Any]:
    """A column as the Hub's YAML describes it."""
    feature = hub_feature(field, is_array=False)
    entry: dict[str, Any] = {"name": field.name}
    match feature["_type"]:
        case "Image":
            entry["dtype"] = "image"
        case "ClassLabel":
            names = {str(number): name for number, name in enumerate(feature["names"])}
            entry["dtype"] = {"class_label": {"names": names}}
        case "Sequence":
            entry["list"] = feature["feature"]["dtype"]
            if feature["length"] > 0:
                entry["length"] = feature["length"]
        case _:
            entry["dtype"] = feature["dtype"]
    return entry


_UNSAFE_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Characters that JSON leaves as they are and YAML takes for line breaks, or refuses."""


def _scalar(value: str | int) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _UNSAFE_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _yaml(value: Mapping[str, Any] | Sequence[Any], indent: str = "") -> str:
    """Nested mappings, lists, text and integers as YAML blocks, all text in quotes."""
    if isinstance(value, Mapping):
        return "".join(f"{indent}{_key(key)}:{_nested(entry, indent + '  ')}" for key, entry in value.items())
    lines = []
    for entry in value:
        if isinstance(entry, Mapping):
            lines.append(f"{indent}- {_yaml(entry, indent + '  ').lstrip()}")
        else:
            lines.append(f"{indent}- {_scalar(entry)}\n")
    return "".join(lines)


def _key(key: str) -> str:
    return key if key.isidentifier() else _scalar(key)


def _nested(value: Any, indent: str) -> str:
    if isinstance(value, str | int):
        return f" {_scalar(value)}\n"
    return f"\n{_yaml(value, indent)}" if value else " []\n"


# Markdown


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: object) -> str:
    """Any text in one cell of a table."""
    if isinstance(value, int):
        return f"{value:,}"
    return re.sub(r"([\\|<>`*_\[\]])", r"\\\1", " ".join(str(value).split()))


def _fields_table(schema: Schema) -> str:
    return _table(
        ["field", "kind", "values"],
        [["key", "text", "stable name of the sample"], *([f.name, f.kind, _values(f)] for f in schema)],
    )


def _values(field: Field) -> str:
    match field.storage:
        case "text":
            return "UTF-8"
        case "bytes":
            return "a .npy file" if field.kind == "mask" and field.dtype not in PNG_DTYPES else "an image file"
    shape = "×".join("n" if side is None else str(side) for side in field.shape or ())
    kind = f"{field.dtype} {shape}".rstrip()
    return f"{kind}, {len(field.class_names)} classes" if field.class_names else kind


def _splits_table(manifest: Manifest) -> str:
    rows = [
        [split, manifest.count(split), len(shards), _size_bytes(shards)] for split, shards in manifest.splits.items()
    ]
    return _table(["split", "samples", "shards", "bytes"], rows)


def _size_bytes(shards: Sequence[ShardInfo]) -> int:
    return sum(file.size_bytes for shard in shards for file in shard.files)


def _classes_section(manifest: Manifest) -> str:
    counts: Mapping[str, Mapping[str, int]] = manifest.counts.get("classes", {})
    if not counts:
        return ""
    labels = manifest.schema.of_kind("label")
    names = dict.fromkeys(labels[0].class_names or () if labels else ())
    for named in counts.values():
        names.update(dict.fromkeys(named))
    rows = [[name, *(named.get(name, 0) for named in counts.values())] for name in names]
    more = f"\n{len(rows) - MAX_CLASS_ROWS:,} more are in `manifest.json`.\n" if len(rows) > MAX_CLASS_ROWS else ""
    return f"## Classes\n\n{_table(['class', *counts], rows[:MAX_CLASS_ROWS])}{more}"


def _notes_table(manifest: Manifest) -> str:
    notes = manifest.counts.get("notes", {})
    return f"\n{_table(['met in', 'samples'], list(notes.items()))}" if notes else ""


def _found_section(manifest: Manifest) -> str:
    counts = manifest.counts
    sentence = (
        f"{counts['found']:,} files were found: {counts['kept']:,} kept, {counts['rejected']:,} rejected, "
        f"{counts['ignored']:,} passed over on purpose."
        if "found" in counts
        else "The manifest does not count files."
    )
    reasons = counts.get("reasons", {})
    if not reasons:
        return f"{sentence}\n"
    rows = [[reason, count, REASONS.get(reason, "")] for reason, count in reasons.items()]
    return f"{sentence} `rejects.jsonl` names each reject.\n\n{_table(['reason', 'samples', 'meaning'], rows)}"


def _made_section(manifest: Manifest) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    return (
        f"Source: {_cell(manifest.source.get('kind') or 'not recorded')}. Versions: {_cell(versions)}. The recipe that "
        "makes the same bytes again, and a sha256 of every shard, are in `manifest.json`; `imagemill verify` checks "
        "them.\n\nWhoever publishes this adds licence, authors and date, here and in `croissant.json`.\n"
    )


# Loading


def _loading_section(manifest: Manifest) -> str:
    split = next(iter(manifest.splits))
    theirs = _own_reader(manifest, split)
    blocks = [
        "With imagemill, in this folder:\n\n```python\nimport imagemill\n\n"
        f'dataset = imagemill.open(".", "{split}", returns="dict")\nsample = dataset[0]\n```\n'
    ]
    if theirs:
        blocks.append(f"Without it:\n\n```python\n{theirs}\n```\n")
    return "\n".join(blocks)


def _own_reader(manifest: Manifest, split: str) -> str:
    """A few lines that open the first split with the format's own library; empty for formats of others."""
    pattern = shard_patterns(manifest, split)[0]
    first = next((file.path for shard in manifest.splits[split] for file in shard.files), "")
    kind, _, compression = manifest.format.partition("-")
    snippets: Mapping[str, Sequence[str]] = {
        "arrow": ("import pyarrow as pa", "", f'table = pa.ipc.open_file(pa.memory_map("{first}")).read_all()'),
        "hdf5": ("import h5py", "", f'with h5py.File("{first}") as file:', "    print(list(file))"),
        "memmap": ("import numpy as np", "", f'values = np.load("{first}", mmap_mode="r")'),
        "parquet": (
            "from pathlib import Path",
            "",
            "from datasets import load_dataset",
            "",
            f'dataset = load_dataset(str(Path.cwd()), split="{_hub_split(split)}")',
        ),
        "tar": (
            "from glob import glob",
            "",
            "import webdataset",
            "",
            f'dataset = webdataset.WebDataset(sorted(glob("{pattern}")), shardshuffle=False)',
        ),
        "tfrecord": (
            "import tensorflow as tf",
            "",
            f'files = sorted(tf.io.gfile.glob("{pattern}"))',
            f'dataset = tf.data.TFRecordDataset(files, compression_type="{compression.upper()}")',
        ),
    }
    return "\n".join(snippets.get(kind, ()))
