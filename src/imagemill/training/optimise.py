"""Optimizers, learning rates as functions of the step, and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from imagemill.training.options import TrainOptions

ONE_CYCLE_WARMUP, OTHER_WARMUP = 0.2, 0.02
"""Share of all steps in which the rate rises, where none is given."""
FIRST_SHARE = 1 / 25
LAST_SHARE = 1e-4
"""One cycle begins and ends at these shares of its highest rate (Smith and Topin 2018; torch's defaults)."""
PLATEAU_FACTOR = 0.5


def make_optimizer(network: nn.Module, options: TrainOptions, rate: float) -> torch.optim.Optimizer:
    """The optimizer; decay pulls on matrices and kernels only, not on biases, norms and gates."""
    decayed = [weight for weight in network.parameters() if weight.requires_grad and weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.requires_grad and weight.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, betas=(0.9, 0.99))


def rate_share(step: int, total: int, options: TrainOptions) -> float:
    """The learning rate of a step as a share of the highest.

    Args:
        step: from 0.
        total: steps of the run.
    """
    warm = warmup_steps(total, options)
    cycles = options.schedule == "one-cycle"
    if step < warm:
        done = (step + 1) / warm
        return FIRST_SHARE + (1 - FIRST_SHARE) * _rising(done) if cycles else done
    if options.schedule in ("constant", "plateau"):
        return 1.0
    left = 1 - min((step - warm) / max(total - warm - 1, 1), 1.0)
    least = LAST_SHARE if cycles else 0.0
    return least + (1 - least) * _rising(left)


def warmup_steps(total: int, options: TrainOptions) -> int:
    """Steps in which the rate rises."""
    share = options.warmup
    if share is None:
        share = ONE_CYCLE_WARMUP if options.schedule == "one-cycle" else OTHER_WARMUP
    return min(int(share), total) if share > 1 else int(share * total)


def _rising(share: float) -> float:
    """Half a cosine from 0 to 1."""
    return (1 - math.cos(math.pi * share)) / 2


class Plateau:
    """Halves the rate where a metric stops to improve; nothing else does.

    Args:
        patience: validations without improvement before it halves.

    Attributes:
        factor: of the rate.
        waited: validations since the last improvement.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.factor = 1.0
        self.waited = 0

    def see(self, improved: bool) -> bool:
        """After a validation; whether the rate was halved."""
        self.waited = 0 if improved else self.waited + 1
        if self.waited <= self.patience:
            return False
        self.factor *= PLATEAU_FACTOR
        self.waited = 0
        return True


class AveragedWeights:
    """An exponential moving average of a network's weights; buffers (running means) are copied.

    Early on it follows closely, by min(decay, (1 + steps) / (10 + steps)), so that the first weights are forgotten.

    Args:
        network: whose weights.
        decay: 0 to below 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        self._floating = [name for name, tensor in self.tensors.items() if tensor.is_floating_point()]
        self._parameters = {name for name, _ in network.named_parameters()}

    @torch.no_grad()  # type: ignore[untyped-decorator,unused-ignore]
    def follow(self, network: nn.Module) -> None:
        """Begins anew with the network's weights."""
        self.steps = 0
        for name, tensor in network.state_dict().items():
            self.tensors[name].copy_(tensor)

    @torch.no_grad()  # type: ignore[untyped-decorator,unused-ignore]
    def update(self, network: nn.Module) -> None:
        """After a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        current = network.state_dict()
        averaged = [name for name in self._floating if name in self._parameters]
        if averaged:
            own, theirs = [self.tensors[name] for name in averaged], [current[name] for name in averaged]
            torch._foreach_lerp_(own, theirs, 1 - decay)
        for name in self.tensors.keys() - set(averaged):
            self.tensors[name].copy_(current[name])


def global_norm(gradients: Iterable[torch.Tensor | None]) -> torch.Tensor:
    """The 2-norm of all gradients together."""
    norms = torch._foreach_norm([gradient for gradient in gradients if gradient is not None])
    return torch.linalg.vector_norm(torch.stack(norms))
