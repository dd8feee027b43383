"""Bodies that were compressed for the way, decoded piece by piece, so that a bomb costs one piece of memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE_BYTES = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"


class BadEncoding(ValueError):
    """A compression that is not known, or damaged data in it."""


class Decoder:
    """Undoes one `Content-Encoding`: gzip or deflate.

    A body that is announced as gzip and is none goes through as it is: some servers say so of every file.

    Raises:
        BadEncoding: nothing that this can undo.
    """

    def __init__(self, encoding: str) -> None:
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise BadEncoding(f"Content-Encoding {encoding[:40]!r} was not asked for and cannot be undone")
        self._gzip = encoding != "deflate"
        self._head = b""
        self._inflate: zlib._Decompress | None = None
        self._plain = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Decoded pieces of at most `PIECE_BYTES`, so that the caller can stop in the middle of a bomb."""
        if self._plain:
            yield chunk
            return
        if self._inflate is None:
            self._head += chunk
            if len(self._head) < 2:
                return
            chunk, self._head = self._head, b""
            self._begin(chunk)
            if self._plain:
                yield chunk
                return
        yield from self._inflated(chunk)

    def _begin(self, head: bytes) -> None:
        if self._gzip:
            self._plain = not head.startswith(_GZIP_MAGIC)
            self._inflate = None if self._plain else zlib.decompressobj(zlib.MAX_WBITS | 16)
        else:
            # "deflate" is zlib by the standard; some servers send it without zlib's header.
            is_zlib = head[0] & 0x0F == 8 and (head[0] * 256 + head[1]) % 31 == 0
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)

    def _inflated(self, chunk: bytes) -> Iterator[bytes]:
        piece = b""
        while self._inflate is not None and (chunk or len(piece) == PIECE_BYTES):
            if self._inflate.eof:
                if not (self._gzip and chunk.startswith(_GZIP_MAGIC)):
                    return  # padding after the end
                self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                piece = self._inflate.decompress(chunk, PIECE_BYTES)
            except zlib.error as error:
                raise BadEncoding(f"the compressed body is damaged: {error}") from None
            chunk = self._inflate.unconsumed_tail or self._inflate.unused_data
            if piece:
                yield piece

    def is_whole(self) -> bool:
        """Whether the compressed data came to their end."""
        return self._plain or (self._inflate is not None and self._inflate.eof)
