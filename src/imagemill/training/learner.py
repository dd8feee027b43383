"""One network under training: forward pass, loss terms, step, averaged weights, and all of its state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from imagemill.errors import ConfigError
from imagemill.networks.base import Network
from imagemill.training.data import Pairs, check_classes
from imagemill.training.losses import IMAGE_LOSSES, MASK_LOSSES, PALETTE
from imagemill.training.model_file import DIRECTIONS, ModelSpec
from imagemill.training.optimise import AveragedWeights, Plateau, global_norm, make_optimizer
from imagemill.training.options import LESS_IS_BETTER, TrainOptions
from imagemill.training.suited import suited_loss


@dataclass
class Progress:
    """What validations have said so far.

    Args:
        best: of the metric; None before the first validation.
        best_step: at which it was.
        waited: validations since.
        seen: how many there were.
    """

    best: float | None = None
    best_step: int = 0
    waited: int = 0
    seen: int = 0

    def see(self, value: float, step: int, *, less: bool) -> bool:
        """After a validation; whether it is the best so far."""
        self.seen += 1
        better = math.isfinite(value) and (self.best is None or (value < self.best if less else value > self.best))
        if better:
            self.best, self.best_step, self.waited = value, step, 0
        else:
            self.waited += 1
        return better


@dataclass
class Precision:
    """How wide numbers are on a device.

    Args:
        device: of the network.
        dtype: of autocast; None computes in float32.
    """

    device: torch.device
    dtype: torch.dtype | None

    def autocast(self) -> AbstractContextManager[Any]:
        """The block in which a forward pass is computed."""
        if self.dtype is None:
            return nullcontext()
        narrow: AbstractContextManager[Any] = torch.autocast(self.device.type, self.dtype)
        return narrow


def choose_precision(options: TrainOptions, device: torch.device) -> Precision:
    """The precision that is asked for; on its own bfloat16 on GPUs that have it, as CPU autocast is slower.

    Raises:
        ConfigError: float16 without a GPU: its sums would overflow unseen.
    """
    if options.precision == "auto":
        narrow = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return Precision(device, torch.bfloat16 if narrow else None)
    if options.precision == "float16" and device.type != "cuda":
        raise ConfigError("float16 wants a GPU: take --precision float32")
    dtypes = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return Precision(device, dtypes[options.precision])


@dataclass
class Learner:
    """A network, what it is to learn, and the state of its training.

    Args:
        spec: what it is.
        network: itself, on its device.
        module: what is called in training: the network, compiled or wrapped for several ranks.
        optimizer, averaged, plateau, scaler: of its steps; averaged is None where no weights are.
        precision: of the forward pass.
        options: of the training.
        rate: highest learning rate.
        rate_factor: halved when values that are no numbers came up.
    """

    spec: ModelSpec
    network: Network
    module: Any
    optimizer: torch.optim.Optimizer
    averaged: AveragedWeights | None
    plateau: Plateau
    scaler: torch.amp.GradScaler
    precision: Precision
    options: TrainOptions
    rate: float
    rate_factor: float = 1.0
    progress: Progress = field(default_factory=Progress)

    @property
    def metric(self) -> str:
        """Name of the metric that the best model is chosen by."""
        return self.options.metric or ("miou" if self.spec.task == "segmentation" else "psnr")

    @property
    def measures_luma(self) -> bool:
        """Whether the metric is one of Y, which is not measured else where nothing is enlarged."""
        return self.metric.endswith("-y")

    @property
    def less_is_better(self) -> bool:
        """Whether the best value of the metric is the lowest."""
        return self.metric in LESS_IS_BETTER

    @property
    def loss(self) -> Mapping[str, float]:
        """Term → weight."""
        return self.options.loss or suited_loss(self.spec)

    def oriented(self, pairs: Pairs) -> Pairs:
        """The pairs with the network's input as `before`.

        Raises:
            ConfigError: a mask has a class that the model does not have.
        """
        if self.spec.task == "segmentation":
            check_classes(pairs.after, len(self.spec.classes), self.options.ignore_class, pairs.keys[0])
        if self.spec.direction == DIRECTIONS[0]:
            return pairs
        return replace(pairs, before=pairs.after, after=pairs.before)

    def terms(self, pairs: Pairs) -> dict[str, torch.Tensor]:
        """Each loss term of a batch, unweighted: means over its images."""
        pairs = self.oriented(pairs)
        return self._answered(self.module, pairs)[1]

    def answer(self, pairs: Pairs) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """What the network that would be saved gives for oriented pairs, float32 in its own space, and loss terms."""

        def saved(*inputs: torch.Tensor, **named: torch.Tensor) -> Any:
            return functional_call(self.network, self.saved_weights(), inputs, named)

        with torch.no_grad():
            return self._answered(saved, pairs)

    def _answered(self, module: Any, pairs: Pairs) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """What a module gives for oriented pairs, float32, and each loss term."""
        own: dict[str, torch.Tensor] = {}
        with self.precision.autocast():
            if PALETTE in self.loss:
                wanted = self.spec.network_target(pairs.after)
                output, own[PALETTE] = module(*self._inputs(pairs), wanted=wanted)
            else:
                output = module(*self._inputs(pairs))
        output = output.float()
        return output, self._terms_of(output, pairs) | own

    def _terms_of(self, output: torch.Tensor, pairs: Pairs) -> dict[str, torch.Tensor]:
        """The loss terms that compare what the network gave with what was wanted."""
        if self.spec.task == "segmentation":
            ignored = self.options.ignore_class
            return {name: MASK_LOSSES[name](output, pairs.after, ignored) for name in self.loss}
        if self.spec.output_colour in ("grey", "lab"):
            # Grey has one channel, not three equal ones; LAB's distances are what it is chosen for.
            made, wanted = output, self.spec.network_target(pairs.after)
        else:
            made, wanted = self.spec.to_rgb(output, pairs.before), pairs.after
        return {name: IMAGE_LOSSES[name](made, wanted) for name in self.loss if name != PALETTE}

    def weighted(self, terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss: the terms' weighted sum."""
        return torch.stack([terms[name] * weight for name, weight in self.loss.items()]).sum()

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of a loss, added to those that are there."""
        self.scaler.scale(loss).backward()

    def step(self, share: float) -> float:
        """One step of the optimizer with what gradients there are; the gradients' norm before clipping.

        Args:
            share: of the highest learning rate.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * share * self.plateau.factor * self.rate_factor
        self.scaler.unscale_(self.optimizer)
        norm = self.gradient_norm()
        if self.options.clip and math.isfinite(norm) and norm > self.options.clip:
            gradients = [weight.grad for weight in self.network.parameters() if weight.grad is not None]
            torch._foreach_mul_(gradients, self.options.clip / norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self.averaged.update(self.network)
        return norm

    def gradient_norm(self) -> float:
        """2-norm of all gradients."""
        return float(global_norm(weight.grad for weight in self.network.parameters()))

    def _inputs(self, pairs: Pairs) -> list[torch.Tensor]:
        images = self.spec.network_input(pairs.before)
        if self.options.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return [images] if pairs.embedding is None else [images, pairs.embedding]

    def saved_weights(self) -> dict[str, torch.Tensor]:
        """The weights that are validated and saved: averaged ones where there are."""
        return self.network.state_dict() if self.averaged is None else self.averaged.tensors

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Norms and dropout as in use, while the block runs."""
        self.network.eval()
        try:
            yield
        finally:
            self.network.train()


def make_learner(
    network: Network, spec: ModelSpec, options: TrainOptions, device: torch.device, rate: float, world_size: int
) -> Learner:
    """A network made ready to be trained."""
    precision = choose_precision(options, device)
    network = network.to(device)
    if options.channels_last:
        network = network.to(memory_format=torch.channels_last)
    module: Any = torch.compile(network) if options.compile else network
    if world_size > 1:
        module = DistributedDataParallel(
            module,
            device_ids=[device] if device.type == "cuda" else None,
            find_unused_parameters=network.has_idle_parameters,
        )
    return Learner(
        spec=spec,
        network=network.train(),
        module=module,
        optimizer=make_optimizer(network, options, rate),
        averaged=AveragedWeights(network, options.ema) if options.ema else None,
        plateau=Plateau(options.plateau_patience),
        scaler=torch.amp.GradScaler(device.type, enabled=precision.dtype is torch.float16),
        precision=precision,
        options=options,
        rate=rate,
    )
