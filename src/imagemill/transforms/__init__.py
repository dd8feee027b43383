"""Transforms: of single samples (geometry, colour, erasing) and of batches (normalisation, mixing)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "BatchTransform": "imagemill.transforms.base",
    "CenterCrop": "imagemill.transforms.crops",
    "ColorJitter": "imagemill.transforms.colour",
    "Corrupt": "imagemill.transforms.corrupt",
    "CutMix": "imagemill.transforms.mixing",
    "Cutout": "imagemill.transforms.erase",
    "Fit": "imagemill.transforms.crops",
    "Geometry": "imagemill.transforms.base",
    "Grayscale": "imagemill.transforms.colour",
    "HorizontalFlip": "imagemill.transforms.crops",
    "MixUp": "imagemill.transforms.mixing",
    "Normalize": "imagemill.transforms.mixing",
    "Pipeline": "imagemill.transforms.pipeline",
    "PixelTransform": "imagemill.transforms.base",
    "RandomCrop": "imagemill.transforms.crops",
    "RandomErasing": "imagemill.transforms.erase",
    "RandomGrayscale": "imagemill.transforms.colour",
    "RandomResizedCrop": "imagemill.transforms.crops",
    "RandomRotate90": "imagemill.transforms.crops",
    "Resize": "imagemill.transforms.crops",
    "SampleRng": "imagemill.transforms.rng",
    "Transform": "imagemill.transforms.base",
    "VerticalFlip": "imagemill.transforms.crops",
    "View": "imagemill.transforms.view",
}
"""Public name → where it lives; imported when first used: colours need OpenCV, sizes do not."""

if TYPE_CHECKING:
    from imagemill.transforms.base import BatchTransform, Geometry, PixelTransform, Transform
    from imagemill.transforms.colour import ColorJitter, Grayscale, RandomGrayscale
    from imagemill.transforms.corrupt import Corrupt
    from imagemill.transforms.crops import (
        CenterCrop,
        Fit,
        HorizontalFlip,
        RandomCrop,
        RandomResizedCrop,
        RandomRotate90,
        Resize,
        VerticalFlip,
    )
    from imagemill.transforms.erase import Cutout, RandomErasing
    from imagemill.transforms.mixing import CutMix, MixUp, Normalize
    from imagemill.transforms.pipeline import Pipeline
    from imagemill.transforms.rng import SampleRng
    from imagemill.transforms.view import View

__all__ = [
    "BatchTransform",
    "CenterCrop",
    "ColorJitter",
    "Corrupt",
    "CutMix",
    "Cutout",
    "Fit",
    "Geometry",
    "Grayscale",
    "HorizontalFlip",
    "MixUp",
    "Normalize",
    "Pipeline",
    "PixelTransform",
    "RandomCrop",
    "RandomErasing",
    "RandomGrayscale",
    "RandomResizedCrop",
    "RandomRotate90",
    "Resize",
    "SampleRng",
    "Transform",
    "VerticalFlip",
    "View",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'imagemill.transforms' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
