"""Predicted pictures against those that were wanted; what is measured, and how, is `imagemill.training.metrics`.

Measured is what was predicted, in 8 bits, before a file format loses anything of it. Where torch is not installed
nothing is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import util
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.prediction.decoded import Decoded
from imagemill.prediction.journal import Made
from imagemill.prediction.model import ModelFacts

MEASURED_PIXELS = 2**24
"""Pictures of more pixels get their PSNR only: the other metrics hold dozens of floats a pixel."""
ROWS_AT_ONCE = 256
INPUT = "psnr-input"
"""PSNR of the picture that the model was shown: what it has to beat."""
PIXELS = "pixels"


@dataclass(frozen=True)
class Measured:
    """What was measured of one picture.

    Args:
        metrics: by name; empty where it could not be compared.
        counts: of a segmentation: class → [pixels of it in both, in either]; `PIXELS` → [right, all].
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, list[int]] = field(default_factory=dict)


def measured(pixels: npt.NDArray[Any], decoded: Decoded, facts: ModelFacts) -> Measured:
    """A predicted picture against the wanted one; nothing where their sides differ.

    Args:
        pixels: uint8 (H, W, 3 or 1), or class ids (H, W).
        decoded: has what was wanted.
    """
    wanted = decoded.wanted
    if wanted is None or wanted.shape[:2] != pixels.shape[:2] or util.find_spec("torch") is None:
        return Measured()
    if facts.segments:
        return _segmented(pixels, wanted, len(facts.classes) or int(pixels.max()) + 1)
    metrics = {"psnr": _psnr(pixels, wanted)}
    shown = decoded.picture.pixels
    if shown.shape == wanted.shape:
        metrics[INPUT] = _psnr(shown, wanted)
    if pixels.shape[0] * pixels.shape[1] <= MEASURED_PIXELS:
        from imagemill.training.metrics import image_metrics

        found = image_metrics(_tensor(pixels), _tensor(wanted), scale=facts.scale)
        metrics = {**{name: float(value) for name, value in found.items()}, **metrics}
    return Measured(metrics)


def _psnr(pixels: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    """As `training.metrics.psnr`, in integers and a few rows at a time."""
    from imagemill.training.metrics import SMALLEST_ERROR

    total = 0
    for top in range(0, len(pixels), ROWS_AT_ONCE):
        # One channel against three is that channel three times.
        part = wanted[top : top + ROWS_AT_ONCE].astype(np.int32) - pixels[top : top + ROWS_AT_ONCE]
        total += int(np.square(part).sum(dtype=np.int64))
    return float(-10 * np.log10(total / wanted.size / 255**2 + SMALLEST_ERROR))


def _tensor(pixels: npt.NDArray[Any]) -> Any:
    import torch

    values = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float() / 255
    return values.expand(-1, 3, -1, -1)


def _segmented(ids: npt.NDArray[Any], wanted: npt.NDArray[Any], classes: int) -> Measured:
    """Of a mask; pixels whose wanted id is no class of the model are left out."""
    kept = (wanted >= 0) & (wanted < classes)
    pairs = wanted[kept].astype(np.int64) * classes + ids[kept]
    confusion = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    hit = confusion.diagonal()
    either = confusion.sum(0) + confusion.sum(1) - hit
    counts = {str(number): [int(hit[number]), int(either[number])] for number in np.flatnonzero(either)}
    counts[PIXELS] = [int(hit.sum()), int(confusion.sum())]
    return Measured(_summary(counts), counts)


def _summary(counts: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """mIoU over classes that occur, and accuracy; empty where no pixel counts."""
    shares = [hit / either for name, (hit, either) in counts.items() if name != PIXELS]
    right, total = counts.get(PIXELS, (0, 0))
    return {"miou": sum(shares) / len(shares), "accuracy": right / total} if shares and total else {}


def over_all(made: Sequence[Made], facts: ModelFacts) -> dict[str, float]:
    """Each metric per picture, then the mean; of a segmentation over the pixels of all pictures."""
    if facts.segments:
        total: dict[str, list[int]] = {}
        for one in made:
            for name, counts in one.counts.items():
                first, second = total.get(name, (0, 0))
                total[name] = [first + counts[0], second + counts[1]]
        return _summary(total)
    names = dict.fromkeys(name for one in made for name in one.metrics)
    values = {name: [one.metrics[name] for one in made if name in one.metrics] for name in names}
    return {name: sum(found) / len(found) for name, found in values.items()}


def protocol(facts: ModelFacts) -> str:
    """How the numbers that are printed were measured, a line each."""
    from imagemill.training.metrics import protocol_lines

    if facts.segments:
        return "\n".join(protocol_lines(["miou", "accuracy"]))
    names = ["psnr", "ssim", "ciede2000", "colourfulness"] + (["psnr-y", "ssim-y"] if facts.scale > 1 else [])
    return "\n".join([*protocol_lines(names), f"{INPUT}: PSNR of the picture that the model was shown"])
