"""What a run came to, and whether that is an improvement."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from imagemill.core.files import atomic_write
from imagemill.training.evaluate import Score
from imagemill.training.learner import Learner
from imagemill.training.model_file import ModelSpec
from imagemill.training.options import LESS_IS_BETTER
from imagemill.training.run_log import read_log

RESULT_NAME = "result.json"


@dataclass(frozen=True)
class DirectionResult:
    """One direction of a run.

    Args:
        direction: which half is predicted of which.
        file: name of the best model's file.
        metric: that it was chosen by.
        step: that it has seen.
        val, test: metric → value of the best model; empty where there is no such split.
        baselines: name → metric → value, on the validation split.
        improvement: whether it beats every baseline.
        verdict: that in a sentence.
    """

    direction: str
    file: str
    metric: str
    step: int
    val: Mapping[str, float]
    test: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    improvement: bool
    verdict: str


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Args:
        path: its folder.
        steps, epochs: done.
        stopped: why it ended.
        upsets: how often values that are no numbers came up.
        dataset: sha256 of the data's manifest.
        directions: one, or both.
        already: whether it was finished before this call.
        report: the page about it; None where none was written.
    """

    path: Path
    steps: int
    epochs: int
    stopped: str
    upsets: int
    dataset: str
    directions: tuple[DirectionResult, ...]
    already: bool = False
    report: Path | None = field(default=None)


def verdict_of(folder: Path, learner: Learner, file: str, spec: ModelSpec, tested: Score) -> DirectionResult:
    """The result of one direction; baselines come from the log."""
    events = read_log(folder)
    there = [e for e in events if e["kind"] == "baseline" and e["direction"] == spec.direction]
    baselines = {event["name"]: event["values"] for event in there}
    val = {name.removeprefix("val "): value for name, value in spec.metrics.items()}
    metric = learner.metric
    improvement, verdict = judged(metric, val, baselines)
    if there and spec.steps == 0:
        improvement, verdict = (
            False,
            f"no improvement: no step of training beat what it began with (val {metric} {val[metric]:.3f})",
        )
    return DirectionResult(
        spec.direction, file, metric, spec.steps, val, tested.values, baselines, improvement, verdict
    )


def judged(metric: str, val: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]) -> tuple[bool, str]:
    """Whether a model beats every baseline on the validation split, and that in a sentence."""
    known = {name: values[metric] for name, values in baselines.items() if metric in values}
    if metric not in val or not known:
        return False, f"not compared: there is no {metric} of both the model and a baseline on a validation split"
    less = metric in LESS_IS_BETTER
    margin = {name: (value - val[metric]) if less else (val[metric] - value) for name, value in known.items()}
    nearest = min(margin, key=lambda name: margin[name])
    parts = ", ".join(f"{name} {value:.3f}" for name, value in known.items())
    said = f"val {metric} {val[metric]:.3f}; baselines {parts}"
    if margin[nearest] > 0:
        return True, f"beats every baseline, {nearest} by {margin[nearest]:.3f} ({said})"
    return False, f"no improvement: {nearest} is as good or better, by {-margin[nearest]:.3f} ({said})"


def plain_result(result: TrainResult) -> dict[str, Any]:
    """The result as plain values, without where it lies."""
    return {**asdict(result), "path": None, "report": None}


def write_result(result: TrainResult) -> None:
    """Writes it, last of all files of a run."""
    text = json.dumps(plain_result(result), indent=1, ensure_ascii=False)
    atomic_write(result.path / RESULT_NAME, (text + "\n").encode())


def read_result(folder: Path) -> TrainResult | None:
    """What `write_result` wrote; None where a run is not finished."""
    try:
        record = json.loads((folder / RESULT_NAME).read_text("utf-8"))
    except FileNotFoundError:
        return None
    directions = tuple(DirectionResult(**each) for each in record.pop("directions"))
    return TrainResult(**{**record, "path": folder, "directions": directions})
