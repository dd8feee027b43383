"""`imagemill embed DATASET OUT`."""

from __future__ import annotations

from typing import Annotated

from imagemill.api.embed import embed
from imagemill.cli import options as o
from imagemill.cli.console import finish, parse_max_rejects, progress_bar
from imagemill.cli.pack import show
from imagemill.cli.parameters import Option
from imagemill.networks.embedders import INCEPTION_RESNET_V2, PREPROCESSINGS


def command(
    dataset: o.Dataset,
    out: o.Out,
    model: Annotated[
        str, Option("--model", help="inception_resnet_v2, a FILE.onnx, or a name that timm knows.")
    ] = INCEPTION_RESNET_V2,
    weights: Annotated[
        str | None,
        Option(
            "--weights",
            help="FILE (safetensors, state dict, .ckpt, .tar.gz); of inception_resnet_v2 also tf-slim (fetched, the "
            "default: 1001 logits) or timm (fetched: 1000).",
        ),
    ] = None,
    output: Annotated[
        str, Option("--output", help="logits, or pooled: the features before the classifier.")
    ] = "logits",
    field: Annotated[str, Option("--field", help="Name of the new field.")] = "embedding",
    image: Annotated[str | None, Option("--image", help="Image field, where there are several.")] = None,
    preprocess: Annotated[
        str | None, Option("--preprocess", help=f"{', '.join(PREPROCESSINGS)}; default the model's own.")
    ] = None,
    size: Annotated[str | None, Option("--size", help="WIDTHxHEIGHT that the model gets.")] = None,
    device: Annotated[str | None, Option("--device", help="cpu or cuda; default a GPU if there is one.")] = None,
    batch_size: Annotated[
        int | None, Option("--batch-size", help="Images at once: 8 on a CPU, 64 on a GPU.", min=1)
    ] = None,
    format: Annotated[str | None, Option("--format", help="As for pack; default the dataset's own.")] = None,
    shard_size: Annotated[
        str | None, Option("--shard-size", help="Samples or bytes a shard; default as it is.")
    ] = None,
    limit: o.Limit = None,
    workers: Annotated[
        int, Option("--workers", help="Processes, each with a copy of the model; they share the cores.", min=0)
    ] = 1,
    engine: o.Engine = "local",
    *,
    ranks: o.RankOptions,
    max_rejects: o.MaxRejects = "1%",
    json: o.Json = False,
) -> None:
    """Add a vector to every sample of a dataset. The same command again finishes what was interrupted."""
    allowed = parse_max_rejects(max_rejects)
    with progress_bar("embed", quiet=json) as bar:
        result = embed(
            dataset,
            out,
            model=model,
            weights=weights,
            output=output,
            field=field,
            image=image,
            preprocess=preprocess,
            size=size,
            device=device,
            batch_size=batch_size,
            format=format,
            shard_size=shard_size,
            limit=limit,
            workers=workers,
            engine=engine,
            **vars(ranks),
            on_plan=lambda job: bar.total(sum(job.plan.count(name) for name in job.plan.splits)),
            on_progress=bar.advance,
        )
    finish(result, show, json=json, allowed=allowed)
