"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 from their published files, without torchvision and without pickles.

IDX files (MNIST, Fashion-MNIST): LeCun, Cortes and Burges, "The MNIST database of handwritten digits". Binary versions
of CIFAR: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. The "python version" of CIFAR is
made of pickles, which can run code, and is not read.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imagemill.errors import ConfigError

CIFAR_SIDE = 32
CIFAR_PIXELS = 3 * CIFAR_SIDE**2
PICKLED = ("cifar-10-batches-py", "cifar-100-python")
IDX_UINT8 = 8


class Labelled(NamedTuple):
    """Images uint8 (N, H, W, C), labels int64 (N,), and coarse labels where there are any."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    coarse: npt.NDArray[np.int64] | None = None


def read_mnist(root: Path, *, train: bool, fashion: bool = False) -> Labelled:
    """MNIST or Fashion-MNIST: IDX files in `root`, or in `root/MNIST/raw` (`FashionMNIST/raw`), gzipped or not.

    Raises:
        ConfigError: a file is missing, or no IDX file of such a shape.
    """
    folders = (root, root / ("FashionMNIST" if fashion else "MNIST") / "raw")
    prefix = "train" if train else "t10k"
    images = read_idx(_first(folders, (f"{prefix}-images-idx3-ubyte", f"{prefix}-images.idx3-ubyte")), 3)
    labels = read_idx(_first(folders, (f"{prefix}-labels-idx1-ubyte", f"{prefix}-labels.idx1-ubyte")), 1)
    if len(images) != len(labels):
        raise ConfigError(f"{root}: {len(images)} images and {len(labels)} labels")
    return Labelled(images[..., None], labels.astype(np.int64))


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array of an IDX file of bytes.

    Raises:
        ConfigError: it is none.
    """
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    head = 4 + 4 * dimensions
    if len(content) < head or content[:4] != bytes((0, 0, IDX_UINT8, dimensions)):
        raise ConfigError(f"{path} is no IDX file of {dimensions} dimensions of bytes")
    shape = np.frombuffer(content, ">u4", dimensions, 4).astype(int)
    if len(content) != head + int(np.prod(shape)):
        raise ConfigError(f"{path} should hold {'x'.join(map(str, shape))} bytes and holds {len(content) - head}")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def read_cifar(root: Path, *, train: bool, classes: int) -> Labelled:
    """CIFAR-10 or CIFAR-100, the binary version: `.bin` files in `root` or in the folder they are published in.

    Raises:
        ConfigError: they are not there (the python version, of pickles, is not read), or of a wrong length.
    """
    folder = "cifar-10-batches-bin" if classes == 10 else "cifar-100-binary"
    if classes == 10:
        names = [f"data_batch_{number}.bin" for number in range(1, 6)] if train else ["test_batch.bin"]
    else:
        names = ["train.bin" if train else "test.bin"]
    heads = 1 if classes == 10 else 2
    paths = [_first((root, root / folder), (name,)) for name in names]
    records = [np.fromfile(path, np.uint8) for path in paths]
    for path, record in zip(paths, records, strict=True):
        if len(record) % (heads + CIFAR_PIXELS) or not len(record):
            raise ConfigError(f"{path} is no binary file of CIFAR-{classes}: {len(record)} bytes")
    rows = np.concatenate(records).reshape(-1, heads + CIFAR_PIXELS)
    images = rows[:, heads:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE).transpose(0, 2, 3, 1)
    coarse = rows[:, 0].astype(np.int64) if heads == 2 else None
    return Labelled(np.ascontiguousarray(images), rows[:, heads - 1].astype(np.int64), coarse)


def _first(folders: Sequence[Path], names: Sequence[str]) -> Path:
    for folder in folders:
        for name in names:
            for path in (folder / name, folder / f"{name}.gz"):
                if path.is_file():
                    return path
    where = " or ".join(str(folder) for folder in folders)
    pickled = any(
        (folder / name).exists() for folder in folders for name in ("cifar-10-batches-py", "cifar-100-python")
    )
    hint = "; the python version that is there is made of pickles: get the binary version" if pickled else ""
    raise ConfigError(f"{names[0]} is not in {where}{hint}")


READERS: dict[str, Any] = {
    "mnist": lambda root, train: read_mnist(root, train=train),
    "fmnist": lambda root, train: read_mnist(root, train=train, fashion=True),
    "cifar10": lambda root, train: read_cifar(root, train=train, classes=10),
    "cifar100": lambda root, train: read_cifar(root, train=train, classes=100),
}
"""Name → reader of (root, train)."""
