"""A pile that `fetch` made: images under the names of their content, and `index.parquet` beside them."""

INDEX_NAME = "index.parquet"
INDEX_MARK = b"imagemill_fetched"
"""Key of the metadata that tell an index from other Parquet files."""


def row_key(name: str | None, number: int) -> str:
    """The key of a row: the id that the list gives it, else its number."""
    return f"{number:09d}" if name is None else name
