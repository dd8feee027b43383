"""`dims`: how often sides halve, what a U-Net makes of them, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

from imagemill.api.given import Size, parse_sides
from imagemill.errors import ConfigError
from imagemill.reports.safe_dimensions import CHANNEL_PLANS, Dimensions, dimensions


def dims(
    size: Size,
    *,
    poolings: int | None = None,
    model: str | None = None,
    channels: str | Sequence[int] | None = None,
    batch: int = 1,
) -> Dimensions:
    """Whether pictures of a size go through a U-Net, level by level, and what a training step costs.

    Args:
        size: (height, width), one side for a square, or "WIDTHxHEIGHT".
        poolings: how often sides are to halve; None is what the model does.
        model: name in `CHANNEL_PLANS`.
        channels: of the model's levels, from full size down, instead: "16,32,64" or numbers.
        batch: pictures a step.

    Raises:
        ConfigError: sides, model, channels, poolings or batch that cannot be, or that contradict each other.
    """
    if model is not None and channels is not None:
        raise ConfigError("model and channels both say the channels: give one of them")
    if model is not None and model not in CHANNEL_PLANS:
        raise ConfigError(f"unknown model {model!r}; known: {', '.join(CHANNEL_PLANS)}; or give channels")
    sides = parse_sides(size)
    if sides is None:
        raise ConfigError("dims wants a size, as in 960x640")
    plan = CHANNEL_PLANS[model] if model is not None else _channels(channels)
    return dimensions(sides, channels=plan, poolings=poolings, batch=batch)


def _channels(channels: str | Sequence[int] | None) -> Sequence[int] | None:
    if not isinstance(channels, str):
        return channels
    try:
        return tuple(int(count) for count in channels.split(","))
    except ValueError:
        raise ConfigError(f"channels {channels!r}: write numbers and commas, as 16,32,64") from None
