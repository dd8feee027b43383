"""`train`: a network from a dataset, or from a recipe that says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagemill.api.given import PathLike
from imagemill.api.pack import pack
from imagemill.core.files import REJECTS_NAME
from imagemill.core.manifest import MANIFEST_NAME
from imagemill.core.recipe import DEFAULT_SPLIT_NAMES
from imagemill.core.remote import RemoteFolder, local_path, place_of
from imagemill.engines.ranks import membership
from imagemill.errors import ConfigError
from imagemill.load.batch import require_torch
from imagemill.prepare.commit import clear_disk_errors, make_output, refuse_inside
from imagemill.prepare.ownership import own
from imagemill.prepare.totals import PackResult
from imagemill.recipes.table import OF_EVERY_STEP, read_tables

if TYPE_CHECKING:
    from imagemill.training.options import TrainOptions
    from imagemill.training.result import TrainResult

OnEvent = Callable[[Mapping[str, Any]], None]

RECIPE_SUFFIX = ".toml"
PACKED_NAME = "dataset"
"""Folder in OUT that a source which is no packed dataset is packed into first."""
REPORT_NAME = "report.html"
FALLBACK_SPLITS = ("80/12/8", "80/20")
SPLITTING = ("split", "folds", "split_lists", "split_column", "previous")
"""Options of `pack` that say how to split."""


@dataclass(frozen=True)
class Wanted:
    """What is to be trained on, and how.

    Args:
        source: a packed dataset, or anything that `pack` takes; "" where `data` says it.
        options: of the training.
        pack: options of `pack`, for sources that are no packed dataset.
        data: option tables of `imagemill.datasets` by split, instead of a source.
    """

    source: str
    options: TrainOptions
    pack: Mapping[str, Any]
    data: Mapping[str, Mapping[str, Any]]


def train(
    source: PathLike,
    out: PathLike,
    *,
    on_event: OnEvent | None = None,
    pack_options: Mapping[str, Any] | None = None,
    write_page: bool = True,
    **options: Any,
) -> TrainResult:
    """Trains a network to predict one picture of another: after of before, before of after, clean of corrupted, large
    of small, mask of image. The same call again goes on where a killed run stopped.

    Args:
        source: folder or URL of a packed dataset; a folder of pairs, chunked tiles or whatever else `imagemill.pack`
            takes, which is packed into OUT/dataset first; or a recipe, a TOML file with a table `[train]`.
        out: folder of the run.
        on_event: is told everything that goes into the log, as it happens.
        pack_options: of `imagemill.pack`, for sources that are no packed dataset.
        write_page: whether a report page ends it.
        options: see `imagemill.training.options.TrainOptions`; over those of a recipe.

    Returns:
        What the run came to: baselines, the best model's scores, and whether it is an improvement.

    Raises:
        ConfigError: options, data or sizes that cannot work, before anything is trained.
        MissingExtra: torch is not installed.
        OutputInUse: another run is at work in OUT.

    Example::

        result = imagemill.train("data/dataset", "runs/colour", epochs=10, direction="both")
        print(result.directions[0].verdict)
    """
    require_torch()
    from imagemill.training.distributed import workplace
    from imagemill.training.job import write_config

    wanted = read_wanted(source, options, pack_options or {})
    target = local_path(out)
    if wanted.source and not isinstance(place_of(wanted.source), RemoteFolder):
        refuse_inside(target, local_path(wanted.source))
    member = membership()
    make_output(target)
    with clear_disk_errors(target), own(target, member), workplace(wanted.options.device) as job:
        if not job.rank:
            write_config(target, wanted.options, wanted.source or "data tables")
        result = _trained(wanted, target, job, None if job.rank else on_event)
        return result if job.rank else _presented(result, target, write_page)


def _presented(result: TrainResult, out: Path, write_page: bool) -> TrainResult:
    """The card of the model, and the page about the run."""
    from imagemill.training.card import write_card
    from imagemill.training.metrics import PROTOCOLS
    from imagemill.training.result import plain_result
    from imagemill.training.run_log import read_log

    events = read_log(out)
    write_card(out, events, result)
    if not write_page:
        return result
    from imagemill.reports.training import write_training_page

    measured = {name for each in result.directions for name in each.val} - {"loss"}
    protocols = {name: text for name, text in PROTOCOLS.items() if name in measured}
    write_training_page(out, out / REPORT_NAME, events, plain_result(result), protocols)
    return replace(result, report=out / REPORT_NAME)


def _trained(wanted: Wanted, out: Path, job: Any, on_event: OnEvent | None) -> TrainResult:
    from imagemill.training.job import checked_network, run_job
    from imagemill.training.splits import create_splits, open_splits

    checked_network(wanted.options)
    if wanted.data:
        splits = create_splits(wanted.data)
    else:
        splits = open_splits(_packed(wanted, out, job, on_event), wanted.options)
    return run_job(splits, out, wanted.options, job, on_event)


def _packed(wanted: Wanted, out: Path, job: Any, on_event: OnEvent | None) -> Any:
    """Where the packed dataset lies; a source that is none is packed first, by the first rank."""
    from imagemill.training.model_file import is_model

    place = place_of(wanted.source)
    if isinstance(place, RemoteFolder) or (place / MANIFEST_NAME).is_file():
        return place
    if is_model(place):
        raise ConfigError(f"{place} is a trained model, no dataset: a run goes on as the OUT of its own dataset")
    target = out / PACKED_NAME
    finished = target / MANIFEST_NAME
    while job.rank and not finished.is_file():
        # Not a barrier, whose patience ends after some minutes: packing may take hours.
        time.sleep(0.5)
    if not job.rank and not finished.is_file():
        if on_event is not None:
            on_event({"kind": "remark", "text": f"{wanted.source} is packed into {target} first"})
        packed = pack(wanted.source, target, **_with_splits(wanted, target))
        if packed.reasons and on_event is not None:
            on_event({"kind": "remark", "text": _rejects_text(packed, target)})
    return target


def _rejects_text(packed: PackResult, target: Path) -> str:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in packed.reasons.items())
    samples = sum(packed.splits.values())
    return (
        f"packed {samples:,} samples and rejected {sum(packed.reasons.values()):,} ({reasons}): see "
        f"{target / REJECTS_NAME}"
    )


def _with_splits(wanted: Wanted, target: Path) -> dict[str, Any]:
    """Options of `pack`; a source without splits of its own gets train, val and test, as far as its samples go."""
    given = dict(wanted.pack)
    if any(name in given for name in SPLITTING):
        return given
    if set(pack(wanted.source, target, dry_run=True, **given).splits) != {DEFAULT_SPLIT_NAMES[1][0]}:
        return given
    for split in FALLBACK_SPLITS:
        shared = {**given, "split": split, "split_counts": "exact"}
        try:
            pack(wanted.source, target, dry_run=True, **shared)
        except ConfigError:
            continue  # too few samples for so many splits
        return shared
    return given


def read_wanted(source: PathLike, options: Mapping[str, Any], pack_options: Mapping[str, Any]) -> Wanted:
    """What a path and options, or a recipe, ask for.

    Raises:
        ConfigError: an unknown name, or a recipe without what is needed.
    """
    from imagemill.training.options import train_options

    text = str(source)
    if not text.lower().endswith(RECIPE_SUFFIX):
        return Wanted(text, train_options(options), pack_options, {})
    path = local_path(text)
    _, tables = read_tables(path)
    if "train" not in tables:
        raise ConfigError(f"recipe {path} has no table [train]; its tables are {', '.join(tables) or 'none'}")
    found = tables["train"]
    if isinstance(found, list) and len(found) != 1:
        raise ConfigError(f"recipe {path} has {len(found)} tables [[train]], which `imagemill run` takes in turn")
    # What a step of `run` may say besides: where its result goes is said by OUT here.
    asked = found[0] if isinstance(found, list) else found
    table = {name: value for name, value in asked.items() if name not in OF_EVERY_STEP}
    data = table.pop("data", {})
    dataset = table.pop("dataset", None)
    if dataset is None and not data:
        raise ConfigError(
            f'recipe {path}: [train] names no dataset: dataset = "data/dataset", or tables [train.data.…]'
        )
    place = "" if dataset is None else str(dataset)
    packed = {**table.pop("pack", {}), **pack_options}
    return Wanted(place, train_options({**table, **options}), packed, data)
