"""A model is one file that says what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from imagemill.errors import ConfigError, DamageError
from imagemill.networks import create_network
from imagemill.training.model_file import ModelSpec, is_model, load_model, save_model, spec_of


def test_weights_and_spec_come_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = create_network("residual-unet", in_channels=1, out_channels=2)
    spec = ModelSpec(
        "residual-unet",
        input_colour="ycbcr",
        output_colour="ycbcr",
        in_channels=1,
        out_channels=2,
        classes=("sky", "road"),
        size=(64, 48),
        metrics={"val psnr": 28.5},
    )
    save_model(tmp_path / "best.safetensors", network, spec)
    loaded, said = load_model(tmp_path)
    assert said == replace(spec, options=said.options)
    assert (said.options["in_channels"], said.options["out_channels"]) == (1, 2)
    picture = torch.rand(1, 1, 20, 24)
    assert torch.equal(loaded(picture), network.eval()(picture))
    assert is_model(tmp_path)
    assert is_model(tmp_path / "best.safetensors")
    assert spec_of(tmp_path / "best.safetensors") == said


def test_the_direction_is_chosen_in_a_run_of_both(tmp_path: Path) -> None:
    network = create_network()
    save_model(tmp_path / "best.safetensors", network, ModelSpec("residual-unet"))
    reverse = ModelSpec("residual-unet", direction="after-to-before")
    save_model(tmp_path / "best-reverse.safetensors", network, reverse)
    assert load_model(tmp_path)[1].direction == "before-to-after"
    assert load_model(tmp_path, direction="after-to-before")[1].direction == "after-to-before"
    (tmp_path / "best-reverse.safetensors").unlink()
    with pytest.raises(ConfigError, match="after-to-before"):
        load_model(tmp_path, direction="after-to-before")


@pytest.mark.parametrize("variant", ["first", "small", "residual", "head"])
def test_files_of_the_original_load(tmp_path: Path, variant: str) -> None:
    network = create_network("unet", variant=variant)
    torch.save(network.state_dict(), tmp_path / "model.pth")
    loaded, spec = load_model(tmp_path / "model.pth")
    assert spec.options["variant"] == variant
    assert spec.required_multiple == network.required_multiple
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network.parameters(), strict=True))


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    torch.save(create_network(), tmp_path / "model.pth")
    with pytest.raises(ConfigError, match="plain tensors"):
        load_model(tmp_path / "model.pth")
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="5,158,995"):
        load_model(tmp_path / "other.pth")


def test_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_model(path, create_network(), ModelSpec("residual-unet"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamageError):
        load_model(path)
    with pytest.raises(ConfigError, match="no model"):
        load_model(tmp_path / "nowhere")


def test_lightness_of_the_input_stays() -> None:
    spec = ModelSpec("residual-unet", input_colour="ycbcr", output_colour="ycbcr", in_channels=1, out_channels=2)
    picture = torch.rand(2, 3, 4, 5)
    made = spec.to_rgb(spec.network_target(picture), picture)
    assert torch.allclose(made, picture, atol=1e-6)
