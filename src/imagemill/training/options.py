"""What a user asks of `train`: the same names on the command line, in a recipe's `[train]` table and in Python."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from imagemill.errors import ConfigError, did_you_mean

Direction = Literal["before-to-after", "after-to-before", "both"]
Task = Literal["auto", "image-to-image", "segmentation"]
Colour = Literal["auto", "rgb", "ycbcr", "lab", "grey"]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["one-cycle", "cosine", "plateau", "constant"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

LOSSES = ("l1", "mse", "charbonnier", "psnr", "ssim", "palette", "cross-entropy", "dice")
METRICS = ("psnr", "psnr-y", "ssim", "ssim-y", "ciede2000", "miou", "accuracy", "loss")
"""Metrics that a best model can be chosen by; for ciede2000 and loss less is better."""
LESS_IS_BETTER = ("ciede2000", "loss")

FIND = "find"


@dataclass(frozen=True)
class TrainOptions:
    """How a network is trained.

    Args:
        network: registered name.
        network_options: of the network; channels in and out follow from data and colour.
        start: model file or run whose weights training begins with; None begins with fresh ones.
        task: "auto" is segmentation where the dataset has images and masks and nothing else to predict.
        direction: which half of a pair is predicted of which; "both" trains two networks side by side.
        before, after: names of the image fields; None takes those of the dataset.
        embedding: name of the vector field for networks that take one; None takes the dataset's only one.
        colour: space that the network works in. "auto": ycbcr, with lightness kept and colour predicted, where
            `before` is the luma of `after`; grey where both are grey; else rgb.
        size: (height, width) that images are brought to; None leaves them.
        fit: how: "cover", "exact" or "contain".
        crop: (height, width) of a random part for each step (the centre for validation); None takes all of it.
        flips: whether training pictures are mirrored at random: "none", "horizontal", "both", or "all" (turned, too).
        scale: 2 or 4 trains super-resolution: the input is made from the picture, smaller by this.
        noise: standard deviation of Gaussian noise on the input, of 255.
        fixed_corruptions, random_corruptions, num_corrupts_per_image: of the input, see `imagemill.transforms.corrupt`.
        train_split, val_split, test_split: names of splits; val None is `val`, or the rest where there is none.
        limit: only the first so many samples of the training split.
        epochs: passes over the training split.
        steps: optimizer steps at most; None is as many as the epochs have.
        batch_size: samples a rank works on at a time.
        accumulation: batches whose gradients make one step; the same as a batch so many times as large.
        optimizer: "adamw", "adam" or "sgd" (momentum 0.9, Nesterov).
        learning_rate: at its highest; "find" looks for one first.
        weight_decay: of weights; biases, norms and scales are left alone.
        schedule: of the learning rate: "one-cycle", "cosine", "plateau" (halves it where the metric stops to improve),
            "constant".
        warmup: share of all steps in which the rate rises from nothing; a number above 1 counts steps; None is a fifth
            of "one-cycle", a fiftieth of others.
        plateau_patience: validations without improvement before "plateau" halves the rate.
        loss: term → weight, of l1, mse, charbonnier, psnr, ssim, palette; cross-entropy, dice. Empty: the task's own.
        metric: that the best model is chosen by; None is psnr, or miou.
        ema: decay of the averaged weights that are validated and saved; 0 averages none.
        clip: largest norm of the gradient; 0 leaves it.
        precision: "auto" is bfloat16 where the GPU has it, float32 elsewhere.
        channels_last: memory order of pictures and weights: a tenth to a quarter faster, on CPUs too.
        compile: whether `torch.compile` is used.
        validate_every: epochs between validations.
        checkpoint_every: steps between checkpoints; None is at every validation.
        patience: validations without improvement after which training ends; 0 never ends early.
        classes: names of the classes of masks, 0 up; empty counts them.
        ignore_class: mask value that is no class (unlabelled); None counts all.
        seed: of weights, order and everything random.
        workers: threads that read; None is one a core, 0 reads in the loop itself.
        device: "cuda", "cpu", …; None is the best there is.
        sheets: pictures on the sheet of each validation; 0 makes none.
        tensorboard: whether events for TensorBoard are written, too.

    Raises:
        ConfigError: a value that cannot be.
    """

    network: str = "residual-unet"
    network_options: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None
    task: Task = "auto"
    direction: Direction = "before-to-after"
    before: str | None = None
    after: str | None = None
    embedding: str | None = None
    colour: Colour = "auto"
    size: tuple[int, int] | None = None
    fit: str = "cover"
    crop: tuple[int, int] | None = None
    flips: str = "horizontal"
    scale: int = 1
    noise: float = 0.0
    fixed_corruptions: tuple[str, ...] = ()
    random_corruptions: tuple[str, ...] = ()
    num_corrupts_per_image: int = 0
    train_split: str = "train"
    val_split: str | None = None
    test_split: str | None = None
    limit: int | None = None
    epochs: int = 20
    steps: int | None = None
    batch_size: int = 8
    accumulation: int = 1
    optimizer: Optimizer = "adamw"
    learning_rate: float | str = 2e-3
    weight_decay: float = 0.05
    schedule: Schedule = "one-cycle"
    warmup: float | None = None
    plateau_patience: int = 3
    loss: Mapping[str, float] = field(default_factory=dict)
    metric: str | None = None
    ema: float = 0.99
    clip: float = 1.0
    precision: Precision = "auto"
    channels_last: bool = True
    compile: bool = False
    validate_every: int = 1
    checkpoint_every: int | None = None
    patience: int = 0
    classes: tuple[str, ...] = ()
    ignore_class: int | None = None
    seed: int = 0
    workers: int | None = None
    device: str | None = None
    sheets: int = 6
    tensorboard: bool = False

    def __post_init__(self) -> None:
        choices = {
            "task": Task,
            "direction": Direction,
            "colour": Colour,
            "optimizer": Optimizer,
            "schedule": Schedule,
            "precision": Precision,
        }
        for name, allowed in choices.items():
            one_of(name, getattr(self, name), get_args(allowed))
        one_of("flips", self.flips, ("none", "horizontal", "both", "all"))
        one_of("scale", self.scale, (1, 2, 4))
        one_of("fit", self.fit, ("cover", "exact", "contain"))
        if self.metric is not None:
            one_of("metric", self.metric, METRICS)
        self._check_numbers()
        self._check_loss()

    def _check_numbers(self) -> None:
        for name in ("epochs", "batch_size", "accumulation", "validate_every", "plateau_patience"):
            at_least(name, getattr(self, name), 1)
        for name in ("limit", "steps", "checkpoint_every"):
            if getattr(self, name) is not None:
                at_least(name, getattr(self, name), 1)
        for name in ("weight_decay", "clip", "noise", "patience", "sheets", "num_corrupts_per_image", "seed"):
            at_least(name, getattr(self, name), 0)
        for name in ("workers", "warmup"):
            if getattr(self, name) is not None:
                at_least(name, getattr(self, name), 0)
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema is a decay from 0 to below 1, got {self.ema}")
        rate = self.learning_rate
        if rate != FIND and (not isinstance(rate, int | float) or not 0 < rate < math.inf):
            raise ConfigError(f"learning_rate is a number above 0 or {FIND!r}, got {rate!r}")

    def _check_loss(self) -> None:
        for name, weight in self.loss.items():
            one_of("loss", name, LOSSES)
            if not 0 < weight < math.inf:
                raise ConfigError(f"the weight of loss {name} is above 0, got {weight}")

    @property
    def corrupts(self) -> bool:
        """Whether the input is made from the picture by noise or corruptions."""
        return bool(self.noise or self.fixed_corruptions or self.num_corrupts_per_image)

    @property
    def makes_input(self) -> bool:
        """Whether the input is made from the picture that is to be predicted, so that no pair is needed."""
        return self.corrupts or self.scale > 1

    def to_json(self) -> dict[str, Any]:
        """Plain values; `train_options` gives the options back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def train_options(table: Mapping[str, Any]) -> TrainOptions:
    """Options from plain values, as a recipe's `[train]` table or JSON has them.

    Sizes are (height, width), a side, or "WIDTHxHEIGHT"; losses a table or "l1+0.5*ssim"; lists are lists.

    Raises:
        ConfigError: an unknown name (the message has the nearest), or a value that cannot be.
    """
    known = {entry.name for entry in fields(TrainOptions)}
    given: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            raise ConfigError(
                f"train: unknown option {name!r}{did_you_mean(name, known)}; known: {', '.join(sorted(known))}"
            )
        given[name] = _parsed(name, value)
    try:
        return TrainOptions(**given)
    except TypeError as error:
        raise ConfigError(f"train: {error}") from None


