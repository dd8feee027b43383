"""Everything that training is made of at one moment, in one file: tensors, and plain JSON. Nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from imagemill.errors import ConfigError, DamageError
from imagemill.training.learner import Learner, Progress
from imagemill.training.model_file import ModelSpec, read_tensors, write_tensors

CHECKPOINT_NAME = "checkpoint.safetensors"
METADATA_KEY = "imagemill_checkpoint"
CHECKPOINT_FORMAT = 1


@dataclass
class Place:
    """Where training is.

    Args:
        step: optimizer steps done.
        epoch: under way, or next.
        batch: batches of it that are done.
        upsets: how often values that are no numbers came up.
        log_bytes: length of the log when the checkpoint was written.
        stopped: why training has ended; "" while it goes on.
        epoch_offset, step_offset: where the order began anew, on a dataset that had grown.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    upsets: int = 0
    log_bytes: int = 0
    stopped: str = ""
    epoch_offset: int = 0
    step_offset: int = 0


@dataclass(frozen=True)
class Saved:
    """What a checkpoint says besides its tensors.

    Args:
        place: see `Place`.
        options: of the run, plain values.
        dataset: sha256 of the manifest.
        order: state of the feed.
        learners: plain part of each learner's state.
        tensors: all others.
    """

    place: Place
    options: Mapping[str, Any]
    dataset: str
    order: Mapping[str, int]
    learners: Sequence[Mapping[str, Any]]
    tensors: Mapping[str, torch.Tensor]


def save_checkpoint(
    path: Path, learners: Sequence[Learner], place: Place, *, options: Mapping[str, Any], dataset: str, order: Any
) -> None:
    """Writes the checkpoint so that it is seen whole or not at all."""
    tensors: dict[str, torch.Tensor] = {"random.cpu": torch.get_rng_state()}
    for number, generator in enumerate(_gpu_states()):
        tensors[f"random.cuda.{number}"] = generator
    plain = []
    for number, learner in enumerate(learners):
        own, rest = learner_state(learner)
        tensors |= {f"{number}.{name}": tensor for name, tensor in own.items()}
        plain.append(rest)
    record = {
        "format": CHECKPOINT_FORMAT,
        "place": asdict(place),
        "options": options,
        "dataset": dataset,
        "order": order,
        "learners": plain,
    }
    write_tensors(path, tensors, {METADATA_KEY: json.dumps(record)})


def load_checkpoint(path: Path) -> Saved:
    """What `save_checkpoint` wrote.

    Raises:
        DamageError: the file is damaged.
        ConfigError: a newer imagemill wrote it.
    """
    tensors, metadata = read_tensors(path)
    try:
        record = json.loads(metadata[METADATA_KEY])
        version = record.pop("format")
    except (KeyError, ValueError) as error:
        raise DamageError(f"{path} is no checkpoint: {error!r}") from None
    if version > CHECKPOINT_FORMAT:
        raise ConfigError(
            f"{path} has version {version}, this imagemill reads up to {CHECKPOINT_FORMAT}: pip install -U imagemill"
        )
    return Saved(place=Place(**record.pop("place")), tensors=tensors, **record)


def restore(learners: Sequence[Learner], saved: Saved, *, random: bool = True) -> None:
    """Puts every learner (and, unless told otherwise, the random generators) back to where they were."""
    for number, learner in enumerate(learners):
        start = f"{number}."
        own = {name.removeprefix(start): each for name, each in saved.tensors.items() if name.startswith(start)}
        restore_learner(learner, own, saved.learners[number])
    if random:
        torch.set_rng_state(saved.tensors["random.cpu"])
        states = [each for name, each in saved.tensors.items() if name.startswith("random.cuda.")]
        if states and torch.cuda.is_available() and len(states) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states)


def saved_specs(saved: Saved, dataset: str) -> list[ModelSpec]:
    """What the learners of a checkpoint are, on this dataset from now on."""
    return [replace(ModelSpec.from_json(each["spec"]), dataset=dataset) for each in saved.learners]


def learner_state(learner: Learner) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """A learner's tensors by name, and the rest as plain values."""
    tensors = {f"network.{name}": tensor for name, tensor in learner.network.state_dict().items()}
    if learner.averaged is not None:
        tensors |= {f"averaged.{name}": tensor for name, tensor in learner.averaged.tensors.items()}
    state = learner.optimizer.state_dict()
    for number, entry in state["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in entry.items() if torch.is_tensor(value)}
    rest = {
        "spec": learner.spec.to_json(),
        "steps_averaged": 0 if learner.averaged is None else learner.averaged.steps,
        "plateau": [learner.plateau.factor, learner.plateau.waited],
        "scaler": learner.scaler.state_dict(),
        "rate": learner.rate,
        "rate_factor": learner.rate_factor,
        "progress": asdict(learner.progress),
    }
    return tensors, rest


def restore_learner(learner: Learner, tensors: Mapping[str, torch.Tensor], rest: Mapping[str, Any]) -> None:
    """The reverse of `learner_state`."""
    learner.network.load_state_dict(_under("network.", tensors))
    if learner.averaged is not None:
        for name, tensor in _under("averaged.", tensors).items():
            learner.averaged.tensors[name].copy_(tensor)
        learner.averaged.steps = rest["steps_averaged"]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _under("optimizer.", tensors).items():
        number, _, entry = name.partition(".")
        state.setdefault(int(number), {})[entry] = tensor
    learner.optimizer.load_state_dict({"state": state, "param_groups": learner.optimizer.state_dict()["param_groups"]})
    learner.optimizer.zero_grad(set_to_none=True)
    learner.plateau.factor, learner.plateau.waited = rest["plateau"]
    if rest["scaler"]:
        learner.scaler.load_state_dict(rest["scaler"])
    learner.rate, learner.rate_factor = rest["rate"], rest["rate_factor"]
    learner.progress = Progress(**rest["progress"])


def _under(start: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _gpu_states() -> list[torch.Tensor]:
    return list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else []
