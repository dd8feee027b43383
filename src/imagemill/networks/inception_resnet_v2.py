"""Inception-ResNet-v2 in plain PyTorch: 1000 classes, or 1001 with the background class that TF-slim keeps.

Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning", 2016 (arXiv:1602.07261), with the numbers of channels of the network that TF-slim published. Modules bear
the names of timm's state dict; each convolution knows the scope of TF-slim that has its variables, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from imagemill.errors import ConfigError

Variables: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Variables of a TensorFlow checkpoint by name."""

INPUT_SIDE = 299
FEATURES = 1536
"""Pooled features of an image."""

CLASS_COUNTS = (1000, 1001)
SLIM_ROOT = "InceptionResnetV2"
_BATCH_NORM_EPSILON = 0.001
_CLASSIFIER = "classif"
_CLASSIFIER_SCOPE = "Logits/Logits"


class ConvUnit(nn.Module):  # type: ignore[misc]
    """A convolution without bias, batch normalisation, ReLU.

    Args:
        inputs: channels.
        scope: of TF-slim, as `Conv2d_0b_1x7`: what it ends in is the kernel, height x width.
        outputs: channels.
        stride: 2 halves the sides.
        same: sides stay as they are but for the stride; else nothing is added around the image.
    """

    def __init__(self, inputs: int, scope: str, outputs: int, stride: int = 1, *, same: bool = True) -> None:
        super().__init__()
        height, width = map(int, scope.rpartition("_")[2].split("x"))
        padding = (height // 2, width // 2) if same else (0, 0)
        self.scope = scope
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=_BATCH_NORM_EPSILON)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) to (N, outputs, H', W')."""
        return torch.relu(self.bn(self.conv(images)))


def _reducing(inputs: int, scope: str, outputs: int) -> ConvUnit:
    """A unit that halves the sides."""
    return ConvUnit(inputs, scope, outputs, 2, same=False)


def _chain(inputs: int, *units: tuple[str, int]) -> nn.Sequential:
    """Units one after the other."""
    modules = []
    for scope, outputs in units:
        modules.append(ConvUnit(inputs, scope, outputs))
        inputs = outputs
    return nn.Sequential(*modules)


class Branches(nn.Module):  # type: ignore[misc]
    """Branches side by side over the same input, their channels joined.

    Args:
        scope: of TF-slim.
        branches: by the names that timm gives them, `branch0` is `Branch_0` there.
    """

    def __init__(self, scope: str, **branches: nn.Module) -> None:
        super().__init__()
        self.scope = scope
        for name, branch in branches.items():
            self.add_module(name, branch)
        self._names = tuple(branches)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the channels of all branches."""
        return torch.cat([getattr(self, name)(images) for name in self._names], dim=1)


