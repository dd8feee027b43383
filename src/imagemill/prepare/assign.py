"""Which split every sample of a listing goes to, by what the user, an earlier dataset, a check or the source says.

The rules, the first that applies: split lists; the split in an earlier dataset; the split of the sample's unit (its
group, joined with others by near-duplicates); shares or folds, by a hash of the unit or in exact counts; the split
that the source gives; `train`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.core.recipe import Recipe
from imagemill.core.remote import Place
from imagemill.errors import ConfigError
from imagemill.formats.store import Store, shards_of
from imagemill.prepare.exact import split_exactly
from imagemill.prepare.exclusions import EXCLUDED, Checked
from imagemill.prepare.identity import Hashes
from imagemill.prepare.leaks import Leak, find_leaks, mend, one_of_each
from imagemill.prepare.plan import UNASSIGNED, HashArray, SplitArray, hash_strings, split_by_hash
from imagemill.prepare.units import Mask, look_up, members, settle, unite

SPLIT_ORDER = {"train": 0, "val": 1, "test": 2}
LEAK = "leak"
BRIDGE = "bridges-splits"
LEAK_ADVICE = "splits share groups or pictures: --mend-leaks move joins them, --mend-leaks drop leaves out the copies"


@dataclass(frozen=True)
class Earlier:
    """The splits of an earlier dataset.

    Args:
        names: of its splits.
        keys, groups: uint64, shape (samples,), hashes.
        splits: int16, shape (samples,).
    """

    names: tuple[str, ...]
    keys: HashArray
    groups: HashArray
    splits: SplitArray


@dataclass
class Assignment:
    """Splits of a listing's samples.

    Args:
        names: of the splits, in order.
        splits: int16, shape (rows,); `UNASSIGNED` for samples that are left out, or in no list.
        units: uint64, shape (rows,): what stays together.
        left_out: row → (reason code, detail) of samples that become rejects.
        moved: row → the split it was in, of samples that were brought into another.
        leaks: what given splits part, as it was found.
        remarks: sentences for the user.
    """

    names: tuple[str, ...]
    splits: SplitArray
    units: HashArray
    left_out: dict[int, tuple[str, str]] = field(default_factory=dict)
    moved: dict[int, str] = field(default_factory=dict)
    leaks: tuple[Leak, ...] = ()
    remarks: list[str] = field(default_factory=list)

    def leave_out(self, rows: npt.NDArray[np.int64], reason: str, detail: str) -> None:
        """Makes samples rejects."""
        self.splits[rows] = UNASSIGNED
        self.left_out |= dict.fromkeys(rows.tolist(), (reason, detail))


def assign(
    listing: pa.Table, hashes: Hashes, recipe: Recipe, earlier: Earlier | None = None, checked: Checked | None = None
) -> Assignment:
    """The split of every sample.

    Args:
        listing: of the source.
        hashes: of its keys and groups.
        recipe: shares, folds, lists, what to do about leaks.
        earlier: splits of the dataset that `recipe.previous` names.
        checked: what the table that `recipe.checks` names says.

    Raises:
        ConfigError: lists, shares and earlier splits that do not go together.
    """
    found, old = _given(listing, hashes, recipe, earlier)
    if checked is not None:
        for row, (flag, detail) in checked.left_out.items():
            found.left_out[row] = (EXCLUDED + flag, detail)
        found.splits[list(checked.left_out)] = UNASSIGNED
        found.remarks += checked.remarks
    if checked is not None or old is not None or not np.array_equal(hashes.groups, hashes.keys):
        _keep_together(listing, hashes.groups, found, checked, old, recipe)
    if recipe.shares:
        _share_out(listing, found, recipe)
    return _fold(found, recipe.fold)


def _keep_together(
    listing: pa.Table,
    groups: HashArray,
    found: Assignment,
    checked: Checked | None,
    old: Mask | None,
    recipe: Recipe,
) -> None:
    """Lets what is not settled follow what it belongs with, and sees to what several splits share."""
    active = _active(found, recipe)
    if checked is not None:
        # What is left out of the dataset links nothing in it.
        found.units[active] = unite(found.units[active], checked.clusters[active])
    together = settle(found.units[active], found.splits[active])
    found.splits[active] = together.splits
    straddling = active[together.straddling]
    if len(straddling):
        _resolve(listing, groups, found, straddling, old, recipe)


def _active(found: Assignment, recipe: Recipe) -> npt.NDArray[np.int64]:
    """Rows that take part: all that are not left out, or, where lists alone decide, that are in one."""
    taking_part = np.ones(len(found.splits), np.bool_)
    taking_part[list(found.left_out)] = False
    if recipe.split_lists and not recipe.shares:
        taking_part &= found.splits != UNASSIGNED
    return np.flatnonzero(taking_part)


def _given(
    listing: pa.Table, hashes: Hashes, recipe: Recipe, earlier: Earlier | None
) -> tuple[Assignment, Mask | None]:
    """Splits that are settled from outside, and which samples an earlier dataset has."""
    units = hashes.groups.copy() if recipe.checks else hashes.groups
    given = listing["split"].combine_chunks() if listing["split"].null_count < listing.num_rows else None
    free = np.full(listing.num_rows, UNASSIGNED, np.int16)
    if not recipe.shares and not recipe.split_lists:
        if given is None:
            return Assignment(("train",), np.zeros(listing.num_rows, np.int16), units), None
        names, splits, remarks = _given_by_source(given, hashes.groups)
        return Assignment(names, splits, units, remarks=remarks), None
    found = Assignment((*recipe.shares, *recipe.split_lists), free, units)
    if given is not None and recipe.shares:
        found.remarks.append(f"--{'split' if recipe.split else 'folds'} given: the source's own splits are not used")
    if recipe.split_lists:
        found.splits, unlisted = _by_lists(listing, recipe.split_lists, found.names)
        if unlisted and not recipe.shares:
            found.remarks.append(f"{unlisted} samples are in no split list: ignored")
    return found, None if earlier is None else _as_earlier(listing, hashes, found, earlier)


def _given_by_source(given: pa.Array, groups: HashArray) -> tuple[tuple[str, ...], SplitArray, list[str]]:
    """Splits as the source gives them; what it gives none follows its group, or goes to `train`."""
    found = [name for name in pc.unique(given).to_pylist() if name is not None]
    names = tuple(sorted(found, key=lambda name: (SPLIT_ORDER.get(name, 3), name)))
    if given.null_count and "train" not in names:
        names = ("train", *names)
    splits = pc.index_in(given, pa.array(names)).fill_null(UNASSIGNED).to_numpy().astype(np.int16)
    if not given.null_count:
        return names, splits, []
    splits = settle(groups, splits).splits
    splits[splits == UNASSIGNED] = names.index("train")
    return names, splits, [f"{given.null_count} samples lie in no split folder: taken into train, or with their group"]


def _by_lists(listing: pa.Table, lists: Mapping[str, Sequence[str]], names: Sequence[str]) -> tuple[SplitArray, int]:
    """Splits of the samples that are in a list, and how many are in none.

    Raises:
        ConfigError: a key is in two lists, or in none of the source's samples.
    """
    wanted: dict[str, int] = {}
    for name in lists:
        number = names.index(name)
        for key in lists[name]:
            if wanted.setdefault(key, number) != number:
                raise ConfigError(f"{key!r} is in the lists of both {names[wanted[key]]!r} and {name!r}")
    splits = np.full(listing.num_rows, UNASSIGNED, np.int16)
    used = set()
    for row, key in enumerate(key for chunk in listing["key"].chunks for key in chunk.to_pylist()):
        for name in (key, os.path.splitext(key)[0]):
            if name in wanted:
                splits[row] = wanted[name]
                used.add(name)
                break
    unused = [key for key in wanted if key not in used]
    if unused:
        raise ConfigError(
            f"{len(unused)} entries of the split lists match no sample, the first is {unused[0]!r}; "
            f"keys look like {listing['key'][0].as_py()!r} (with or without suffix)"
        )
    return splits, int(np.count_nonzero(splits == UNASSIGNED))


def _as_earlier(listing: pa.Table, hashes: Hashes, found: Assignment, earlier: Earlier) -> Mask:
    """Gives every sample the split it had, or its group had; returns which samples the earlier dataset has.

    Raises:
        ConfigError: it has a split that is not asked for now, or a list says otherwise.
    """
    missing = [name for name in earlier.names if name not in found.names]
    if missing:
        raise ConfigError(f"the earlier dataset has split {missing[0]!r}, asked for are {', '.join(found.names)}")
    numbers = np.array([found.names.index(name) for name in earlier.names], np.int16)[earlier.splits]
    by_key = look_up(hashes.keys, earlier.keys, numbers)
    other = np.flatnonzero((found.splits != UNASSIGNED) & (by_key != UNASSIGNED) & (found.splits != by_key))
    if len(other):
        row = int(other[0])
        raise ConfigError(
            f"{listing['key'][row].as_py()!r} is in the list of {found.names[found.splits[row]]!r}, and the earlier "
            f"dataset has it in {found.names[by_key[row]]!r}: leave --previous out, or take it from the list"
        )
    for splits in (by_key, look_up(hashes.groups, earlier.groups, numbers)):
        found.splits = np.where(found.splits == UNASSIGNED, splits, found.splits)
    return np.asarray(by_key != UNASSIGNED)


def _resolve(
    listing: pa.Table,
    groups: HashArray,
    found: Assignment,
    rows: npt.NDArray[np.int64],
    old: Mask | None,
    recipe: Recipe,
) -> None:
    """What becomes of units in several splits; with an earlier dataset its samples stay, unless rebalanced.

    Args:
        rows: all samples of such units.
        old: which samples the earlier dataset has; None without one.
    """
    if old is not None and not recipe.rebalance:
        rows = _refuse_bridges(listing, groups, found, rows, old)
    units, splits = found.units[rows], found.splits[rows]
    found.leaks = find_leaks(units, splits, found.names, lambda place: listing["key"][int(rows[place])].as_py())
    mended = mend(units, splits, found.names)
    if recipe.mend_leaks == "move" or recipe.rebalance:
        was = splits if old is None else np.where(old[rows], splits, UNASSIGNED)
        for place in np.flatnonzero((was != UNASSIGNED) & (was != mended)).tolist():
            found.moved[int(rows[place])] = found.names[splits[place]]
        found.splits[rows] = mended
    elif recipe.mend_leaks == "drop":
        found.splits[rows] = mended
        staying = {units[place]: rows[place] for place in np.flatnonzero(splits == mended)[::-1]}
        for place in np.flatnonzero((splits != UNASSIGNED) & (splits != mended)).tolist():
            kept = listing["key"][int(staying[units[place]])].as_py()
            found.leave_out(rows[[place]], LEAK, f"it belongs with {kept}, which is in {found.names[mended[place]]}")
    else:
        found.splits[rows] = np.where(splits == UNASSIGNED, mended, splits)
        if found.leaks:
            found.remarks.append(
                LEAK_ADVICE if old is None else "--rebalance brings what several splits share into one"
            )


def _refuse_bridges(
    listing: pa.Table, groups: HashArray, found: Assignment, rows: npt.NDArray[np.int64], old: Mask
) -> npt.NDArray[np.int64]:
    """Leaves out what is new in units that are in several splits, and returns the other rows.

    Where something was left out, all that is known of the others is their group: they are units by that.
    """
    for unit in members(found.units[rows]):
        own = rows[unit]
        new = own[~old[own]]
        if not len(new):
            continue
        with_split = [
            f"{listing['key'][row].as_py()} ({found.names[found.splits[row]]})"
            for row in one_of_each(own, found.splits)
        ]
        detail = f"it links {' and '.join(with_split)}; --rebalance brings them together"
        found.leave_out(new, BRIDGE, detail)
        if found.units is not groups:
            found.units[own] = groups[own]
    return rows[old[rows]]


def _share_out(listing: pa.Table, found: Assignment, recipe: Recipe) -> None:
    """Splits for the samples that nothing else has placed, by shares or folds."""
    numbers = np.array([found.names.index(name) for name in recipe.shares], np.int16)
    shares = list(recipe.shares.values())
    if recipe.split_counts == "hash":
        free = found.splits == UNASSIGNED
        free[list(found.left_out)] = False
        found.splits[free] = numbers[split_by_hash(found.units[free], shares, recipe.seed)]
        return
    listed = [found.names.index(name) for name in recipe.split_lists]
    taking_part = ~np.isin(found.splits, listed)
    taking_part[list(found.left_out)] = False
    rows = np.flatnonzero(taking_part)
    place_of = np.full(len(found.names) + 1, UNASSIGNED, np.int16)  # its last element is for UNASSIGNED
    place_of[numbers] = np.arange(len(numbers))
    classes = _dense(class_codes(listing)[rows]) if recipe.stratify else None
    settled = place_of[found.splits[rows]]
    dealt = split_exactly(found.units[rows], shares, recipe.seed, settled, classes, even=recipe.folds is not None)
    found.splits[rows] = numbers[dealt]


def _dense(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.unique(codes, return_inverse=True)[1]


def class_codes(listing: pa.Table) -> npt.NDArray[np.int64]:
    """A number for each row's label, equal labels equal numbers; int64, shape (rows,).

    Raises:
        ConfigError: the source has no labels.
    """
    if "label" not in listing.column_names:
        raise ConfigError("--stratify needs labels, and this source has none")
    encoded = pc.dictionary_encode(listing["label"], null_encoding="encode").combine_chunks()
    indices = encoded.indices if isinstance(encoded, pa.DictionaryArray) else encoded.chunk(0).indices
    return indices.to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _fold(found: Assignment, fold: int | None) -> Assignment:
    """One fold as `val`, the others as `train`; lists stay."""
    if fold is None:
        return found
    merged = [
        name if not name.startswith("fold-") else "val" if name == f"fold-{fold}" else "train" for name in found.names
    ]
    names = tuple(sorted(set(merged), key=lambda name: (SPLIT_ORDER.get(name, 3), merged.index(name))))
    numbers = np.array([*(names.index(name) for name in merged), UNASSIGNED], np.int16)
    found.splits = numbers[found.splits]
    found.names = names
    return found


def shares_of(recipe: Recipe) -> dict[str, Fraction]:
    """Split name → share that was asked for, as the dataset's splits are called."""
    if recipe.fold is None:
        return recipe.shares
    val = Fraction(1, recipe.folds or 1)
    return {"train": 1 - val, "val": val}


def earlier_splits(place: Place) -> Earlier:
    """The splits of a finished dataset, from its indices."""
    store = Store(place)
    names = store.splits
    keys, groups, splits = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)], [np.empty(0, np.int16)]
    for split, number, info in shards_of(store.manifest):
        index = store.index(split, number)
        keys.append(hash_strings(index.column("key")))
        groups.append(np.array(index.numbers("group")))
        splits.append(np.full(info.count, names.index(split), np.int16))
    store.close()
    return Earlier(names, np.concatenate(keys), np.concatenate(groups), np.concatenate(splits))
