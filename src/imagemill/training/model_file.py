"""A model as one file: weights, and everything needed to use them, in a safetensors file's metadata.

`load_model(path)` needs nothing else: no code that made it, no configuration beside it. Nothing is unpickled, but for
the originals' `.pth` files, and those by torch's own reader of plain tensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from imagemill import __version__
from imagemill.core.files import atomic_write
from imagemill.errors import ConfigError, DamageError, MissingExtra
from imagemill.networks import create_network
from imagemill.networks.base import Network, options_of
from imagemill.networks.unet import variant_of
from imagemill.training.colour import check_space, from_space, to_space

METADATA_KEY = "imagemill_model"
MODEL_FORMAT = 1
"""Version of the metadata; a reader refuses a newer one."""

TASKS = ("image-to-image", "segmentation")
DIRECTIONS = ("before-to-after", "after-to-before")
BEST, LAST = "best", "last"
REVERSE = "-reverse"
"""End of the name of a model of `after-to-before`, where a run has one of each."""


@dataclass(frozen=True)
class ModelSpec:
    """What a model is, besides its weights.

    Args:
        network: registered name.
        options: of the network, plain values.
        task: "image-to-image", or "segmentation": the output's channels are classes.
        direction: "before-to-after" or "after-to-before": which half of a pair it takes.
        input_colour, output_colour: spaces of `imagemill.training.colour`; of a segmentation the latter is "".
        in_channels, out_channels: of what the network takes and gives; of 2 in ycbcr or lab the lightness is the
            input's.
        scale: how many times larger the output is.
        classes: names of the classes of a segmentation, in order.
        required_multiple: of height and width of the input.
        embedding_field: field of the dataset whose vector the network takes beside the picture; "" where none.
        size: (height, width) that it was trained on; None where there were many.
        dataset: sha256 of the manifest of the training data; "" where there is none.
        metrics: what was measured, as {"val psnr": 28.4, "test psnr": 28.1}.
        steps: optimizer steps that the weights have seen.
        version: of imagemill that wrote it.
    """

    network: str
    options: Mapping[str, Any] = field(default_factory=dict)
    task: str = "image-to-image"
    direction: str = "before-to-after"
    input_colour: str = "rgb"
    output_colour: str = "rgb"
    in_channels: int = 3
    out_channels: int = 3
    scale: int = 1
    classes: tuple[str, ...] = ()
    required_multiple: int = 1
    embedding_field: str = ""
    size: tuple[int, int] | None = None
    dataset: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0
    version: str = __version__

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"task {self.task!r} is none of {', '.join(TASKS)}")
        if self.direction not in DIRECTIONS:
            raise ConfigError(f"direction {self.direction!r} is none of {', '.join(DIRECTIONS)}")
        check_space(self.input_colour, self.in_channels)
        if self.task == "image-to-image":
            check_space(self.output_colour, self.out_channels)

    def network_input(self, rgb: torch.Tensor) -> torch.Tensor:
        """What the network takes of RGB pictures: float32 (N, 3, H, W) in 0–1 to (N, in_channels, H, W)."""
        return to_space(rgb, self.input_colour, self.in_channels)

    def network_target(self, rgb: torch.Tensor) -> torch.Tensor:
        """What the network is to give of RGB pictures: (N, out_channels, H, W)."""
        return to_space(rgb, self.output_colour, self.out_channels)

    def to_rgb(self, output: torch.Tensor, rgb_input: torch.Tensor) -> torch.Tensor:
        """RGB pictures of the network's output, unclipped: (N, 3, H · scale, W · scale).

        Args:
            output: of the network.
            rgb_input: (N, 3, H, W) that it was shown; lends its lightness to outputs of colour alone.
        """
        if self.out_channels != 2:
            return from_space(output, self.output_colour)
        return from_space(output, self.output_colour, to_space(rgb_input, self.output_colour, 1))

    def to_json(self) -> str:
        """Plain JSON; `from_json` gives the spec back."""
        return json.dumps({"imagemill_model": MODEL_FORMAT, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """The spec that `to_json` described.

        Raises:
            DamageError: the text is none.
            ConfigError: a newer imagemill wrote it.
        """
        try:
            record = json.loads(text)
            version = record.pop("imagemill_model")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamageError(f"the model's metadata cannot be read: {error}") from None
        if version > MODEL_FORMAT:
            raise ConfigError(
                f"the model has version {version}, this imagemill reads up to {MODEL_FORMAT}: pip install -U imagemill"
            )
        try:
            record["classes"] = tuple(record["classes"])
            record["size"] = None if record["size"] is None else tuple(record["size"])
            return cls(**record)
        except (KeyError, TypeError) as error:
            raise DamageError(f"the model's metadata is damaged: {error!r}") from None


def save_model(path: str | os.PathLike[str], network: Network, spec: ModelSpec) -> None:
    """Writes weights and spec as one file that is seen whole or not at all.

    The spec's `options`, `required_multiple` and `scale` are taken from the network.
    """
    spec = replace(spec, options=options_of(network), required_multiple=network.required_multiple, scale=network.scale)
    weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    write_tensors(Path(path), weights, {METADATA_KEY: spec.to_json()})


def save_weights(
    path: Path, weights: Mapping[str, torch.Tensor], spec: ModelSpec, *, steps: int, metrics: Mapping[str, float]
) -> None:
    """Writes a state dict (averaged weights, say) with a complete spec, and what was measured of it."""
    write_tensors(path, weights, {METADATA_KEY: replace(spec, steps=steps, metrics=dict(metrics)).to_json()})


def load_model(
    path: str | os.PathLike[str], *, direction: str | None = None, which: str = BEST
) -> tuple[Network, ModelSpec]:
    """A network with its weights, in evaluation mode on the CPU, and what it is.

    Args:
        path: a model file, the folder of a run, or a `.pth` file of Image-Color-Reverser (its variant is recognised).
        direction: of a run that trained both ways, which model; None is before-to-after, or the only one.
        which: of a run: "best" or "last".

    Raises:
        ConfigError: nothing there that is a model.
        DamageError: the file is damaged.
        MissingExtra: torch or safetensors is not installed.
    """
    place = model_path(Path(path), direction=direction, which=which)
    if place.suffix in (".pth", ".pt"):
        return _load_original(place)
    tensors, metadata = read_tensors(place)
    if METADATA_KEY not in metadata:
        raise ConfigError(f"{place} is a safetensors file, but none that imagemill wrote: it does not say what it is")
    spec = ModelSpec.from_json(metadata[METADATA_KEY])
    network = create_network(spec.network, **spec.options)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise DamageError(f"{place}: weights and network {spec.network!r} do not belong together: {error}") from None
    return network.eval(), spec


def model_path(path: Path, *, direction: str | None = None, which: str = BEST) -> Path:
    """The file that is meant by a file or the folder of a run.

    Raises:
        ConfigError: there is none.
    """
    if direction not in (None, *DIRECTIONS):
        raise ConfigError(f"direction {direction!r} is none of {', '.join(DIRECTIONS)}")
    if path.is_file():
        return path
    names = [which, which + REVERSE]
    if direction == DIRECTIONS[1]:
        names.reverse()
    for name in names:
        found = path / f"{name}.safetensors"
        if not found.is_file():
            continue
        if direction is None or spec_of(found).direction == direction:
            return found
    wanted = f"{which}.safetensors" + (f" of direction {direction}" if direction else "")
    raise ConfigError(
        f"{path} is no model: give a .safetensors or .pth file, or the folder of a finished run of `imagemill train` "
        f"(one that holds {wanted})"
    )


def is_model(path: Path) -> bool:
    """Whether this looks like a model file or the folder of a run, without reading weights."""
    if path.is_dir():
        return any((path / f"{name}{end}.safetensors").is_file() for name in (BEST, LAST) for end in ("", REVERSE))
    return path.suffix in (".safetensors", ".pth", ".pt") and path.is_file()


def spec_of(path: Path) -> ModelSpec:
    """What a model file says of itself; the weights are not read.

    Raises:
        ConfigError: not one that imagemill wrote.
        DamageError: it is damaged.
    """
    _, metadata = read_tensors(path, weights=False)
    if METADATA_KEY not in metadata:
        raise ConfigError(f"{path} is a safetensors file, but none that imagemill wrote: it does not say what it is")
    return ModelSpec.from_json(metadata[METADATA_KEY])


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file that is seen whole or not at all; tensors that share memory are written each."""
    safetensors = _safetensors()
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    atomic_write(path, safetensors.save(plain, dict(metadata)))


