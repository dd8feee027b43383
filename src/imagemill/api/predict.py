"""`predict`: pictures through a trained model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagemill.api.given import OnProgress, PathLike, open_source
from imagemill.core.recipe import Recipe
from imagemill.core.remote import local_path
from imagemill.curate.limits import Limits
from imagemill.errors import ConfigError
from imagemill.prediction.model import open_model
from imagemill.prediction.options import PredictOptions
from imagemill.prediction.play import PlaySource
from imagemill.prediction.result import PredictResult
from imagemill.prediction.run import predict_source
from imagemill.sources.base import Source
from imagemill.sources.image_files import has_image_suffix
from imagemill.sources.pairs import PairSource

PICTURES = ("folder", "captions", "pairs")
"""Kinds that a folder of pictures to be tried may be taken for."""


def predict(
    model: PathLike,
    source: Any,
    out: PathLike,
    *,
    direction: str | None = None,
    which: str = "best",
    device: str | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    batch_size: int = PredictOptions.batch_size,
    flips: str = "none",
    vividness: float = 0.0,
    to: str | None = None,
    quality: int = PredictOptions.quality,
    keep_grey: bool = False,
    palette: bool = False,
    split: str | None = None,
    limit: int | None = None,
    kind: str | None = None,
    max_pixels: int = Recipe.max_pixels,
    max_bytes: int = Recipe.max_bytes,
    max_seconds: float = Recipe.max_seconds,
    max_memory_bytes: int = Recipe.max_memory_bytes,
    on_total: OnProgress | None = None,
    on_progress: OnProgress | None = None,
    **source_options: Any,
) -> PredictResult:
    """Makes of every picture what a model makes of it; the same call again makes what a kill left undone.

    `NAME_before.EXT` becomes `OUT/NAME_after.EXT` (the reverse with a model of after to before), any other picture
    `OUT/NAME.EXT`, with the sides (times the model's scale), the format and the metadata that it had; masks are PNG.
    Where the wanted picture is there too (`NAME_after.EXT` beside it, pairs, masks, packed datasets of these) it is
    measured how near the result comes.

    Args:
        model: `.safetensors`, `.pth` or `.onnx` file, or the folder of a run of `train`.
        source: a picture, a folder of pictures, or whatever `pack` takes. Never written to.
        out: new or empty folder; neither inside the source nor around it.
        direction: of a run that trained both ways: "before-to-after" (the default) or "after-to-before".
        which: of a run: the "best" weights or the "last" ones.
        device: "cpu", "cuda", …; None takes a GPU where there is one.
        tile, overlap, batch_size, flips, vividness, to, quality, keep_grey, palette: see
            `imagemill.prediction.options.PredictOptions`.
        split: only this split of a dataset.
        limit: only the first so many pictures.
        kind: of the source, where the guess is wrong.
        max_pixels, max_bytes, max_seconds, max_memory_bytes: what one picture may cost.
        on_total: called once with the number of pictures.
        on_progress: called with the number of pictures done since the last call.
        source_options: see `imagemill.sources.SourceOptions`.

    Raises:
        ConfigError: model, options, source or output that cannot work.
        OutputInUse: another run is writing OUT.
        NoSpace: the disk is full; the same call goes on later.
        MissingExtra: torch or onnxruntime is not installed.
    """
    options = PredictOptions(
        tile=tile,
        overlap=overlap,
        batch_size=batch_size,
        flips=flips,
        vividness=vividness,
        to=to,
        quality=quality,
        keep_grey=keep_grey,
        palette=palette,
        split=split,
        limit=limit,
        limits=Limits(max_pixels, max_bytes, max_seconds, max_memory_bytes),
    )
    opened = open_model(local_path(model), device=device, direction=direction, which=which, vividness=vividness)
    found = pictures_of(source, kind, source_options, opened.facts.takes, opened.facts.gives)
    return predict_source(found, local_path(out), opened, options, on_total=on_total, on_progress=on_progress)


def pictures_of(source: Any, kind: str | None, options: Mapping[str, Any], takes: str, gives: str) -> Source:
    """The source that is meant: a picture alone, a folder of pictures to be tried, or any that `pack` takes.

    Args:
        takes, gives: which half of a pair the model is shown, and which it makes.

    Raises:
        ConfigError: nothing there that is a source.
    """
    if kind == PlaySource.kind or (kind is None and isinstance(source, str | os.PathLike) and _is_picture(source)):
        path = Path(os.fspath(source))
        if path.is_dir():
            return PlaySource(path, takes, gives)
        return PlaySource(path.parent, takes, gives, frozenset([os.fsencode(path.name)]))
    found = open_source(source, kind, options)
    plain = kind is None and not options and found.kind in PICTURES and found.path is not None and found.path.is_dir()
    if not plain or (isinstance(found, PairSource) and found.parallel):
        return found
    return PlaySource(found.path, takes, gives)


def _is_picture(source: str | os.PathLike[str]) -> bool:
    path = Path(os.fspath(source))
    if "://" not in str(source) and not path.exists():
        raise ConfigError(f"{path} does not exist: give a picture, a folder of pictures, or a dataset")
    return path.is_file() and has_image_suffix(os.fsencode(path.name))
