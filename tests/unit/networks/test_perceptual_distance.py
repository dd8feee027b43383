"""LPIPS from files that have the shapes of the published ones; `written` is what the package `lpips` makes of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from imagemill.errors import ConfigError, MissingExtra
from imagemill.networks import perceptual_distance
from imagemill.networks.perceptual_distance import (
    ALEXNET,
    CHANNELS,
    CONVOLUTIONS,
    LINEAR_FILE,
    PerceptualDistance,
    load_perceptual_distance,
)
from imagemill.training.metrics import image_metrics, lpips_distance

KERNELS = (11, 5, 3, 3, 3)


def formula(shape: tuple[int, ...], number: int) -> torch.Tensor:
    """Weights that look like noise and are the same everywhere."""
    places = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    fan_in = torch.Size(shape[1:]).numel() or 1
    return ((places * 12.9898 + number * 78.233).sin() * (3 / fan_in) ** 0.5).float().reshape(shape)


def features() -> dict[str, torch.Tensor]:
    found = {}
    for place, (number, channels, kernel) in enumerate(zip(CONVOLUTIONS, CHANNELS, KERNELS, strict=True)):
        before = (3, *CHANNELS)[place]
        found[f"features.{number}.weight"] = formula((channels, before, kernel, kernel), number)
        found[f"features.{number}.bias"] = formula((channels,), number + 1) * 0.1
    return found


def linear() -> dict[str, torch.Tensor]:
    sizes = enumerate(CHANNELS)
    return {f"lin{place}.model.1.weight": formula((1, count, 1, 1), place).abs() for place, count in sizes}


def pictures(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = [((rows * a + columns * b) / 9.0).sin() / 2 + 0.5 for a, b in ((1, 2), (2, 1), (3, 1))]
    first = torch.stack(waves).float()[None]
    return torch.cat([first, first]), torch.cat([first, first.flip(-1) * 0.9])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `lpips` that holds its file alone, and AlexNet's weights in the cache."""
    package, cache = tmp_path / "site" / "lpips", tmp_path / "cache"
    (package / LINEAR_FILE).parent.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    torch.save(linear(), package / LINEAR_FILE, _use_new_zipfile_serialization=False)  # As the package has it.
    (cache / "weights").mkdir(parents=True)
    torch.save(features() | {"classifier.1.weight": torch.zeros(2, 2)}, cache / "weights" / ALEXNET.name)
    monkeypatch.setenv("IMAGEMILL_CACHE", str(cache))
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "lpips", raising=False)
    lpips_distance.cache_clear()
    return cache


@pytest.fixture(autouse=True)
def _forget() -> object:
    yield
    lpips_distance.cache_clear()


@pytest.mark.parametrize(("sides", "written"), [((64, 80), 0.232967), ((31, 45), 0.176453)])
def test_it_is_what_the_package_computes(sides: tuple[int, int], written: float) -> None:
    distances = PerceptualDistance(features(), linear())(*pictures(*sides))
    assert distances[0] == 0
    assert distances[1].item() == pytest.approx(written, rel=1e-4)


def test_small_pictures_are_enlarged() -> None:
    distances = PerceptualDistance(features(), linear())(*pictures(5, 40))
    assert distances[0] == 0
    assert distances[1] > 0


def test_it_is_measured_where_its_files_are_whatever_torchvision_there_is(installed: Path) -> None:
    assert load_perceptual_distance().training is False
    output, target = pictures(40, 48)
    found = image_metrics(output, target, scale=1, luma=False)["lpips"]
    assert found.shape == (2,)
    assert (found[0], found[1] > 0.01) == (0, True)


def test_without_the_package_or_the_weights_it_is_left_out(
    installed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    (installed / "weights" / ALEXNET.name).unlink()
    output, target = pictures(40, 48)
    assert "lpips" not in image_metrics(output, target, scale=1, luma=False)
    assert "LPIPS is not measured: torchvision's AlexNet could not be fetched" in caplog.text
    assert f"lay it down as {installed / 'weights' / ALEXNET.name}" in caplog.text
    monkeypatch.setattr(perceptual_distance.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"imagemill\[lpips\]"):
        load_perceptual_distance()


def test_other_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"lack features\.10\.bias"):
        PerceptualDistance({name: value for name, value in features().items() if name != "features.10.bias"}, linear())
    with pytest.raises(ConfigError, match=r"lin0\.model\.1\.weight of LPIPS has shape \(1, 64\), not \(1, 64, 1, 1\)"):
        PerceptualDistance(features(), linear() | {"lin0.model.1.weight": torch.zeros(1, 64)})
