"""Quality flags of a checked pile: how many samples have each, and the worst of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.curate.table import DUPLICATE_FLAGS, FLAGS
from imagemill.reports.facts import Flag

SHOWN_WORST = 6

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """What makes one sample worse than another under a flag.

    Args:
        columns: of every image field.
        badness: higher is worse; from arrays of those columns over all rows of the pile, NaN where unknown.
        words: the values of one row, for its caption.
    """

    columns: tuple[str, ...]
    badness: Callable[..., FloatArray]
    words: Callable[..., str]


def _far_from_median(values: FloatArray) -> FloatArray:
    """How many times larger or smaller than the median, as a logarithm."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.log(values)
    finite = np.isfinite(logarithms)
    middle = float(np.median(logarithms[finite])) if finite.any() else 0.0
    return np.where(finite, np.abs(logarithms - middle), np.nan)


def _size_in_words(height: float, width: float) -> str:
    return f"{width:.0f}x{height:.0f}"


MEASURES = {
    "blurred": Measure(("sharpness",), lambda sharpness: -sharpness, lambda value: f"sharpness {value:.3g}"),
    "bright": Measure(("brightness",), lambda brightness: brightness, lambda value: f"brightness {value:.2f}"),
    "dark": Measure(("brightness",), lambda brightness: -brightness, lambda value: f"brightness {value:.2f}"),
    "low-information": Measure(("entropy",), lambda entropy: -entropy, lambda value: f"{value:.1f} bits of 8"),
    "odd-aspect": Measure(("height", "width"), lambda height, width: _far_from_median(width / height), _size_in_words),
    "odd-size": Measure(("height", "width"), lambda height, width: _far_from_median(width * height), _size_in_words),
}
"""Flag → its measure; the others have none, their first samples by key are shown."""


def flags_of(table: pa.Table, images: Sequence[str]) -> tuple[Flag, ...]:
    """Every flag with its samples, the most frequent first; duplicates' own flags have no examples here.

    Args:
        table: of good rows, with the column `flags`.
        images: names of the image fields.
    """
    lists = table["flags"].combine_chunks()
    names = pc.list_flatten(lists)
    rows = pc.list_parent_indices(lists).to_numpy()
    found = []
    for entry in pc.value_counts(names).to_pylist():
        name, count = entry["values"], entry["counts"]
        flagged = rows[pc.equal(names, name).to_numpy(zero_copy_only=False)].astype(np.int64)
        worst = () if name in DUPLICATE_FLAGS.values() else _worst(table, images, name, flagged)
        found.append(Flag(name, FLAGS.get(name, ""), count, count / max(table.num_rows, 1), worst))
    return tuple(sorted(found, key=lambda flag: (-flag.samples, flag.name)))


def _worst(
    table: pa.Table, images: Sequence[str], name: str, flagged: npt.NDArray[np.int64]
) -> tuple[tuple[str, str], ...]:
    """(key, measure in words) of the worst flagged rows; the measure is that of the image field that is worst."""
    measure = MEASURES.get(name)
    fields = [field for field in images if measure and _has(table, measure, field)]
    if measure is None or not fields:
        return tuple((table["key"][row].as_py(), "") for row in flagged[:SHOWN_WORST].tolist())
    values = [[_numbers(table, f"{column}.{field}") for column in measure.columns] for field in fields]
    badness = np.stack([np.nan_to_num(measure.badness(*columns), nan=-np.inf) for columns in values])
    worst_field = badness.argmax(axis=0)
    order = flagged[np.argsort(-badness.max(axis=0)[flagged], kind="stable")[:SHOWN_WORST]]
    return tuple(
        (table["key"][row].as_py(), measure.words(*(column[row] for column in values[worst_field[row]])))
        for row in order.tolist()
    )


def _has(table: pa.Table, measure: Measure, field: str) -> bool:
    return all(f"{column}.{field}" in table.column_names for column in measure.columns)


def _numbers(table: pa.Table, name: str) -> FloatArray:
    return np.asarray(pc.cast(table[name], pa.float64()).to_numpy(), np.float64)
