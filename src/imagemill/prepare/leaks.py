"""Leaks: the same patient, clip or picture in several splits; found, and mended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.prepare.plan import UNASSIGNED, HashArray, SplitArray
from imagemill.prepare.units import extremes, members, settle

SHOWN_KEYS = 4
"""Keys named as an example of a leak."""


@dataclass(frozen=True)
class Leak:
    """Units that lie in the same splits, which they should not.

    Args:
        splits: names of the splits, in the dataset's order.
        units: how many groups or clusters of near-duplicates.
        samples: in all of them.
        example: keys of the first of them, at most `SHOWN_KEYS`.
    """

    splits: tuple[str, ...]
    units: int
    samples: int
    example: tuple[str, ...] = ()

    def __str__(self) -> str:
        groups = f"{self.units:,} group{'s' if self.units > 1 else ''} of {self.samples:,} samples"
        return f"{' + '.join(self.splits)}: {groups}, as {', '.join(self.example)}"


def leak_from_json(record: Mapping[str, Any]) -> Leak:
    """The leak that `asdict` made this of, be it by way of JSON."""
    return Leak(tuple(record["splits"]), record["units"], record["samples"], tuple(record["example"]))


def find_leaks(
    units: HashArray, splits: SplitArray, names: Sequence[str], key_of: Callable[[int], str]
) -> tuple[Leak, ...]:
    """What straddles splits, by the splits that it straddles.

    Args:
        units: uint64, shape (n,): equal numbers should be in one split.
        splits: int16, shape (n,); `UNASSIGNED` for samples in no split.
        names: of split 0, 1, ….
        key_of: key of sample i.
    """
    rows = np.flatnonzero(settle(units, splits).straddling & (splits != UNASSIGNED))
    found: dict[tuple[int, ...], list[npt.NDArray[np.int64]]] = defaultdict(list)
    for unit in members(units[rows]):
        found[tuple(np.unique(splits[rows[unit]]).tolist())].append(rows[unit])
    return tuple(
        Leak(
            splits=tuple(names[number] for number in numbers),
            units=len(leaking),
            samples=sum(map(len, leaking)),
            example=tuple(map(key_of, _example(min(leaking, key=lambda rows: int(rows[0])), splits))),
        )
        for numbers, leaking in sorted(found.items())
    )


def _example(rows: npt.NDArray[np.int64], splits: SplitArray) -> list[int]:
    """The first samples of a unit, one of every split among them."""
    firsts = one_of_each(rows, splits)
    return (firsts + [row for row in rows.tolist() if row not in firsts])[:SHOWN_KEYS]


def one_of_each(rows: npt.NDArray[np.int64], splits: SplitArray) -> list[int]:
    """The first of these rows in every split that they are in, splits ascending; free rows do not count."""
    placed = rows[splits[rows] != UNASSIGNED]
    return placed[np.unique(splits[placed], return_index=True)[1]].tolist()  # type: ignore[no-any-return]


def protection(names: Sequence[str]) -> npt.NDArray[np.int16]:
    """How much each split is to be kept from training: int16, higher is more, all different.

    `test` before `val` before any other, of those the first named, before `train`.
    """
    fixed = {"test": len(names) + 2, "val": len(names) + 1, "train": 0}
    return np.array([fixed.get(name, len(names) - number) for number, name in enumerate(names)], np.int16)


def mend(units: HashArray, splits: SplitArray, names: Sequence[str]) -> SplitArray:
    """Brings every unit that is in several splits into the most protected of them, as a whole.

    So what is evaluated on stays where it is, and nothing of it is trained on.

    Args:
        units: uint64, shape (n,).
        splits: int16, shape (n,); `UNASSIGNED` samples of such units come along.
        names: of split 0, 1, ….

    Returns:
        int16, shape (n,); samples of other units as they were.
    """
    straddling = np.flatnonzero(settle(units, splits).straddling)
    ranks = protection(names)
    placed = straddling[splits[straddling] != UNASSIGNED]
    known, _, most = extremes(units[placed], ranks[splits[placed]])
    split_of_rank = np.zeros(int(ranks.max(initial=0)) + 1, np.int16)
    split_of_rank[ranks] = np.arange(len(names))
    result = splits.copy()
    result[straddling] = split_of_rank[most[np.searchsorted(known, units[straddling])]]
    return result
