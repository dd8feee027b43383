"""What tables and URL lists have in common: which character divides columns, and JSON line by line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

DELIMITERS = (",", ";", "\t", "|")


class JsonLine(NamedTuple):
    """A line of a JSON Lines file: its number from 1 (empty lines count), its value, or what is wrong with it."""

    number: int
    value: Any
    error: str = ""


def json_lines(lines: Iterable[str]) -> Iterator[JsonLine]:
    """Every line that is not empty."""
    for number, line in enumerate(lines, 1):
        if not line.isspace():
            yield JsonLine(number, *parsed_json(line))


def parsed_json(text: str) -> tuple[Any, str]:
    """The value of one line of JSON and "", or None and what is wrong with it."""
    try:
        return json.loads(text), ""
    except (ValueError, RecursionError) as error:
        what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        return None, what


def sniff_delimiter(lines: Sequence[str], usual: str = ",") -> str:
    """The character that divides the columns of a table without doubt, else the usual one.

    That is the one which makes most columns in every line; where none is in every line (a line is cut off, or
    there is one column only), the one which makes most columns in the header.

    Args:
        lines: the header and some lines more.
        usual: for one column, and of two that fit equally well.
    """
    candidates = (usual, *(character for character in DELIMITERS if character != usual))
    counts = {character: [_columns(line, character) for line in lines if line.strip()] for character in candidates}
    if not counts[usual]:
        return usual
    best = max(candidates, key=lambda character: (min(counts[character]), counts[character][0]))
    return best if min(counts[best]) > 1 else max(candidates, key=lambda character: counts[character][0])


def _columns(line: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader((line,), delimiter=delimiter)))
    except (csv.Error, StopIteration):
        return 1
