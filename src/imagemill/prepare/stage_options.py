"""What a user asks of `stage`: how pictures are made to fit, and where they go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import ImageColor

from imagemill.codecs.arrays import SUBSAMPLINGS
from imagemill.codecs.image import FILTERS
from imagemill.core.recipe import Recipe
from imagemill.curate.limits import Limits
from imagemill.errors import ConfigError
from imagemill.transforms.geometry import FITS

ORIENTATIONS = ("portrait", "landscape")
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
}
"""Formats that are written, and the suffixes of each; the first one is given to files that are converted."""

FORMAT_OF_SUFFIX = {suffix: name for name, suffixes in SUFFIXES.items() for suffix in suffixes}
TARGETS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}
"""Formats that `to` names."""

CONFIG_NAMES = ("config/config.json", ".config/config.json")
"""Where the Color-Reverser kit keeps its settings, relative to the project."""


@dataclass(frozen=True)
class StageOptions:
    """How pictures are staged: equal options over equal sources give equal files.

    Args:
        size: (height, width), or None: each keeps its own.
        fit: how a picture meets `size`, see `transforms.geometry.fit_size`; short and long never enlarge.
        fill: colour around the picture with fit "contain".
        filter: resampling filter of images; masks take the nearest pixel.
        orient: "portrait" turns what lies on its side by 90° counter-clockwise, "landscape" what stands, clockwise;
            None leaves both. Decided once a sample, so a pair is turned together or not at all.
        grey_before: each `before` is the grey of its `after`; single images become pairs.
        to: format of `TARGETS` that all are written in; None keeps JPEG, PNG and WebP and makes others PNG.
        quality: of JPEG and WebP, 1–100.
        subsampling: of the colours in JPEG.
        split: split name → exact share; empty: pictures stay in the folders they are in.
        split_counts: "hash" or "exact", as for `pack`.
        seed: of the split.
        split_table: path → split, instead of shares: what `splits.csv` of an earlier run says.
        link: whether unchanged files are symbolic links to the originals.
        restore: whether split folders are taken together again.
        rename: whether `_before` is added to every name that lacks it.
        limit: only the first so many samples.
        limits: what one image may cost.
    """

    size: tuple[int, int] | None = None
    fit: str = "exact"
    fill: tuple[int, int, int] = (255, 255, 255)
    filter: str = "lanczos"
    orient: str | None = None
    grey_before: bool = False
    to: str | None = None
    quality: int = 95
    subsampling: str = "444"
    split: Mapping[str, Fraction] = field(default_factory=dict)
    split_counts: str = "hash"
    seed: int = 0
    split_table: Mapping[str, str] = field(default_factory=dict)
    link: bool = False
    restore: bool = False
    rename: bool = False
    limit: int | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("fit", self.fit, tuple(FITS)),
            ("filter", self.filter, tuple(FILTERS)),
            ("orient", self.orient, (None, *ORIENTATIONS)),
            ("to", self.to, (None, *TARGETS)),
            ("subsampling", self.subsampling, SUBSAMPLINGS),
        ):
            if value not in allowed:
                raise ConfigError(f"{name} {value!r} is none of {', '.join(str(one) for one in allowed if one)}")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality must be 1–100, got {self.quality}")
        if self.split and (self.split_table or self.restore):
            raise ConfigError("--split deals pictures out anew: leave --split-table and --restore away")
        if self.split_table and self.restore:
            raise ConfigError("--split-table deals pictures out, --restore takes them together: use one of the two")
        if self.rename and self.grey_before:
            raise ConfigError("--grey-before names both halves of a pair: leave --rename away")
        Recipe(split=self.split, split_counts=self.split_counts, limit=self.limit)  # type: ignore[arg-type]  # checks

    @property
    def changes_pixels(self) -> bool:
        """Whether anything is asked for that pixels may have to be made anew for."""
        return bool(self.size or self.orient or self.grey_before or self.to)

    @property
    def deals(self) -> bool:
        """Whether pictures go to the folders of splits."""
        return bool(self.split or self.split_table)

    def to_json(self) -> dict[str, Any]:
        """A plain dict; of a split table its number of rows."""
        record = asdict(self)
        record["size"] = None if self.size is None else list(self.size)
        record["fill"] = list(self.fill)
        record["split"] = {name: str(share) for name, share in self.split.items()}
        record["split_table"] = len(self.split_table)
        return record


def written_suffix(suffix: bytes, options: StageOptions, *, mask: bool = False) -> bytes:
    """Suffix of a staged file, which tells the format that it is written in if its pixels change.

    A name that fits stays, `.JPG` too; masks become PNG, and so does what is neither JPEG, PNG nor WebP.

    Args:
        suffix: of the original, with its dot, or empty.
    """
    if not options.changes_pixels:
        return suffix
    own = FORMAT_OF_SUFFIX.get(suffix.decode("latin-1").lower())
    wanted = "PNG" if mask or own is None else own
    if options.to and not mask:
        wanted = TARGETS[options.to]
    return suffix if own == wanted else SUFFIXES[wanted][0].encode()


def format_of(suffix: bytes) -> str:
    """The format that a staged file's suffix tells."""
    return FORMAT_OF_SUFFIX[suffix.decode("latin-1").lower()]


def parse_colour(text: str) -> tuple[int, int, int]:
    """(red, green, blue), 0–255, from "white", "#rrggbb" or "rgb(…)".

    Raises:
        ConfigError: no such colour.
    """
    try:
        colour = ImageColor.getrgb(text)
    except ValueError:
        raise ConfigError(f"fill {text!r} is no colour: write white, black, #rrggbb or rgb(128,128,128)") from None
    return colour[0], colour[1], colour[2]


def size_of_config(path: Path) -> tuple[int, int]:
    """(height, width) that a Color-Reverser config asks for: `training.img_height` and `training.img_width`.

    Args:
        path: the JSON file, or the project that has it at one of `CONFIG_NAMES`.

    Raises:
        ConfigError: no such file, or no two whole numbers of these names.
    """
    candidates = [path / name for name in CONFIG_NAMES] if path.is_dir() else [path]
    found = next((file for file in candidates if file.is_file()), None)
    if found is None:
        raise ConfigError(f"no config at {' or '.join(map(str, candidates))}: give its path")
    try:
        record = json.loads(found.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{found} cannot be read as JSON: {error}") from None
    section = record.get("training", record) if isinstance(record, dict) else None
    return _side(found, section, "img_height"), _side(found, section, "img_width")


def _side(file: Path, section: Any, name: str) -> int:
    side = section.get(name) if isinstance(section, dict) else None
    if type(side) is not int or side < 1:
        raise ConfigError(f"{file}: training.{name} is {side!r}, a whole number above 0 is wanted")
    return side
