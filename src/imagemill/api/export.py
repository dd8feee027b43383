"""`export`: a dataset back as plain folders, or as another system's files; a model as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagemill.api.given import (
    OnProgress,
    PathLike,
)
from imagemill.core.remote import local_path
from imagemill.errors import ConfigError
from imagemill.formats.store import Store
from imagemill.prepare.export import export as export_store

if TYPE_CHECKING:
    from imagemill.prediction.onnx_export import OnnxResult

LAYOUTS = ("folders", "lab")
ONNX_SUFFIX = ".onnx"


def export(
    dataset: PathLike,
    out: PathLike,
    *,
    layout: str = "folders",
    records_per_file: int = 500,
    compression: Literal["", "gzip", "zlib"] = "",
    direction: str | None = None,
    which: str = "best",
    on_progress: OnProgress | None = None,
) -> int | OnnxResult:
    """A dataset back as plain folders: `OUT/SPLIT/CLASS/NAME`, original files byte for byte; or a model as ONNX.

    Args:
        dataset: folder or URL of a finished dataset; where OUT is `NAME.onnx`, a model file or the folder of a run.
        layout: "folders", or "lab": the colour pipeline's TFRecords of a dataset packed with `fields="lab"`.
        records_per_file, compression: of the layout "lab".
        direction, which: of the folder of a run, as for `predict`.

    Returns:
        Samples written; of a model, what was written and how near to torch it is.

    Raises:
        ConfigError: no finished dataset there, or OUT is not empty, or the dataset does not fit the layout.
        DamageError: a stored value is damaged.
        MissingExtra: for ONNX, torch, onnx or onnxruntime is not installed.
    """
    if exports_model(out):
        return export_model(dataset, out, direction=direction, which=which)
    if direction is not None or which != "best":
        raise ConfigError("direction and which are of a model: OUT is then the name of a file, NAME.onnx")
    store, target = Store(dataset), local_path(out)
    if layout == "folders":
        keys = export_store(store, target)
    elif layout == "lab":
        from imagemill.prepare.export_lab import export_lab

        keys = export_lab(store, target, records_per_file=records_per_file, compression=compression)
    else:
        raise ConfigError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
    count = 0
    for _ in keys:
        count += 1
        if on_progress is not None:
            on_progress(1)
    return count


def exports_model(out: PathLike) -> bool:
    """Whether `export` is asked for a model: OUT is to be an ONNX file."""
    return Path(out).suffix.lower() == ONNX_SUFFIX


def export_model(model: PathLike, out: PathLike, *, direction: str | None = None, which: str = "best") -> OnnxResult:
    """The part of `export` that writes models."""
    from imagemill.prediction.onnx_export import export_onnx

    return export_onnx(local_path(model), local_path(out), direction=direction, which=which)