class Residual(Branches):
    """Branches, a 1x1 convolution over them, and the sum with the input.

    Args:
        channels: of input and output.
        joined: channels of all branches together.
        scale: of what is added.
        last: no ReLU follows.
    """

    def __init__(
        self, scope: str, channels: int, joined: int, scale: float, *, last: bool = False, **branches: nn.Module
    ) -> None:
        super().__init__(scope, **branches)
        self.scale = scale
        self.last = last
        self.conv2d = nn.Conv2d(joined, channels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) to the same."""
        summed = images + self.scale * self.conv2d(super().forward(images))
        return summed if self.last else torch.relu(summed)


def _block35(number: int) -> Residual:
    return Residual(
        f"Repeat/block35_{number + 1}",
        320,
        128,
        0.17,
        branch0=ConvUnit(320, "Conv2d_1x1", 32),
        branch1=_chain(320, ("Conv2d_0a_1x1", 32), ("Conv2d_0b_3x3", 32)),
        branch2=_chain(320, ("Conv2d_0a_1x1", 32), ("Conv2d_0b_3x3", 48), ("Conv2d_0c_3x3", 64)),
    )


def _block17(number: int) -> Residual:
    return Residual(
        f"Repeat_1/block17_{number + 1}",
        1088,
        384,
        0.1,
        branch0=ConvUnit(1088, "Conv2d_1x1", 192),
        branch1=_chain(1088, ("Conv2d_0a_1x1", 128), ("Conv2d_0b_1x7", 160), ("Conv2d_0c_7x1", 192)),
    )


def _block8(scope: str, scale: float, *, last: bool = False) -> Residual:
    return Residual(
        scope,
        2080,
        448,
        scale,
        last=last,
        branch0=ConvUnit(2080, "Conv2d_1x1", 192),
        branch1=_chain(2080, ("Conv2d_0a_1x1", 192), ("Conv2d_0b_1x3", 224), ("Conv2d_0c_3x1", 256)),
    )


class InceptionResNetV2(nn.Module):  # type: ignore[misc]
    """The network, for inference and fine-tuning alike.

    Args:
        classes: of the logits, 1000 or 1001 (class 0 is background) with published weights.
    """

    def __init__(self, classes: int = 1001) -> None:
        super().__init__()
        self.conv2d_1a = _reducing(3, "Conv2d_1a_3x3", 32)
        self.conv2d_2a = ConvUnit(32, "Conv2d_2a_3x3", 32, same=False)
        self.conv2d_2b = ConvUnit(32, "Conv2d_2b_3x3", 64)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = ConvUnit(64, "Conv2d_3b_1x1", 80)
        self.conv2d_4a = ConvUnit(80, "Conv2d_4a_3x3", 192, same=False)
        self.maxpool_5a = nn.MaxPool2d(3, 2)
        self.mixed_5b = Branches(
            "Mixed_5b",
            branch0=ConvUnit(192, "Conv2d_1x1", 96),
            branch1=_chain(192, ("Conv2d_0a_1x1", 48), ("Conv2d_0b_5x5", 64)),
            branch2=_chain(192, ("Conv2d_0a_1x1", 64), ("Conv2d_0b_3x3", 96), ("Conv2d_0c_3x3", 96)),
            branch3=nn.Sequential(
                nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), ConvUnit(192, "Conv2d_0b_1x1", 64)
            ),
        )
        self.repeat = nn.Sequential(*map(_block35, range(10)))
        self.mixed_6a = Branches(
            "Mixed_6a",
            branch0=_reducing(320, "Conv2d_1a_3x3", 384),
            branch1=_chain(320, ("Conv2d_0a_1x1", 256), ("Conv2d_0b_3x3", 256)).append(
                _reducing(256, "Conv2d_1a_3x3", 384)
            ),
            branch2=nn.MaxPool2d(3, 2),
        )
        self.repeat_1 = nn.Sequential(*map(_block17, range(20)))
        self.mixed_7a = Branches(
            "Mixed_7a",
            branch0=_chain(1088, ("Conv2d_0a_1x1", 256)).append(_reducing(256, "Conv2d_1a_3x3", 384)),
            branch1=_chain(1088, ("Conv2d_0a_1x1", 256)).append(_reducing(256, "Conv2d_1a_3x3", 288)),
            branch2=_chain(1088, ("Conv2d_0a_1x1", 256), ("Conv2d_0b_3x3", 288)).append(
                _reducing(288, "Conv2d_1a_3x3", 320)
            ),
            branch3=nn.MaxPool2d(3, 2),
        )
        self.repeat_2 = nn.Sequential(*(_block8(f"Repeat_2/block8_{number + 1}", 0.2) for number in range(9)))
        self.block8 = _block8("Block8", 1.0, last=True)
        self.conv2d_7b = ConvUnit(2080, "Conv2d_7b_1x1", FEATURES)
        self.classif = nn.Linear(FEATURES, classes)

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """Features averaged over the image.

        Args:
            images: float32 (N, 3, H, W) in -1 to 1, by default 299x299; sides of 75 or more.

        Returns:
            float32 (N, 1536), all 0 or more.
        """
        for layer in list(self.children())[:-1]:
            images = layer(images)
        return images.mean(dim=(2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, before any softmax: float32 (N, classes)."""
        logits: torch.Tensor = self.classif(self.pooled(images))
        return logits


