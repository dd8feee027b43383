"""Sources, by kind."""

from imagemill.registry import Registry
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
