"""Models that turn images into vectors: our Inception-ResNet-v2, an ONNX file, or any model of timm."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from imagemill.core.files import file_digest
from imagemill.errors import ConfigError, MissingExtra

Images: TypeAlias = npt.NDArray[np.float32]
"""float32 (N, 3, H, W), preprocessed."""

Vectors: TypeAlias = npt.NDArray[np.float32]
"""float32 (N, D)."""

Output = Literal["logits", "pooled"]
Device = Literal["cpu", "cuda"]
Fit = Literal["contain", "crop"]

INCEPTION_RESNET_V2 = "inception_resnet_v2"
ONNX_SUFFIX = ".onnx"
TIMM_PREFIX = "timm:"
_CUDA_PROVIDER = "CUDAExecutionProvider"
BATCH_SIZES: dict[Device, int] = {"cpu": 8, "cuda": 64}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes what a model takes.

    Args:
        size: (height, width).
        fit: "contain": all of it, on white; "crop": the centre, of an image whose shorter side is 1/crop_share of it.
        crop_share: see `fit`.
        filter: resampling filter of "crop"; "contain" enlarges by "bicubic" and reduces by "lanczos".
        grey: luma in all three channels, as TensorFlow computes it.
        mean, std: of the channels, in 0–1: (value - mean) / std.
        fast_dct: JPEGs decoded by the fast, less exact DCT, as TensorFlow does.
    """

    size: tuple[int, int]
    fit: Fit
    mean: tuple[float, ...]
    std: tuple[float, ...]
    grey: bool = False
    crop_share: float = 1.0
    filter: str = "bicubic"
    fast_dct: bool = False

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return {**asdict(self), "size": list(self.size), "mean": list(self.mean), "std": list(self.std)}


_HALF = (0.5, 0.5, 0.5)
PREPROCESSINGS = {
    "inception-grey": Preprocessing((299, 299), "contain", _HALF, _HALF, grey=True),
    "inception-legacy": Preprocessing((299, 299), "contain", _HALF, _HALF, grey=True, fast_dct=True),
    "inception": Preprocessing((299, 299), "contain", _HALF, _HALF),
    "imagenet": Preprocessing((224, 224), "crop", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), crop_share=0.875),
    "unit": Preprocessing((224, 224), "contain", (0.0,) * 3, (1.0,) * 3),
}
"""Name → what it is: as the colour pipeline feeds Inception-ResNet-v2; the same from JPEGs decoded as TensorFlow
does; the same in colour; as classifiers trained on ImageNet mostly want it; values in 0–1 and nothing else."""


@dataclass(frozen=True)
class ModelChoice:
    """Which model, and what of it. Picklable; says what to load, in any process.

    Args:
        model: "inception_resnet_v2", a path that ends in `.onnx`, or a name that timm knows ("timm:NAME" where it is
            one of ours too).
        weights: file of weights; of Inception-ResNet-v2 also "tf-slim" (1001 classes, the default) or "timm" (1000),
            which are fetched; of timm None is its own pretrained weights.
        output: "logits", or "pooled" features before the classifier.
        device: "cpu" or "cuda".
        preprocess: name in `PREPROCESSINGS`; None is the model's own.
        size: (height, width) instead of the preprocessing's.
        batch_size: images the model is given at once; the last digits of a vector depend on it.
    """

    model: str = INCEPTION_RESNET_V2
    weights: str | None = None
    output: Output = "logits"
    device: Device = "cpu"
    preprocess: str | None = None
    size: tuple[int, int] | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("output", self.output, ("logits", "pooled")),
            ("device", self.device, tuple(BATCH_SIZES)),
            ("preprocess", self.preprocess, (None, *PREPROCESSINGS)),
        ):
            if value not in known:
                raise ConfigError(f"{name} {value!r} is none of {', '.join(str(one) for one in known if one)}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size is 1 or more, got {self.batch_size}")

    @property
    def images_at_once(self) -> int:
        """The batch size, by default the device's."""
        return self.batch_size or BATCH_SIZES[self.device]

    def preprocessing(self, default: Preprocessing) -> Preprocessing:
        """What becomes of an image, from the model's own preprocessing."""
        chosen = default if self.preprocess is None else PREPROCESSINGS[self.preprocess]
        if self.size is not None:
            return replace(chosen, size=self.size)
        # A model made for one size keeps it, whatever the mean and the crop.
        return chosen if self.preprocess is None else replace(chosen, size=default.size)


class Embedder(ABC):
    """A loaded model.

    Attributes:
        preprocessing: of the images it takes.
        name, weights_sha256: which model, with which weights.
        dimension: of its vectors.
    """

    runtime: ClassVar[tuple[str, ...]] = ()
    """Packages that have a say in the numbers."""

    preprocessing: Preprocessing
    name: str
    weights_sha256: str
    dimension: int

    @abstractmethod
    def __call__(self, images: Images) -> Vectors:
        """Vectors of preprocessed images; from several threads at once, each with one core."""

    def begin_thread(self) -> None:  # noqa: B027  not every runtime has threads of its own
        """Called first in every thread that calls the model: it has one core from then on."""

    @contextmanager
    def one_core_each(self) -> Iterator[None]:
        """Around the life of such threads; afterwards the process is as it was."""
        yield

    def identity(self, choice: ModelChoice) -> dict[str, Any]:
        """Everything that decides the vectors, for the recipe."""
        return {
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "output": choice.output,
            "dimension": self.dimension,
            "preprocessing": self.preprocessing.to_json(),
            "device": choice.device,
            "batch_size": choice.images_at_once,
            "runtime": {package: metadata.version(package) for package in self.runtime},
        }


