"""Sources, by kind."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imagemill.registry import Registry

if TYPE_CHECKING:
    from imagemill.sources.base import Scan, Source, SourceOptions

SOURCES: Registry[type[Source]] = Registry(
    "source",
    "imagemill.sources",
    {
        "folder": "imagemill.sources.folder:FolderSource",
        "pairs": "imagemill.sources.pairs:PairSource",
        "masks": "imagemill.sources.masks:MaskSource",
        "captions": "imagemill.sources.captions:CaptionSource",
        "table": "imagemill.sources.table:TableSource",
        "archive": "imagemill.sources.archive:ArchiveSource",
        "dataset": "imagemill.sources.packed:DatasetSource",
        "fetched": "imagemill.sources.fetched:FetchedSource",
        "webdataset": "imagemill.sources.webdataset:WebDatasetSource",
        "parquet": "imagemill.sources.parquet:ParquetSource",
        "hpc": "imagemill.sources.hpc:HpcSource",
        "tfrecord": "imagemill.sources.tfrecords:TFRecordSource",
        "chunked": "imagemill.sources.chunked:ChunkedSource",
        "torch": "imagemill.sources.torch:TorchSource",
    },
)

__all__ = ["SOURCES", "Scan", "Source", "SourceOptions"]


def __getattr__(name: str) -> Any:
    # The contract is imported when it is asked for: what reads the rows of a text needs none of it, nor pyarrow.
    if name not in ("Scan", "Source", "SourceOptions"):
        raise AttributeError(f"module 'imagemill.sources' has no attribute {name!r}")
    return getattr(import_module("imagemill.sources.base"), name)
