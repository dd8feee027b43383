"""From a dataset and options to what is to be learnt: fields, colour spaces, classes, one `ModelSpec` a direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from imagemill.core.schema import Schema
from imagemill.errors import ConfigError, did_you_mean
from imagemill.networks import NETWORKS, create_network
from imagemill.networks.base import Network, options_of
from imagemill.training.colour import luma
from imagemill.training.data import Fields, Pairs
from imagemill.training.losses import IMAGE_LOSSES, MASK_LOSSES, PALETTE
from imagemill.training.metrics import IMAGE_METRICS, MASK_METRICS
from imagemill.training.model_file import DIRECTIONS, ModelSpec
from imagemill.training.options import TrainOptions
from imagemill.training.suited import suited_options

LAB_FIELDS = ("image_l", "image_ab")
"""As `pack --fields lab` names them."""
REFERENCE = "reference"
"""Field that tiles have beside their picture: the small picture of the whole, which is not to be predicted."""
GREY_SPREAD = 3 / 255
"""Mean difference between channels below which pictures are grey: JPEG's own rounding stays under 1."""
LUMA_DISTANCE = 6 / 255
"""Mean distance below which a picture is the luma of another: two JPEG files of one picture stay under 3."""
CHROMA_CHANNELS = 2
LOOKED_AT = 64
"""Pairs that are looked at to find out what they are."""


@dataclass(frozen=True)
class Nature:
    """What the pairs of a dataset are.

    Args:
        before_grey, after_grey: whether these halves have no colour.
        luma_kept: whether before is the luma of after.
        size: (height, width) of `before`; None where they are of several.
    """

    before_grey: bool
    after_grey: bool
    luma_kept: bool
    size: tuple[int, int] | None


def choose_fields(schema: Schema, options: TrainOptions) -> Fields:
    """Which fields are what.

    Raises:
        ConfigError: the dataset has nothing to learn from, or a name is none of its fields.
    """
    images = [field.name for field in schema.of_kind("image")]
    embedding = _embedding(schema, options)
    for name in (options.before, options.after):
        if name is not None and name not in images:
            known = ", ".join(images) or "none"
            raise ConfigError(f"{name!r} is no image field; the dataset's are {known}{did_you_mean(name, images)}")
    if all(name in schema.names for name in LAB_FIELDS):
        return Fields(lightness=LAB_FIELDS[0], chroma=LAB_FIELDS[1], embedding=embedding)
    if not images:
        raise ConfigError(f"the dataset has no images to train on; its fields are {', '.join(schema.names)}")
    masks = [field.name for field in schema.of_kind("mask")]
    first = options.before or images[0]
    wants_mask = options.task == "segmentation" or (options.task == "auto" and not options.makes_input)
    if masks and wants_mask and (len(images) == 1 or options.task == "segmentation"):
        return Fields(first, first, mask=masks[0], embedding=embedding)
    if options.task == "segmentation":
        raise ConfigError(f"segmentation wants a mask field; the fields are {', '.join(schema.names)}")
    if options.makes_input:
        target = options.after or ("after" if "after" in images else images[0])
        return Fields(options.before or target, target, embedding=embedding)
    others = [name for name in images if name not in (first, REFERENCE)]
    if options.after is None and not others:
        raise ConfigError(
            f"the dataset has one picture a sample, {first!r}, and no masks: there is nothing to predict. Pack pairs, "
            "or have the input made: --noise 25, --scale 2, --fixed-corruptions jpeg"
        )
    return Fields(first, options.after or others[0], embedding=embedding)


def _embedding(schema: Schema, options: TrainOptions) -> str | None:
    if options.network != "colour-fusion":
        return None
    vectors = [field.name for field in schema.of_kind("vector") if field.shape is not None and len(field.shape) == 1]
    if options.embedding is not None:
        if options.embedding not in vectors:
            raise ConfigError(f"embedding {options.embedding!r} is no vector field; there are {', '.join(vectors)}")
        return options.embedding
    if len(vectors) != 1:
        found = f"there are {', '.join(vectors)}: name it by --embedding" if vectors else "there is none"
        raise ConfigError(f"colour-fusion takes an embedding, a vector field of the dataset; {found}")
    return vectors[0]


