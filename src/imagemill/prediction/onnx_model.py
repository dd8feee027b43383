"""A model in an ONNX file, run by ONNX Runtime; torch is not needed.

The file takes what people have, RGB in 0–1 of any size, and gives RGB in 0–1 or logits: what belongs before and
after the network is part of the graph. Its metadata hold the model's spec, and in words what goes in and out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from imagemill.config import cpu_count
from imagemill.errors import ConfigError, DamageError, MissingExtra
from imagemill.prediction.model import facts_of
from imagemill.prediction.tiling import Pixels, Values

SPEC_KEY = "imagemill_model"
"""Metadata entry with the `ModelSpec` as JSON."""

INPUT, OUTPUT = "rgb", "result"
PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class OnnxModel:
    """An ONNX file that `export` wrote; see `prediction.model.Model`.

    Args:
        path: of the file.
        device: "cpu" or "cuda"; None takes a GPU where ONNX Runtime can use one.

    Raises:
        ConfigError: another file, or no such device.
        DamageError: the file cannot be read.
        MissingExtra: onnxruntime is not installed.
    """

    def __init__(self, path: Path, device: str | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtra("onnxruntime", "export") from None
        there = onnxruntime.get_available_providers()
        name = device or ("cuda" if PROVIDERS["cuda"] in there else "cpu")
        if PROVIDERS.get(name) not in there:
            known = ", ".join(one for one, provider in PROVIDERS.items() if provider in there)
            raise ConfigError(f"device {name!r} cannot be used by the installed onnxruntime: it has {known}")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = cpu_count()
        try:
            self._session = onnxruntime.InferenceSession(path, settings, providers=[PROVIDERS[name]])
        except Exception as error:  # noqa: BLE001  its exceptions have no common base
            raise DamageError(f"{path} cannot be read as an ONNX file: {str(error).splitlines()[0]}") from None
        spec = spec_in(self._session.get_modelmeta().custom_metadata_map, path)
        versions = {"onnxruntime": onnxruntime.__version__, "device": name}
        self.facts = facts_of(spec, path, "onnxruntime", versions)

    def __call__(self, pictures: Pixels, vectors: Values | None = None) -> Values:
        """See `Model`."""
        rgb = pictures.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        result: Values = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(rgb)})[0]
        return result


def spec_in(metadata: dict[str, str], path: Path) -> dict[str, Any]:
    """The model's spec as plain values.

    Raises:
        ConfigError: the file does not have one.
        DamageError: it cannot be read.
    """
    if SPEC_KEY not in metadata:
        raise ConfigError(f"{path} is an ONNX file, but none that `imagemill export` wrote: it does not say what it is")
    try:
        spec: dict[str, Any] = json.loads(metadata[SPEC_KEY])
    except ValueError as error:
        raise DamageError(f"{path}: what it says of itself cannot be read: {error}") from None
    return spec
