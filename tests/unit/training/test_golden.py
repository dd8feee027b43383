"""Numbers that the originals gave, by our own measures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imagemill.networks import create_network
from imagemill.training.data import Pairs
from imagemill.training.losses import mse
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


def test_what_its_network_was_shown_is_what_ours_would_be() -> None:
    shown = np.load(golden("color_reverser/unet_head_forward.npz"))
    assert shown["names"][0] == PLATE
    assert torch.equal(torch.from_numpy(shown["inp"])[:1], plate("before"))
    network = create_network("unet").eval()
    with torch.no_grad():
        output = network(torch.from_numpy(shown["inp"])[:1])
    assert output.shape == shown["out"][:1].shape
    assert 0 < output.min() < output.max() < 1


def test_a_plates_lightness_is_recognised() -> None:
    nature = nature_of([Pairs(plate("before"), plate("after"), ["fish"], [0])])
    assert (nature.before_grey, nature.after_grey, nature.luma_kept) == (True, False, True)
    assert nature.size == (384, 256)


def test_the_colour_networks_cost_is_our_loss() -> None:
    values = np.load(golden("koalarization/network/forward.npz"))
    output, truth = (torch.from_numpy(values[name]) for name in ("ab_out", "ab_true"))
    assert mse(output, truth).item() == pytest.approx(float(values["cost"]), rel=1e-6)


def test_the_colour_network_ends_as_the_original_does() -> None:
    values = np.load(golden("koalarization/network/forward.npz"))
    network = create_network("colour-fusion").eval()
    lightness = torch.from_numpy(values["L"][:1]).movedim(-1, 1)[:, :, :64, :64]
    with torch.no_grad():
        ours = network(lightness, torch.from_numpy(values["emb"][:1])).movedim(1, -1).numpy()
    # The doubling after the last convolution leaves blocks of four equal pixels.
    for colours in (values["ab_out"], ours):
        assert np.array_equal(colours[:, ::2, ::2], colours[:, 1::2, 1::2])
        assert np.abs(colours).max() < 1
    assert not np.array_equal(ours[:, :-2:2, :-2:2], ours[:, 2::2, 2::2])
