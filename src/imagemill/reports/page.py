"""One self-contained offline HTML page about a dataset: no script, nothing fetched, safe to send by mail."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from imagemill.core.remote import Place
from imagemill.errors import ConfigError
from imagemill.formats.store import Store
from imagemill.prepare.commit import atomic_write, clear_disk_errors
from imagemill.reports.charts import SERIES, columns, histogram, stacked_bars
from imagemill.reports.facts import (
    Classes,
    Sides,
    class_facts,
    findings,
    note_facts,
    reject_facts,
    side_facts,
    split_facts,
)
from imagemill.reports.thumbnails import thumbnails

LABELLED_CLASSES = 40
"""Up to so many classes, each has its own labelled bar; beyond, columns and the extremes."""


def write_report(dataset: Place, out: Path) -> Path:
    """Writes the report of a packed dataset.

    Equal datasets in folders of one name give equal pages.

    Args:
        dataset: folder or URL of a finished dataset.
        out: the HTML file to write; its folder is made if it is not there.

    Returns:
        `out`.

    Raises:
        ConfigError: no finished dataset there, or `out` cannot be written.
        DamageError: a shard, an index or one of the samples shown is damaged.
        NoSpace: the disk is full.
    """
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: name the page to write, as in {out / 'report.html'}")
    store = Store(dataset)
    try:
        content = render(store)
    finally:
        store.close()
    with clear_disk_errors(out.parent):
        atomic_write(out, content.encode("utf-8"))
    return out


def render(store: Store) -> str:
    """The page as text."""
    manifest = store.manifest
    counts: Mapping[str, Any] = manifest.counts
    classes = class_facts(manifest)
    splits = split_facts(manifest)
    rejects = reject_facts(store.folder, manifest)
    style = resources.files("imagemill.reports").joinpath("style.css").read_text("utf-8")
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            name=store.folder.resolve().name if isinstance(store.folder, Path) else store.folder.name,
            manifest=manifest,
            samples=manifest.count(),
            size_bytes=sum(split.size_bytes for split in splits),
            totals=[(name, int(counts.get(name, 0))) for name in ("found", "kept", "rejected", "ignored")],
            ignored_kinds=list((counts.get("ignored_kinds") or {}).items()),
            findings=findings(manifest, classes, rejects),
            splits=splits,
            classes=classes,
            class_columns=_class_columns(classes),
            class_bars=_class_bars(classes),
            series=SERIES,
            sizes=[_size_entry(sides) for sides in side_facts(store)],
            notes=note_facts(manifest),
            thumbnails=thumbnails(store),
            rejects=rejects,
            recipe=[(key, _recipe_text(value)) for key, value in manifest.recipe.items()],
            style=Markup(style),  # our own file; it holds nothing that comes from a dataset
            style_hash=base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii"),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("imagemill.reports", ""), autoescape=True, undefined=StrictUndefined, auto_reload=False
    )
    environment.filters["number"] = lambda value: f"{int(value):,}"
    environment.filters["size"] = size_text
    return environment


def _class_columns(classes: Classes | None) -> Markup | None:
    if classes is None or len(classes.names) <= LABELLED_CLASSES:
        return None
    return columns(classes.totals.tolist(), classes.names)


def _class_bars(classes: Classes | None) -> Markup | None:
    if classes is None:
        return None
    rows = list(zip(classes.names, classes.counts.tolist(), strict=True))
    if len(rows) > LABELLED_CLASSES:
        rows = [*rows[: LABELLED_CLASSES // 4], *rows[-LABELLED_CLASSES // 4 :]]
    return stacked_bars(rows, classes.splits)


def _size_entry(sides: Sides) -> dict[str, Any]:
    shorter, longer = np.minimum(sides.height, sides.width), np.maximum(sides.height, sides.width)
    entry: dict[str, Any] = {"field": sides.field, "single": sides.single, "shorter": shorter, "longer": longer}
    if sides.single is None:
        entry["shorter_chart"] = histogram(shorter, unit=" px")
        entry["longer_chart"] = histogram(longer, unit=" px")
        entry["aspect_chart"] = histogram(sides.width / sides.height, decimals=2)
    return entry


def _recipe_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def size_text(size_bytes: int) -> str:
    """Bytes for people: "812 B", "1.2 MB"; powers of 1000, as disks are sold."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"
