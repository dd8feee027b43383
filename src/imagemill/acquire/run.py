"""`fetch`: from a list to a pile, and from a killed run to the same pile."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from imagemill.acquire.contract import REASONS as FETCH_REASONS
from imagemill.acquire.contract import Outcome, Partial, Policy, Request, Traffic
from imagemill.acquire.download import download
from imagemill.acquire.index_process import write_index
from imagemill.acquire.journal import Journal, Record, remove_journal
from imagemill.acquire.loop import run_loop
from imagemill.acquire.marks import MARKS, left_marks
from imagemill.acquire.partials import left_partials
from imagemill.acquire.pile import JOURNAL, Pile
from imagemill.acquire.repeats import Repeats
from imagemill.acquire.result import FetchResult
from imagemill.acquire.survey import Survey, survey
from imagemill.acquire.tally import Tally
from imagemill.acquire.url_list import Entry, UrlList
from imagemill.errors import ConfigError, RemoteError
from imagemill.faults import fault_point
from imagemill.sources.fetched_index import INDEX_NAME

BATCH_ROWS = 16_384
SHOWN_FAILURES = 20
ALL_REASONS = "all"


@dataclass(frozen=True)
class FetchOptions:
    """What is done about URLs that were seen before.

    Args:
        retry: reasons whose failures are tried again; "all" for every one.
        refresh: ask for every image whether it changed.
        replace_list: take a list that lacks images of the pile; they stay on disk, and leave the index.
    """

    retry: frozenset[str] = frozenset()
    refresh: bool = False
    replace_list: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(self.retry - {*FETCH_REASONS, ALL_REASONS})
        if unknown:
            raise ConfigError(f"no URL fails for the reason {unknown[0]!r}; reasons are {', '.join(FETCH_REASONS)}")


OnStart = Callable[[Tally, Traffic], None]


def fetch_list(
    urls: UrlList, out: Path, policy: Policy, options: FetchOptions, on_start: OnStart | None = None
) -> FetchResult:
    """Fetches what is missing, and writes the index. The caller owns OUT.

    Args:
        on_start: called with what tells how the run stands, before the first request.

    Raises:
        ConfigError: the list cannot be read, or OUT holds a pile of another list.
        OSError: OUT cannot be written.
    """
    started = time.monotonic()
    pile = Pile(out)
    facts = _index_facts(out)
    if facts is not None and not pile.journal.exists():
        if facts["list"] == urls.identity() and not _wanted_again(facts, options) and _all_whole(pile):
            return replace(_result(out, facts), already=True, seconds=time.monotonic() - started)
        _seed(pile, facts)
    pile.work.mkdir(parents=True, exist_ok=True)
    surveyed = survey(urls, pile.work / "list")
    with Journal(pile.journal) as journal:
        _follow_list(journal, surveyed, options)
        _begin_again(journal, options)
        pile.arriving.mkdir(parents=True, exist_ok=True)
        suspects, partials = left_marks(pile.arriving / MARKS), left_partials(pile.arriving)
        _forget_torn(pile, journal)
        run = _Run(pile, urls, surveyed, journal, policy, suspects, partials, refresh=options.refresh)
        if on_start is not None:
            on_start(run.tally, run.traffic)
        run_loop(run.fetch())
        facts = _facts(surveyed, run.repeats, journal)
        write_index(out, urls, surveyed, journal, facts)
    fault_point("fetch.index.after")
    result = replace(
        _result(out, facts),
        asked=run.tally.done,
        received_bytes=run.traffic.received_bytes,
        seconds=time.monotonic() - started,
    )
    _log_run(out, result, policy)
    return result


def _index_facts(out: Path) -> dict[str, Any] | None:
    if not (out / INDEX_NAME).is_file():
        return None
    from imagemill.acquire.index import index_facts

    return index_facts(out)


def clean(out: Path) -> None:
    """Removes the working folder of a finished pile."""
    fault_point("fetch.cleanup.before")
    pile = Pile(out)
    for folder in (pile.arriving, pile.downloaded, pile.work / "list"):
        shutil.rmtree(folder, ignore_errors=True)
    for journal in (pile.journal, _seed_path(pile)):
        remove_journal(journal)


@contextmanager
def nothing_of_refused(out: Path) -> Iterator[None]:
    """Of a list that is refused, or cannot be had, nothing is kept; what was fetched before stays as it was.

    A run that has begun to ask has a folder of what is arriving: so has one that was killed, and what it left is kept.
    """
    try:
        yield
    except (ConfigError, RemoteError):
        pile = Pile(out)
        if pile.arriving.exists():
            shutil.rmtree(pile.downloaded, ignore_errors=True)
        else:
            clean(out)
        raise


def _wanted_again(facts: Mapping[str, Any], options: FetchOptions) -> bool:
    failed = {reason for reason in facts["reasons"] if reason != "bad-line"}
    return options.refresh or bool(failed and ALL_REASONS in options.retry) or bool(failed & options.retry)


def _all_whole(pile: Pile) -> bool:
    from imagemill.acquire.index import index_records

    records = index_records(pile.root)
    return all(pile.is_whole(record.path, record.size_bytes) for record in records if record.status == "fetched")


def _seed(pile: Pile, facts: Mapping[str, Any]) -> None:
    """A journal as it was when the index was written."""
    from imagemill.acquire.index import index_records

    pile.work.mkdir(parents=True, exist_ok=True)
    unfinished = _seed_path(pile)
    for left_over in (unfinished, pile.journal):
        remove_journal(left_over)
    with Journal(unfinished) as journal:
        journal.put_all(index_records(pile.root))
        journal.set_fact("list", facts["list"])
    os.replace(unfinished, pile.journal)


def _seed_path(pile: Pile) -> Path:
    return pile.work / f"{JOURNAL}.seed"


def _follow_list(journal: Journal, surveyed: Survey, options: FetchOptions) -> None:
    """Numbers the records as the list has them now.

    Raises:
        ConfigError: images of the pile are not in the list.
    """
    earlier = journal.fact("list")
    if earlier == surveyed.identity:
        return
    if earlier is None:
        journal.set_fact("list", surveyed.identity)
    else:
        records = _renumbered(journal.all(), surveyed, lose=options.replace_list)
        journal.replace_all(records, "list", surveyed.identity)


def _renumbered(records: Iterator[Record], surveyed: Survey, *, lose: bool) -> Iterator[Record]:
    import numpy as np

    hashes = np.ascontiguousarray(surveyed.hashes[:, 0])
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    lost = 0
    while batch := list(islice(records, BATCH_ROWS)):
        wanted = np.frombuffer(b"".join(record.url_hash for record in batch), np.uint64).reshape(-1, 2)
        places = np.minimum(np.searchsorted(ordered, wanted[:, 0]), max(len(ordered) - 1, 0))
        rows = order[places] if len(order) else np.zeros(len(batch), np.int64)
        same = (surveyed.hashes[rows] == wanted).all(axis=1) if len(order) else np.zeros(len(batch), bool)
        for record, row, found in zip(batch, rows.tolist(), same.tolist(), strict=True):
            if found:
                yield replace(record, number=row + surveyed.first)
            elif record.status == "fetched":
                lost += 1
    if lost and not lose:
        raise ConfigError(
            f"the folder holds {lost:,} images of URLs that this list does not name: give a list that has them too "
            "(it may have more, in any order), another folder, or --replace-list, which leaves them on disk and "
            "takes them out of the index"
        )


def _begin_again(journal: Journal, options: FetchOptions) -> None:
    """Forgets failures to be tried again and earlier checks, once for all runs that finish one retry or refresh."""
    if options.retry and journal.fact("retry") != (retry := json.dumps(sorted(options.retry))):
        journal.forget_failures(None if ALL_REASONS in options.retry else sorted(options.retry))
        journal.set_fact("retry", retry)
    if options.refresh and journal.fact("refresh") is None:
        journal.forget_checks()
        journal.set_fact("refresh", "begun")


def _forget_torn(pile: Pile, journal: Journal) -> None:
    torn = [
        record.number
        for record in journal.all()
        if record.status == "fetched" and not pile.is_whole(record.path, record.size_bytes)
    ]
    journal.remove(torn)


class _Run:
    """One run over what is missing."""

    def __init__(
        self,
        pile: Pile,
        urls: UrlList,
        surveyed: Survey,
        journal: Journal,
        policy: Policy,
        suspects: frozenset[int],
        partials: Mapping[str, Partial],
        *,
        refresh: bool,
    ) -> None:
        self._pile = pile
        self._urls = urls
        self._survey = surveyed
        self._journal = journal
        self._policy = policy
        self._suspects = suspects
        self._partials = partials
        self._refresh = refresh
        self._checking: dict[int, Record] = {}
        self.repeats: Repeats = surveyed.repeats()
        self.traffic = Traffic()
        settled = journal.checked_count() if refresh else journal.count()
        self.tally = Tally(urls=surveyed.urls - len(self.repeats.rows) - settled)

    async def fetch(self) -> None:
        """Asks for everything that is missing, and remembers outcomes before it looks at the next ones."""
        outcomes = download(self._requests(), self._pile, self._policy, self.traffic)
        async with aclosing(outcomes):  # type: ignore[type-var] # an async generator, declared as the iterator it is
            async for ready in outcomes:
                self._journal.put_all(self._record(outcome) for outcome in ready)
                fault_point("journal.put.after")
                for outcome in ready:
                    self.tally.add(outcome)

    def _requests(self) -> Iterator[Request]:
        entries, first = self._urls.entries(), self._survey.first
        while batch := list(islice(entries, BATCH_ROWS)):
            start, stop = batch[0].number, batch[-1].number + 1
            repeats = self.repeats.first_of(start - first, stop - first)
            known = {record.number: record for record in self._journal.between(start, stop)}
            for entry in batch:
                record = known.get(entry.number)
                self._survey.check(entry)
                if entry.number - first in repeats:
                    continue
                if record is None:
                    yield self._request(entry)
                elif self._refresh and record.status == "fetched" and not record.checked:
                    self._checking[entry.number] = record
                    yield Request(entry.number, entry.url, etag=record.etag, last_modified=record.last_modified)

    def _request(self, entry: Entry) -> Request:
        key = self._survey.hash_of(entry.number).hex()
        suspect = entry.number in self._suspects
        return Request(entry.number, entry.url, partial=self._partials.get(key), key=key, suspect=suspect)

    def _record(self, outcome: Outcome) -> Record:
        """The record of an outcome; what is left of a failed one goes."""
        if outcome.partial is not None:
            outcome.partial.path.unlink(missing_ok=True)
        known = self._checking.pop(outcome.number, None)
        if known is None:
            return Record.of(outcome, self._survey.hash_of(outcome.number), time.time())
        return self._compared(outcome, known)

    def _compared(self, outcome: Outcome, known: Record) -> Record:
        """The record of an image that was asked for again; the image that was there stays."""
        if outcome.status == "failed":
            return replace(known, checked=outcome.reason, checked_time=time.time())
        if outcome.status == "unchanged" or outcome.sha256 == known.sha256:
            return replace(known, checked="unchanged", checked_time=time.time(), changed_path="", changed_sha256="")
        return replace(
            known,
            checked="changed",
            checked_time=time.time(),
            changed_path=outcome.path,
            changed_sha256=outcome.sha256,
        )


def _facts(surveyed: Survey, repeats: Repeats, journal: Journal) -> dict[str, Any]:
    """What the index's metadata tell of the whole, as plain values."""
    counts, reasons = Counter[str](), Counter[str]()
    again = Counter(there + surveyed.first for there in repeats.firsts)
    for (status, reason), count in journal.counts().items():
        counts[status] += count
        reasons[reason] += count
    for record in journal.get(list(again)).values():
        counts[record.status] += again[record.number]
        reasons[record.reason] += again[record.number]
    reasons["bad-line"] = surveyed.bad_lines
    images, size_bytes = journal.images()
    return {
        "found": surveyed.urls + surveyed.bad_lines,
        "fetched": counts["fetched"],
        "failed": counts["failed"],
        "bad_lines": surveyed.bad_lines,
        "repeats": len(repeats.rows),
        "images": images,
        "size_bytes": size_bytes,
        "reasons": {reason: count for reason, count in sorted(reasons.items()) if reason and count},
        "failing_hosts": journal.failures_by_host(SHOWN_FAILURES),
        **journal.checks(),
    }


def _result(out: Path, facts: Mapping[str, Any]) -> FetchResult:
    named = {name: value for name, value in facts.items() if name not in ("list", "columns", "failing_hosts")}
    hosts = tuple((host, reason, count) for host, reason, count in facts["failing_hosts"])
    return FetchResult(path=out, failing_hosts=hosts, **named)


def _log_run(out: Path, result: FetchResult, policy: Policy) -> None:
    """Adds a line to `run.jsonl`: what may differ between two runs of the same list."""
    record = {
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "asked": result.asked,
        "received_bytes": result.received_bytes,
        "seconds": round(result.seconds, 3),
        "policy": asdict(policy),
    }
    with open(out / "run.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