def _parsed(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in ("size", "crop"):
        from imagemill.load.batch import parse_sides

        return parse_sides(tuple(value) if isinstance(value, list) else value)
    if name == "loss":
        return parse_loss(value)
    if name in ("fixed_corruptions", "random_corruptions", "classes"):
        return tuple(part for part in value.split(",") if part) if isinstance(value, str) else tuple(value)
    if name == "learning_rate" and isinstance(value, str) and value != FIND:
        try:
            return float(value)
        except ValueError:
            raise ConfigError(f"learning_rate is a number or {FIND!r}, got {value!r}") from None
    return value


def parse_loss(text: str | Mapping[str, float]) -> dict[str, float]:
    """Terms and weights: "l1+mse", "charbonnier+0.2*ssim", or a mapping.

    Raises:
        ConfigError: it cannot be read.
    """
    if isinstance(text, Mapping):
        return {str(name): float(weight) for name, weight in text.items()}
    terms: dict[str, float] = {}
    for part in text.split("+"):
        weight, star, name = part.strip().rpartition("*")
        try:
            terms[name.strip()] = float(weight) if star else 1.0
        except ValueError:
            raise ConfigError(f"loss {text!r}: write terms as l1+0.2*ssim; terms are {', '.join(LOSSES)}") from None
    return terms


def one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Refuses a value that is none of these."""
    if value not in allowed:
        near = did_you_mean(value, [str(each) for each in allowed]) if isinstance(value, str) else ""
        raise ConfigError(f"{name} {value!r} is none of {', '.join(map(str, allowed))}{near}")


def at_least(name: str, value: Any, least: float) -> None:
    """Refuses a number below this, or what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
        raise ConfigError(f"{name} is a number from {least} on, got {value!r}")
