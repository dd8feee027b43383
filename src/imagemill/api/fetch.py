"""`fetch`: a list of URLs → a pile of images."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagemill.acquire.contract import Limits, Policy
from imagemill.acquire.list_download import download_list, is_list_url
from imagemill.acquire.list_files import list_paths
from imagemill.acquire.loop import run_loop
from imagemill.acquire.pile import Pile
from imagemill.acquire.result import FetchResult
from imagemill.acquire.run import ALL_REASONS, FetchOptions, OnStart, clean, fetch_list, nothing_of_refused
from imagemill.acquire.survey import survey
from imagemill.acquire.url_list import BadLine, ListOptions, UrlList
from imagemill.core.files import WORK_NAME
from imagemill.core.manifest import MANIFEST_NAME
from imagemill.core.recipe import Recipe
from imagemill.core.remote import local_path
from imagemill.curate.limits import Limits as ImageLimits
from imagemill.engines.ranks import Membership
from imagemill.errors import ConfigError
from imagemill.prepare.commit import clear_disk_errors, made_output
from imagemill.prepare.ownership import own
from imagemill.sources.fetched_index import INDEX_NAME

if TYPE_CHECKING:
    from imagemill.api.given import PathLike  # at run time it would bring every source with it

SHOWN_BAD_LINES = 10


@dataclass(frozen=True)
class ListFacts:
    """What a list holds, as `dry_run` tells.

    Args:
        found: URLs and bad lines.
        urls: good ones.
        bad_lines: lines without a usable URL.
        repeats: URLs that come again.
        hosts: the most frequent hosts → URLs.
        columns: further columns → their type in the index.
        shown_bad_lines: the first few.
    """

    found: int
    urls: int
    bad_lines: int
    repeats: int
    hosts: Mapping[str, int]
    columns: Mapping[str, str]
    shown_bad_lines: tuple[BadLine, ...]


def fetch(
    urls: PathLike,
    out: PathLike,
    *,
    url_column: str | None = None,
    id_column: str | None = None,
    caption_column: str | None = None,
    skip: int = 0,
    count: int | None = None,
    allow: Collection[str] = (),
    user_agent: str = Policy.user_agent,
    robots: bool = True,
    x_robots: bool = True,
    decode: str = "full",
    workers: int | None = None,
    max_pixels: int = Recipe.max_pixels,
    max_seconds: float = Recipe.max_seconds,
    max_memory_bytes: int = Recipe.max_memory_bytes,
    retry_failed: bool = False,
    retry: Collection[str] = (),
    refresh: bool = False,
    replace_list: bool = False,
    dry_run: bool = False,
    on_start: OnStart | None = None,
    **limits: Any,
) -> FetchResult | ListFacts:
    """Downloads the images of a list into a pile. The same call again finishes what a kill left undone.

    The pile holds `images/ab/cd/SHA256.jpg`, one file for each different content, and `index.parquet`, a row for
    each URL of the list in its order. A list that has more URLs than the one before adds to the pile, and only what
    is new is fetched.

    Args:
        urls: file or folder with lists (.txt, .csv, .tsv, .json, .jsonl, .parquet, compressed, in a tar), or the
            http(s) URL of one.
        out: new or empty folder, or a pile.
        url_column, id_column, caption_column: columns of a table; None takes what looks like it.
        skip, count: which part of the list: so many URLs are left out, so many are taken at most.
        allow: "HOST:PORT" of servers whose address is not public.
        user_agent: said to every server.
        robots, x_robots: obey robots.txt, and `X-Robots-Tag: noai, noimageai, noindex`.
        decode: "full" proves every image whole, "headers" trusts the pixels.
        workers: processes that look at images; None is one a core.
        max_pixels, max_seconds, max_memory_bytes: what one image may cost.
        retry_failed: try everything again that failed before.
        retry: only what failed for these reasons.
        refresh: ask for every image whether it changed; what did is told, and stored beside the one that is there.
        replace_list: take a list that lacks images of the pile; they stay on disk, and leave the index.
        dry_run: look at the list only; nothing is fetched or written.
        on_start: called with counters that tell how the run stands, before the first request.
        limits: see `imagemill.acquire.contract.Limits` (in_flight=…, per_host=…, total_s=…, …).

    Returns:
        What the pile holds; with `dry_run`, what the list holds.

    Raises:
        ConfigError: list, options or output that cannot work.
        OutputInUse: another run is writing OUT.
        NoSpace: the disk is full; the same call goes on later.
        RemoteError: the list lies at a URL that cannot be reached.
    """
    policy = Policy(
        limits=_limits(limits),
        allow=tuple(allow),
        user_agent=user_agent,
        respect_robots=robots,
        respect_robots_tag=x_robots,
        decode=_decode(decode),
        image=ImageLimits(max_pixels, Limits.max_body_bytes, max_seconds, max_memory_bytes),
        examiners=workers or 0,
    )
    list_options = ListOptions(url_column, id_column, caption_column, skip, count)
    if dry_run:
        return _look(urls, list_options, policy)
    target = local_path(out)
    options = FetchOptions(
        frozenset({ALL_REASONS} if retry_failed else retry), refresh=refresh, replace_list=replace_list
    )
    if not is_list_url(os.fspath(urls)):
        list_paths(local_path(urls))
    _check_output(target)
    owned = own(target, Membership(0, 1, "fetch"), leave_nothing=True)
    with clear_disk_errors(target), made_output(target), owned, nothing_of_refused(target):
        listed = UrlList(_on_disk(urls, Pile(target).downloaded, policy), list_options)
        result = fetch_list(listed, target, policy, options, on_start)
        clean(target)
    return result


def _limits(given: Mapping[str, Any]) -> Limits:
    known = {field.name for field in fields(Limits)}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"unknown option {name!r}; limits are {', '.join(sorted(known))}")
        if not isinstance(value, int | float) or value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
            raise ConfigError(f"{name} must be a number above 0, got {value!r}")
    return Limits(**given)


_MAY_BE_ZERO = ("host_rate", "min_rate_bytes_s", "backoff_s", "max_redirects", "max_pause_s")


def _decode(decode: str) -> Any:
    if decode not in ("full", "headers"):
        raise ConfigError(f"decode {decode!r} is none of full, headers")
    return decode


def _check_output(out: Path) -> None:
    """OUT is new, empty or a pile.

    Raises:
        ConfigError: it is something else.
    """
    work = out / WORK_NAME
    if (out / MANIFEST_NAME).exists() or (work / "plan").exists():
        raise ConfigError(f"{out} holds a packed dataset: give a new folder for what is fetched")
    if not out.exists() or (out / INDEX_NAME).exists() or work.exists():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise ConfigError(f"{out} exists and is no fetched pile: give a new or empty folder")


def _on_disk(urls: PathLike, folder: Path, policy: Policy) -> Path:
    """Where the list lies; one at a URL is downloaded, unless an unfinished run has it already from there."""
    if not is_list_url(url := os.fspath(urls)):
        return local_path(urls)
    there = folder / hashlib.sha256(url.encode()).hexdigest()[:32]
    if not there.is_dir():
        arriving = folder / "arriving"
        shutil.rmtree(arriving, ignore_errors=True)
        arriving.mkdir(parents=True)
        run_loop(download_list(url, arriving, policy))
        arriving.replace(there)
    return next(there.iterdir())


def _look(urls: PathLike, options: ListOptions, policy: Policy) -> ListFacts:
    with tempfile.TemporaryDirectory(prefix="imagemill-") as temporary:
        folder = Path(temporary)
        found = survey(UrlList(_on_disk(urls, Pile(folder).downloaded, policy), options), folder / "list")
        return ListFacts(
            found=found.urls + found.bad_lines,
            urls=found.urls,
            bad_lines=found.bad_lines,
            repeats=len(found.repeats().rows),
            hosts=found.hosts,
            columns={field.name: str(field.type) for field in found.further},
            shown_bad_lines=tuple(islice(found.bad(), SHOWN_BAD_LINES)),
        )