def nature_of(batches: Sequence[Pairs]) -> Nature:
    """What pairs are, from a few of them; batches may differ in size."""
    before_grey = _mean(batches, lambda pairs: _spread(pairs.before)) < GREY_SPREAD
    after_grey = _mean(batches, lambda pairs: _spread(pairs.after)) < GREY_SPREAD
    same_size = all(pairs.before.shape == pairs.after.shape for pairs in batches)
    kept = before_grey and not after_grey and same_size and _mean(batches, _luma_distance) < LUMA_DISTANCE
    return Nature(before_grey, after_grey, kept, common_size(batches))


def common_size(batches: Sequence[Pairs]) -> tuple[int, int] | None:
    """(height, width) of all inputs; None where they differ."""
    sizes = {(pairs.before.shape[-2], pairs.before.shape[-1]) for pairs in batches}
    return sizes.pop() if len(sizes) == 1 else None


def _mean(batches: Sequence[Pairs], measure: Callable[[Pairs], float]) -> float:
    """Of a measure of each batch, over images."""
    return sum(measure(pairs) * len(pairs) for pairs in batches) / sum(map(len, batches))


def _spread(images: torch.Tensor) -> float:
    return float((images.amax(1) - images.amin(1)).mean())


def _luma_distance(pairs: Pairs) -> float:
    return float((luma(pairs.before) - luma(pairs.after)).abs().mean())


def plan_models(options: TrainOptions, nature: Nature, dataset: str, chosen: Fields) -> list[ModelSpec]:
    """What is to be learnt of pairs: one spec a direction.

    Raises:
        ConfigError: a direction that makes no sense for inputs that are made.
    """
    if options.makes_input and options.direction != DIRECTIONS[0]:
        raise ConfigError("an input made from the picture is predicted in one direction only: leave --direction out")
    wanted = DIRECTIONS if options.direction == "both" else (options.direction,)
    specs = []
    for direction in wanted:
        seen = nature if direction == DIRECTIONS[0] else _reversed(nature)
        colour = NETWORKS.get(options.network).colour if options.colour == "auto" else options.colour
        colours = (("lab", 1), ("lab", 2)) if chosen.lightness else _colours(colour, seen)
        (input_colour, in_channels), (output_colour, out_channels) = colours
        specs.append(
            ModelSpec(
                options.network,
                direction=direction,
                input_colour=input_colour,
                output_colour=output_colour,
                in_channels=in_channels,
                out_channels=out_channels,
                scale=options.scale,
                embedding_field=chosen.embedding or "",
                size=nature.size,
                dataset=dataset,
            )
        )
    return [_for_network(spec, options) for spec in specs]


def _reversed(nature: Nature) -> Nature:
    return replace(nature, before_grey=nature.after_grey, after_grey=nature.before_grey, luma_kept=False)


def _colours(colour: str, nature: Nature) -> tuple[tuple[str, int], tuple[str, int]]:
    """(space, channels) of input and output."""
    if colour == "rgb":
        return ("rgb", 3), ("rgb", 3)
    if colour == "grey":
        return ("grey", 1), ("grey", 1)
    if colour in ("ycbcr", "lab"):
        return (colour, 1 if nature.before_grey else 3), (colour, 2 if nature.luma_kept else 3)
    if nature.luma_kept:
        return ("ycbcr", 1), ("ycbcr", 2)
    return (("grey", 1) if nature.before_grey else ("rgb", 3)), (("grey", 1) if nature.after_grey else ("rgb", 3))


def plan_segmentation(
    options: TrainOptions, size: tuple[int, int] | None, classes: Sequence[str], dataset: str
) -> list[ModelSpec]:
    """What is to be learnt of images and masks."""
    spec = ModelSpec(
        options.network,
        task="segmentation",
        output_colour="",
        out_channels=len(classes),
        classes=tuple(classes),
        size=size,
        dataset=dataset,
    )
    return [_for_network(spec, options)]


