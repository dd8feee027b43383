"""Models as ONNX files: what torch says at any size, and the file alone is enough for `predict`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import imagemill
from imagemill.errors import ConfigError
from imagemill.testing.piles import imagemill as command
from imagemill.testing.piles import save_photo, tree

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from imagemill.networks import create_network  # noqa: E402
from imagemill.prediction.onnx_model import OnnxModel  # noqa: E402
from imagemill.prediction.torch_model import TorchModel  # noqa: E402
from imagemill.training.model_file import ModelSpec, save_model  # noqa: E402

SMALL = {"width": 4, "levels": 3, "blocks": 1, "middle_blocks": 0}
KINDS = {
    "ours": ("residual-unet", SMALL, {}),
    "ours, colour alone": (
        "residual-unet",
        {**SMALL, "in_channels": 1, "out_channels": 2},
        {"input_colour": "grey", "in_channels": 1, "output_colour": "ycbcr", "out_channels": 2},
    ),
    "a table": ("residual-unet", {**SMALL, "start": "table"}, {}),
    "colour by the whole picture": (
        "residual-unet",
        {
            **SMALL,
            "in_channels": 1,
            "out_channels": 2,
            "start": "table",
            "patch": 4,
            "tones": 2,
            "context": 6,
            "palette": True,
        },
        {"input_colour": "ycbcr", "in_channels": 1, "output_colour": "ycbcr", "out_channels": 2},
    ),
    "lab": (
        "residual-unet",
        {**SMALL, "in_channels": 1, "out_channels": 2},
        {"input_colour": "lab", "in_channels": 1, "output_colour": "lab", "out_channels": 2},
    ),
    "twice as large": ("residual-unet", {**SMALL, "scale": 2}, {}),
    "classes": (
        "residual-unet",
        {**SMALL, "out_channels": 5},
        {"task": "segmentation", "output_colour": "", "out_channels": 5},
    ),
    "the original's": ("unet", {"variant": "small"}, {}),
}


def saved(path: Path, kind: str) -> Path:
    torch.manual_seed(3)
    name, options, spec = KINDS[kind]
    network = create_network(name, **options)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    save_model(path, network, ModelSpec(name, **spec))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_says_what_torch_says_at_odd_sizes_too(kind: str, tmp_path: Path) -> None:
    model = saved(tmp_path / "m.safetensors", kind)
    result = imagemill.export(model, tmp_path / "m.onnx")
    assert result.difference < 1e-5
    first, second = TorchModel(model, device="cpu"), OnnxModel(tmp_path / "m.onnx")
    rng = np.random.default_rng(1)
    for shape in ((2, 37, 91, 3), (1, 200, 131, 3)):
        pictures = rng.integers(0, 256, shape, np.uint8)
        a, b = first(pictures), second(pictures)
        assert a.shape == b.shape
        assert np.abs(a - b).max() < 1e-5
        assert a.std() > 1e-3


def test_predict_takes_the_file(tmp_path: Path) -> None:
    model = saved(tmp_path / "m.safetensors", "ours")
    save_photo(tmp_path / "in" / "a_before.png", 45, 77, 1)
    shown = command("export", model, tmp_path / "m.onnx")
    assert shown.returncode == 0, shown.stderr
    assert "RGB in 0-1" in shown.stdout
    for name in ("m.safetensors", "m.onnx"):
        imagemill.predict(tmp_path / name, tmp_path / "in", tmp_path / f"out-{name}")
    first, second = (tree(tmp_path / f"out-{name}")["a_after.png"] for name in ("m.safetensors", "m.onnx"))
    assert first == second
    record = json.loads((tmp_path / "out-m.onnx" / "predict.json").read_text())
    assert record["model"]["backend"] == "onnxruntime"


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    imagemill.export(saved(tmp_path / "m.safetensors", "twice as large"), tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert ModelSpec.from_json(metadata["imagemill_model"]).scale == 2
    assert "times 2" in metadata["output"]
    sides = proto.graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_param for side in sides] == ["n", "", "h", "w"]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    model = saved(tmp_path / "m.safetensors", "ours")
    (tmp_path / "there.onnx").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"there.onnx exists"):
        imagemill.export(model, tmp_path / "there.onnx")
    with pytest.raises(ConfigError, match="is no model"):
        imagemill.export(tmp_path / "none.safetensors", tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".onnx"] == ["there.onnx"]
    stranger = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["a"], ["b"])],
            "g",
            [onnx.helper.make_tensor_value_info("a", 1, [1])],
            [onnx.helper.make_tensor_value_info("b", 1, [1])],
        ),
        ir_version=8,
        opset_imports=[onnx.helper.make_opsetid("", 17)],
    )
    onnx.save(stranger, tmp_path / "stranger.onnx")
    with pytest.raises(ConfigError, match="does not say what it is"):
        imagemill.predict(tmp_path / "stranger.onnx", tmp_path, tmp_path / "out")


def test_vividness_stays_with_the_run(tmp_path: Path) -> None:
    imagemill.export(saved(tmp_path / "m.safetensors", "colour by the whole picture"), tmp_path / "m.onnx")
    save_photo(tmp_path / "in" / "a.png", 45, 77, 1)
    with pytest.raises(ConfigError, match="gives mean colours"):
        imagemill.predict(tmp_path / "m.onnx", tmp_path / "in", tmp_path / "out", vividness=1)
