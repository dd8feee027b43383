"""Settings of the machine, not of a dataset: where caches lie, how many workers by default."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Folder for caches, `IMAGEMILL_CACHE` or the platform's own place; it may be deleted at any time."""
    import platformdirs  # few commands ask

    return Path(os.environ.get("IMAGEMILL_CACHE") or platformdirs.user_cache_dir("imagemill"))


def cache_limit() -> str:
    """What cached shards of remote datasets may take together, `IMAGEMILL_CACHE_LIMIT` ("200GB") or 64 GB."""
    return os.environ.get("IMAGEMILL_CACHE_LIMIT") or "64GB"


def cpu_count() -> int:
    """Cores that this process may use (its affinity where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
