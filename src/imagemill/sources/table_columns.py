"""Which column of a table is what, and the fields that follow."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields

import pyarrow as pa

from imagemill.core.schema import Field
from imagemill.errors import ConfigError
from imagemill.sources.base import SourceOptions
from imagemill.sources.table_files import Kind

PATH_NAMES = ("file_name", "path", "file", "image", "filename", "filepath", "image_path")
LABEL_NAMES = ("label", "class", "category")
CAPTION_NAMES = ("caption", "text")
SPLIT_NAMES = ("split",)

FIELD_OF_ROLE = {"path": "image", "label": "label", "caption": "text", "vector": "vector", "mask": "mask"}
"""Names of the fields that roles make."""


@dataclass(frozen=True)
class Roles:
    """Columns with a meaning of their own, by name; None where there is no such column."""

    path: str
    label: str | None = None
    caption: str | None = None
    vector: str | None = None
    mask: str | None = None
    split: str | None = None
    group: str | None = None

    def columns(self) -> dict[str, str]:
        """{role: column} of those that are there."""
        return {part.name: name for part in fields(self) if (name := getattr(self, part.name)) is not None}


def find_roles(names: Collection[str], options: SourceOptions, where: str) -> Roles:
    """The roles that the options give, else those that the columns' names suggest.

    Args:
        names: all columns.
        options: what the user said.
        where: the table, for messages.

    Raises:
        ConfigError: a given column is not there, or none can be the path.
    """
    path = _column(options.path_column, PATH_NAMES, names, where)
    if path is None:
        raise ConfigError(
            f"{where}: no column called {', '.join(PATH_NAMES)} names the images; path_column says which one does. "
            f"The columns are {', '.join(names)}"
        )
    guessed = LABEL_NAMES if options.labels is not False else ()
    label = _column(options.label_column, guessed, names, where)
    if label is None and (options.labels or options.class_to_idx is not None):
        raise ConfigError(f"{where}: labels are asked for; label_column says which of {', '.join(names)} holds them")
    return Roles(
        path=path,
        label=label,
        caption=_column(options.caption_column, CAPTION_NAMES, names, where),
        vector=_column(options.vector_column, (), names, where),
        mask=_column(options.mask_column, (), names, where),
        split=_column(options.split_column, SPLIT_NAMES, names, where),
        group=_column(options.group_column, (), names, where),
    )


def _column(given: str | None, guesses: Collection[str], names: Collection[str], where: str) -> str | None:
    if given is None:
        return next((guess for guess in guesses if guess in names), None)
    if given not in names:
        raise ConfigError(f"{where} has no column {given!r}; the columns are {', '.join(names)}")
    return given


@dataclass
class ColumnFacts:
    """What a pass over all rows says about the columns."""

    null_counts: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Shortest and longest list of each list column."""
    whole_numbers: dict[str, bool] = field(default_factory=dict)
    """Whether each float column holds nothing but whole numbers and nulls."""

    def note(self, batch: pa.RecordBatch) -> None:
        """Takes in a batch of rows."""
        import pyarrow.compute as pc  # 40 ms: `fetch` wants names from here, and needs none of it

        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            self.null_counts[name] = self.null_counts.get(name, 0) + column.null_count
            if pa.types.is_list(column.type):
                self._note_lengths(name, column)
            elif pa.types.is_floating(column.type):
                whole = pc.all(pc.equal(column, pc.floor(column)), min_count=0).as_py()
                self.whole_numbers[name] = self.whole_numbers.get(name, True) and whole

    def _note_lengths(self, name: str, column: pa.Array) -> None:
        import pyarrow.compute as pc  # 40 ms: `fetch` wants names from here, and needs none of it

        found = pc.min_max(pc.list_value_length(column)).as_py()
        if found["min"] is not None:
            low, high = self.lengths.get(name, (found["min"], found["max"]))
            self.lengths[name] = min(low, found["min"]), max(high, found["max"])


def value_fields(kinds: Mapping[str, Kind], roles: Roles, facts: ColumnFacts) -> dict[str, Field]:
    """{column: field} of every column whose values are stored as they are: caption, vector, all without a role.

    Text is text, whole numbers int64 (float64 with NaN where some are missing), other numbers float64,
    lists of numbers float32 vectors, of one length if all are equally long. Field names are the columns',
    with `_` for what a field name cannot hold, and a number behind one that is taken.

    Raises:
        ConfigError: the caption column holds no text, or the vector column no lists of numbers.
    """
    named = {name: role for role, name in roles.columns().items()}
    taken = {"key", *(FIELD_OF_ROLE[role] for role in roles.columns() if role in FIELD_OF_ROLE)}
    found = {}
    for column, kind in kinds.items():
        role = named.get(column)
        if role == "caption":
            found[column] = _field(FIELD_OF_ROLE[role], column, _demanded(column, kind, "text"), facts)
        elif role == "vector":
            found[column] = _field(FIELD_OF_ROLE[role], column, _demanded(column, kind, "list"), facts)
        elif role is None and kind != "other":
            found[column] = _field(_free_name(column, taken), column, kind, facts)
    return found


def _demanded(column: str, kind: Kind, wanted: Kind) -> Kind:
    if kind not in (wanted, "none"):
        raise ConfigError(
            f"column {column!r} must hold {'lists of numbers' if wanted == 'list' else wanted}, not {kind}"
        )
    return wanted


def _field(name: str, column: str, kind: Kind, facts: ColumnFacts) -> Field:
    if kind == "list":
        low, high = facts.lengths.get(column, (0, 0))
        return Field(name, "vector", dtype="float32", shape=(high if low == high else None,), codec="raw")
    if kind == "integer" and not facts.null_counts.get(column):
        return Field(name, "number", dtype="int64", shape=(), codec="raw")
    if kind in ("integer", "float"):
        return Field(name, "number", dtype="float64", shape=(), codec="raw")
    return Field(name, "text", codec="utf8")


def _free_name(column: str, taken: set[str]) -> str:
    """A field name for a column, unlike all taken ones on file systems that ignore case, too."""
    plain = re.sub(r"[^0-9A-Za-z_]", "_", column) or "column"
    name, number = plain, 2
    while name.lower() in taken:
        name, number = f"{plain}_{number}", number + 1
    taken.add(name.lower())
    return name
