"""One self-contained offline HTML page about a pile: nothing fetched, safe to send by mail.

Whatever comes from a pile is text: jinja2 escapes it, and the page's own policy lets no other script run than the few
lines of `templates/script.js`, by their hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from imagemill import __version__
from imagemill.core.sample import Row
from imagemill.errors import ConfigError, SampleError
from imagemill.prepare.commit import atomic_write, clear_disk_errors
from imagemill.reports.charts import SERIES, bar, histogram, rank_curve, shortened, size_text
from imagemill.reports.counted import SHOWN_CLASSES
from imagemill.reports.drawn import drawn_evenly
from imagemill.reports.facts import Classes, Cluster, Facts
from imagemill.reports.gather import gather, space_of
from imagemill.reports.pictures import Album, album
from imagemill.reports.pile import DatasetPile, Pile, SourcePile
from imagemill.reports.safe_dimensions import dimensions_html
from imagemill.reports.space import SAMPLED

THUMBNAILS = 96
PAGE_BYTES = 5_000_000
TEXT_BYTES = 450
"""A thumbnail's markup and caption."""
PICTURE_BYTES = 9_000
"""Data URI of a picture where there is room: more would not be seen at the size at which the page shows it."""
LEAST_PICTURE_BYTES = 1_000
"""What a picture takes that can still be recognised: where more are asked for than fit, the page is larger."""
FIXED_BYTES = 400_000
"""Charts, tables, style sheet."""
SHOWN_KINDS = 8
POOLINGS = 5
"""Halvings that safe sizes are shown for: what classifiers of stride 32 and U-Nets of up to six levels take."""

SIMILARITY_WORDS = {"bytes": "the same bytes", "pixels": "the same pixels", "near": "nearly the same", None: "kept"}


@dataclass(frozen=True)
class Report:
    """What a report says, and where it was written.

    Args:
        facts: everything in numbers.
        path: the page; None where none was asked for.
        size_bytes: of the page.
        thumbnails: samples in its gallery.
    """

    facts: Facts
    path: Path | None = None
    size_bytes: int = 0
    thumbnails: int = 0


def write_report(pile: DatasetPile | SourcePile, out: Path | None, *, thumbnails: int = THUMBNAILS) -> Report:
    """Gathers facts and writes the page. Equal piles in folders of one name give equal pages.

    Args:
        pile: what it is about.
        out: the HTML file to write, its folder is made if it is not there; None gathers the facts only.
        thumbnails: samples in the gallery; up to 1000 fit into `PAGE_BYTES`.

    Raises:
        ConfigError: `out` cannot be written.
        DamageError: the list of rejects or one of the samples shown is damaged.
        NoSpace: the disk is full.
    """
    if out is not None and out.is_dir():
        raise ConfigError(f"{out} is a folder: name the page to write, as in {out / 'report.html'}")
    facts = gather(pile)
    weighed: list[Row] = []
    weighed_keys = set(_drawn(pile.good, SAMPLED))
    if out is None:
        weighed = [row for _, row in pile.rows(sorted(weighed_keys)) if isinstance(row, Row)]
        return Report(replace(facts, space=space_of(pile, facts, weighed)))
    gallery = _drawn(pile.good, thumbnails) if pile.schema.of_kind("image", "mask") else {}
    uses = Counter([*gallery, *_examples(facts)])
    rows = _kept_beside(pile.rows(sorted(uses.keys() | weighed_keys)), weighed_keys, weighed)
    shown = album(
        pile.schema, ((key, row) for key, row in rows if key in uses), uses, _budget(pile, uses, len(gallery))
    )
    facts = replace(facts, space=space_of(pile, facts, weighed))
    content = render(facts, shown, gallery).encode("utf-8")
    with clear_disk_errors(out.parent):
        atomic_write(out, content)
    return Report(facts, out, len(content), len(gallery))


def _drawn(good: pa.Table, count: int) -> dict[str, str | None]:
    """Key → split of samples drawn evenly."""
    rows = drawn_evenly(good, count)
    return dict(zip(pc.take(good["key"], rows).to_pylist(), pc.take(good["split"], rows).to_pylist(), strict=True))


def _examples(facts: Facts) -> Iterator[str]:
    """Keys that sections other than the gallery show, as often as they do."""
    for flag in facts.flags:
        yield from (key for key, _ in flag.worst)
    for part in (facts.duplicates, facts.leakage):
        for cluster in () if part is None else part.shown:
            yield from (member.key for member in cluster.members)


def _kept_beside(
    rows: Iterable[tuple[str, Row | SampleError]], wanted: Set[str], kept: list[Row]
) -> Iterator[tuple[str, Row | SampleError]]:
    """The rows as they come; those wanted are also appended to `kept`."""
    for key, row in rows:
        if key in wanted and isinstance(row, Row):
            kept.append(row)
        yield key, row


def _budget(pile: Pile, uses: Counter[str], thumbnails: int) -> int:
    """Bytes that all pictures of the page may take."""
    pictures = uses.total() * len(pile.schema.of_kind("image", "mask"))
    room = PAGE_BYTES - FIXED_BYTES - TEXT_BYTES * thumbnails
    return min(max(room, LEAST_PICTURE_BYTES * pictures), PICTURE_BYTES * pictures)


