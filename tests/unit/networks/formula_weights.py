"""Weights of Inception-ResNet-v2 that follow from their names and a formula, so that Keras can be given the same.

Run by the Python that has TensorFlow, this prints what Keras's own network makes of them: the golden values of
`test_inception_resnet_v2.py`. `python formula_weights.py NAMES.json`, a list of the names of the convolutions and one
of those over branches, as `names` gives them.
"""

import json
import re
import sys

import numpy as np

CLASSES, SIDE = 1001, 107


def numbers(count: int, seed: int) -> np.ndarray:
    """float32 in [-1, 1), a hash of their place: the same on every machine."""
    places = np.arange(count, dtype=np.uint32) + np.uint32(seed * 7_919)
    places ^= places >> np.uint32(16)
    places *= np.uint32(0x45D9F3B)
    places ^= places >> np.uint32(16)
    places *= np.uint32(0x45D9F3B)
    places ^= places >> np.uint32(16)
    return (places >> np.uint32(8)).astype(np.float32) / np.float32(2**23) - np.float32(1)


def filled(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A kernel, (height, width, inputs, outputs) or (inputs, outputs), that keeps the spread of what goes through."""
    spread = np.float32(np.sqrt(6 / np.prod(shape[:-1])))
    return numbers(int(np.prod(shape)), seed).reshape(shape) * spread


def normalisation(channels: int, seed: int) -> list[np.ndarray]:
    """[beta, moving mean, moving variance] of a convolution."""
    parts = numbers(3 * channels, seed).reshape(3, channels)
    return [parts[0] * np.float32(0.1), parts[1] * np.float32(0.1), np.float32(1) + parts[2] * np.float32(0.3)]


def images() -> np.ndarray:
    """Two images, float32 (2, SIDE, SIDE, 3)."""
    return numbers(2 * SIDE * SIDE * 3, 1).reshape(2, SIDE, SIDE, 3)


def variables(convolutions: dict[str, tuple[int, ...]], joins: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """TF-slim's variables: {scope: shape of the kernel} of the convolutions and of those over branches."""
    found = {}
    for seed, (scope, shape) in enumerate(convolutions.items()):
        found[f"{scope}/weights"] = filled(shape, 2 * seed + 2)
        names = (f"{scope}/BatchNorm/{name}" for name in ("beta", "moving_mean", "moving_variance"))
        found |= dict(zip(names, normalisation(shape[-1], 2 * seed + 3), strict=True))
    for seed, (scope, shape) in enumerate(joins.items()):
        found[f"{scope}/weights"] = filled(shape, 2 * seed + 1002)
        found[f"{scope}/biases"] = numbers(shape[-1], 2 * seed + 1003) * np.float32(0.1)
    return found


def main(names: str) -> None:
    import tensorflow as tf

    with open(names) as file:
        scopes, joins = json.load(file)
    layers = tf.keras.layers
    model = tf.keras.applications.InceptionResNetV2(
        weights=None, classes=CLASSES, classifier_activation=None, input_shape=(SIDE, SIDE, 3)
    )

    def numbered(kind: type, pattern: str) -> list:
        found = [layer for layer in model.layers if isinstance(layer, kind) and re.fullmatch(pattern, layer.name)]
        return sorted(found, key=lambda layer: int((re.findall(r"_(\d+)$", layer.name) or ["0"])[0]))

    kernels = [*numbered(layers.Conv2D, r"conv2d(_\d+)?"), model.get_layer("conv_7b")]
    norms = [*numbered(layers.BatchNormalization, r"batch_normalization(_\d+)?"), model.get_layer("conv_7b_bn")]
    counts = {"block35": 10, "block17": 20, "block8": 10}
    over = [model.get_layer(f"{block}_{n + 1}_conv") for block, count in counts.items() for n in range(count)]
    over.append(model.get_layer("predictions"))
    shapes = {scope: tuple(layer.get_weights()[0].shape) for scope, layer in zip(scopes, kernels, strict=True)}
    joined = {scope: tuple(layer.get_weights()[0].shape) for scope, layer in zip(joins, over, strict=True)}
    values = variables(shapes, joined)
    for scope, kernel, norm in zip(scopes, kernels, norms, strict=True):
        kernel.set_weights([values[f"{scope}/weights"]])
        norm.set_weights([values[f"{scope}/BatchNorm/{n}"] for n in ("beta", "moving_mean", "moving_variance")])
    for scope, layer in zip(joins, over, strict=True):
        layer.set_weights([values[f"{scope}/weights"], values[f"{scope}/biases"]])
    pooled = tf.keras.Model(model.inputs, model.get_layer("avg_pool").output)
    for name, found in (
        ("logits", model.predict(images(), verbose=0)),
        ("pooled", pooled.predict(images(), verbose=0)),
    ):
        print(name, found.std(), found[:, ::200].tolist())


if __name__ == "__main__":
    main(sys.argv[1])
