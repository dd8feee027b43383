"""`imagemill info DATASET`."""

from __future__ import annotations

from typing import Any

from imagemill.api.info import info
from imagemill.cli import options as o
from imagemill.cli.console import account_rows, class_rows, human_bytes, print_json, print_rows


def command(dataset: o.Dataset, json: o.Json = False) -> None:
    """Print fields, splits, classes, sizes, recipe and versions of a dataset."""
    facts = info(dataset)
    if json:
        print_json(facts)
        return
    counts = facts["counts"]
    rows = [("dataset", facts["path"]), ("format", facts["format"]), ("pixels", facts["pixels"])]
    rows += [("field " + field["name"], describe_field(field)) for field in facts["fields"]]
    for name, split in facts["splits"].items():
        classes = counts["classes"].get(name, {})
        text = f"{split['samples']:,} samples, {split['shards']:,} shards, {human_bytes(split['bytes'])}"
        rows.append((f"split {name}", f"{text}{': ' + class_rows(classes) if classes else ''}"))
    rows += account_rows(
        counts["found"],
        counts["kept"],
        counts["rejected"],
        counts["ignored"],
        counts["reasons"],
        counts["ignored_kinds"],
        counts["notes"],
    )
    recipe = {name: value for name, value in facts["recipe"].items() if value not in (None, {}, [])}
    rows.append(("recipe", ", ".join(f"{name}={value}" for name, value in recipe.items())))
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())))
    print_rows(rows)


def describe_field(field: dict[str, Any]) -> str:
    """A field in a few words: `image, encoded`, `label, int64, 250 classes`."""
    parts = [field["kind"]]
    if field["codec"] == "raw":
        sides = "x".join("?" if side is None else str(side) for side in field["shape"])
        parts.append(field["dtype"] + (f", {sides}" if sides else ""))
    else:
        parts.append(field["codec"])
    if field.get("class_names"):
        parts.append(f"{len(field['class_names'])} classes")
    return ", ".join(parts)
