"""The data of a training job: splits opened, their batches, and a look at them for what is to be learnt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch

from imagemill.core.remote import Place
from imagemill.core.schema import Schema
from imagemill.datasets import create_dataset
from imagemill.errors import ConfigError
from imagemill.load.dataset import ImageDataset
from imagemill.load.dataset import open as open_dataset
from imagemill.load.loader import checked_device
from imagemill.training.data import DictFeed, Feed, Feeding, Fields, PackedFeed, Pairs, check_pair, highest_class
from imagemill.training.degrade import Degradation
from imagemill.training.model_file import ModelSpec
from imagemill.training.options import TrainOptions
from imagemill.training.plan import (
    LOOKED_AT,
    check_wishes,
    common_size,
    nature_of,
    plan_models,
    plan_segmentation,
)
from imagemill.transforms.corrupt import CorruptionOptions

VAL, TEST = "val", "test"
HELD_OUT_SHARE = 0.1
"""Of the training split, its end, where a dataset has no split to validate on."""
CLASSES_LOOKED_AT = 512
"""Masks of a split that are looked at to count classes."""


@dataclass(frozen=True)
class Splits:
    """The data of a job, opened.

    Args:
        train, val, test: packed splits, or data sets of `imagemill.datasets`; val and test may be missing.
        schema: fields of packed ones.
        dataset: sha256 of the manifest, or of the option tables.
        remarks: what the user should know about them.
    """

    train: Any
    val: Any
    test: Any
    schema: Schema | None
    dataset: str
    remarks: tuple[str, ...] = ()


def open_splits(place: Place, options: TrainOptions) -> Splits:
    """The splits of a packed dataset.

    Raises:
        ConfigError: no dataset there, or no such split.
    """
    train_set = open_dataset(place, options.train_split)  # type: ignore[arg-type]
    names = train_set.splits
    remarks = []
    val_name = options.val_split or (VAL if VAL in names else None)
    if options.limit is not None:
        train_set = train_set[: options.limit]
    if val_name is None:
        count = max(1, int(len(train_set) * HELD_OUT_SHARE))
        train_set, val_set = train_set[:-count], train_set[-count:]
        remarks.append(
            f"the dataset has no split {VAL!r}: the last {count:,} samples of {options.train_split!r} are held out. "
            "`imagemill pack --split 80/12/8` keeps groups together"
        )
    else:
        val_set = open_dataset(place, val_name)  # type: ignore[arg-type]
    test_name = options.test_split or (TEST if TEST in names else None)
    test_set = None if test_name is None else open_dataset(place, test_name)  # type: ignore[arg-type]
    if test_set is None:
        remarks.append(f"the dataset has no split {TEST!r}: the best model is scored on the validation split alone")
    if not len(train_set):
        raise ConfigError(f"split {options.train_split!r} of {place} has no samples left to train on")
    digest = hashlib.sha256(train_set.store.manifest.to_json().encode()).hexdigest()
    return Splits(train_set, val_set, test_set, train_set.schema, digest, tuple(remarks))


def create_splits(tables: Mapping[str, Mapping[str, Any]]) -> Splits:
    """Training data sets of `imagemill.datasets`, from option tables.

    Args:
        tables: split name (train, val, test) → option dict with its `mode`.

    Raises:
        ConfigError: no table of `train`, or options that cannot be.
    """
    if "train" not in tables:
        raise ConfigError(f"data wants a table 'train', there are {', '.join(tables) or 'none'}")
    made = {name: create_dataset(table) for name, table in tables.items()}
    digest = hashlib.sha256(json.dumps(tables, sort_keys=True, default=str).encode()).hexdigest()
    remarks = (
        () if VAL in made else (f"data has no table {VAL!r}: nothing is validated, the last weights are the best",)
    )
    return Splits(made["train"], made.get(VAL), made.get(TEST), None, digest, remarks)


@dataclass(frozen=True)
class Workplace:
    """Where this process computes.

    Args:
        device: of networks and batches.
        rank, world_size: among those that train together.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1

    def wait(self) -> None:
        """Until every rank is here."""
        if self.world_size > 1:
            torch.distributed.barrier()


def choose_device(name: str | None) -> torch.device:
    """The device that is asked for, or the best there is.

    Raises:
        ConfigError: no such device here.
    """
    found = checked_device(name)
    if found is not None:
        return found
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Feeds:
    """Batches of the splits.

    Args:
        train, val, test: this rank's.
        whole: the training split as one rank alone would see it, for all that must come out the same on every rank.
        others_whole: the other splits likewise.
    """

    train: Feed
    whole: Feed
    val: Feed | None
    test: Feed | None
    others_whole: Sequence[Feed] = ()


def make_feeds(splits: Splits, fields: Fields, options: TrainOptions, job: Workplace) -> Feeds:
    """Batches of every split, as the options ask for them."""
    degradation = None
    if options.makes_input and splits.schema is not None:
        corruptions = CorruptionOptions(
            options.fixed_corruptions, options.random_corruptions, options.num_corrupts_per_image
        )
        degradation = Degradation(options.scale, options.noise, corruptions, options.seed)
    feeding = Feeding(
        batch_size=options.batch_size,
        size=options.size,
        fit=options.fit,
        crop=options.crop,
        flips="none" if fields.lightness else options.flips,
        degradation=degradation,
        shuffle=True,
        seed=options.seed,
        workers=options.workers,
        device=job.device,
    )
    still = replace(feeding, shuffle=False, flips="none")

    def feed(samples: Any, how: Feeding, rank: int = job.rank, world_size: int = job.world_size) -> Feed:
        if isinstance(samples, ImageDataset):
            return PackedFeed(samples, fields, how, rank, world_size)
        return DictFeed(samples, how, rank, world_size)

    others = (splits.val, splits.test)
    val, test = (None if samples is None else feed(samples, still) for samples in others)
    whole = [feed(samples, still, 0, 1) for samples in others if samples is not None]
    return Feeds(feed(splits.train, feeding), feed(splits.train, feeding, 0, 1), val, test, whole)


def look_at(feeds: Feeds) -> list[Pairs]:
    """A few training pairs, to find out what they are."""
    found: list[Pairs] = []
    seen = 0
    for pairs in feeds.whole.batches(0):
        found.append(pairs.to(torch.device("cpu")))
        seen += len(pairs)
        if seen >= LOOKED_AT:
            break
    return found


def classes_of(feeds: Feeds, options: TrainOptions) -> list[str]:
    """Names of the classes of masks: 0 up to the highest that was seen in any split, or that was told.

    Raises:
        ConfigError: a class beyond those told.
    """
    highest = 0
    for feed in (feeds.whole, *feeds.others_whole):
        for batch in islice(feed.batches(0), max(1, CLASSES_LOOKED_AT // options.batch_size)):
            highest = max(highest, highest_class(batch.after, options.ignore_class))
    if options.classes and highest >= len(options.classes):
        raise ConfigError(f"masks have class {highest}, but only {len(options.classes)} classes were named")
    return list(options.classes) or [f"class {number}" for number in range(highest + 1)]


def plan_specs(feeds: Feeds, fields: Fields, options: TrainOptions, dataset: str) -> list[ModelSpec]:
    """What is to be learnt, by a look at the data."""
    looked = look_at(feeds)
    for pairs in looked:
        check_pair(pairs.before, pairs.after, options.scale, pairs.keys[0])
    if fields.mask is not None:
        specs = plan_segmentation(options, common_size(looked), classes_of(feeds, options), dataset)
    else:
        specs = plan_models(options, nature_of(looked), dataset, fields)
    for spec in specs:
        check_wishes(spec, options)
    return specs
