"""Values that are no numbers: named, kept for a look, and gone back from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from imagemill.errors import ImagemillError
from imagemill.training.data import Pairs
from imagemill.training.model_file import write_tensors

UPSET_FOLDER = "upsets"
UPSETS_LIMIT = 5
"""After so many a run ends: it diverges, and halving the rate did not help."""


class Diverged(ImagemillError):
    """Training came to values that are no numbers again and again."""


def bad_terms(terms: Mapping[str, float]) -> list[str]:
    """Names of the terms that are not finite."""
    return [name for name, value in terms.items() if not math.isfinite(value)]


def keep_batches(folder: Path, step: int, batches: Sequence[Pairs], why: str) -> Path:
    """Writes the batches of a step that went wrong; keys, positions and the reason are in the file's metadata."""
    tensors: dict[str, torch.Tensor] = {}
    for number, batch in enumerate(batches):
        tensors[f"before.{number}"], tensors[f"after.{number}"] = batch.before, batch.after
    said = {
        "why": why,
        "step": str(step),
        "keys": json.dumps([key for batch in batches for key in batch.keys]),
        "indices": json.dumps([index for batch in batches for index in batch.indices]),
    }
    path = folder / UPSET_FOLDER / f"step-{step:06d}.safetensors"
    write_tensors(path, tensors, said)
    return path