def build(state: Mapping[str, torch.Tensor]) -> InceptionResNetV2:
    """The network with these weights, in evaluation mode; none of them is copied.

    Args:
        state: a state dict with timm's names, or variables of TF-slim by theirs.

    Raises:
        ConfigError: weights are missing, are too many, or have other shapes.
    """
    if any(name.startswith(f"{SLIM_ROOT}/") for name in state):
        state = from_slim({name: value.numpy() for name, value in state.items()})
    head = state.get(f"{_CLASSIFIER}.weight")
    if head is None or head.ndim != 2:
        raise ConfigError(f"no weights of Inception-ResNet-v2: {_CLASSIFIER}.weight is not among {_shown(state)}")
    with torch.device("meta"):
        network = InceptionResNetV2(len(head))
    wanted = network.state_dict()
    state = _with_counters(state, wanted)
    for name, value in wanted.items():
        if name not in state or state[name].shape != value.shape:
            found = "is missing" if name not in state else f"has shape {tuple(state[name].shape)}"
            raise ConfigError(f"no weights of Inception-ResNet-v2: {name} {found}, wanted {tuple(value.shape)}")
    more = sorted(set(state) - set(wanted))
    if more:
        raise ConfigError(f"no weights of Inception-ResNet-v2: {more[0]} is none of its names")
    network.load_state_dict(dict(state), assign=True)
    network.eval()
    return network


def _with_counters(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state with the counters of batch normalisation that old files lack, and inference does not need."""
    counters = {name: torch.tensor(0) for name in wanted if name.endswith(".num_batches_tracked")}
    return {**counters, **state}


def _shown(state: Mapping[str, torch.Tensor]) -> str:
    names = list(state)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def slim_names() -> dict[str, str]:
    """Name in the state dict → name of the variable in TF-slim's checkpoint, for all that it has.

    Its batch normalisation has no gamma: `bn.weight` is 1 everywhere.
    """
    with torch.device("meta"):
        return dict(_slim_names(InceptionResNetV2()))


def _slim_names(network: InceptionResNetV2) -> Iterator[tuple[str, str]]:
    modules = dict(network.named_modules())
    for path, module in modules.items():
        scope = "/".join([SLIM_ROOT, *_scopes(path, modules)])
        if isinstance(module, ConvUnit):
            yield f"{path}.conv.weight", f"{scope}/weights"
            yield f"{path}.bn.bias", f"{scope}/BatchNorm/beta"
            yield f"{path}.bn.running_mean", f"{scope}/BatchNorm/moving_mean"
            yield f"{path}.bn.running_var", f"{scope}/BatchNorm/moving_variance"
        elif isinstance(module, Residual):
            yield f"{path}.conv2d.weight", f"{scope}/Conv2d_1x1/weights"
            yield f"{path}.conv2d.bias", f"{scope}/Conv2d_1x1/biases"
    yield f"{_CLASSIFIER}.weight", f"{SLIM_ROOT}/{_CLASSIFIER_SCOPE}/weights"
    yield f"{_CLASSIFIER}.bias", f"{SLIM_ROOT}/{_CLASSIFIER_SCOPE}/biases"


def _scopes(path: str, modules: Mapping[str, nn.Module]) -> Iterator[str]:
    """Scopes of TF-slim on the way to a module."""
    parts = path.split(".")
    for number, part in enumerate(parts):
        if part.startswith("branch"):
            yield f"Branch_{part.removeprefix('branch')}"
        module = modules[".".join(parts[: number + 1])]
        if isinstance(module, ConvUnit | Branches):
            yield module.scope


def from_slim(variables: Variables) -> dict[str, torch.Tensor]:
    """A state dict from the variables of TF-slim's checkpoint; auxiliary logits and training's own are left out.

    Raises:
        ConfigError: one is missing.
    """
    state = {}
    for name, variable in slim_names().items():
        if variable not in variables:
            raise ConfigError(f"no checkpoint of Inception-ResNet-v2: it has no variable {variable}")
        value = np.asarray(variables[variable])
        if value.ndim == 4:  # height, width, inputs, outputs
            value = value.transpose(3, 2, 0, 1)
        elif value.ndim == 2:  # inputs, outputs
            value = value.T
        state[name] = torch.from_numpy(np.ascontiguousarray(value, np.float32))
        if name.endswith(".bn.bias"):
            state[name.replace(".bias", ".weight")] = torch.ones(len(value))
    return state
