"""imagemill takes a pile of images to a training-ready dataset, and feeds it to PyTorch.

The verbs of the command line are functions here, under the same names.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "bench": "imagemill.api.bench",
    "check": "imagemill.api.check",
    "convert": "imagemill.api.convert",
    "dims": "imagemill.api.dims",
    "doctor": "imagemill.api.doctor",
    "embed": "imagemill.api.embed",
    "export": "imagemill.api.export",
    "fetch": "imagemill.api.fetch",
    "info": "imagemill.api.info",
    "pack": "imagemill.api.pack",
    "predict": "imagemill.api.predict",
    "report": "imagemill.api.report",
    "run": "imagemill.api.run",
    "stage": "imagemill.api.stage",
    "sync": "imagemill.api.sync",
    "tile": "imagemill.api.tile",
    "train": "imagemill.api.train",
    "verify": "imagemill.api.verify",
    "open": "imagemill.load.dataset",
    "Loader": "imagemill.load.loader",
    "Sampler": "imagemill.load.torch_sampler",
    "ResizeAndConvert": "imagemill.transforms.resize_and_convert",
}
"""Public name → where it lives; imported when first used, so that `import imagemill` costs nothing."""

if TYPE_CHECKING:
    from imagemill.api.bench import bench
    from imagemill.api.check import check
    from imagemill.api.convert import convert
    from imagemill.api.dims import dims
    from imagemill.api.doctor import doctor
    from imagemill.api.embed import embed
    from imagemill.api.export import export
    from imagemill.api.fetch import fetch
    from imagemill.api.info import info
    from imagemill.api.pack import pack
    from imagemill.api.predict import predict
    from imagemill.api.report import report
    from imagemill.api.run import run
    from imagemill.api.stage import stage
    from imagemill.api.sync import sync
    from imagemill.api.tile import tile
    from imagemill.api.train import train
    from imagemill.api.verify import verify
    from imagemill.load.dataset import open
    from imagemill.load.loader import Loader
    from imagemill.load.torch_sampler import Sampler
    from imagemill.transforms.resize_and_convert import ResizeAndConvert

__all__ = [
    "Loader",
    "ResizeAndConvert",
    "Sampler",
    "__version__",
    "bench",
    "check",
    "convert",
    "dims",
    "doctor",
    "embed",
    "export",
    "fetch",
    "info",
    "open",
    "pack",
    "predict",
    "report",
    "run",
    "stage",
    "sync",
    "tile",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'imagemill' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
