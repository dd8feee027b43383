"""What a transform is: drawn once a sample, applied to each of its fields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.core.schema import Field, Schema
from imagemill.transforms.render import render_image, render_mask
from imagemill.transforms.rng import SampleRng
from imagemill.transforms.view import Sides, View


class Transform(ABC):
    """A transform of one sample.

    `draw` is called once a sample, `apply` once a field with what was drawn, so that
    partners (image and mask, before and after) share every random choice. Both are pure:
    the numbers come from `rng`, which (seed, epoch, index) alone decide.
    """

    @abstractmethod
    def draw(self, sides: Sides, rng: SampleRng) -> Any:
        """What is decided for a sample.

        Args:
            sides: (height, width) of the sample's first image (or mask) as it comes to this transform.
        """

    @abstractmethod
    def apply(self, value: Any, field: Field, params: Any) -> Any:
        """A value of one field, transformed as was drawn; a new array, or the value itself.

        Args:
            value: images uint8 (H, W, C); masks (H, W[, C]); anything else as `imagemill.open` gives it.
        """


class Geometry(Transform):
    """A transform of where pixels lie, for images and masks alike.

    Only `draw` and `view` are its own: consecutive ones compose into one `View`, and the picture
    is resampled once, whatever their number.
    """

    @abstractmethod
    def view(self, view: View, params: Any) -> View:
        """The view after this transform."""

    def apply(self, value: Any, field: Field, params: Any) -> Any:
        """A single field through this transform alone."""
        if not field.is_file:
            return value
        view = self.view(View.whole(*value.shape[:2]), params)
        return render_image(value, view) if field.kind == "image" else render_mask(value, view)


class PixelTransform(Transform):
    """A transform of images that leaves their geometry, and everything that is no image, alone.

    Args of `pixels`: uint8 (H, W, C) with C of 1 or 3; alpha is kept aside.
    """

    @abstractmethod
    def pixels(self, pixels: npt.NDArray[np.uint8], params: Any) -> npt.NDArray[np.uint8]:
        """An image, transformed; writes into `pixels` or gives a new array."""

    def apply(self, value: Any, field: Field, params: Any) -> Any:
        """Images transformed, anything else as it is."""
        if field.kind != "image" or params is None:
            return value
        if value.shape[2] in (1, 3):
            return self.pixels(value, params)
        colour = self.pixels(np.ascontiguousarray(value[:, :, :-1]), params)
        return np.concatenate([colour, value[:, :, -1:]], axis=2)


class BatchTransform(ABC):
    """A transform of a whole batch, on the device where it is."""

    @abstractmethod
    def apply(self, batch: dict[str, Any], schema: Schema, rng: SampleRng) -> dict[str, Any]:
        """The batch with some of its entries replaced.

        Args:
            batch: what `Loader` yields: tensors and lists by field.
            schema: the fields; images are those of kind "image".
            rng: of (seed, epoch, step, rank).
        """