def render(facts: Facts, shown: Album, gallery: Mapping[str, str | None]) -> str:
    """The page as text.

    Args:
        facts: everything it says.
        shown: every sample that it shows.
        gallery: key → split of the samples of its gallery.
    """
    ignored = sorted(facts.account.ignored_kinds.items(), key=lambda entry: (-entry[1], entry[0]))[:SHOWN_KINDS]
    fields = [name for name, kind, *_ in facts.fields if kind in ("image", "mask")]
    return (
        page_environment()
        .get_template("page.html.jinja")
        .render(
            facts=facts,
            subtitle=_subtitle(facts),
            sections=list(_sections(facts, len(gallery))),
            ignored=ignored,
            album=shown,
            gallery=list(gallery),
            gallery_splits=gallery,
            box=_box(shown),
            wide=" wide" if len(fields) > 1 else "",
            compared=len(fields) == 2,
            pair_names=fields[:2],
            similarity_words=SIMILARITY_WORDS,
            series=SERIES,
            head_classes=SHOWN_CLASSES * 2 // 3,
            class_most=max((sum(counts) for _, counts in facts.classes.shown), default=1) if facts.classes else 1,
            ranks=_ranks(facts.classes),
            dimensions=_dimensions(facts),
            poolings=POOLINGS,
            own_version=__version__,
            **page_parts(),
        )
    )


def page_parts() -> dict[str, str]:
    """Style sheet and script with their hashes, for a page's head and foot."""
    style, script = (_text_of(name) for name in ("style.css", "script.js"))
    # Our own files; they hold nothing that comes from a pile.
    texts = {"style": Markup(style), "script": Markup(script)}
    return {**texts, "style_hash": _hash(style), "script_hash": _hash(script)}


def _dimensions(facts: Facts) -> Markup | None:
    if not facts.dimensions:
        return None
    return dimensions_html([(found.size, found.pictures) for found in facts.dimensions], POOLINGS)


def _subtitle(facts: Facts) -> str:
    if facts.kind == "dataset":
        return f"Dataset of imagemill, format {facts.format}, {facts.pixels} pixels"
    return f"Source of kind {facts.kind}, {'checked in full' if facts.checked == 'full' else 'headers checked'}"


def _sections(facts: Facts, thumbnails: int) -> Iterator[tuple[str, str, int | None]]:
    """(id, title, count) of every section that there is, in their order."""
    yield "overview", "Overview", None
    if facts.rejects or facts.undecodable:
        yield "rejects", "Rejects", sum(reason.samples for reason in (*facts.rejects, *facts.undecodable))
    if facts.splits:
        yield "splits", "Splits", len(facts.splits)
    if facts.leakage and facts.leakage.clusters:
        yield "leakage", "Leakage", facts.leakage.clusters
    if facts.classes:
        yield "classes", "Classes", facts.classes.count
    if facts.shapes:
        yield "sizes", "Sizes", None
    if facts.notes:
        yield "pixels", "Pixels", len(facts.notes)
    if facts.flags:
        yield "quality", "Quality", len(facts.flags)
    if facts.duplicates and facts.duplicates.clusters:
        yield "duplicates", "Duplicates", facts.duplicates.clusters
    if thumbnails:
        yield "samples", "Samples", thumbnails
    if facts.hosts:
        yield "hosts", "Hosts", len(facts.hosts.hosts) + facts.hosts.more_hosts
    if facts.dimensions:
        yield "dimensions", "Safe dimensions", None
    if facts.space:
        yield "space", "Space on disk", None
    yield "made", "How it was made", None


def _box(shown: Album) -> str:
    """Which frame suits most pictures: 4:3, square or 3:4."""
    aspects = [picture.width / picture.height for sample in shown.samples.values() for picture in sample.pictures]
    middle = median(aspects) if aspects else 1.0
    return "tall" if middle < 0.88 else "square" if middle < 1.15 else ""


def page_environment() -> Environment:
    """Where templates come from, and what they may call."""
    environment = Environment(
        loader=PackageLoader("imagemill.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value: f"{int(value):,}",
        "share": share_text,
        "size": size_text,
        "shortened": shortened,
        "path": path_markup,
    }
    environment.globals |= {"bar": bar, "histogram": histogram, "title_of": _title_of}
    return environment


def _title_of(cluster: Cluster) -> str:
    """What a cluster is, in a line."""
    parts = [f"{cluster.size:,} samples"]
    if len(cluster.splits) > 1:
        parts.append(f"in {' and '.join(cluster.splits)}")
    if len(cluster.labels) > 1:
        parts.append(f"as {', '.join(cluster.labels)}")
    return " ".join(parts)


def _ranks(classes: Classes | None) -> Markup | None:
    if classes is None or not classes.left_out[0] or classes.largest == classes.smallest:
        return None
    return rank_curve(classes.ranks, label=f"Samples in each of {classes.count:,} classes")


def _text_of(name: str) -> str:
    return resources.files("imagemill.reports").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    """As a content security policy names a text."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def path_markup(path: str) -> Markup:
    """A path that may be broken after its slashes before it is broken anywhere else."""
    return Markup("/<wbr>").join(path.split("/"))


def share_text(share: float) -> str:
    """A share for people: "12.3 %", "< 0.1 %"."""
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"
