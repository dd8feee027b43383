"""`imagemill pack SRC OUT`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

from imagemill.acquire.result import REASONS
from imagemill.api.pack import pack
from imagemill.api.straight import fetched_pile, names_urls
from imagemill.cli import options as o
from imagemill.cli.console import (
    account_rows,
    class_rows,
    fetch_display,
    finish,
    human_bytes,
    human_seconds,
    note,
    parse_max_rejects,
    print_rejects,
    print_rows,
    progress_bar,
    say,
)
from imagemill.cli.parameters import Option
from imagemill.core.files import REJECTS_NAME
from imagemill.errors import ConfigError
from imagemill.prepare.totals import PackResult, largest_drift
from imagemill.sources.fetched import FetchedSource


def command(
    source: o.Source,
    out: o.Out,
    format: Annotated[
        str, Option("--format", help="arrow, hdf5, memmap, parquet, tar, tfrecord[-gzip|-zlib], …")
    ] = "arrow",
    pixels: Annotated[
        str, Option("--pixels", help="original, recoded[-compact] (JPEGs for speed), resized, raw (arrays).")
    ] = "original",
    size: Annotated[str | None, Option("--size", help="WIDTHxHEIGHT, or one side; for resized and raw.")] = None,
    fit: Annotated[str | None, Option("--fit", help="exact, contain, cover, short or long.")] = None,
    filter: Annotated[
        str | None, Option("--filter", help="nearest, box, bilinear, hamming, bicubic (default), lanczos.")
    ] = None,
    mode: Annotated[str, Option("--mode", help="RGB or L; for resized and raw.")] = "RGB",
    quality: Annotated[int | None, Option("--quality", help="JPEG quality of resized images (90).")] = None,
    decode: o.Decode = "full",
    split: Annotated[
        str | None, Option("--split", help="80/12/8, 8/1/1, 0.9/0.1, train=90,holdout=10; default: SRC's own.")
    ] = None,
    folds: Annotated[
        int | None, Option("--folds", help="So many folds of equal size: splits fold-0, fold-1, …")
    ] = None,
    fold: Annotated[int | None, Option("--fold", help="With --folds: this one is val, the others are train.")] = None,
    split_counts: Annotated[
        str | None,
        Option("--split-counts", help="hash (no image ever moves) or exact (int(n*share), the last the rest)."),
    ] = None,
    split_list: Annotated[
        list[str] | None,
        Option("--split-list", help="NAME=FILE with one key a line; repeat for each; --split shares the rest."),
    ] = None,
    stratify: Annotated[bool, Option("--stratify", help="Exact counts, within every class too.")] = False,
    seed: Annotated[int, Option("--seed", help="Of the split and the shuffled order.")] = 0,
    shard_size: o.ShardSize = "1000",
    order: Annotated[str, Option("--order", help="source, or shuffled (for streams such as tar).")] = "source",
    limit: o.Limit = None,
    previous: Annotated[
        str | None, Option("--previous", help="Earlier dataset whose images keep their splits.")
    ] = None,
    rebalance: Annotated[
        bool,
        Option("--rebalance", help="With --previous: old images move where a new one links several splits."),
    ] = False,
    checks: Annotated[
        Path | None, Option("--checks", help="What `check --out` wrote: near-duplicates stay in one split.")
    ] = None,
    exclude: Annotated[
        str | None,
        Option("--exclude", help="Flags of a check, as dark,near-duplicate: such samples are left out."),
    ] = None,
    mend_leaks: Annotated[
        str | None,
        Option("--mend-leaks", help="Groups and near-duplicates in several given splits: move or drop."),
    ] = None,
    clips: Annotated[
        bool, Option("--clips", help="Names that differ in their last number only are one clip, one split.")
    ] = False,
    fields: Annotated[
        str | None, Option("--fields", help="lab: lightness and colour apart; lab-legacy: as at 224 of old.")
    ] = None,
    lab_dtype: Annotated[str, Option("--lab-dtype", help="float32, float16 or uint8.")] = "float32",
    lab_plain: Annotated[bool, Option("--lab-plain", help="LAB in its own units, not scaled to -1…1.")] = False,
    lab_padding: Annotated[bool, Option("--lab-padding", help="A mask of what is image, not white bars.")] = False,
    workers: o.Workers = None,
    engine: o.Engine = "local",
    ray_address: o.RayAddress = None,
    *,
    ranks: o.RankOptions,
    kind: o.Kind = None,
    max_rejects: o.MaxRejects = "1%",
    limits: o.LimitOptions,
    columns: o.ColumnOptions,
    split_column: o.SplitColumn = None,
    group_column: o.GroupColumn = None,
    group_pattern: o.GroupPattern = None,
    folders: o.FolderOptions,
    class_to_idx: o.ClassToIdx = None,
    labels: o.Labels = None,
    references: o.References = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Plan and count; write nothing.")] = False,
    allow: o.Allow = None,
    url_column: o.UrlColumn = None,
    json: o.Json = False,
) -> None:
    """Pack a source into a verified dataset. The same command again finishes what was interrupted."""
    allowed = parse_max_rejects(max_rejects)
    if names_urls(source, kind):
        source, kind = _fetched(source, allow or [], url_column, dry_run=dry_run, quiet=json), FetchedSource.kind
    with progress_bar("check" if exclude and checks is None else "pack", quiet=json) as bar:
        result = pack(
            source,
            out,
            format=format,
            pixels=pixels,
            size=size,
            fit=fit,
            filter=filter,
            mode=mode,
            quality=quality,
            decode=decode,
            split=split,
            folds=folds,
            fold=fold,
            split_counts=split_counts,
            split_lists=o.read_split_lists(split_list or []),
            stratify=stratify,
            seed=seed,
            shard_size=shard_size,
            order=order,
            limit=limit,
            previous=previous,
            rebalance=rebalance,
            checks=checks,
            exclude=exclude or (),
            mend_leaks=mend_leaks,
            clips=clips,
            fields=fields,
            lab_dtype=lab_dtype,
            lab_plain=lab_plain,
            lab_padding=lab_padding,
            workers=workers,
            engine=engine,
            ray_address=ray_address,
            **vars(ranks),
            kind=kind,
            dry_run=dry_run,
            on_check=bar.advance,
            on_plan=lambda job: bar.begin("pack", sum(job.plan.count(name) for name in job.plan.splits)),
            on_progress=bar.advance,
            **limits.given(),
            **o.source_options(
                columns,
                folders,
                split_column=split_column,
                group_column=group_column,
                group_pattern=group_pattern,
                class_to_idx=class_to_idx,
                labels=labels,
                references=references,
            ),
        )
    finish(result, show, json=json, allowed=allowed)


def _fetched(urls: str, allow: list[str], url_column: str | None, *, dry_run: bool, quiet: bool) -> str:
    """Fetches a list of URLs into the cache, and says so; where the pile lies."""
    if dry_run:
        raise ConfigError(f"{urls} is a list of URLs: `imagemill fetch {quote(urls)} OUT --dry-run` looks at it")
    with fetch_display(quiet=quiet) as on_start:
        result = fetched_pile(urls, url_column=url_column, allow=allow, on_start=on_start)
    said = f"a list of URLs: {result.fetched:,} of {result.found:,} fetched into {result.path}"
    note(said)
    if result.fetched < result.found:
        why = ", ".join(f"{count:,} {reason} ({REASONS[reason]})" for reason, count in result.reasons.items())
        note(f"the others: {why}; each is in {result.path / REJECTS_NAME}, imagemill fetch has more options")
    return str(result.path)


def show(result: PackResult) -> None:
    """The closing table of `pack` and `convert`, and what to do next."""
    for remark in result.remarks:
        note(remark)
    if result.found:
        print_rejects(result.rejects, f"all rejects: {result.path / REJECTS_NAME}")
        print_rows(result_rows(result))
    if result.already:
        say("already finished: nothing to do")
    if result.finished:
        say(f"next: imagemill verify {quote(str(result.path))}")
    elif not result.found:
        say("this rank is done; the last one to finish writes the manifest")


def result_rows(result: PackResult) -> list[tuple[str, str]]:
    """Rows of the closing table."""
    rows = account_rows(vars(result))
    rows += split_rows(result)
    if result.finished:
        rows.append(("bytes", f"{human_bytes(result.bytes_in)} in, {human_bytes(result.bytes_out)} out"))
        rate = f", {result.samples_per_s:,.0f} samples/s" if result.samples_per_s else ""
        rows.append(("time", human_seconds(result.seconds) + rate))
        rows.append(("dataset", str(result.path)))
    return rows


def split_rows(result: PackResult) -> list[tuple[str, str]]:
    """Samples of each split and class, how far that is from what was asked, and what several splits share."""
    rows, shared = [], sum(result.splits.get(name, 0) for name in result.shares)
    for name, count in result.splits.items():
        share = f" ({count / shared:.1%}, asked {result.shares[name]:.1%})" if shared and name in result.shares else ""
        classes = result.classes.get(name, {})
        rows.append((f"split {name}", f"{count:,} samples{share}{': ' + class_rows(classes) if classes else ''}"))
    drift = largest_drift(result.classes, result.shares) if shared else None
    if drift is not None:
        rows.append(
            ("drift", f"most in class {drift.name}: {drift.share:.1%} in {drift.split}, asked {drift.asked:.1%}")
        )
    rows += [("leak", str(leak)) for leak in result.leaks]
    if result.moved:
        where = f", listed in {result.path / 'moved.jsonl'}" if result.finished else ""
        rows.append(("moved", f"{result.moved:,} samples, to be with what they belong to{where}"))
    return rows
