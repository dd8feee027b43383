"""`imagemill tile SRC OUT`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated, Any, TypeVar

from imagemill.api.tile import read_tile_recipe, tile
from imagemill.cli import options as o
from imagemill.cli.console import (
    account_rows,
    finish,
    human_seconds,
    note,
    parse_max_rejects,
    print_rejects,
    print_rows,
    progress_bar,
    say,
)
from imagemill.cli.pack import show as show_pack
from imagemill.cli.parameters import Option
from imagemill.core.files import REJECTS_NAME
from imagemill.errors import ConfigError
from imagemill.prepare.tile import TileResult
from imagemill.transforms.tiling import TileScale

Number = TypeVar("Number", int, float)


def command(
    source: o.Source,
    out: o.Out,
    crop: Annotated[str | None, Option("--crop", help="Sides of the crops, as 256,512 (the default).")] = None,
    step: Annotated[str | None, Option("--step", help="Steps between them, one a crop: 128,256.")] = None,
    factor: Annotated[
        str | None, Option("--factor", help="What a crop's side is multiplied by: 1,0.5. Default: all alike.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        Option("--exclude", help="CROP=TEXT: no such tiles of images whose name contains TEXT; repeat."),
    ] = None,
    threshold: Annotated[
        int | None, Option("--threshold", help="An edge crop is added where more pixels are left over (128).")
    ] = None,
    reference: Annotated[
        bool | None, Option("--reference/--no-reference", help="A small image of the whole beside the tiles.")
    ] = None,
    reference_side: Annotated[int | None, Option("--reference-side", help="Its side in pixels.")] = None,
    halve_above: Annotated[
        int | None, Option("--halve-above", help="Images with a longer side are halved (5500).")
    ] = None,
    min_side: Annotated[int | None, Option("--min-side", help="Images with a shorter side are rejects (512).")] = None,
    vertical_split: Annotated[
        bool | None, Option("--vertical-split", help="Stereo pairs: left and right half apart.")
    ] = None,
    whole: Annotated[bool | None, Option("--whole", help="Cut all of an image, not just its centred square.")] = None,
    resize_only: Annotated[
        bool | None, Option("--resize-only", help="One tile a crop: the whole square, resized.")
    ] = None,
    min_deviation: Annotated[
        float | None, Option("--min-deviation", help="Leave out tiles whose greys deviate less (0–255).")
    ] = None,
    min_edges: Annotated[
        float | None, Option("--min-edges", help="Leave out tiles whose neighbouring greys differ less (0–255).")
    ] = None,
    tile_masks: Annotated[
        Path | None, Option("--tile-masks", help="Folder of masks: only tiles that they mark are kept.")
    ] = None,
    quality: Annotated[int | None, Option("--quality", help="JPEG quality of the tiles (95).")] = None,
    lossless: Annotated[bool | None, Option("--lossless", help="Tiles as PNG; packed formats only.")] = None,
    format: Annotated[
        str | None, Option("--format", help="chunked (folders, the default), arrow, parquet, tar, …")
    ] = None,
    pixels: Annotated[
        str | None, Option("--pixels", help="original, recoded[-compact] or raw (arrays); packed formats only.")
    ] = None,
    size: Annotated[str | None, Option("--size", help="Side of raw arrays; packed formats only.")] = None,
    recipe: Annotated[
        Path | None, Option("--recipe", help="TOML file with these options as [tile] and [[tile.scales]].")
    ] = None,
    split: Annotated[str | None, Option("--split", help="80/12/8 …, by image; packed formats only.")] = None,
    shard_size: Annotated[
        str | None, Option("--shard-size", help="Tiles (1000) or bytes (256MB) a shard; packed formats only.")
    ] = None,
    limit: Annotated[int | None, Option("--limit", help="Only the first N images.", min=1)] = None,
    workers: o.Workers = None,
    *,
    ranks: o.RankOptions,
    kind: o.Kind = None,
    max_rejects: o.MaxRejects = "1%",
    limits: o.LimitOptions,
    group_pattern: o.GroupPattern = None,
    json: o.Json = False,
) -> None:
    """Cut images into tiles with a reference image and centres. The same command again finishes the rest."""
    allowed = parse_max_rejects(max_rejects)
    given: dict[str, Any] = {
        "scales": parse_scales(crop, step, factor, exclude or []),
        "threshold": threshold,
        "reference": reference,
        "reference_side": reference_side,
        "halve_above": halve_above,
        "min_side": min_side,
        "vertical_split": vertical_split,
        "whole": whole,
        "resize_only": resize_only,
        "min_deviation": min_deviation,
        "min_edges": min_edges,
        "masks": tile_masks,
        "quality": quality,
        "lossless": lossless,
        "format": format,
        "pixels": pixels,
        "size": size,
        "split": split,
        "shard_size": shard_size,
        "group_pattern": group_pattern,
    }
    options = (read_tile_recipe(recipe) if recipe else {}) | {k: v for k, v in given.items() if v is not None}
    with progress_bar("tile", quiet=json) as bar:
        result = tile(
            source,
            out,
            limit=limit,
            workers=workers,
            **vars(ranks),
            kind=kind,
            on_total=bar.total,
            on_progress=bar.advance,
            **limits.given(),
            **options,
        )
    finish(result, show if isinstance(result, TileResult) else show_pack, json=json, allowed=allowed)


def show(result: TileResult) -> None:
    """The closing table."""
    for remark in result.remarks:
        note(remark)
    if not result.finished:
        say("this rank is done; the last one numbers the tiles")
        return
    print_rejects(result.rejects, f"all rejects: {result.path / REJECTS_NAME}")
    rows = account_rows(vars(result))
    left_out = [f"{count:,} {why}" for count, why in ((result.dull, "dull"), (result.masked, "masked")) if count]
    without = f", left out {', '.join(left_out)}" if left_out else ""
    rows.append(("tiles", f"{result.tiles:,} of {result.images:,} images{without}"))
    rate = result.tiles / result.seconds if result.seconds else 0
    rows.append(("time", f"{human_seconds(result.seconds)}, {rate:,.0f} tiles/s"))
    print_rows(rows)
    say(f"next: {_advice(result)}")


def _advice(result: TileResult) -> str:
    if result.tiles:
        return f"imagemill pack {quote(str(result.path))} OUT"
    cures = [cure for reason, cure in _CURES.items() if reason in result.reasons]
    why = f": {'; '.join(cures)}" if cures else ""
    return f"there is no tile to pack; rejects.jsonl says why{why}"


_CURES = {
    "too-small": "for what is too small try a smaller --crop or --min-side",
    "excluded-dull": "of dull tiles a smaller --min-deviation or --min-edges keeps more",
    "excluded-masked": "a mask keeps tiles that are at least half white in it (or 1, in masks of 0 and 1)",
}


def parse_scales(
    crop: str | None, step: str | None, factor: str | None, exclude: list[str]
) -> tuple[TileScale, ...] | None:
    """Scales from lists as 256,512; None where nothing is said.

    Raises:
        ConfigError: lists of different lengths, or no numbers.
    """
    if crop is None and step is None and factor is None:
        if exclude:
            raise ConfigError("--exclude CROP=TEXT belongs to --crop and --step: give them, too")
        return None
    if crop is None or step is None:
        raise ConfigError("--crop and --step belong together, a number a scale each: --crop 256,512 --step 128,256")
    crops, steps = _numbers("--crop", crop, int), _numbers("--step", step, int)
    factors = [None] * len(crops) if factor is None else _numbers("--factor", factor, float)
    if not len(crops) == len(steps) == len(factors):
        raise ConfigError(
            f"--crop, --step and --factor have one number a scale each, got {len(crops)}, {len(steps)}, {len(factors)}"
        )
    left_out = [_exclusion(text, crops) for text in exclude]
    return tuple(
        TileScale(side, stride, by, tuple(text for at, text in left_out if at == side))
        for side, stride, by in zip(crops, steps, factors, strict=True)
    )


def _numbers(name: str, text: str, kind: type[Number]) -> list[Number]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        example = "whole numbers with commas, as 256,512" if kind is int else "numbers with commas, as 1,0.5"
        raise ConfigError(f"{name} takes {example}, got {text!r}") from None


def _exclusion(text: str, crops: list[int]) -> tuple[int, str]:
    crop, equals, part = text.partition("=")
    if not equals or not part or not crop.isdigit() or int(crop) not in crops:
        raise ConfigError(f"--exclude {text!r}: write CROP=TEXT with one of the crops, as {crops[0]}=thumbnail")
    return int(crop), part
