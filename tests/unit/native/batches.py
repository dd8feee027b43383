"""Pictures, boxes and references that the tests of batches share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from PIL import Image

from imagemill import native
from imagemill.codecs.batch import decode_batch
from imagemill.codecs.image import decode
from imagemill.errors import SampleError
from imagemill.testing.images import photo, saved

Pixels = npt.NDArray[np.uint8]
BACKENDS = [
    pytest.param("native", marks=pytest.mark.skipif(not native.available(), reason=f"no core: {native.why_not()}")),
    "python",
]
needs_core = pytest.mark.skipif(not native.available(), reason=f"no core: {native.why_not()}")
FILTERS = {"box": Image.Resampling.BOX, "bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def jpegs() -> dict[str, bytes]:
    """One picture a kind of JPEG, of sides that are no multiples of a block."""
    made = {}
    for progressive in (False, True):
        kind = "progressive" if progressive else "baseline"
        for sampling in ("4:4:4", "4:2:2", "4:2:0"):
            made[f"{kind} {sampling}"] = saved(
                photo(141, 203), "JPEG", quality=90, subsampling=sampling, progressive=progressive
            )
        grey = Image.fromarray(photo(141, 203)).convert("L")
        made[f"{kind} grey"] = saved(grey, "JPEG", quality=90, progressive=progressive)
        inks = Image.fromarray(photo(141, 203)).convert("CMYK")
        made[f"{kind} CMYK"] = saved(inks, "JPEG", quality=90, progressive=progressive)
    for sampling in ("440", "411"):
        made[f"baseline {sampling}"] = simplejpeg.encode_jpeg(photo(141, 203), 90, "RGB", sampling)
    made["restart markers"] = saved(photo(141, 203), "JPEG", quality=90, restart_marker_blocks=7)
    made["rgb"] = saved(photo(141, 203), "JPEG", quality=90, keep_rgb=True)
    return made


def random_box(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """(top, left, height, width) of any size and place, half of them at some edge."""
    h, w = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    edge = rng.integers(0, 8)
    return (0 if edge == 0 else height - h if edge == 1 else top), (0 if edge == 2 else left), h, w


def run(
    data: list[bytes], boxes: list[tuple[int, int, int, int]], size: tuple[int, int], backend: str, **options: object
) -> tuple[Pixels, dict[int, SampleError]]:
    """The batch, channels last, filled with rubbish before; and the errors."""
    channels = options.pop("channels", 3)
    out = np.full((len(data), *size, channels), 77, np.uint8)
    errors = decode_batch(data, np.array(boxes, np.int32), out, layout="NHWC", backend=backend, **options)  # type: ignore[arg-type]
    return out, errors


def one(data: bytes, box: tuple[int, int, int, int], size: tuple[int, int], backend: str, **options: object) -> Pixels:
    """A single picture, which must be usable."""
    numbers = {name: np.array([options.pop(name)], np.uint8) for name in ("flips", "orientations") if name in options}
    out, errors = run([data], [box], size, backend, **numbers, **options)
    assert errors == {}
    return out[0]


def resized(data: bytes, box: tuple[int, int, int, int], size: tuple[int, int], filter: str = "bilinear") -> Pixels:
    """Pillow's antialiased resize of the box of the full decode."""
    top, left, height, width = box
    cut = Image.fromarray(decode(data)).crop((left, top, left + width, top + height))
    return np.asarray(cut.resize((size[1], size[0]), FILTERS[filter], reducing_gap=None))


def error_of(found: Pixels, wanted: Pixels) -> float:
    """Mean absolute difference in levels."""
    return float(np.abs(found.astype(int) - wanted).mean())


def cases(count: int, seed: int) -> Iterator[tuple[str, bytes, np.random.Generator]]:
    """(name, JPEG, generator) of every kind, `count` times."""
    rng = np.random.default_rng(seed)
    for name, data in jpegs().items():
        for _ in range(count):
            yield name, data, rng
