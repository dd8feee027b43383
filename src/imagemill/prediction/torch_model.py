"""A model run by torch: RGB pictures of any size in, RGB pictures or classes out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from imagemill.errors import ConfigError
from imagemill.networks.base import Network
from imagemill.prediction.model import facts_of
from imagemill.prediction.tiling import Pixels, Values
from imagemill.training.model_file import ModelSpec, load_model, model_path


class RgbModel(nn.Module):  # type: ignore[misc]
    """A network with what belongs before and after it: colour spaces, and sides that are no multiples.

    float32 (N, 3, H, W) in 0–1 to (N, 3 or 1, H * scale, W * scale), or to logits. Sides are filled up below and
    to the right by repeating the edge, and cut back. This is also what is exported.
    """

    def __init__(self, network: Network, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec

    def forward(self, rgb: torch.Tensor, vectors: torch.Tensor | None = None) -> torch.Tensor:
        """See the class; vectors (N, n) for a network that takes them."""
        height, width = rgb.shape[2], rgb.shape[3]
        multiple, scale = self.spec.required_multiple, self.spec.scale
        padded = rgb
        if multiple > 1:
            below, right = (multiple - height % multiple) % multiple, (multiple - width % multiple) % multiple
            padded = functional.pad(rgb, (0, right, 0, below), mode="replicate")
        shown = self.spec.network_input(padded)
        values = self.network(shown) if vectors is None else self.network(shown, vectors)
        if self.spec.task == "image-to-image":
            values = self.spec.to_rgb(values, padded)
            values = values[:, :1] if self.spec.out_channels == 1 else values
        return values[:, :, : height * scale, : width * scale] if multiple > 1 else values


class TorchModel:
    """A model file or run, on a device; see `prediction.model.Model`.

    Args:
        path: file or folder.
        device: None takes a GPU where there is one.
        direction, which: see `load_model`.
        vividness: see `imagemill.prediction.options.PredictOptions`.

    Raises:
        ConfigError: no model, or no such device, or the network has no palette to be vivid with.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str | None = None,
        direction: str | None = None,
        which: str = "best",
        vividness: float = 0.0,
    ) -> None:
        network, spec = load_model(path, direction=direction, which=which)
        if vividness:
            if not spec.options.get("palette"):
                raise ConfigError(
                    f"{path} makes no guess of colours ({spec.input_colour} to {spec.output_colour or 'classes'}), "
                    "so there is nothing to make vivid: leave vividness out"
                )
            network.vividness = vividness
        self.device = device_of(device)
        self.rgb_model = RgbModel(network, spec).to(self.device).eval()
        place = model_path(path, direction=direction, which=which)
        self.facts = facts_of(asdict(spec), place, "torch", {"torch": torch.__version__, "device": self.device.type})

    def __call__(self, pictures: Pixels, vectors: Values | None = None) -> Values:
        """See `Model`."""
        with torch.inference_mode():
            beside = None if vectors is None else torch.from_numpy(vectors).to(self.device)
            rgb = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device)
            values = self.rgb_model(rgb.permute(0, 3, 1, 2).float() / 255, beside)
            result: Values = values.float().cpu().numpy()
        return result


def device_of(name: str | None) -> torch.device:
    """The device of that name, or the best one here.

    Raises:
        ConfigError: it is not there.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device
