"""`imagemill info DATASET|MODEL`."""

from __future__ import annotations

from typing import Annotated, Any

from imagemill.api.info import info
from imagemill.cli import options as o
from imagemill.cli.console import account_rows, class_rows, human_bytes, print_json, print_rows, shard_count
from imagemill.cli.parameters import Argument

DatasetOrModel = Annotated[
    str, Argument(metavar="DATASET|MODEL", help="Finished dataset, model file, or folder of a training run.")
]


def command(dataset: DatasetOrModel, json: o.Json = False) -> None:
    """Print fields, splits, classes, sizes, recipe and versions of a dataset; or what a model takes and gives."""
    facts = info(dataset)
    if json:
        print_json(facts)
        return
    if "models" in facts:
        for model in facts["models"]:
            print_rows(model_rows(model))
        return
    counts = facts["counts"]
    rows = [("dataset", facts["path"]), ("format", facts["format"]), ("pixels", facts["pixels"])]
    rows += [("field " + field["name"], describe_field(field)) for field in facts["fields"]]
    for name, split in facts["splits"].items():
        classes = counts["classes"].get(name, {})
        text = f"{split['samples']:,} samples, {shard_count(split['shards'])}, {human_bytes(split['bytes'])}"
        rows.append((f"split {name}", f"{text}{': ' + class_rows(classes) if classes else ''}"))
    rows += account_rows(counts)
    recipe = {name: value for name, value in facts["recipe"].items() if value not in (None, {}, [])}
    rows.append(("recipe", ", ".join(f"{name}={value}" for name, value in recipe.items())))
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())))
    print_rows(rows)


def model_rows(model: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows about one model."""
    gives = f"{len(model['classes'])} classes" if model["classes"] else f"{model['output_colour']}"
    height, width = model["training_size"]
    rows = [
        ("model", model["file"]),
        ("network", f"{model['network']}, {model['parameters']:,} parameters"),
        ("options", ", ".join(f"{name}={value}" for name, value in model["options"].items())),
        ("task", f"{model['task']}, {model['direction']}" + (f", x{model['scale']}" if model["scale"] > 1 else "")),
        ("takes", f"{model['input_colour']} ({model['in_channels']}), sides: {model['sizes']}"),
        ("gives", f"{gives} ({model['out_channels']})"),
        ("training", f"{human_bytes(model['training_bytes_a_picture'])} kept for each picture of {width}x{height}"),
    ]
    if model["classes"]:
        rows.append(("classes", ", ".join(model["classes"])))
    if model["dataset"]:
        rows.append(("data", f"manifest sha256 {model['dataset']}, {model['steps']:,} steps"))
    rows += [(name, f"{value:.4f}") for name, value in model["metrics"].items()]
    return rows


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
