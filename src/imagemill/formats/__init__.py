"""Storage formats, by name."""

from imagemill.formats.base import Buffers, Format, Reader
from imagemill.registry import Registry

FORMATS: Registry[Format] = Registry(
    "format",
    "imagemill.formats",
    {
        "arrow": "imagemill.formats.arrow:FORMAT",
        "hdf5": "imagemill.formats.hdf5:FORMAT",
        "memmap": "imagemill.formats.memmap:FORMAT",
        "parquet": "imagemill.formats.parquet:FORMAT",
        "tar": "imagemill.formats.tar:FORMAT",
        "tfrecord": "imagemill.formats.tfrecord:FORMAT",
        "tfrecord-gzip": "imagemill.formats.tfrecord:GZIP",
        "tfrecord-zlib": "imagemill.formats.tfrecord:ZLIB",
    },
)

__all__ = ["FORMATS", "Buffers", "Format", "Reader"]
