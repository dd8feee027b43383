"""A training job put together: data opened and looked at, networks made, an earlier run taken up; then run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from imagemill.core.files import atomic_write
from imagemill.errors import ConfigError
from imagemill.networks import NETWORKS
from imagemill.networks.base import Network, read_network_options
from imagemill.training.baselines import Fitting, baselines, fitted_table, fitting_pairs
from imagemill.training.checkpoint import CHECKPOINT_NAME, Place, Saved, load_checkpoint, restore, saved_specs
from imagemill.training.data import Fields
from imagemill.training.evaluate import Score, score
from imagemill.training.finder import find_rate
from imagemill.training.learner import Learner, make_learner
from imagemill.training.loop import Run, train
from imagemill.training.memory import Summary, summarise
from imagemill.training.model_file import BEST, REVERSE, ModelSpec, load_model
from imagemill.training.options import FIND, TrainOptions
from imagemill.training.plan import check_size, choose_fields, make_network
from imagemill.training.result import DirectionResult, TrainResult, read_result, verdict_of, write_result
from imagemill.training.run_log import OnEvent, RunLog
from imagemill.training.splits import Feeds, Splits, Workplace, make_feeds, plan_specs

FREE_TO_CHANGE = (
    "epochs",
    "steps",
    "patience",
    "validate_every",
    "checkpoint_every",
    "workers",
    "device",
    "sheets",
    "tensorboard",
    "compile",
    "test_split",
)
"""Options that a resumed run may have otherwise; another number of epochs or steps changes the schedule from there."""
UNLABELLED = 255
"""What most datasets write into masks where there is no class."""


def run_job(
    splits: Splits,
    out: Path,
    options: TrainOptions,
    job: Workplace,
    on_event: OnEvent | None = None,
) -> TrainResult:
    """Trains, or goes on with what OUT holds, to the end.

    Raises:
        ConfigError: options that cannot work, or others than the run in OUT was begun with.
        Diverged: values that are no numbers came up again and again.
    """
    options = checked_network(options)
    finished = read_result(out)
    saved = load_checkpoint(out / CHECKPOINT_NAME) if (out / CHECKPOINT_NAME).is_file() else None
    if saved is not None:
        _check_same(saved, options, out)
    if finished is not None and saved is not None and _nothing_left(saved, options, splits):
        return replace(finished, already=True)
    fields = Fields() if splits.schema is None else choose_fields(splits.schema, options)
    feeds = make_feeds(splits, fields, options, job)
    try:
        with _seeded(options.seed):
            return _run(splits, fields, feeds, out, options, job, saved, on_event)
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"a batch of {options.batch_size} does not fit into the memory of {job.device}: take --batch-size "
            f"{max(1, options.batch_size // 2)} --accumulation {options.accumulation * 2}, which comes to the same, "
            f"or a smaller --crop ({error})"
        ) from None


def checked_network(options: TrainOptions) -> TrainOptions:
    """The options with those of the network read, so that nothing is packed or fitted for a name that is none.

    Raises:
        ConfigError: an unknown network, or an option that it does not have.
    """
    own = read_network_options(NETWORKS.get(options.network).options_class, options.network_options)
    return replace(options, network_options=own)


def _run(
    splits: Splits,
    fields: Fields,
    feeds: Feeds,
    out: Path,
    options: TrainOptions,
    job: Workplace,
    saved: Saved | None,
    on_event: OnEvent | None,
) -> TrainResult:
    place = Place() if saved is None else saved.place
    folder = None if job.rank else out
    specs = plan_specs(feeds, fields, options, splits.dataset) if saved is None else saved_specs(saved, splits.dataset)
    with closing(
        RunLog(folder, start_bytes=place.log_bytes, tensorboard=options.tensorboard, on_event=on_event)
    ) as log:
        fitting = Fitting(feeds.whole)
        learners = [
            _make_learner(spec, splits, fields, feeds, fitting, options, job, log, fresh=saved is None)
            for spec in specs
        ]
        run = Run(out, options, learners, feeds.train, feeds.val, splits.dataset, log, place, job.rank, job.world_size)
        if saved is None:
            _say_beginning(run, splits, feeds, fitting)
        else:
            _take_up(run, saved, splits)
        del fitting
        train(run)
        return _finish(run, feeds, job)


def _make_learner(
    spec: ModelSpec,
    splits: Splits,
    fields: Fields,
    feeds: Feeds,
    fitting: Fitting,
    options: TrainOptions,
    job: Workplace,
    log: RunLog,
    *,
    fresh: bool,
) -> Learner:
    embedding_size = None
    if fields.embedding is not None and splits.schema is not None:
        embedding_size = (splits.schema[fields.embedding].shape or (None,))[0]
    network, spec = make_network(spec, embedding_size)
    if spec.size is not None:
        check_size(spec, spec.size)
    if options.start is not None and fresh:
        _start_from(network, options.start, spec)
    rate = 1.0 if options.learning_rate == FIND else float(options.learning_rate)
    learner = make_learner(network, spec, options, job.device, rate, job.world_size)
    if fresh and options.start is None and spec.options.get("start") == "table":
        network.start_from(fitted_table(learner, fitting, in_network_space=True).to(job.device))
    if fresh and options.start is None and hasattr(network, "calibrate"):
        network.calibrate(lambda: fitting_pairs(learner, fitting), whole=options.crop is None)
    if learner.averaged is not None:
        learner.averaged.follow(network)
    if fresh and options.learning_rate == FIND:
        learner.rate = find_rate(learner, feeds.whole)
        log.event("rate", direction=spec.direction, learning_rate=learner.rate, why="found by the range test")
    return learner


def _start_from(network: Network, start: str, spec: ModelSpec) -> None:
    """Weights of another model as the first ones.

    Raises:
        ConfigError: they are of another network.
    """
    found, started = load_model(start, direction=spec.direction if Path(start).is_dir() else None)
    wanted, given = ({name: each.shape for name, each in network.state_dict().items()} for network in (network, found))
    if wanted != given:
        there, here = _in_words(started), _in_words(spec)
        if there == here:
            there, here = _different_options(spec.options, started.options)
        raise ConfigError(
            f"{start} is of {there}, and what is to be trained here of {here}: give the --network, --network-option "
            "and --colour that it was trained with, or leave --start out"
        )
    network.load_state_dict(found.state_dict())


def _different_options(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, str]:
    """What stands otherwise in the options of two networks: as given, as wanted."""
    names = [name for name in wanted if wanted[name] != given.get(name)]
    there, here = (", ".join(f"{name}={options.get(name)}" for name in names) for options in (given, wanted))
    return there, here


def _in_words(spec: ModelSpec) -> str:
    """A network, what it takes and gives."""
    takes, gives = _takes_and_gives(spec)
    return f"{spec.network} ({takes} to {gives})"


def _takes_and_gives(spec: ModelSpec) -> tuple[str, str]:
    gives = f"{len(spec.classes)} classes" if spec.classes else f"{spec.output_colour} ({spec.out_channels})"
    return f"{spec.input_colour} ({spec.in_channels})", gives


def _say_beginning(run: Run, splits: Splits, feeds: Feeds, fitting: Fitting) -> None:
    """Sizes, memory and baselines, before the first step."""
    for remark in splits.remarks:
        run.log.event("remark", text=remark)
    if len(run.learners[0].spec.classes) == UNLABELLED + 1 and not run.options.classes:
        run.log.event(
            "remark",
            text=f"masks hold {UNLABELLED}, which is learnt as a class: if it marks what has none, give --ignore-class "
            f"{UNLABELLED}",
        )
    for learner in run.learners:
        spec = learner.spec
        summary = summarise(
            spec,
            spec.size or (256, 256),
            run.options.batch_size,
            optimizer=run.options.optimizer,
            averaged=bool(run.options.ema),
        )
        run.log.event("model", direction=spec.direction, **_model_facts(learner, summary, run, feeds))
        if feeds.val is None:
            continue
        for name, found in baselines(learner, fitting, feeds.val, world_size=run.world_size).items():
            run.log.event(
                "baseline", direction=spec.direction, name=name, split="val", images=found.images, values=found.values
            )


def summary_of(spec: ModelSpec, options: TrainOptions) -> Summary:
    """What training a model takes; of data of many sizes, for pictures of 256x256."""
    size = spec.size or (256, 256)
    return summarise(spec, size, options.batch_size, optimizer=options.optimizer, averaged=bool(options.ema))


def _model_facts(learner: Learner, summary: Summary, run: Run, feeds: Feeds) -> dict[str, Any]:
    spec = learner.spec
    takes, gives = _takes_and_gives(spec)
    return {
        "network": spec.network,
        "options": dict(spec.options),
        "takes": takes,
        "gives": gives,
        "size": None if spec.size is None else list(spec.size),
        "parameters": summary.parameters,
        "weight_bytes": summary.weight_bytes,
        "saved_bytes": summary.saved_bytes,
        "batch": summary.batch * run.world_size * run.options.accumulation,
        "steps": run.total_steps,
        "device": str(learner.precision.device),
        "precision": str(learner.precision.dtype or torch.float32).removeprefix("torch."),
        "samples": feeds.train.sampler.total,
        "loss": dict(learner.loss),
        "metric": learner.metric,
    }


def _take_up(run: Run, saved: Saved, splits: Splits) -> None:
    """Goes on where a checkpoint stands; on other data from the beginning of an epoch."""
    restore(run.learners, saved)
    place = run.place
    if saved.dataset == splits.dataset:
        run.train.check(saved.order)
        text = f"resumed at step {place.step:,}, epoch {place.epoch}, batch {place.batch}"
    else:
        if place.batch:
            place.epoch, place.batch = place.epoch + 1, 0
        place.epoch_offset, place.step_offset = place.epoch, place.step
        text = (
            f"resumed at step {place.step:,} on a dataset that has changed (now {run.train.sampler.total:,} samples): "
            f"weights and optimizer go on, the order begins anew at epoch {place.epoch}"
        )
    if place.stopped and place.step < run.total_steps:
        place.stopped = ""
    run.log.event("resumed", step=place.step, text=text)


def _finish(run: Run, feeds: Feeds, job: Workplace) -> TrainResult:
    """The best weights on the test split, the verdict, and the result, written last."""
    directions = []
    for learner in run.learners:
        ending = REVERSE if len(run.learners) > 1 and learner.spec.direction.startswith("after") else ""
        file = run.folder / f"{BEST}{ending}.safetensors"
        directions.append(_scored(run, learner, feeds, job, file))
    result = TrainResult(
        path=run.folder,
        steps=run.place.step,
        epochs=run.place.epoch,
        stopped=run.place.stopped,
        upsets=run.place.upsets,
        dataset=run.dataset,
        directions=tuple(directions),
    )
    if not job.rank:
        write_result(result)
    return result


def _scored(run: Run, learner: Learner, feeds: Feeds, job: Workplace, file: Path) -> DirectionResult:
    job.wait()
    network, spec = load_model(file)
    learner.network.load_state_dict(network.state_dict())
    best = replace(learner, averaged=None)
    tested = Score() if feeds.test is None else score(best, feeds.test, world_size=run.world_size)
    if feeds.test is not None:
        run.log.event(
            "test",
            step=spec.steps,
            direction=spec.direction,
            images=tested.images,
            values=tested.values,
        )
    return verdict_of(run.folder, learner, file.name, spec, tested)


def _check_same(saved: Saved, options: TrainOptions, out: Path) -> None:
    """Refuses to go on with other options.

    Raises:
        ConfigError: names them.
    """
    now = json.loads(json.dumps(options.to_json()))
    changed = [name for name, value in saved.options.items() if now.get(name) != value and name not in FREE_TO_CHANGE]
    if changed:
        was = ", ".join(f"{name}={saved.options[name]!r} (now {now.get(name)!r})" for name in changed)
        raise ConfigError(
            f"{out} holds a run that was begun with {was}: give the same, or another OUT "
            f"(--start {out} begins with its weights)"
        )


def _nothing_left(saved: Saved, options: TrainOptions, splits: Splits) -> bool:
    more = options.epochs > int(saved.options["epochs"]) or (options.steps or 0) > int(saved.options["steps"] or 0)
    return bool(saved.place.stopped) and saved.dataset == splits.dataset and not more


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random numbers of our own while the block runs; the caller's generators stay as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def write_config(out: Path, options: TrainOptions, source: str) -> None:
    """What was asked for, for people to read: the checkpoint has it, too."""
    record = {"source": source, "options": options.to_json()}
    atomic_write(out / "config.json", (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
