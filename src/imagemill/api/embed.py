"""`embed`: a dataset → the same dataset with a vector a sample."""

from __future__ import annotations

from typing import Any

from imagemill.api.given import PathLike, Size, kept_pixels, kept_shard_size, parse_sides
from imagemill.api.pack import pack
from imagemill.config import cpu_count
from imagemill.core.remote import place_of
from imagemill.engines.base import Engine
from imagemill.errors import ConfigError
from imagemill.networks.embedders import INCEPTION_RESNET_V2, ModelChoice, available_device
from imagemill.prepare.embedded_source import EmbeddedSource
from imagemill.prepare.totals import PackResult
from imagemill.sources.base import SourceOptions
from imagemill.sources.packed import DatasetSource


def embed(
    dataset: PathLike,
    out: PathLike,
    *,
    model: str = INCEPTION_RESNET_V2,
    weights: PathLike | None = None,
    output: str = "logits",
    field: str = "embedding",
    image: str | None = None,
    preprocess: str | None = None,
    size: Size | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    format: str | None = None,
    shard_size: int | str | None = None,
    workers: int | None = 1,
    engine: str | Engine = "local",
    **run: Any,
) -> PackResult:
    """Adds a vector to every sample of a dataset. The same call again finishes what a kill left undone.

    Args:
        dataset: a finished dataset; nothing in it changes.
        out: new or empty folder.
        model: "inception_resnet_v2", a file that ends in `.onnx`, or a name that timm knows.
        weights: a file; of Inception-ResNet-v2 also "tf-slim" (1001 logits; the default) or "timm" (1000), which are
            fetched once; None is of the others what they come with.
        output: "logits", or "pooled": the features before the classifier, averaged over the image.
        field: name of the new field, float32 (D,).
        image: which image field; None where there is one.
        preprocess: see `imagemill.networks.embedders.PREPROCESSINGS`; None is the model's own.
        size: of the images that the model gets, as for `pack`; None is the model's own.
        device: "cpu" or "cuda"; None is a GPU where the model's runtime finds one.
        batch_size: images at once, by default 8 on a CPU and 64 on a GPU; part of the recipe.
        format, shard_size: None keeps the dataset's own.
        workers: processes, each with its own copy of the model and its share of the cores; None is one a core.
        engine: as for `pack`.
        run: `rank`, `world_size`, `limit`, `dry_run`, `on_plan`, `on_progress` as for `pack`.

    Raises:
        ConfigError: no finished dataset there, no such model, or options that cannot work.
        MissingExtra: what the model needs is not installed.
        RemoteError: weights are to be fetched, and cannot be; the message says what to do.
        DamageError: a stored value is damaged, or weights are.
    """
    source = DatasetSource(place_of(dataset), SourceOptions())
    manifest = source.store().manifest
    choice = ModelChoice(
        model=model,
        weights=None if weights is None else str(weights),
        output=output,  # type: ignore[arg-type] # checked by ModelChoice itself
        device=device or available_device(model),  # type: ignore[arg-type]
        preprocess=preprocess,
        size=parse_sides(size),
        batch_size=batch_size,
    )
    if workers is not None and workers < 0:
        raise ConfigError(f"workers are 0 or more, got {workers}")
    processes = cpu_count() if workers is None else max(1, workers)
    embedded = EmbeddedSource(
        source, choice, field=field, image=image, threads=max(1, cpu_count() // processes) if engine == "local" else 1
    )
    return pack(
        embedded,
        out,
        format=format or manifest.format,
        pixels=kept_pixels(manifest),
        decode="headers",
        shard_size=kept_shard_size(manifest, shard_size),
        workers=workers,
        engine=engine,
        **run,
    )
