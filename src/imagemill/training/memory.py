"""What a network needs before it is trained: counted without computing anything, and without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from imagemill.networks import create_network
from imagemill.networks.base import Network, options_of
from imagemill.training.model_file import ModelSpec, load_model

OPTIMIZER_COPIES: Mapping[str, int] = {"adamw": 2, "adam": 2, "sgd": 1}
"""Tensors of a parameter's size that an optimizer keeps."""


@dataclass(frozen=True)
class Summary:
    """Sizes of one training step, in bytes of float32.

    Args:
        parameters: trainable ones.
        weight_bytes: parameters, gradients, the optimizer's state, and averaged weights if there are any.
        saved_bytes: what the forward pass of a batch keeps for the backward pass.
        batch: pictures.
        size: (height, width) of an input.
    """

    parameters: int
    weight_bytes: int
    saved_bytes: int
    batch: int
    size: tuple[int, int]

    @property
    def total_bytes(self) -> int:
        """At least so much; kernels' workspaces and the framework's own come on top."""
        return self.weight_bytes + self.saved_bytes


def summarise(
    spec: ModelSpec, size: tuple[int, int], batch: int, *, optimizer: str = "adamw", averaged: bool = False
) -> Summary:
    """What training a network takes; nothing is allocated.

    The network runs on torch's meta device, where tensors have shapes and no memory; hooks on autograd's saved
    tensors see every storage that the backward pass would need, each counted once, weights not at all.

    Args:
        spec: of the model.
        size: (height, width) of an input; multiples of `required_multiple`.
        batch: pictures.
        averaged: whether averaged weights are kept.
    """
    with torch.device("meta"):
        network = create_network(spec.network, **spec.options)
    parameters = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    copies = 2 + OPTIMIZER_COPIES[optimizer] + averaged
    return Summary(parameters, 4 * parameters * copies, saved_bytes(network, spec, size, batch), batch, size)


def saved_bytes(network: Network, spec: ModelSpec, size: tuple[int, int], batch: int) -> int:
    """Bytes that a forward pass keeps for the backward pass, beside weights."""
    own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    images = torch.empty(batch, spec.in_channels, *size, device="meta")
    inputs = [images]
    if spec.embedding_field:
        inputs.append(torch.empty(batch, network.options.embedding_size, device="meta"))
    if spec.options.get("palette"):
        inputs.append(torch.empty(batch, spec.out_channels, *size, device="meta"))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network.train()(*inputs)
    return sum(storage.nbytes() for number, storage in kept.items() if number not in own)


SUMMARISED_AT = (256, 256)
"""Size that memory is told for where a model was trained on many."""


def model_facts(path: Path) -> dict[str, Any]:
    """What a model file holds, as plain values: the spec, parameters, and what one picture takes in training."""
    network, spec = load_model(path)
    size = spec.size or SUMMARISED_AT
    multiple = spec.required_multiple
    fitting = -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple
    found = summarise(replace(spec, options=options_of(network)), fitting, 1)
    return {
        "file": str(path),
        **asdict(spec),
        "parameters": found.parameters,
        "sizes": "any" if multiple == 1 else f"multiples of {multiple}",
        "training_bytes_a_picture": found.saved_bytes,
        "training_size": list(fitting),
    }