def read_tensors(path: Path, *, weights: bool = True) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors (none unless `weights`) and metadata of a safetensors file.

    Raises:
        ConfigError: it cannot be opened.
        DamageError: it is none.
    """
    _safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()} if weights else {}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except SafetensorError as error:
        raise DamageError(f"{path} is no whole safetensors file: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError:
        raise MissingExtra("safetensors", "torch") from None
    return safetensors.torch


def _load_original(path: Path) -> tuple[Network, ModelSpec]:
    """A bare state dict of one of the U-Nets of Image-Color-Reverser."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises what it likes at a file that is no state dict
        raise ConfigError(
            f"{path} cannot be read as plain tensors, and nothing else is read from a pickle: {error}"
        ) from None
    tensors = isinstance(state, Mapping) and all(isinstance(each, torch.Tensor) for each in state.values())
    variant = variant_of(state) if tensors else None
    if variant is None:
        raise ConfigError(f"{path} holds no weights of a U-Net that is known: {', '.join(_forms())}")
    network = create_network("unet", variant=variant)
    network.load_state_dict(state)
    spec = ModelSpec("unet", options_of(network), required_multiple=network.required_multiple, version="")
    return network.eval(), spec


def _forms() -> list[str]:
    from imagemill.networks.unet import FORMS

    return [f"{name} ({form.parameters:,} parameters)" for name, form in FORMS.items()]