def _for_network(spec: ModelSpec, options: TrainOptions) -> ModelSpec:
    """The spec with the options of the network that it stands for filled in.

    Raises:
        ConfigError: the network cannot do it.
    """
    known = {entry.name for entry in fields(NETWORKS.get(options.network).options_class)}
    given: dict[str, Any] = dict(options.network_options)
    asked: dict[str, Any] = {"in_channels": spec.in_channels, "out_channels": spec.out_channels}
    if spec.scale != 1 or "scale" in known:
        asked["scale"] = spec.scale
    if spec.task == "segmentation" or spec.output_colour in ("ycbcr", "lab"):
        # Logits are no pictures: nothing to start from; and neither they nor colours end in 0–1.
        wanted = LOGITS if spec.task == "segmentation" else {"activation": "none"}
        asked |= {name: value for name, value in wanted.items() if name in known and name not in given}
    if "start" in known and "start" not in given and "start" not in asked:
        if _suits_table(spec, options):
            asked["start"] = "table"
        elif spec.out_channels == CHROMA_CHANNELS:
            # Identity would give a picture's lightness for its colours.
            asked["start"] = "nothing"
    given = {name: value for name, value in suited_options(spec, options.loss).items() if name in known} | given
    if options.network == "colour-fusion":
        if (spec.input_colour, spec.in_channels, spec.out_channels) != ("lab", 1, 2):
            raise ConfigError("colour-fusion takes LAB and an embedding: pack --fields lab, then embed")
        asked = {}
    missing = [name for name in asked if name not in known]
    default_spec = ModelSpec(options.network)
    missing = [name for name in missing if asked[name] != getattr(default_spec, name)]
    if missing:
        raise ConfigError(
            f"network {options.network!r} has no option {missing[0]}, which is to be {asked[missing[0]]} here: "
            "take --network residual-unet, or --colour rgb"
        )
    clash = [name for name in asked if name in given and given[name] != asked[name]]
    if clash:
        raise ConfigError(f"network option {clash[0]} follows from the data, {asked[clash[0]]} here: leave it out")
    return replace(spec, options=given | {name: value for name, value in asked.items() if name in known})


def _suits_table(spec: ModelSpec, options: TrainOptions) -> bool:
    """Whether a look-up table is a better place to start than identity: its 256 entries take values in 0–1."""
    unit = spec.input_colour in ("rgb", "grey") or (spec.input_colour == "ycbcr" and spec.in_channels == 1)
    return unit and spec.task == "image-to-image" and options.scale == 1


LOGITS: Mapping[str, Any] = {"residual": False, "start": "nothing", "activation": "none"}
"""Options of networks, where they have them, for outputs that are logits."""


def check_wishes(spec: ModelSpec, options: TrainOptions) -> None:
    """Refuses losses and metrics that say nothing of what is learnt.

    Raises:
        ConfigError: names those that do.
    """
    segments = spec.task == "segmentation"
    losses = [*MASK_LOSSES] if segments else [*IMAGE_LOSSES, *([PALETTE] if spec.options.get("palette") else [])]
    metrics = MASK_METRICS if segments else IMAGE_METRICS
    for name in options.loss:
        if name not in losses:
            raise ConfigError(f"loss {name!r} says nothing of a task of {spec.task}: take {', '.join(losses)}")
    if spec.options.get("palette") and options.loss and PALETTE not in options.loss:
        raise ConfigError("network option palette is learnt by the loss of that name: add +0.1*palette to the loss")
    if options.metric is not None and options.metric not in metrics:
        raise ConfigError(f"metric {options.metric!r} says nothing of a task of {spec.task}: take {', '.join(metrics)}")


def make_network(spec: ModelSpec, embedding_size: int | None = None) -> tuple[Network, ModelSpec]:
    """The network of a spec with fresh weights, and the spec with what only the network knows filled in."""
    options = dict(spec.options)
    if embedding_size is not None:
        options["embedding_size"] = embedding_size
    network = create_network(spec.network, **options)
    made = replace(spec, options=options_of(network), required_multiple=network.required_multiple, scale=network.scale)
    return network, made


def check_size(spec: ModelSpec, size: tuple[int, int]) -> None:
    """Refuses sizes that the network cannot take, before anything is trained.

    Raises:
        ConfigError: with the nearest sizes that it takes.
    """
    multiple = spec.required_multiple
    if all(side % multiple == 0 for side in size):
        return
    above = [-(-side // multiple) * multiple for side in size]
    below = [side // multiple * multiple for side in size]
    near = f"{above[1]}x{above[0]}" + (f" or {below[1]}x{below[0]}" if min(below) else "")
    raise ConfigError(
        f"network {spec.network!r} takes sides that are multiples of {multiple}, the images are {size[1]}x{size[0]}: "
        f"give --size or --crop {near}, or take --network residual-unet, which takes any size "
        f"(`imagemill dims {size[1]}x{size[0]}` says more)"
    )
