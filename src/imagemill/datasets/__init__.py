"""Training data sets by mode, with the option dicts of the super-resolution family.

Each gives dicts of tensors. What is random about an item is a function of (seed, epoch, index), never of a worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imagemill.errors import ConfigError
from imagemill.registry import Registry

if TYPE_CHECKING:
    import torch

    from imagemill.datasets.base import TrainingDataset

DATASETS: Registry[type[TrainingDataset]] = Registry(
    "data set mode",
    "imagemill.datasets",
    {
        "combined": "imagemill.datasets.combined:CombinedDataset",
        "fullimage": "imagemill.datasets.full_image:FullImageDataset",
        "imagefolder": "imagemill.datasets.image_folder:ImageFolderDataset",
        "multi_frame_extensible": "imagemill.datasets.multi_frame:MultiFrameDataset",
        "multiscale": "imagemill.datasets.multiscale:MultiscaleDataset",
        "single_image_extensible": "imagemill.datasets.single_image:SingleImageDataset",
        "stylegan2": "imagemill.datasets.stylegan2:Stylegan2Dataset",
        "torch_dataset": "imagemill.datasets.torch_dataset:TorchDataset",
    },
)

__all__ = ["DATASETS", "create_dataloader", "create_dataset"]


def create_dataset(options: Mapping[str, Any]) -> TrainingDataset:
    """The data set that an option dict describes.

    Args:
        options: `mode` names the data set; the rest are its own options, by the names of its options class.

    Raises:
        ConfigError: no or an unknown mode, an unknown option, or values that cannot work.
    """
    if "mode" not in options:
        raise ConfigError(f"the options name no mode; known: {', '.join(DATASETS)}")
    return DATASETS.get(options["mode"]).from_options(options)


def create_dataloader(
    dataset: TrainingDataset, options: Mapping[str, Any], *, world_size: int = 1, sampler: Any = None
) -> torch.utils.data.DataLoader[Any]:
    """A `torch.utils.data.DataLoader` as the option dict asks for it.

    Args:
        options: `phase` "train" takes `batch_size` (over all ranks), `n_workers`, and drops a last small batch; other
            phases read in order, `batch_size` or 1 at a time. `pin_memory` is on where there is a GPU.
        world_size: ranks that share the batch.
        sampler: instead of shuffling, as `imagemill.Sampler`.

    Raises:
        ConfigError: the ranks do not divide the batch.
    """
    import torch

    train = options.get("phase", "train") == "train"
    batch_size = int(options.get("batch_size", 1))
    if train and batch_size % world_size:
        raise ConfigError(f"{world_size} ranks do not divide a batch of {batch_size}")
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=batch_size // world_size if train else batch_size,
        shuffle=train and sampler is None and bool(options.get("use_shuffle", True)),
        sampler=sampler,
        num_workers=int(options.get("n_workers", 0)) if train else 0,
        drop_last=train,
        collate_fn=dataset.collate,
        pin_memory=bool(options.get("pin_memory", True)) and torch.cuda.is_available(),
    )
