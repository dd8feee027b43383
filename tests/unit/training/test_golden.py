"""Numbers that the originals gave, by our own measures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imagemill.training.data import Pairs
from imagemill.training.metrics import psnr
from imagemill.training.plan import nature_of

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "data" / "golden"
PLATE = "fish_104_before.jpg"


def golden(name: str) -> Path:
    path = GOLDEN / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


def plate(half: str) -> torch.Tensor:
    path = golden("color_reverser/stage_resized") / PLATE.replace("before", half)
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 255


def test_identity_has_the_psnr_that_the_original_measured() -> None:
    numbers = json.loads(golden("color_reverser/numbers.json").read_text("utf-8"))
    found = psnr(plate("before"), plate("after")).item()
    assert found == pytest.approx(numbers["identity_psnr_none"][PLATE], abs=1e-3)


def test_a_plates_lightness_is_recognised() -> None:
    nature = nature_of([Pairs(plate("before"), plate("after"), ["fish"], [0])])
    assert (nature.before_grey, nature.after_grey, nature.luma_kept) == (True, False, True)
    assert nature.size == (384, 256)
