"""Transforms of a sample in a row: geometry first, as one view, then pixels and callables in the order given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from imagemill.core.schema import Schema
from imagemill.errors import ConfigError
from imagemill.transforms.base import BatchTransform, Geometry, Transform
from imagemill.transforms.rng import SampleRng
from imagemill.transforms.view import Sides, View

SampleTransform: TypeAlias = Transform | Callable[[dict[str, Any]], Mapping[str, Any]]
"""A `Transform`, or any callable from a sample's values to its new values."""
Draws: TypeAlias = tuple[Any, ...]


class Pipeline:
    """What a sample goes through between decoder and batch. Stateless, safe in threads.

    Args:
        transforms: geometry, then pixel transforms and callables.

    Raises:
        ConfigError: geometry after something else (the picture is decoded and resampled once,
            at the start), a transform of batches, or something that cannot be called.
    """

    def __init__(self, transforms: Sequence[SampleTransform] = ()) -> None:
        self.geometry = tuple(each for each in transforms if isinstance(each, Geometry))
        self.others = tuple(each for each in transforms if not isinstance(each, Geometry))
        for position, each in enumerate(transforms):
            name = type(each).__name__
            if isinstance(each, BatchTransform):
                raise ConfigError(f"{name} works on whole batches: give it as batch_transforms=[{name}(…)]")
            if isinstance(each, Geometry) and position >= len(self.geometry):
                before = type(transforms[position - 1]).__name__
                raise ConfigError(
                    f"{name} comes after {before}: move all cropping, resizing, flipping and turning to the front, "
                    "where it is done in one step while the image is decoded"
                )
            if not isinstance(each, Transform) and not callable(each):
                raise ConfigError(f"{each!r} is neither a Transform nor a callable")

    @property
    def is_empty(self) -> bool:
        """Whether samples come out as they went in."""
        return not self.geometry and not self.others

    def draw(self, sides: Sides, rng: SampleRng) -> tuple[View, Draws]:
        """All random choices for a sample.

        Args:
            sides: (height, width) of its first image, or of its first mask where there is no image.

        Returns:
            The view of that picture (`View.on` gives its partners'), and what the others drew.
        """
        view = View.whole(*sides)
        for each in self.geometry:
            view = each.view(view, each.draw(view.size, rng))
        return view, self.draw_rest(view.size, rng, 0)

    def draw_rest(self, size: Sides, rng: SampleRng, first: int) -> Draws:
        """What the others from `first` on draw, when geometry and those before them have drawn.

        Args:
            size: (height, width) of the sample's first picture after its geometry.
        """
        return tuple(each.draw(size, rng) if isinstance(each, Transform) else None for each in self.others[first:])

    def finish(self, values: dict[str, Any], schema: Schema, draws: Draws) -> dict[str, Any]:
        """Everything after the geometry, or the last transforms of it.

        Args:
            values: one a field; images uint8 (H, W, C), masks (H, W[, C]).
            draws: what `draw` or `draw_rest` gave, one for each transform that is still to come.

        Raises:
            ConfigError: a callable gave no mapping with all fields.
        """
        for each, params in zip(self.others[len(self.others) - len(draws) :], draws, strict=True):
            if isinstance(each, Transform):
                values = {name: each.apply(value, schema[name], params) for name, value in values.items()}
            else:
                values = _called(each, values)
        return values


def _called(function: Callable[[dict[str, Any]], Mapping[str, Any]], values: dict[str, Any]) -> dict[str, Any]:
    result = function(dict(values))
    if not isinstance(result, Mapping) or result.keys() != values.keys():
        got = ", ".join(result) if isinstance(result, Mapping) else type(result).__name__
        raise ConfigError(f"a transform of samples must return a dict of {', '.join(values)}; it returned {got}")
    return dict(result)
