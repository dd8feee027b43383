"""The pile of photographs that the benchmarks pack."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "imagenet_sample"
"""250 ImageNet JPEGs, one a class, where the sample data lie beside the checkout."""

MADE_SIDES = (500, 375)
"""Width and height of made photographs: the median of ImageNet."""


@dataclass(frozen=True)
class Pile:
    """Images in class folders.

    Args:
        root: the folder.
        files: (path relative to the root, class number), sorted.
        origin: a sentence on where they come from.
    """

    root: Path
    files: tuple[tuple[str, int], ...]
    origin: str

    def __len__(self) -> int:
        return len(self.files)

    @property
    def mean_bytes(self) -> float:
        """Bytes an image."""
        return sum((self.root / name).stat().st_size for name, _ in self.files) / len(self.files)

    @staticmethod
    def of(root: Path, origin: str) -> Pile:
        """The pile that lies in a folder of class folders."""
        classes = sorted(path for path in root.iterdir() if path.is_dir())
        files = [
            (path.relative_to(root).as_posix(), number)
            for number, folder in enumerate(classes)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        return Pile(root, tuple(files), origin)


def gather(folder: Path, count: int, given: Path | None) -> Pile:
    """A pile of `count` images in `folder`: copies of those given, of the ImageNet sample, or made ones.

    Where there are fewer originals than asked for, each is copied several times under its own names.
    """
    source = given or (SAMPLE if SAMPLE.is_dir() else None)
    if source is None:
        made = folder.with_name(f"{folder.name}-made")
        originals = list(_made(made))
        origin = f"{len(originals)} made photographs of {MADE_SIDES[0]}x{MADE_SIDES[1]}"
    else:
        originals = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
        origin = f"{len(originals)} JPEGs of {'imagenet_sample' if given is None else given}"
    if not originals:
        raise SystemExit(f"{source} holds no JPEG: give a folder with some")
    for number in range(count):
        copy, place = divmod(number, len(originals))
        original = originals[place]
        target = folder / original.parent.name / f"{original.stem}-{copy}{original.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original, target)
    copies = -(-count // len(originals))
    return Pile.of(folder, f"{origin}, {f'each copied {copies} times' if copies > 1 else 'one copy of each'}")


def _made(folder: Path) -> Iterator[Path]:
    """Images with the spectrum of photographs (amplitude falls with frequency), about 110 kB as JPEGs."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    width, height = MADE_SIDES
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    for number in range(50):
        path = folder / f"class{number // 5:02d}" / f"photo{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = random.standard_normal((3, *frequency.shape)) + 1j * random.standard_normal((3, *frequency.shape))
        noise[1:] = noise[0] + 0.3 * noise[1:]
        plane = np.fft.irfft2(noise / (frequency + 1 / width), (height, width)).transpose(1, 2, 0)
        pixels = np.clip(128 + 50 * plane / plane.std(), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=92)
        yield path
