"""Inception-ResNet-v2: timm's names, TF-slim's variables, and the numbers that Keras's own network gives."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from unit.networks.formula_weights import images, variables

from imagemill.errors import ConfigError
from imagemill.networks.inception_resnet_v2 import InceptionResNetV2, build, from_slim, slim_names

KERAS_LOGITS = [
    [-0.49860048, 0.43377164, 0.69776762, 4.60588598, 4.84038877, 1.23772255],
    [-1.05953789, 0.00904802, 0.50920230, 4.82539558, 5.21850061, 1.04988348],
]
KERAS_POOLED = [
    [0.69785869, 0.15379241, 3.54322791, 0.0, 0.0, 8.00680923, 0.0, 0.0],
    [0.89903623, 0.0, 3.70836353, 0.0, 0.0, 8.07627583, 0.0, 0.0],
]
"""Every 200th number of TensorFlow 2.21's `InceptionResNetV2`, its weights those of `formula_weights`."""

TIMM_NAMES = "0125c0113ec7b631d6ef"
"""Beginning of the sha256 of names and shapes of timm 1.0.31's state dict with 1000 classes, a line each."""


def shapes(classes: int) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = InceptionResNetV2(classes)
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def slim_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a kernel in TensorFlow: height, width, inputs, outputs; inputs, outputs."""
    return (*shape[2:], shape[1], shape[0]) if len(shape) == 4 else shape[::-1]


def formula_variables() -> dict[str, np.ndarray]:
    known = shapes(1001)
    kernels = {
        kind: {
            variable.removesuffix("/weights"): slim_shape(known[name])
            for name, variable in slim_names().items()
            if name.endswith(ends)
        }
        for kind, ends in (("conv", ".conv.weight"), ("join", (".conv2d.weight", "classif.weight")))
    }
    return variables(kernels["conv"], kernels["join"])


def test_names_and_shapes_are_timm_s() -> None:
    lines = "".join(f"{name} {list(shape)}\n" for name, shape in shapes(1000).items())
    assert hashlib.sha256(lines.encode()).hexdigest().startswith(TIMM_NAMES)


def test_every_weight_has_a_variable_of_tf_slim() -> None:
    names = slim_names()
    assert len(set(names.values())) == len(names) == 898
    left = {name for name in shapes(1001) if name not in names}
    assert all(name.endswith((".bn.weight", ".num_batches_tracked")) for name in left)
    known = {
        "conv2d_1a.conv.weight": "Conv2d_1a_3x3/weights",
        "mixed_5b.branch3.1.bn.bias": "Mixed_5b/Branch_3/Conv2d_0b_1x1/BatchNorm/beta",
        "repeat.9.branch2.1.bn.running_var": "Repeat/block35_10/Branch_2/Conv2d_0b_3x3/BatchNorm/moving_variance",
        "mixed_6a.branch1.2.conv.weight": "Mixed_6a/Branch_1/Conv2d_1a_3x3/weights",
        "repeat_1.0.branch1.1.conv.weight": "Repeat_1/block17_1/Branch_1/Conv2d_0b_1x7/weights",
        "repeat_2.8.conv2d.bias": "Repeat_2/block8_9/Conv2d_1x1/biases",
        "block8.branch0.bn.running_mean": "Block8/Branch_0/Conv2d_1x1/BatchNorm/moving_mean",
        "conv2d_7b.conv.weight": "Conv2d_7b_1x1/weights",
        "classif.bias": "Logits/Logits/biases",
    }
    assert {name: names[name] for name in known} == {n: f"InceptionResnetV2/{v}" for n, v in known.items()}


def test_it_computes_what_keras_computes() -> None:
    network = build(from_slim(formula_variables()))
    batch = torch.from_numpy(images().transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        pooled = network.pooled(batch)
        logits = network.classif(pooled)
    assert (tuple(pooled.shape), tuple(logits.shape)) == ((2, 1536), (2, 1001))
    assert np.abs(logits[:, ::200].numpy() - KERAS_LOGITS).max() < 1e-4
    assert np.abs(pooled[:, ::200].numpy() - KERAS_POOLED).max() < 1e-4
    assert logits.numpy().std() == pytest.approx(4.824972, abs=1e-4)


def zeros(classes: int) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes(classes).items()}


@pytest.mark.parametrize("classes", [1000, 1001])
def test_the_number_of_classes_follows_from_the_weights(classes: int) -> None:
    state = {name: value for name, value in zeros(classes).items() if not name.endswith("num_batches_tracked")}
    network = build(state)
    assert network.classif.out_features == classes
    assert not network.training


def test_other_weights_are_refused() -> None:
    state = zeros(1000)
    with pytest.raises(ConfigError, match=r"classif\.weight is not among a, b"):
        build({"a": torch.zeros(1), "b": torch.zeros(1)})
    with pytest.raises(ConfigError, match=r"block8\.conv2d\.bias is missing"):
        build({name: value for name, value in state.items() if name != "block8.conv2d.bias"})
    with pytest.raises(ConfigError, match=r"conv2d_1a\.conv\.weight has shape \(1,\), wanted \(32, 3, 3, 3\)"):
        build({**state, "conv2d_1a.conv.weight": torch.zeros(1)})
    with pytest.raises(ConfigError, match="extra is none of its names"):
        build({**state, "extra": torch.zeros(1)})
    with pytest.raises(ConfigError, match="no variable InceptionResnetV2/Conv2d_1a_3x3/weights"):
        build({"InceptionResnetV2/Logits/Logits/biases": torch.zeros(1001)})
