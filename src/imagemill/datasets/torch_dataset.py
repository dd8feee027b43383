"""`torch_dataset`: any torch data set of (image, label), or one of the standard ones from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage

from imagemill.datasets.base import Image, TrainingDataset, chw
from imagemill.datasets.image_folder import NORMALIZATIONS
from imagemill.datasets.pictures import FolderPictures, read_pixels
from imagemill.datasets.standard_files import READERS
from imagemill.errors import ConfigError
from imagemill.transforms.base import Geometry
from imagemill.transforms.crops import CenterCrop, HorizontalFlip, RandomResizedCrop, Resize
from imagemill.transforms.render import render_image
from imagemill.transforms.view import View

FOLDERS = ("imagefolder", "imagenet")
NO_LABEL = -1


@dataclass(frozen=True)
class TorchDatasetOptions:
    """Options.

    Args:
        dataset: "mnist", "fmnist", "cifar10", "cifar100", "imagefolder", "imagenet", or a `torch.utils.data.Dataset`
            whose items are (image, label, …), images Pillow's, arrays (H, W[, C]) or tensors (C, H, W).
        kwargs: `root`, and `train` (True) or `split` ("train") of the standard ones.
        image_size: side of the images.
        random_crop: a random resized crop instead of the centre.
        disable_flip: no random horizontal flip.
        normalize: by the mean and deviation of ImageNet's channels; else 0–1.
        offset: the first so many items are left out.
        fixed_len: the data set ends there; None takes all.
        seed: of what is random.
    """

    dataset: Any
    image_size: int
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    random_crop: bool = False
    disable_flip: bool = False
    normalize: bool = True
    offset: int = 0
    fixed_len: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.image_size < 1 or self.offset < 0:
            raise ConfigError("image_size is 1 or more, offset 0 or more")
        if isinstance(self.dataset, str) and self.dataset not in (*READERS, *FOLDERS):
            known = ", ".join((*READERS, *FOLDERS))
            raise ConfigError(f"unknown data set {self.dataset!r}; known: {known}, or a torch data set itself")


class TorchDataset(TrainingDataset):
    """{lq, hq: the same float32 (3, side, side); labels, coarse_labels: int, -1 where there is none; LQ_path, GT_path}.

    Grey images get three equal channels. Paths are the file's, or NAME/INDEX where items are no files.
    """

    options_class = TorchDatasetOptions

    def __init__(self, options: TorchDatasetOptions) -> None:
        self.options = options
        self.seed = options.seed
        self._items = _open(options)
        end = len(self._items) if options.fixed_len is None else min(options.fixed_len, len(self._items))
        self._count = end - options.offset
        if self._count < 1:
            raise ConfigError(f"no items are left: {len(self._items)} in all, from {options.offset} to {end}")
        side = options.image_size
        crop: tuple[Geometry, ...] = (Resize(side), CenterCrop(side))
        if options.random_crop:
            crop = (RandomResizedCrop(side),)
        self._steps = crop if options.disable_flip else (*crop, HorizontalFlip())

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = self.position(index)
        pixels, label, coarse, path = self._items[index + self.options.offset]
        rng, view = self.rng(index), View.whole(*pixels.shape[:2])
        for step in self._steps:
            view = step.view(view, step.draw(view.size, rng))
        tensor = chw(render_image(pixels, view).astype(np.float32) / np.float32(255))
        if self.options.normalize:
            mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in NORMALIZATIONS["imagenet"])
            tensor = (tensor - mean) / deviation
        item = {"lq": tensor, "hq": tensor, "labels": label, "coarse_labels": coarse}
        return item | {"LQ_path": path, "GT_path": path}


class _Arrays:
    """Items of one of the standard data sets."""

    def __init__(self, name: str, root: Path, *, train: bool) -> None:
        self._name = f"{name}/{'train' if train else 'test'}"
        self._found = READERS[name](root, train)

    def __len__(self) -> int:
        return len(self._found.images)

    def __getitem__(self, index: int) -> tuple[Any, int, int, str]:
        found = self._found
        coarse = NO_LABEL if found.coarse is None else int(found.coarse[index])
        return _rgb(found.images[index]), int(found.labels[index]), coarse, f"{self._name}/{index:08d}"


class _Folders:
    """Items of class folders; classes are numbered by their sorted names."""

    def __init__(self, root: Path) -> None:
        self._pictures = FolderPictures(str(root))
        self._root = root
        names = sorted({self._name(index) for index in range(len(self._pictures))})
        self._numbers = {name: number for number, name in enumerate(names)}

    def _name(self, index: int) -> str:
        parts = Path(self._pictures.path(index)).relative_to(self._root).parts
        return parts[0] if len(parts) > 1 else ""

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> tuple[Any, int, int, str]:
        number = self._numbers[self._name(index)]
        return read_pixels(self._pictures, index), number, NO_LABEL, self._pictures.path(index)


class _Given:
    """Items of a torch data set as it is."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._name = type(dataset).__name__

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, int, int, str]:
        item = self._dataset[index]
        image, label = (item[0], int(item[1])) if isinstance(item, tuple | list) else (item, NO_LABEL)
        return _pixels(image), label, NO_LABEL, f"{self._name}/{index:08d}"


def _open(options: TorchDatasetOptions) -> Any:
    if not isinstance(options.dataset, str):
        return _Given(options.dataset)
    given = dict(options.kwargs)
    root = given.pop("root", None)
    train = bool(given.pop("train", given.pop("split", "train") == "train"))
    given.pop("download", None)
    given.pop("transform", None)
    if root is None or given:
        raise ConfigError(f"kwargs: root is wanted, and {', '.join(given) or 'nothing else'} is not known")
    if options.dataset not in FOLDERS:
        return _Arrays(options.dataset, Path(root), train=train)
    part = Path(root) / ("train" if train else "val")
    return _Folders(part if options.dataset == "imagenet" and part.is_dir() else Path(root))


def _pixels(image: Any) -> Any:
    if isinstance(image, PillowImage.Image):
        return np.asarray(image.convert("RGB"))
    if isinstance(image, torch.Tensor):
        array = image.detach().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    else:
        array = np.asarray(image)
    return _rgb(_bytes(array) if array.dtype.kind == "f" else array)


def _bytes(image: Image) -> Any:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _rgb(pixels: Any) -> Any:
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels[..., :3])
