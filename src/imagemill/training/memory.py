"""What a network needs before it is trained: counted without computing anything, and without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from imagemill.networks import create_network
from imagemill.networks.base import Network
from imagemill.training.model_file import ModelSpec

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
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network.train()(*inputs)
    return sum(storage.nbytes() for number, storage in kept.items() if number not in own)
