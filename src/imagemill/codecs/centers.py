"""`centers.pt`: where the tiles of a chunked image lie, as `torch.save` writes it, without torch.

The file is a zip with a pickle of {tile id: ((row, column), size)}, nothing but integers. It is written here so that
`torch.load(..., weights_only=True)` takes it; older torch wrote bare pickles, one after the other, and those are
read, too. Reading allows no global name at all, so that a pickle which wants to call anything is refused.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

from imagemill.errors import SampleError

Centers: TypeAlias = dict[int, tuple[tuple[int, int], int]]
"""Tile id → ((row, column) of its centre, its side), in pixels of the reference."""

_FOLDER = "centers"
_OTHERS = {".format_version": b"1", ".storage_alignment": b"64", "byteorder": b"little", "version": b"3\n"}
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_HEAD = 3
"""Pickles of magic number, protocol and machine, before the object, in files of torch below 1.6."""

MAX_BYTES = 64 * 1024 * 1024
"""Of the pickle; a tile takes about 12."""


def encode_centers(centers: Mapping[int, tuple[tuple[int, int], int]]) -> bytes:
    """The file; equal centres give equal bytes."""
    plain = {int(tile): ((int(row), int(column)), int(size)) for tile, ((row, column), size) in centers.items()}
    return _stored_zip({"data.pkl": pickle.dumps(plain, protocol=2), **_OTHERS})


def _stored_zip(files: Mapping[str, bytes]) -> bytes:
    """An archive of files as they are, of 1980, their owner's: what `zipfile` writes, in a quarter of its time."""
    body, directory = bytearray(), bytearray()
    for name, content in files.items():
        path, size = f"{_FOLDER}/{name}".encode(), len(content)
        # Version 2.0, no flags, stored, midnight of the first day that there is.
        common = struct.pack("<5H3I2H", 20, 0, 0, 0, 0x21, zlib.crc32(content), size, size, len(path), 0)
        directory += struct.pack("<4s2B26s3H2I", b"PK\1\2", 20, 3, common, 0, 0, 0, 0o600 << 16, len(body)) + path
        body += b"PK\3\4" + common + path + content
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(files), len(files), len(directory), len(body), 0)
    return bytes(body + directory + end)


def decode_centers(content: bytes) -> Centers:
    """What a `centers.pt` says.

    Raises:
        SampleError: "corrupt" where it cannot be read, "unsupported" where it holds anything but integers.
    """
    try:
        found = _load(content)
    except SampleError:
        raise
    except Exception as error:  # noqa: BLE001  a hostile pickle can raise anything; none of its own code ever runs
        raise SampleError("corrupt", f"centers.pt cannot be read: {type(error).__name__}") from None
    return _checked(found)


def _load(content: bytes) -> Any:
    if content[:2] != b"PK":
        stream = io.BytesIO(content)
        head = [_PlainUnpickler(stream).load() for _ in range(_OLD_HEAD)]
        if head[0] != _OLD_MAGIC:
            raise SampleError("corrupt", "centers.pt is no file of torch")
        return _PlainUnpickler(stream).load()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1 or archive.getinfo(names[0]).file_size > MAX_BYTES:
            raise SampleError("corrupt", f"centers.pt holds {len(names)} pickles, one of at most 64 MiB is wanted")
        return _PlainUnpickler(io.BytesIO(archive.read(names[0]))).load()


class _PlainUnpickler(pickle.Unpickler):
    """Numbers, texts and containers; anything that names a class or function ends it."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise SampleError("unsupported", f"centers.pt asks for {module}.{name}: it may hold integers only; nothing ran")


def _checked(found: Any) -> Centers:
    try:
        centers = {tile: ((row, column), size) for tile, ((row, column), size) in found.items()}
    except (AttributeError, TypeError, ValueError):
        raise SampleError("unsupported", "centers.pt is no {tile: ((row, column), size)}") from None
    numbers = (number for tile, ((row, column), size) in centers.items() for number in (tile, row, column, size))
    if not all(type(number) is int for number in numbers):
        raise SampleError("unsupported", "centers.pt holds other things than integers")
    return centers
