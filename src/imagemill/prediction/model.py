"""A trained model as a function from pictures to pictures or classes, whatever runs it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imagemill.errors import ConfigError, MissingExtra
from imagemill.prediction.tiling import Pixels, Values

ONNX_SUFFIX = ".onnx"
FLIPS = ("none", "horizontal", "all")
"""The picture as it is; and mirrored; and in all eight positions that quarter turns and mirrors make."""


@dataclass(frozen=True)
class ModelFacts:
    """What of a model decides how it is used.

    Args:
        task: "image-to-image" or "segmentation".
        takes, gives: which half of a pair it is shown, and which it makes: "before" and "after", or the reverse.
        scale: how many times larger its output is, in each direction.
        grey: whether its output has one channel.
        classes: names of the classes of a segmentation.
        vector: field of a dataset whose vector it takes beside each picture; "" where none.
        sha256: of its file.
        backend: "torch" or "onnxruntime".
        versions: of what runs it.
    """

    task: str
    takes: str
    gives: str
    scale: int
    grey: bool
    classes: tuple[str, ...]
    vector: str
    sha256: str
    backend: str
    versions: Mapping[str, str]

    @property
    def segments(self) -> bool:
        """Whether the output's channels are classes."""
        return self.task == "segmentation"


class Model(Protocol):
    """What is asked of a model."""

    facts: ModelFacts

    def __call__(self, pictures: Pixels, vectors: Values | None = None) -> Values:
        """What it makes of pictures of one size.

        Args:
            pictures: uint8 RGB, (N, H, W, 3), any H and W above 0.
            vectors: float32, (N, n), where the facts name a field of them.

        Returns:
            float32, (N, 3 or 1, H * scale, W * scale) in about 0–1; of a segmentation logits, (N, classes, H, W).
        """
        ...


def open_model(
    path: Path,
    *,
    device: str | None = None,
    direction: str | None = None,
    which: str = "best",
    vividness: float = 0.0,
) -> Model:
    """The model of a file (.safetensors, .pth, .onnx) or of the folder of a run.

    Args:
        device: "cpu", "cuda", "cuda:1", …; None takes a GPU where there is one.
        direction, which: of a run, as `imagemill.training.model_file.load_model` has them.
        vividness: see `imagemill.prediction.options.PredictOptions`.

    Raises:
        ConfigError: no model there, or no such device, or the model has no colours to choose from.
        DamageError: the file is damaged.
        MissingExtra: torch, safetensors or onnxruntime is not installed.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist: give a model file, or the folder of a run of `imagemill train`")
    if path.suffix.lower() == ONNX_SUFFIX:
        if direction is not None or which != "best":
            raise ConfigError(f"{path} is one model: direction and which are for the folder of a run")
        if vividness:
            raise ConfigError(
                f"{path} is an ONNX file, which gives mean colours only: vividness is for the run it came from"
            )
        from imagemill.prediction.onnx_model import OnnxModel

        return OnnxModel(path, device)
    try:
        from imagemill.prediction.torch_model import TorchModel
    except ImportError as error:
        if error.name != "torch":
            raise
        raise MissingExtra("torch", "torch") from None
    return TorchModel(path, device=device, direction=direction, which=which, vividness=vividness)


def facts_of(spec: Mapping[str, Any], path: Path, backend: str, versions: Mapping[str, str]) -> ModelFacts:
    """The facts of a model, from the fields of its `ModelSpec` and its file."""
    takes, gives = ("before", "after") if spec["direction"] == "before-to-after" else ("after", "before")
    segments = spec["task"] == "segmentation"
    return ModelFacts(
        task=spec["task"],
        takes=takes,
        gives=gives,
        scale=spec["scale"],
        grey=not segments and spec["out_channels"] == 1,
        classes=tuple(spec["classes"]),
        vector=spec["embedding_field"],
        sha256=file_sha256(path),
        backend=backend,
        versions=versions,
    )


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Flipped:
    """A model shown every picture in several positions; what it says of them, turned back, is averaged.

    Args:
        model: any.
        flips: one of `FLIPS`.

    Raises:
        ConfigError: another word.
    """

    def __init__(self, model: Model, flips: str) -> None:
        if flips not in FLIPS:
            raise ConfigError(f"flips {flips!r} is none of {', '.join(FLIPS)}")
        self.facts = model.facts
        self._model = model
        self._flips = flips

    def __call__(self, pictures: Pixels, vectors: Values | None = None) -> Values:
        """See `Model`."""
        mean: Values | None = None
        for number, (turns, mirrored) in enumerate(self._positions(), start=1):
            shown = np.rot90(pictures, turns, axes=(1, 2))
            shown = shown[:, :, ::-1] if mirrored else shown
            said = self._model(np.ascontiguousarray(shown), vectors)
            said = said[:, :, :, ::-1] if mirrored else said
            back = np.rot90(said, -turns, axes=(2, 3))
            # Moved towards each in turn, not summed and divided: where all say the same it stays exactly that.
            mean = back.copy() if mean is None else mean + (back - mean) / np.float32(number)
        assert mean is not None  # there is at least the picture as it is
        return mean

    def _positions(self) -> Iterator[tuple[int, bool]]:
        for turns in range(4 if self._flips == "all" else 1):
            yield turns, False
            if self._flips != "none":
                yield turns, True
