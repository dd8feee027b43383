"""What a check comes to, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.core.sample import Reject
from imagemill.curate.clusters import NONE
from imagemill.prepare.compare import Comparison
from imagemill.prepare.looked import LookedPile

SHOWN_EXAMPLES = 10


@dataclass(frozen=True)
class CheckResult:
    """What `check` found.

    Args:
        found, kept, rejected, ignored: files; kept + rejected + ignored == found.
        ignored_kinds: suffix or name → ignored files.
        samples: good samples.
        rejects: every reject, the scan's first.
        reasons: reason code → rejected samples.
        notes: what the pixel policy would do → samples.
        classes: class → good samples.
        imbalance: samples of the largest class over those of the smallest; 1 where there are no classes.
        flags: flag → samples that have it.
        examples: flag → keys of the first samples that have it, at most `SHOWN_EXAMPLES`.
        clusters: of samples that show the same picture.
        clustered: samples in them.
        duplicates: samples of them in whose place another one is kept.
        label_conflicts: clusters whose samples have several labels.
        split_leaks: clusters with samples in several of the source's own splits.
        against: samples that the other pile has, too; None where there was none to compare with.
        decoded, remembered: pictures that were decoded, and that an earlier check had decoded.
        bytes_in: bytes of good samples.
        seconds: wall time.
        remarks: sentences for the user.
        reject_share: rejected samples over all samples.
    """

    found: int
    kept: int
    rejected: int
    ignored: int
    ignored_kinds: Mapping[str, int]
    samples: int
    rejects: tuple[Reject, ...]
    reasons: Mapping[str, int]
    notes: Mapping[str, int]
    classes: Mapping[str, int]
    imbalance: float
    flags: Mapping[str, int]
    examples: Mapping[str, tuple[str, ...]]
    clusters: int
    clustered: int
    duplicates: int
    label_conflicts: int
    split_leaks: int
    against: int | None
    decoded: int
    remembered: int
    bytes_in: int
    seconds: float
    remarks: tuple[str, ...]
    reject_share: float


def summed_up(pile: LookedPile, comparison: Comparison, against: int | None) -> CheckResult:
    """The result of a check; its time is filled in by whoever measured it."""
    columns = ["key", "label", "split", "size", "files", "reason", "notes"]
    table = pile.by_key(columns)
    good = table.filter(pc.field("reason") == "")
    rejects = (*pile.scan.rejects, *pile.rejects())
    classes = _counted(good["label"])
    duplicates = comparison.kept != np.arange(len(comparison.kept))
    return CheckResult(
        found=pile.scan.found,
        kept=pc.sum(good["files"]).as_py() or 0,
        rejected=sum(reject.files for reject in rejects),
        ignored=sum(pile.scan.ignored.values()),
        ignored_kinds=pile.scan.ignored,
        samples=good.num_rows,
        rejects=rejects,
        reasons=dict(sorted(Counter(reject.reason for reject in rejects).items())),
        notes=_note_kinds(good["notes"]),
        classes=classes,
        imbalance=max(classes.values()) / min(classes.values()) if classes else 1.0,
        flags={name: int(held.sum()) for name, held in sorted(comparison.flags.items()) if held.any()},
        examples={
            name: tuple(table["key"].take(pa.array(np.flatnonzero(held)[:SHOWN_EXAMPLES])).to_pylist())
            for name, held in sorted(comparison.flags.items())
            if held.any()
        },
        clusters=int(comparison.clusters.max(initial=NONE)) + 1,
        clustered=int(np.count_nonzero(comparison.clusters != NONE)),
        duplicates=int(np.count_nonzero(duplicates)),
        label_conflicts=_of_several(table["label"], comparison.clusters),
        split_leaks=_of_several(table["split"], comparison.clusters),
        against=against,
        decoded=pile.decoded,
        remembered=pile.remembered,
        bytes_in=pc.sum(good["size"]).as_py() or 0,
        seconds=0.0,
        remarks=(*pile.scan.remarks, *comparison.remarks),
        reject_share=len(rejects) / (len(rejects) + good.num_rows) if rejects else 0.0,
    )


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    """Value → rows, without nulls, by value."""
    counts = pc.value_counts(column.drop_null())
    return dict(sorted((record["values"], record["counts"]) for record in counts.to_pylist()))


def _note_kinds(notes: pa.ChunkedArray) -> dict[str, int]:
    """Kind of note (`image:orientation`) → samples."""
    kinds: Counter[str] = Counter()
    for text, count in _counted(notes).items():
        for note in text.split(";") if text else ():
            kinds[note.partition("=")[0]] += count
    return dict(sorted(kinds.items()))


def _of_several(column: pa.ChunkedArray, clusters: npt.NDArray[np.int64]) -> int:
    """Clusters whose rows have several values of a column, nulls aside."""
    encoded = pc.dictionary_encode(column).combine_chunks()
    indices = encoded.indices if isinstance(encoded, pa.DictionaryArray) else encoded.chunk(0).indices
    codes = indices.fill_null(NONE).to_numpy()
    rows = np.flatnonzero((clusters != NONE) & (codes != NONE))
    pairs = np.unique(np.stack([clusters[rows], codes[rows]]), axis=1)
    return int(np.count_nonzero(np.bincount(pairs[0]) > 1)) if pairs.size else 0
