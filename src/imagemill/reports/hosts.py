"""How a fetched pile came about: its hosts, and why URLs failed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imagemill.acquire.contract import REASONS
from imagemill.reports.facts import Hosts
from imagemill.sources.fetched_index import INDEX_NAME

SHOWN_HOSTS = 20
NO_HOST = "(no host)"


def hosts_of(folder: Path) -> Hosts:
    """Hosts and reasons of a pile that `fetch` made, from its index, a batch at a time.

    Args:
        folder: of the pile.
    """
    urls: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    size_bytes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with pq.ParquetFile(folder / INDEX_NAME) as file:
        for batch in file.iter_batches(columns=["host", "status", "reason", "size_bytes", "repeat_of"]):
            table = pa.table({name: batch[name] for name in ("host", "reason")})
            good = pc.equal(batch["status"], "fetched")
            first = pc.and_(good, pc.is_null(batch["repeat_of"]))
            table = table.append_column("failed", pc.cast(pc.invert(good), pa.int64()))
            table = table.append_column("bytes", pc.if_else(first, pc.fill_null(batch["size_bytes"], 0), 0))
            sums = [("failed", "count"), ("failed", "sum"), ("bytes", "sum")]
            for row in table.group_by("host").aggregate(sums).to_pylist():
                host = row["host"] or NO_HOST
                urls[host] += row["failed_count"]
                failed[host] += row["failed_sum"]
                size_bytes[host] += row["bytes_sum"]
            bad = table.filter(pc.invert(good))
            reasons.update({entry["values"]: entry["counts"] for entry in pc.value_counts(bad["reason"]).to_pylist()})
    shown = sorted(urls, key=lambda host: (-urls[host], host))[:SHOWN_HOSTS]
    return Hosts(
        urls=urls.total(),
        fetched=urls.total() - failed.total(),
        hosts=tuple((host, urls[host], failed[host], size_bytes[host]) for host in shown),
        more_hosts=len(urls) - len(shown),
        reasons=tuple(
            (reason, REASONS.get(reason, ""), count)
            for reason, count in sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))
        ),
    )
