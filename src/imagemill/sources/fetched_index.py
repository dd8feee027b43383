"""What the index of a fetched pile is called and known by, for those who write it and those who read it."""

from __future__ import annotations

INDEX_NAME = "index.parquet"
INDEX_MARK = b"imagemill_fetched"
"""Key of the metadata that tell an index from other Parquet files; its value is JSON, `columns` are the list's own."""


def row_key(name: str | None, number: int) -> str:
    """The key of a row: the id that the list gives it, else its number."""
    return f"{number:09d}" if name is None else name
