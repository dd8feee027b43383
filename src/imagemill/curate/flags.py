"""Which samples deserve a second look: flags from the columns of a table of checks, and the thresholds they follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.curate.near import RADIUS
from imagemill.curate.resemblance import RESEMBLANCE
from imagemill.curate.similar import COSINE
from imagemill.errors import ConfigError

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Thresholds:
    """From where on a flag is set. The names are those of `--threshold NAME=VALUE`.

    Args:
        dark: `luma95` up to this: 95 % of the pixels are no brighter.
        bright: `luma05` from this on: 95 % of the pixels are no darker.
        blurred: `sharpness` up to this.
        information: `contrast` up to this is low information.
        grey: `chroma` up to this, of files with colour channels.
        size: times that the number of pixels is above or below the pile's median, and outside of `spread`.
        aspect: longer side over shorter side from this on, and outside of `spread`.
        spread: robust standard deviations (1.4826 times the median absolute deviation, of logarithms) from the pile's
            median within which nothing is odd.
        bits: bits of 128 in which hashes of near-duplicates may differ.
        near: resemblance from which pictures are near-duplicates.
        cosine: of embeddings, where a check is told of some, from which pictures are near-duplicates.
    """

    dark: float = 0.2
    bright: float = 0.92
    blurred: float = 0.15
    information: float = 0.02
    grey: float = 0.02
    size: float = 8.0
    aspect: float = 3.0
    spread: float = 4.0
    bits: int = RADIUS
    near: float = RESEMBLANCE
    cosine: float = COSINE

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < np.inf:
                raise ConfigError(f"threshold {field.name} must be a number from 0 on, got {value}")
        if not 0 < self.cosine <= 1:
            raise ConfigError(f"threshold cosine is above 0 and at most 1, got {self.cosine}")
        if self.bits > _MOST_BITS or self.bits != int(self.bits):
            raise ConfigError(f"threshold bits is a whole number from 0 to {_MOST_BITS}, got {self.bits}")

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return asdict(self)


_MOST_BITS = 31


def parse_thresholds(given: Mapping[str, float]) -> Thresholds:
    """The default thresholds with those that are given.

    Raises:
        ConfigError: an unknown name, or a value that cannot be.
    """
    known = {field.name for field in fields(Thresholds)}
    for name in given:
        if name not in known:
            raise ConfigError(f"unknown threshold {name!r}; the thresholds are {', '.join(sorted(known))}")
    values = dict(given)
    bits = values.pop("bits", RADIUS)
    return Thresholds(bits=int(bits) if float(bits).is_integer() else bits, **values)  # type: ignore[arg-type]


def picture_flags(table: pa.Table, images: tuple[str, ...], thresholds: Thresholds) -> dict[str, BoolArray]:
    """Flags of single pictures: a sample has one that any of its image fields has.

    Args:
        table: columns of a table of checks; missing values set no flag.
        images: its image fields.

    Returns:
        flag → whether each row has it, shape (rows,).
    """
    flags = {name: np.zeros(table.num_rows, np.bool_) for name in _PICTURE_FLAGS}
    for field in images:
        for name, found in _field_flags(table, field, thresholds).items():
            flags[name] |= found
    return flags


_PICTURE_FLAGS = ("blurred", "bright", "dark", "grey-in-rgb", "low-information", "odd-aspect", "odd-size")


def _field_flags(table: pa.Table, field: str, limits: Thresholds) -> dict[str, BoolArray]:
    def column(name: str) -> FloatArray:
        return np.asarray(table[f"{name}.{field}"].to_numpy(), np.float64)

    height, width = column("height"), column("width")
    even = column("contrast") <= limits.information
    coloured = ~pc.is_in(table[f"mode.{field}"], pa.array(_NO_CHANNELS)).to_numpy()
    elongation = np.maximum(height, width) / np.minimum(height, width)
    return {
        "low-information": even,
        "dark": column("luma95") <= limits.dark,
        "bright": column("luma05") >= limits.bright,
        "blurred": (column("sharpness") <= limits.blurred) & ~even,
        "grey-in-rgb": (column("chroma") <= limits.grey) & coloured,
        "odd-size": np.abs(_deviation(height * width)) >= _limit(height * width, limits.size, limits.spread),
        "odd-aspect": (elongation >= limits.aspect)
        & (_deviation(elongation) >= _limit(elongation, 1.0, limits.spread)),
    }


_NO_CHANNELS = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N", "P", "PA")
"""Modes of Pillow without colour channels."""


def _deviation(values: FloatArray) -> FloatArray:
    """Logarithm of values over their median."""
    logarithms = np.log(np.maximum(values, 1.0))
    return np.asarray(logarithms - _median(logarithms))


def _limit(values: FloatArray, factor: float, spread: float) -> float:
    """Deviation from which a value is odd: by a factor, and outside of the pile's own spread."""
    return max(float(np.log(max(factor, 1.0))), spread * 1.4826 * _median(np.abs(_deviation(values))))


def _median(values: FloatArray) -> float:
    present = values[~np.isnan(values)]
    return float(np.median(present)) if len(present) else 0.0
