"""`imagemill check SRC`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from shlex import quote
from typing import Annotated

from imagemill.api.check import check
from imagemill.cli import options as o
from imagemill.cli.console import (
    account_rows,
    class_rows,
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
from imagemill.curate.table import FLAGS
from imagemill.errors import ConfigError
from imagemill.prepare.check_result import CheckResult

SHOWN_KEYS = 3


def command(
    source: o.Source,
    out: Annotated[
        Path | None, Option("--out", help="New folder for checks.parquet (a row a sample) and rejects.jsonl.")
    ] = None,
    against: Annotated[
        str | None,
        Option("--against", help="Another pile or dataset: which pictures of SRC it has, too (against.parquet)."),
    ] = None,
    embedding: Annotated[
        str | None,
        Option("--embedding", help="Field with vectors (see embed) by which near-duplicates are sought, too."),
    ] = None,
    thresholds: Annotated[
        list[str] | None,
        Option("--threshold", help="NAME=VALUE, may be repeated: from where on a flag is set, as blurred=0.1."),
    ] = None,
    cache: Annotated[
        bool, Option("--cache/--no-cache", help="Whether what an earlier check decoded is known already.")
    ] = True,
    workers: o.Workers = None,
    kind: o.Kind = None,
    limit: o.Limit = None,
    decode: o.Decode = "full",
    max_rejects: o.MaxRejects = "1%",
    *,
    limits: o.LimitOptions,
    columns: o.ColumnOptions,
    folders: o.FolderOptions,
    labels: o.Labels = None,
    json: o.Json = False,
) -> None:
    """Look at every image of a pile and say what is in it; nothing is changed."""
    allowed = parse_max_rejects(max_rejects)
    with progress_bar("check", quiet=json) as bar:
        result = check(
            source,
            out,
            workers=workers,
            kind=kind,
            limit=limit,
            decode=decode,
            against=against,
            embedding=embedding,
            thresholds=read_thresholds(thresholds or []),
            cache=cache,
            on_total=bar.total,
            on_progress=bar.advance,
            **limits.given(),
            **o.source_options(columns, folders, labels=labels),
        )
    closing = partial(show, source=source, out=out, against=against, whole=limit is None)
    finish(result, closing, json=json, allowed=allowed)


def show(result: CheckResult, *, source: str, out: Path | None, against: str | None, whole: bool) -> None:
    """The closing table, and what to do next: a table of the whole pile goes on to `pack`."""
    for remark in result.remarks:
        note(remark)
    where = f"all rejects: {out / REJECTS_NAME}" if out else "--out DIR keeps the whole list"
    print_rejects(result.rejects, where)
    rows = account_rows(vars(result))
    rows += finding_rows(result, against)
    rate = result.samples / result.seconds if result.seconds else 0
    rows.append(("good", f"{result.samples:,} samples, {human_bytes(result.bytes_in)}"))
    known = f", {result.remembered:,} pictures known from an earlier check" if result.remembered else ""
    rows.append(("time", f"{human_seconds(result.seconds)}, {rate:,.0f} samples/s{known}"))
    print_rows(rows)
    checks = f" --checks {quote(str(out))}" if out and whole else ""
    say(f"next: imagemill pack {quote(source)} OUT{checks}")


def read_thresholds(given: list[str]) -> dict[str, float]:
    """NAME=VALUE options as a mapping.

    Raises:
        ConfigError: one is not of that form.
    """
    thresholds = {}
    for entry in given:
        name, _, value = entry.partition("=")
        try:
            thresholds[name] = float(value)
        except ValueError:
            raise ConfigError(f"--threshold {entry!r}: write NAME=NUMBER, as blurred=0.1") from None
    return thresholds


def finding_rows(result: CheckResult, against: str | None) -> list[tuple[str, str]]:
    """Classes, flags, duplicates and leaks, each where there are some."""
    rows = []
    if result.classes:
        ratio = f", the largest {result.imbalance:,.1f} times the smallest" if len(result.classes) > 1 else ""
        rows.append(("classes", f"{len(result.classes)}{ratio}: {class_rows(result.classes)}"))
    for number, (flag, count) in enumerate(result.flags.items()):
        examples = ", ".join(result.examples[flag][:SHOWN_KEYS]) + (", …" if count > SHOWN_KEYS else "")
        rows.append(("" if number else "flagged", f"{count:,} {flag} ({FLAGS[flag]}): {examples}"))
    if result.clusters:
        text = f"{result.clusters:,} clusters of {result.clustered:,} samples that show the same picture"
        rows.append(("duplicates", f"{text}; {result.duplicates:,} could go"))
    if result.label_conflicts:
        rows.append(("conflicts", f"{result.label_conflicts:,} clusters whose samples have different labels"))
    if result.split_leaks:
        rows.append(("leaks", f"{result.split_leaks:,} clusters lie in several of the source's own splits"))
    if result.against is not None:
        rows.append(("against", f"{result.against:,} samples show a picture that {against} has, too"))
    return rows
