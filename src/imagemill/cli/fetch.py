"""`imagemill fetch URLS OUT`."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Annotated

from imagemill.acquire.contract import Limits, Policy
from imagemill.acquire.index_process import index_process
from imagemill.acquire.result import REASONS, FetchResult
from imagemill.cli import options as o
from imagemill.cli.console import (
    exit_on_rejects,
    fetch_display,
    human_bytes,
    human_seconds,
    note,
    parse_max_rejects,
    print_json,
    print_rows,
    say,
)
from imagemill.cli.fetch_advice import advice
from imagemill.cli.parameters import Argument, Option
from imagemill.core.recipe import Recipe, parse_bytes

if TYPE_CHECKING:
    from imagemill.api.fetch import ListFacts

SHOWN_HOSTS = 10

Urls = Annotated[
    str,
    Argument(
        metavar="URLS",
        help="List of URLs: .txt, .csv, .tsv, .json, .jsonl, .parquet, compressed, in a tar; or its URL.",
    ),
]


def command(
    urls: Urls,
    out: o.Out,
    url_column: o.UrlColumn = None,
    id_column: Annotated[str | None, Option("--id-column", help="Column that names each image.")] = None,
    caption_column: o.CaptionColumn = None,
    skip: Annotated[int, Option("--skip", help="Leave out the first N URLs.", min=0)] = 0,
    count: Annotated[int | None, Option("--count", help="Take N URLs at most.", min=1)] = None,
    in_flight: Annotated[int, Option("--in-flight", help="Requests at once.", min=1)] = Limits.in_flight,
    per_host: Annotated[int, Option("--per-host", help="Requests at once to a host.", min=1)] = Limits.per_host,
    rate: Annotated[
        float, Option("--rate", help="Requests a second to a host; 0 is no limit.", min=0)
    ] = Limits.host_rate,
    window: Annotated[int, Option("--window", help="Rows read ahead.", min=1)] = Limits.window,
    timeout: Annotated[float, Option("--timeout", help="Seconds for one attempt.")] = Limits.total_s,
    connect_timeout: Annotated[
        float, Option("--connect-timeout", help="Seconds for name, connection and TLS.")
    ] = Limits.connect_s,
    silence: Annotated[float, Option("--silence", help="Seconds without a byte.")] = Limits.silence_s,
    min_rate: Annotated[
        float, Option("--min-rate", help="Bytes a second of a body at least.", min=0)
    ] = Limits.min_rate_bytes_s,
    max_bytes: Annotated[str, Option("--max-bytes", help="Larger bodies are rejected (128MiB).")] = "128MiB",
    max_header_bytes: Annotated[str, Option("--max-header-bytes", help="Of one answer (64KiB).")] = "64KiB",
    max_redirects: Annotated[int, Option("--max-redirects", help="Hops of one request.", min=0)] = Limits.max_redirects,
    attempts: Annotated[int, Option("--attempts", help="Of what may pass by.", min=1)] = Limits.attempts,
    backoff: Annotated[
        float, Option("--backoff", help="Seconds before the second attempt, then doubled.", min=0)
    ] = Limits.backoff_s,
    max_pause: Annotated[
        float, Option("--max-pause", help="Longest pause that a host may ask for (Retry-After).", min=0)
    ] = Limits.max_pause_s,
    allow: o.Allow = None,
    user_agent: Annotated[str, Option("--user-agent", help="Who asks.")] = Policy.user_agent,
    ignore_robots: Annotated[bool, Option("--ignore-robots", help="Do not read robots.txt.")] = False,
    ignore_x_robots: Annotated[
        bool, Option("--ignore-x-robots", help="Keep what says X-Robots-Tag: noai, noimageai, noindex.")
    ] = False,
    decode: o.Decode = "full",
    workers: Annotated[
        int | None, Option("--workers", help="Processes that look at images; default one a core.", min=1)
    ] = None,
    max_pixels: o.MaxPixels = Recipe.max_pixels,
    max_seconds: o.MaxSeconds = Recipe.max_seconds,
    max_memory: o.MaxMemory = "2GiB",
    retry_failed: Annotated[bool, Option("--retry-failed", help="Try again what failed before.")] = False,
    retry: Annotated[
        list[str] | None, Option("--retry", metavar="REASON", help="Try again what failed for this reason.")
    ] = None,
    refresh: Annotated[bool, Option("--refresh", help="Ask for every image whether it changed.")] = False,
    replace_list: Annotated[
        bool, Option("--replace-list", help="Take a list that lacks images of OUT; they leave the index.")
    ] = False,
    max_rejects: o.MaxRejects = "1%",
    dry_run: Annotated[bool, Option("--dry-run", help="Look at the list; fetch and write nothing.")] = False,
    json: o.Json = False,
) -> None:
    """Download the images of a URL list, politely and safely. The same command again goes on where it was stopped."""
    allowed = parse_max_rejects(max_rejects)
    with index_process(wanted=not dry_run), fetch_display(quiet=json or dry_run) as on_start:
        # Imported here: the network's libraries are no part of starting up, and the other process imports meanwhile.
        from imagemill.api.fetch import fetch

        result = fetch(
            urls,
            out,
            url_column=url_column,
            id_column=id_column,
            caption_column=caption_column,
            skip=skip,
            count=count,
            allow=allow or (),
            user_agent=user_agent,
            robots=not ignore_robots,
            x_robots=not ignore_x_robots,
            decode=decode,
            workers=workers,
            max_pixels=max_pixels,
            max_seconds=max_seconds,
            max_memory_bytes=parse_bytes(max_memory),
            retry_failed=retry_failed,
            retry=retry or (),
            refresh=refresh,
            replace_list=replace_list,
            dry_run=dry_run,
            on_start=on_start,
            in_flight=in_flight,
            per_host=per_host,
            host_rate=rate,
            window=window,
            total_s=timeout,
            connect_s=connect_timeout,
            silence_s=silence,
            min_rate_bytes_s=min_rate,
            max_body_bytes=parse_bytes(max_bytes),
            max_header_bytes=parse_bytes(max_header_bytes),
            max_redirects=max_redirects,
            attempts=attempts,
            backoff_s=backoff,
            max_pause_s=max_pause,
        )
    if json:
        print_json(result)
    elif isinstance(result, FetchResult):
        _show(result)
    else:
        _show_list(result)
    if isinstance(result, FetchResult):
        exit_on_rejects(result.reject_share, allowed)


def _show_list(facts: ListFacts) -> None:
    for line in facts.shown_bad_lines:
        note(f"  bad line: {line.place}: {line.detail}")
    rows = [("found", f"{facts.found:,} lines"), ("URLs", f"{facts.urls:,}"), ("bad lines", f"{facts.bad_lines:,}")]
    rows.append(("repeats", f"{facts.repeats:,} URLs come again and are fetched once"))
    rows += [
        ("hosts" if not place else "", f"{count:,} {host}") for place, (host, count) in enumerate(facts.hosts.items())
    ]
    if facts.columns:
        rows.append(("columns", ", ".join(f"{name} ({kind})" for name, kind in facts.columns.items())))
    rows.append(("dry run", "nothing was fetched or written"))
    print_rows(rows)


def _show(result: FetchResult) -> None:
    """The closing table: what is there, what failed and why, and what to do next."""
    rows = [
        ("found", f"{result.found:,} URLs" + (f", {result.bad_lines:,} of them bad lines" if result.bad_lines else "")),
        ("kept", f"{result.fetched:,}: {result.images:,} different images, {human_bytes(result.size_bytes)}"),
        ("rejected", f"{result.failed + result.bad_lines:,}"),
    ]
    by_count = sorted(result.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    rows += [("", f"{count:,} {reason} ({REASONS.get(reason, reason)})") for reason, count in by_count]
    hosts = result.failing_hosts[:SHOWN_HOSTS]
    for place, (host, reason, count) in enumerate(hosts):
        rows.append(("by host" if not place else "", f"{count:,} {reason} {host or '(no host)'}"))
    if result.repeats:
        rows.append(("repeats", f"{result.repeats:,} URLs came again and were fetched once"))
    if result.changed or result.unchanged or result.unchecked:
        rows.append(
            (
                "checked",
                f"{result.changed:,} changed, {result.unchanged:,} unchanged, {result.unchecked:,} not to be had",
            )
        )
    if not result.already:
        rate = f", {result.asked / result.seconds:,.0f} URLs/s" if result.asked and result.seconds else ""
        received = f", {human_bytes(result.received_bytes)} received"
        rows.append(("time", f"{human_seconds(result.seconds)}{rate}{received}"))
    rows.append(("pile", f"{result.path} (index.parquet has a row a URL, rejects.jsonl every reject)"))
    print_rows(rows)
    if result.already:
        say("already finished: nothing to do")
    for line in advice(result.reasons, result.failing_hosts):
        say(line)
    if result.fetched:
        say(f"next: imagemill check {quote(str(result.path))}")
