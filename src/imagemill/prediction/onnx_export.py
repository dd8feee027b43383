"""A model written as an ONNX file of dynamic sizes, and compared with torch before it gets its name."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagemill.core.files import replacing
from imagemill.errors import ConfigError, ImagemillError, MissingExtra
from imagemill.prediction.onnx_model import INPUT, OUTPUT, SPEC_KEY, OnnxModel
from imagemill.prediction.torch_model import RgbModel, TorchModel
from imagemill.training.model_file import ModelSpec

OPSET = 18
TRACED = (2, 3, 64, 96)
COMPARED = ((1, 101, 57), (3, 64, 64), (1, 33, 130))
"""(N, H, W) of the pictures that both are shown."""

TOLERANCE = 1e-5


@dataclass(frozen=True)
class OnnxResult:
    """What was written.

    Args:
        path: of the file.
        size_bytes: of it.
        opset: version of the operators.
        difference: largest absolute difference from torch.
        metadata: what the file says of itself.
    """

    path: Path
    size_bytes: int
    opset: int
    difference: float
    metadata: Mapping[str, str]


def export_onnx(
    model: Path, out: Path, *, direction: str | None = None, which: str = "best", opset: int = OPSET
) -> OnnxResult:
    """Writes a model as an ONNX file that takes RGB pictures of any number and size.

    Raises:
        ConfigError: no model there, or one that cannot be exported, or OUT is there already.
        ImagemillError: the file says something else than torch does; nothing is left of it.
        MissingExtra: onnx or onnxruntime is not installed.
    """
    if out.exists():
        raise ConfigError(f"{out} exists: give another name, or remove it")
    if out.suffix.lower() != ".onnx":
        raise ConfigError(f"{out}: the name of an ONNX file ends in .onnx")
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "export") from None
    opened = TorchModel(model, device="cpu", direction=direction, which=which)
    if opened.facts.vector:
        raise ConfigError(f"{model} takes vectors beside pictures: only models of pictures alone are written as ONNX")
    metadata = described(opened.rgb_model.spec)
    with replacing(out) as temporary:
        _trace(opened.rgb_model, temporary, opset)
        proto = onnx.load(temporary)
        onnx.helper.set_model_props(proto, metadata)
        proto.producer_name, proto.doc_string = "imagemill", metadata["input"] + "; " + metadata["output"]
        onnx.checker.check_model(proto)
        onnx.save(proto, temporary)
        difference = compare(opened, OnnxModel(temporary, "cpu"))
        if difference > TOLERANCE:
            raise ImagemillError(
                f"{model} as ONNX differs from torch by {difference:.1e} (allowed {TOLERANCE:.0e}): nothing is written"
            )
    return OnnxResult(out, out.stat().st_size, opset, difference, metadata)


def described(spec: ModelSpec) -> dict[str, str]:
    """What the file says of itself: for programs the spec, for people what goes in and out."""
    scale = f" times {spec.scale}" if spec.scale > 1 else ""
    colour = "grey" if spec.out_channels == 1 else "RGB"
    given = f"{colour} in about 0-1, sRGB, height and width those of the input{scale}"
    if spec.task == "segmentation":
        given = f"{spec.out_channels} logits a pixel, classes {', '.join(spec.classes) or 'by number'}"
    return {
        SPEC_KEY: spec.to_json(),
        "input": f"{INPUT}: float32 (N, 3, H, W), RGB in 0-1, sRGB, upright; any N, H and W; no mean is taken off",
        "output": f"{OUTPUT}: float32 (N, C, H', W'), {given}",
        "task": f"{spec.task}, {spec.direction}",
    }


def _trace(model: RgbModel, path: Path, opset: int) -> None:
    """Writes the graph; sizes are followed through the trace, so they stay open."""
    axes = {INPUT: {0: "n", 2: "h", 3: "w"}, OUTPUT: {0: "n", 2: "h_out", 3: "w_out"}}
    settings: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT], "dynamic_axes": axes}
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            # It warns that it is the older exporter (the newer wants one more package), and of constants in shapes.
            warnings.simplefilter("ignore")
            torch.onnx.export(model, (torch.rand(TRACED),), str(path), dynamo=False, opset_version=opset, **settings)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"network {model.spec.network!r} cannot be written as ONNX: {reason}") from None
    finally:
        logger.setLevel(level)


def compare(first: TorchModel, second: OnnxModel) -> float:
    """The largest absolute difference between what two models say of random pictures, `COMPARED`."""
    rng = np.random.default_rng(0)
    largest = 0.0
    for count, height, width in COMPARED:
        pictures = rng.integers(0, 256, (count, height, width, 3), np.uint8)
        a, b = first(pictures), second(pictures)
        if a.shape != b.shape:
            return float("inf")
        largest = max(largest, float(np.abs(a - b).max()))
    return largest
