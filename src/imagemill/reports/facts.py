"""What a report says, in numbers and names: the document that `--json` prints and the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.reports.charts import Bins


@dataclass(frozen=True)
class Account:
    """Files: found = kept + rejected + ignored. Samples are made of one or more files.

    Args:
        source_bytes: of the kept files, as they came.
        stored_bytes: of a dataset's data files; None of a source.
    """

    found: int
    kept: int
    rejected: int
    ignored: int
    ignored_kinds: Mapping[str, int]
    samples: int
    rejected_samples: int
    source_bytes: int
    stored_bytes: int | None = None


@dataclass(frozen=True)
class Finding:
    """A sentence on what deserves a look before training, and the section that shows it."""

    text: str
    section: str


@dataclass(frozen=True)
class Reason:
    """A reason of rejects: its code, what it means, how many samples, the first of them as (path, detail)."""

    code: str
    meaning: str
    samples: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Split:
    """A split: samples, share of all, classes in it, bytes, and, of a dataset, shards."""

    name: str
    samples: int
    share: float
    classes: int | None
    size_bytes: int | None
    shards: int | None


@dataclass(frozen=True)
class Classes:
    """How many samples each class has.

    Args:
        count: classes.
        splits: names of the splits.
        shown: (class, one number of samples a split), the largest first; some of the largest and some of the
            smallest where there are too many.
        left_out: classes, and their samples, between those shown.
        largest, median, smallest: samples a class.
        missing: split → classes that it lacks, and the first few names.
        unlabelled: samples without a class.
        ranks: samples of each class, int64, descending, shape (count,).
    """

    count: int
    splits: tuple[str, ...]
    shown: tuple[tuple[str, tuple[int, ...]], ...]
    left_out: tuple[int, int]
    largest: int
    median: float
    smallest: int
    missing: Mapping[str, tuple[int, tuple[str, ...]]]
    unlabelled: int
    ranks: npt.NDArray[np.int64] = field(compare=False)


@dataclass(frozen=True)
class Shapes:
    """Sides and storage of one image or mask field.

    Args:
        single: WIDTHxHEIGHT where all are of one size, else None.
        shorter, longer, aspect: histograms; None where all are of one size. Aspect is width / height.
        common: the most frequent sizes, as ((height, width), samples); `sizes` is how many there are.
        encodings: (format, mode, bits a channel, samples), the most frequent first; empty where not looked at.
    """

    field: str
    samples: int
    single: str | None
    shorter: Bins | None
    longer: Bins | None
    aspect: Bins | None
    sizes: int
    common: tuple[tuple[tuple[int, int], int], ...]
    encodings: tuple[tuple[str, str, int, int], ...]


@dataclass(frozen=True)
class Note:
    """What the pixel policy met: which field, what, in how many samples, and what it means."""

    field: str
    name: str
    samples: int
    meaning: str


@dataclass(frozen=True)
class Flag:
    """A quality flag: how many samples have it, and the worst of them as (key, measure in words)."""

    name: str
    meaning: str
    samples: int
    share: float
    worst: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Member:
    """One sample of a cluster: its key, split and class if it has them, and how it resembles the one kept."""

    key: str
    split: str | None
    label: str | None
    similarity: str | None


@dataclass(frozen=True)
class Cluster:
    """Samples that show the same picture: how many there are, and the first of them."""

    number: int
    size: int
    members: tuple[Member, ...]
    splits: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Duplicates:
    """Clusters of samples that show the same picture.

    Args:
        clusters: how many.
        samples: in them.
        spare: what could go with nothing lost: samples that resemble one that is kept.
        similarities: (how, samples), from the strictest to the loosest.
        mixed: clusters whose samples have different classes.
        shown: the largest, and those of mixed classes first.
    """

    clusters: int
    samples: int
    spare: int
    similarities: tuple[tuple[str, int], ...]
    mixed: int
    shown: tuple[Cluster, ...]


@dataclass(frozen=True)
class Leakage:
    """Clusters that straddle splits.

    Args:
        clusters: how many.
        pairs: (split, other split, clusters in both, samples in the second that the first one knows).
        shown: the largest clusters.
    """

    clusters: int
    pairs: tuple[tuple[str, str, int, int], ...]
    shown: tuple[Cluster, ...]


@dataclass(frozen=True)
class SpaceRow:
    """Bytes on disk in one format: {pixels: bytes}; `exact` names the pixels that are measured, not estimated."""

    format: str
    size_bytes: Mapping[str, int]
    exact: tuple[str, ...] = ()


@dataclass(frozen=True)
class Space:
    """Bytes on disk, format by format.

    Args:
        pixels: columns: "original", "resized 256", "raw 224x224".
        sampled: samples that the estimates come from.
    """

    pixels: tuple[str, ...]
    rows: tuple[SpaceRow, ...]
    sampled: int


@dataclass(frozen=True)
class SafeSize:
    """A frequent size, (height, width), in how many pictures, and how often each side halves before it is odd."""

    size: tuple[int, int]
    pictures: int
    halvings: tuple[int, int]


@dataclass(frozen=True)
class Hosts:
    """How a downloaded pile came about: (host, URLs, failed, bytes), and (reason, meaning, URLs)."""

    urls: int
    fetched: int
    hosts: tuple[tuple[str, int, int, int], ...]
    more_hosts: int
    reasons: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class Facts:
    """All that a report says.

    Args:
        name: of the pile's folder or file.
        kind: "dataset", or the kind of the source.
        format, pixels: of a dataset, else "".
        checked: "full" or "headers": how a check looked at every sample; "" where none did.
        undecodable: stored samples that the check of a dataset could not decode.
        dimensions: how the most frequent sizes halve.
        fields: (name, kind, type, shape, codec).
        made: (what, value) that decided the bytes: the recipe of a dataset, or how a source was read and checked.
        versions: of everything that had a say.
    """

    name: str
    kind: str
    format: str
    pixels: str
    checked: str
    account: Account
    findings: tuple[Finding, ...]
    rejects: tuple[Reason, ...]
    undecodable: tuple[Reason, ...]
    splits: tuple[Split, ...]
    classes: Classes | None
    shapes: tuple[Shapes, ...]
    notes: tuple[Note, ...]
    flags: tuple[Flag, ...]
    duplicates: Duplicates | None
    leakage: Leakage | None
    dimensions: tuple[SafeSize, ...]
    hosts: Hosts | None
    space: Space | None
    fields: tuple[tuple[str, str, str, str, str], ...]
    made: tuple[tuple[str, str], ...]
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """A plain dict of everything but the number of every single class."""
        record = asdict(self)
        if record["classes"] is not None:
            del record["classes"]["ranks"]
        return record


def first_few(names: Sequence[str], total: int | None = None, shown: int = 5) -> str:
    """The first names, and how many there are beside them."""
    total = len(names) if total is None else total
    more = f" and {total - shown:,} more" if total > shown else ""
    return ", ".join(names[:shown]) + more
