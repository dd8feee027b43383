"""Embedding models of PyTorch: our Inception-ResNet-v2, and whatever timm has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch

from imagemill.core.files import file_digest
from imagemill.errors import ConfigError, MissingExtra
from imagemill.networks import inception_resnet_v2
from imagemill.networks.embedders import (
    INCEPTION_RESNET_V2,
    PREPROCESSINGS,
    TIMM_PREFIX,
    Device,
    Embedder,
    Images,
    ModelChoice,
    Preprocessing,
    Vectors,
)
from imagemill.networks.weights import PUBLISHED, fetched, read_weights, state_sha256


class TorchEmbedder(Embedder):
    """What both have in common: a module, moved to a device, called without gradients."""

    runtime: ClassVar[tuple[str, ...]] = ("torch",)
    pooled: bool

    def place(self, module: torch.nn.Module, choice: ModelChoice) -> None:
        """Brings a module to its device, ready to be called; knows its dimension from then on."""
        self.device = torch_device(choice.device)
        # 15 % faster on a CPU than channels first.
        self.module = module.eval().to(self.device).to(memory_format=torch.channels_last)
        self.pooled = choice.output == "pooled"
        size = self.preprocessing.size
        self.dimension = self(torch.zeros(1, 3, *size).numpy()).shape[1]

    def begin_thread(self) -> None:
        """See `Embedder.begin_thread`."""
        torch.set_num_threads(1)

    @contextmanager
    def one_core_each(self) -> Iterator[None]:
        """See `Embedder.one_core_each`: what a thread sets is the default of the next one, too."""
        before = torch.get_num_threads()
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def __call__(self, images: Images) -> Vectors:
        """See `Embedder.__call__`."""
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
            found: Vectors = self.run(batch).float().cpu().numpy()
        if found.ndim != 2:
            raise ConfigError(f"{self.name} gives {found.shape} for {len(images)} images, a vector each is wanted")
        return found

    def run(self, batch: torch.Tensor) -> torch.Tensor:
        """Vectors of a batch on the device."""
        raise NotImplementedError


class InceptionEmbedder(TorchEmbedder):
    """Inception-ResNet-v2: 1001 or 1000 logits, or 1536 pooled features; grey images, as the colour pipeline has."""

    name = INCEPTION_RESNET_V2

    def __init__(self, choice: ModelChoice) -> None:
        self.preprocessing = choice.preprocessing(PREPROCESSINGS["inception-grey"])
        path = weights_path(choice.weights)
        self.weights_sha256 = file_digest(path)
        self.place(inception_resnet_v2.build(read_weights(path)), choice)

    def run(self, batch: torch.Tensor) -> torch.Tensor:
        """See `TorchEmbedder.run`."""
        found: torch.Tensor = self.module.pooled(batch) if self.pooled else self.module(batch)
        return found


def weights_path(weights: str | None) -> Path:
    """The file of weights that a user means; what is published is fetched once.

    Raises:
        ConfigError: there is no such file.
        RemoteError: it is to be fetched, and cannot be.
    """
    name = weights or "tf-slim"
    if name in PUBLISHED:
        return fetched(PUBLISHED[name], offline_hint=f"give it as --weights {PUBLISHED[name].url.rpartition('/')[2]}")
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"no file of weights at {path}; give one, or {' or '.join(PUBLISHED)} to have it fetched")
    return path


class TimmEmbedder(TorchEmbedder):
    """A model of timm by its name; preprocessing and weights are its own unless told otherwise."""

    runtime = ("torch", "timm")

    def __init__(self, choice: ModelChoice) -> None:
        timm = import_timm()
        self.name = choice.model.removeprefix(TIMM_PREFIX)
        if not timm.is_model(self.name):
            near = timm.list_models(f"*{self.name}*")[:5]
            hint = f"; it has {', '.join(near)}" if near else ""
            raise ConfigError(
                f"no model {self.name!r}: models are {INCEPTION_RESNET_V2}, a file that ends in .onnx, or a name that "
                f"timm knows{hint}"
            )
        module = self._module(timm, choice.weights)
        config = timm.data.resolve_model_data_config(module)
        self.preprocessing = choice.preprocessing(
            Preprocessing(
                size=tuple(config["input_size"][1:]),
                fit="crop",
                mean=tuple(config["mean"]),
                std=tuple(config["std"]),
                crop_share=float(config["crop_pct"]),
                filter=config["interpolation"],
            )
        )
        self.place(module, choice)

    def _module(self, timm: Any, weights: str | None) -> torch.nn.Module:
        if weights is not None:
            path = weights_path(weights)
            state = read_weights(path)
            module: torch.nn.Module = timm.create_model(self.name, pretrained=False)
            try:
                module.load_state_dict(state)
            except RuntimeError as error:
                why = str(error).splitlines()[-1].strip()
                raise ConfigError(f"{path} is not of timm's {self.name}: {why}") from None
            self.weights_sha256 = file_digest(path)
            return module
        try:
            module = timm.create_model(self.name, pretrained=True)
        except Exception as error:  # noqa: BLE001 - timm and the hub raise what they like
            raise ConfigError(
                f"timm could not load its weights of {self.name}: {str(error).splitlines()[0]}. Without a network, "
                "fetch its model.safetensors from huggingface.co/timm elsewhere, and give it as --weights FILE"
            ) from None
        self.weights_sha256 = state_sha256(module.state_dict())
        return module

    def run(self, batch: torch.Tensor) -> torch.Tensor:
        """See `TorchEmbedder.run`."""
        if not self.pooled:
            found: torch.Tensor = self.module(batch)
            return found
        features = self.module.forward_features(batch)
        pooled: torch.Tensor = self.module.forward_head(features, pre_logits=True)
        return pooled


def import_timm() -> Any:
    """timm, or why there is none.

    Raises:
        MissingExtra: it is not installed.
        ConfigError: it is, and cannot be imported, mostly because torchvision does not fit torch.
    """
    try:
        import timm
        import timm.data
    except ModuleNotFoundError as error:
        if error.name == "timm":
            raise MissingExtra("timm", "embed") from None
        raise ConfigError(_UNUSABLE.format(error=error)) from None
    except Exception as error:  # noqa: BLE001 - a torchvision of another torch fails in many ways
        raise ConfigError(_UNUSABLE.format(error=str(error).splitlines()[0])) from None
    return timm


_UNUSABLE = (
    "timm is installed and cannot be imported ({error}): it needs a torchvision made for the installed torch; pip "
    "install torch and torchvision of one release from one index (https://pytorch.org/get-started), or use "
    "inception_resnet_v2 or an ONNX file, which need neither"
)


def torch_device(device: Device) -> torch.device:
    """The device; under several processes a machine, the GPU of this one's local rank.

    Raises:
        ConfigError: there is no GPU.
    """
    if device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("this PyTorch finds no GPU: leave --device cuda out, or install PyTorch for CUDA")
    # The same vectors on every run: no choice of algorithms by their time, no shorter mantissa.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
