"""A list of URLs where a source is asked for: fetched into a pile in the cache first."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from imagemill.acquire.contract import REFUSED_ADDRESS
from imagemill.acquire.list_files import is_list_name
from imagemill.acquire.result import FetchResult
from imagemill.acquire.url_list import ListOptions, UrlList, is_url_list
from imagemill.config import cache_dir
from imagemill.core.remote import local_path, place_of
from imagemill.engines.ranks import membership
from imagemill.errors import ConfigError
from imagemill.sources.fetched import FetchedSource

KIND = "urls"
"""What `--source` calls a list of URLs."""


def names_urls(source: Any, kind: str | None) -> bool:
    """Whether what is given as a source is a list of URLs, or the URL of one.

    A file is looked into; of a URL the name must be that of a list (`https://…/urls.txt`).
    """
    if kind is not None or not isinstance(source, str | os.PathLike):
        return kind == KIND
    place = place_of(source)
    return is_url_list(place) if isinstance(place, Path) else _is_http(os.fspath(source)) and is_list_name(place.name)


def _is_http(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def fetched_pile(
    source: str | os.PathLike[str],
    *,
    url_column: str | None = None,
    allow: Collection[str] = (),
    on_start: Callable[..., None] | None = None,
) -> FetchResult:
    """Fetches a list into `IMAGEMILL_CACHE/fetched/…`, or goes on there, or finds it done.

    The pile stays there for the next command on the same list, until somebody deletes it.

    Args:
        url_column, allow, on_start: as for `fetch`.

    Raises:
        ConfigError: this is one rank of several, whose caches may differ; else as `fetch`.
    """
    from imagemill.api.fetch import fetch

    if membership().world_size > 1:
        raise ConfigError(f"{source} is a list of URLs: fetch it first (imagemill fetch), then let the ranks share it")
    text = os.fspath(source)
    options = ListOptions(url_column)
    identity = text if _is_http(text) else UrlList(local_path(source), options).identity()
    folder = cache_dir() / "fetched" / hashlib.sha256(identity.encode()).hexdigest()[:32]
    run = partial(fetch, source, folder, url_column=url_column, allow=allow, on_start=on_start, replace_list=True)
    result = run()
    if isinstance(result, FetchResult) and result.already and _opens_some(allow, result):
        result = run(retry=(REFUSED_ADDRESS,))
    if not isinstance(result, FetchResult):
        raise TypeError("without dry_run, fetch gives a FetchResult")
    return result


def _opens_some(allow: Collection[str], result: FetchResult) -> bool:
    """Whether a server that an earlier run was not allowed to ask is now."""
    refused = {host for host, reason, _ in result.failing_hosts if reason == REFUSED_ADDRESS}
    return any({server, server.removesuffix(":80"), server.removesuffix(":443")} & refused for server in allow)


def straight_source(source: str | os.PathLike[str], options: Any) -> FetchedSource:
    """The fetched pile of a list as a source."""
    result = fetched_pile(source)
    found = FetchedSource(result.path, options)
    found.reason = f"a list of URLs: {result.fetched:,} of {result.found:,} fetched into {result.path}"
    return found
