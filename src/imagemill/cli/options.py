"""Options that several commands have, each defined once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from imagemill.cli.parameters import Argument, Option
from imagemill.core.recipe import Recipe, parse_bytes
from imagemill.errors import ConfigError

Source = Annotated[str, Argument(metavar="SRC", help="Folder, table, archive or dataset. Never written to.")]
Out = Annotated[Path, Argument(metavar="OUT", help="New or empty folder; everything is written there.")]
Dataset = Annotated[str, Argument(metavar="DATASET", help="Folder or URL of a finished dataset.")]
Json = Annotated[bool, Option("--json", help="One JSON document on stdout, nothing else.")]
Workers = Annotated[
    int | None, Option("--workers", help="Processes; default one a core, 0 works in this process.", min=0)
]
Limit = Annotated[int | None, Option("--limit", help="Only the first N samples.", min=1)]
Kind = Annotated[
    str | None,
    Option(
        "--source",
        metavar="KIND",
        help="What SRC is, where the guess is wrong: folder, pairs, masks, captions, table, archive, dataset, "
        "webdataset, parquet, fetched, urls, hpc.",
    ),
]
Allow = Annotated[
    list[str] | None,
    Option(
        "--allow", metavar="HOST:PORT", help="Of a list of URLs: a server whose address is not public; repeat for each."
    ),
]
UrlColumn = Annotated[str | None, Option("--url-column", help="Of a list of URLs: the column that has them.")]
MaxRejects = Annotated[str, Option("--max-rejects", help="Share of rejected samples above which the exit code is 6.")]
Decode = Annotated[str, Option("--decode", help="full: prove every image whole; headers: trust pixels, read headers.")]
Engine = Annotated[str, Option("--engine", help="local or ray.")]
RayAddress = Annotated[
    str | None,
    Option(
        "--ray-address",
        help="Of a running Ray cluster, ray://HOST:10001 or HOST:6379; default RAY_ADDRESS, else local: one of this "
        "machine alone that ends with the run.",
    ),
]
MaxPixels = Annotated[int, Option("--max-pixels", help="Larger images are rejected.", min=1)]
MaxSeconds = Annotated[float, Option("--max-seconds", help="Decoding that takes longer is a reject.")]
MaxMemory = Annotated[str, Option("--max-memory", help="Decoding that needs more is a reject (2GiB).")]
CaptionColumn = Annotated[str | None, Option("--caption-column", help="Table column with text.")]
ShardSize = Annotated[str, Option("--shard-size", help="Samples (1000) or bytes (256MB) a shard.")]
SplitColumn = Annotated[str | None, Option("--split-column", help="Table column that names the split.")]
GroupColumn = Annotated[
    str | None, Option("--group-column", help="Table column whose equal values never straddle splits.")
]
GroupPattern = Annotated[
    str | None, Option("--group-pattern", help="Regular expression on the key; its first group is the group.")
]
ClassToIdx = Annotated[
    Path | None, Option("--class-to-idx", help="JSON file {class: integer} that numbers the classes.")
]
Labels = Annotated[
    bool | None,
    Option("--labels/--no-labels", help="Whether folder names are classes; default by what is there."),
]
References = Annotated[
    bool | None, Option("--references", help="Of chunked folders: each tile carries the reference image, too.")
]


@dataclass(frozen=True)
class RankOptions:
    """Which of several processes this one is."""

    rank: Annotated[int | None, Option("--rank", help="This process's rank; default from torchrun or SLURM.")] = None
    world_size: Annotated[int | None, Option("--world-size", help="Number of ranks.")] = None


@dataclass(frozen=True)
class LimitOptions:
    """What one image may cost."""

    max_pixels: MaxPixels = Recipe.max_pixels
    max_bytes: Annotated[str, Option("--max-bytes", help="Larger files are rejected (512MiB).")] = "512MiB"
    max_seconds: MaxSeconds = Recipe.max_seconds
    max_memory: MaxMemory = "2GiB"

    def given(self) -> dict[str, Any]:
        """As `pack` and `check` take it."""
        return {
            "max_pixels": self.max_pixels,
            "max_bytes": parse_bytes(self.max_bytes),
            "max_seconds": self.max_seconds,
            "max_memory_bytes": parse_bytes(self.max_memory),
        }


@dataclass(frozen=True)
class ColumnOptions:
    """What a table's columns mean."""

    path_column: Annotated[str | None, Option("--path-column", help="Table column that names the image.")] = None
    label_column: Annotated[str | None, Option("--label-column", help="Table column with the class.")] = None
    caption_column: CaptionColumn = None
    vector_column: Annotated[str | None, Option("--vector-column", help="Table column with lists of numbers.")] = None
    mask_column: Annotated[str | None, Option("--mask-column", help="Table column that names the mask.")] = None


@dataclass(frozen=True)
class FolderOptions:
    """Where in a folder the images of a sample lie."""

    images: Annotated[str | None, Option("--images", help="Sub-folder with the images.")] = None
    masks: Annotated[str | None, Option("--masks", help="Sub-folder with the masks.")] = None
    before: Annotated[str | None, Option("--before", help="Sub-folder with the images before.")] = None
    after: Annotated[str | None, Option("--after", help="Sub-folder with the images after.")] = None


def source_options(*groups: ColumnOptions | FolderOptions, **others: Any) -> dict[str, Any]:
    """Source options that were given, `class_to_idx` read from its file.

    Raises:
        ConfigError: the file is no JSON object of integers.
    """
    values = {name: value for group in groups for name, value in asdict(group).items()} | others
    options = {name: value for name, value in values.items() if value is not None}
    if "class_to_idx" in options:
        options["class_to_idx"] = read_class_to_idx(options["class_to_idx"])
    return options


def read_class_to_idx(path: Path) -> dict[str, int]:
    """{class: integer} from a JSON file."""
    try:
        mapping = json.loads(path.expanduser().read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--class-to-idx {path} cannot be read: {error}") from None
    if not isinstance(mapping, dict) or not all(isinstance(number, int) for number in mapping.values()):
        raise ConfigError(f"--class-to-idx {path}: a JSON object of class: integer is wanted")
    return mapping


def read_split_lists(lists: list[str]) -> dict[str, Path]:
    """NAME=FILE options as a mapping.

    Raises:
        ConfigError: one is not of that form.
    """
    result = {}
    for entry in lists:
        name, equals, path = entry.partition("=")
        if not equals or not name or not path:
            raise ConfigError(f"--split-list {entry!r}: write NAME=FILE, as train=train.txt")
        result[name] = Path(path)
    return result