@lru_cache(maxsize=1)
def load_embedder(choice: ModelChoice) -> Embedder:
    """The model, loaded; kept, since a process that asks once asks again.

    Raises:
        ConfigError: no such model, weights of another, or no such device.
        MissingExtra: a package is not installed.
        RemoteError: weights are to be fetched, and cannot be.
    """
    if choice.model.lower().endswith(ONNX_SUFFIX):
        if choice.weights is not None:
            raise ConfigError("an ONNX file holds its weights: leave --weights out")
        return OnnxEmbedder(choice)
    if importable("torch"):
        from imagemill.networks.torch_embedders import InceptionEmbedder, TimmEmbedder

        return InceptionEmbedder(choice) if choice.model == INCEPTION_RESNET_V2 else TimmEmbedder(choice)
    raise MissingExtra("torch", "torch")


def available_device(model: str) -> Device:
    """A GPU where the runtime of this model finds one, else the CPU."""
    if model.lower().endswith(ONNX_SUFFIX):
        if not importable("onnxruntime"):
            return "cpu"
        import onnxruntime

        return "cuda" if _CUDA_PROVIDER in onnxruntime.get_available_providers() else "cpu"
    if not importable("torch"):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def importable(package: str) -> bool:
    """Whether a package is installed."""
    from importlib.util import find_spec

    return find_spec(package) is not None


class OnnxEmbedder(Embedder):
    """An ONNX file; its first input takes the images, (N, 3, H, W) or (N, H, W, 3), its first output gives vectors.

    An output of feature maps, (N, D, H, W), is averaged over the image.
    """

    runtime = ("onnxruntime",)

    def __init__(self, choice: ModelChoice) -> None:
        path = Path(choice.model).expanduser()
        self.session = _session(path, choice.device)
        given = self.session.get_inputs()[0]
        self.input = given.name
        shape = list(given.shape)
        if len(shape) != 4 or given.type not in ("tensor(float)", "tensor(float16)"):
            raise ConfigError(f"{path} takes {given.type} of shape {shape}, and images as floats are wanted")
        self.channels_last = shape[3] == 3 and shape[1] != 3
        sides = shape[1:3] if self.channels_last else shape[2:4]
        self.batch = shape[0] if isinstance(shape[0], int) else None
        self.dtype = np.float16 if given.type == "tensor(float16)" else np.float32
        default = PREPROCESSINGS["imagenet"]
        fixed = tuple(side for side in sides if isinstance(side, int))
        if len(fixed) == 2:
            default = replace(default, size=(fixed[0], fixed[1]))
        self.preprocessing = choice.preprocessing(default)
        if len(fixed) == 2 and self.preprocessing.size != fixed:
            raise ConfigError(f"{path} takes images of {fixed[1]}x{fixed[0]}, not {_text(self.preprocessing.size)}")
        self.name = path.name
        self.weights_sha256 = file_digest(path)
        self.dimension = self(np.zeros((1, 3, *self.preprocessing.size), np.float32)).shape[1]

    def __call__(self, images: Images) -> Vectors:
        """See `Embedder.__call__`."""
        if self.channels_last:
            images = images.transpose(0, 2, 3, 1)
        if self.batch is None:
            return self._run(images)
        parts = [images[start : start + self.batch] for start in range(0, len(images), self.batch)]
        return np.concatenate([self._run(self._filled(part))[: len(part)] for part in parts])

    def _filled(self, part: Images) -> Images:
        """A batch of the number of images that the file is made for."""
        assert self.batch is not None
        return np.concatenate([part, np.zeros((self.batch - len(part), *part.shape[1:]), part.dtype)])

    def _run(self, images: Images) -> Vectors:
        given = np.ascontiguousarray(images, self.dtype)
        found = np.asarray(self.session.run(None, {self.input: given})[0], np.float32)
        if found.ndim > 2:
            found = found.mean(axis=tuple(range(2, found.ndim)))
        if found.ndim != 2 or len(found) != len(images):
            raise ConfigError(f"{self.name} gives {found.shape} for {len(images)} images, a vector each is wanted")
        return found


def _session(path: Path, device: Device) -> Any:
    """One that uses one core; threads run side by side over batches."""
    if not path.is_file():
        raise ConfigError(f"no ONNX file at {path}")
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra("onnxruntime", "export") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    provider = _CUDA_PROVIDER if device == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise ConfigError(f"this onnxruntime cannot use {device}: pip install onnxruntime-gpu, or --device cpu")
    try:
        return onnxruntime.InferenceSession(os.fspath(path), options, providers=[provider])
    except Exception as error:  # noqa: BLE001 - onnxruntime has an error class a kind of failure
        raise ConfigError(f"{path} cannot be loaded as ONNX: {str(error).splitlines()[0]}") from None


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def described(identity: Mapping[str, Any]) -> str:
    """A model's identity in one line, for a person."""
    kind = "" if identity["output"] == "logits" else f", {identity['output']}"
    return f"{identity['name']}{kind}, {identity['dimension']} numbers, weights {identity['weights_sha256'][:12]}"
