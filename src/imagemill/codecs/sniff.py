"""What bytes look like that are no image, so that a reject says more than "not an image"."""

from __future__ import annotations

from imagemill.core.sample import Buffer
from imagemill.errors import SampleError

_UNSUPPORTED = (
    (b"%!PS", "EPS (reading it would run an interpreter)"),
    (b"\xc5\xd0\xd3\xc6", "EPS (reading it would run an interpreter)"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"FUJIFILMCCD-RAW", "a camera's raw format"),
    (b"gimp xcf", "GIMP XCF"),
)
_OTHER = (
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "zip archive"),
    (b"PK\x05\x06", "zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"Rar!", "rar archive"),
    (b"\x89HDF", "HDF5"),
    (b"SIMPLE  =", "FITS"),
    (b"GRIB", "GRIB"),
    (b"BUFR", "BUFR"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"OggS", "audio or video"),
    (b"ID3", "audio"),
    (b"fLaC", "audio"),
    (b"\x1aE\xdf\xa3", "video"),
    (b"\x00\x00\x01\xba", "video"),
    (b"\x00\x00\x01\xb3", "video"),
    (b"ARROW1", "Arrow file"),
    (b"PAR1", "Parquet file"),
    (b"SQLite format 3", "SQLite database"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def reject_unknown(data: Buffer) -> SampleError:
    """The reject for bytes that no decoder takes, with what they look like in its detail."""
    head = bytes(data[:512])
    for magic, name in _UNSUPPORTED:
        if head.startswith(magic):
            return SampleError("unsupported", name)
    if b"<svg" in head:
        return SampleError("unsupported", "SVG (vector graphics)")
    if head[4:8] == b"ftyp":
        heif = head[8:12] in _HEIF_BRANDS
        return SampleError("unsupported", "HEIF") if heif else SampleError("not-an-image", "looks like video")
    return SampleError("not-an-image", f"looks like {_look(head)}")


def _look(head: bytes) -> str:
    for magic, name in _OTHER:
        if head.startswith(magic):
            return name
    if head.startswith(b"RIFF"):
        return "audio or video"
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "HTML page"
    if start.startswith((b"<?xml", b"<")):
        return "XML"
    if start.startswith((b"{", b"[")):
        return "JSON or other text"
    if start.startswith(b"version https://git-lfs"):
        return "Git LFS pointer (run `git lfs pull`)"
    if _is_text(head):
        return "text"
    return "unknown binary data"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8") if error.start > len(head) - 4 else "\0"
    return all(character.isprintable() or character in "\r\n\t\f" for character in text)
