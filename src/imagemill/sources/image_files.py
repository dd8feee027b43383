"""Which files are images, told by suffix and, where that says nothing, by the first bytes."""

from __future__ import annotations


def _suffixes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


IMAGE_SUFFIXES = _suffixes("""
    .apng .avif .avifs .blp .bmp .bw .cur .dcx .dds .dib .flc .fli .ftc .ftu .gif .icb .icns .ico .j2c .j2k
    .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .msp .pbm .pcx .pfm .pgm .png .pnm .ppm .psd .pxr .qoi
    .ras .rgb .rgba .sgi .tga .tif .tiff .vda .vst .webp .xbm .xpm
""")
"""Suffixes of the formats that Pillow decodes by itself. Left out on purpose: what runs an
interpreter or a system library (EPS, PS, PDF, WMF, EMF), what Pillow only recognises (HDF5, GRIB,
BUFR, MPEG) and what holds measurements rather than pictures (FITS, IPTC)."""

UNREAD_IMAGE_SUFFIXES = _suffixes("""
    .arw .bufr .cr2 .cr3 .dng .emf .eps .exr .fit .fits .gbr .grib .hdr .heic .heif .iim .im .jxl .nef .orf .palm
    .pcd .pdf .ps .raf .rw2 .svg .wmf
""")
"""Suffixes of images that no decoder here reads; ignored like other files, with a remark."""

OTHER_SUFFIXES = _suffixes("""
    .7z .arrow .avi .bin .bz2 .c .cfg .cls .conf .cpp .csv .db .doc .docx .gz .h .h5 .hdf .hdf5 .html .ini .ipynb
    .js .json .jsonl .lmdb .log .m .mat .md .mdb .mkv .mov .mp3 .mp4 .mpeg .mpg .names .ndjson .npy .npz .onnx .pack
    .parquet .pbtxt .pickle .pkl .pt .pth .py .pyc .rar .rst .safetensors .sh .sqlite .tar .tfrecord .tgz .toml .tsv
    .ttf .txt .wav .webm .xls .xlsx .xml .xz .yaml .yml .zip .zst
""")
"""Well-known suffixes of files that are no images: their first bytes are not looked at."""

_IMAGE = frozenset(suffix.encode() for suffix in IMAGE_SUFFIXES)
_NO_IMAGE = frozenset(suffix.encode() for suffix in (*UNREAD_IMAGE_SUFFIXES, *OTHER_SUFFIXES))
_HIDDEN = frozenset(
    (b"thumbs.db", b"desktop.ini", b"__macosx", b"@eadir", b"$recycle.bin", b"system volume information")
)
_NAMED_HIDDEN = _HIDDEN | {b".ds_store", b".git", b".svn", b".ipynb_checkpoints"}

SNIFF_BYTES = 32
_MAGICS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF
    b"MM\0*",
    b"II+\0",  # BigTIFF
    b"MM\0+",
    b"\0\0\0\x0cjP  \r\n\x87\n",  # JPEG 2000, boxed
    b"\xff\x4f\xff\x51",  # JPEG 2000, bare code stream
    b"8BPS",  # PSD
    b"qoif",
    b"DDS ",
    b"icns",
    b"/* XPM */",
)
_DIB_HEADER_BYTES = (12, 40, 52, 56, 64, 108, 124)


def suffix_of(name: bytes) -> bytes:
    """The suffix of a file name or path in lower case, with its dot; empty where there is none."""
    dot = name.rfind(b".")
    return name[dot:].lower() if dot > name.rfind(b"/") + 1 else b""


def has_image_suffix(name: bytes) -> bool:
    """Whether the suffix, in any case, is one of `IMAGE_SUFFIXES`."""
    return suffix_of(name) in _IMAGE


def needs_sniffing(name: bytes) -> bool:
    """Whether the suffix says neither that this is an image nor that it is none."""
    suffix = suffix_of(name)
    return suffix not in _IMAGE and suffix not in _NO_IMAGE


def stem_of(name: bytes) -> bytes:
    """The name without its image suffix; `photo.2023`, whose suffix means nothing, stays whole."""
    return name[: -len(suffix_of(name))] if has_image_suffix(name) else name


def is_image_head(head: bytes) -> bool:
    """Whether a file that starts with these bytes (up to 32) is an image that Pillow decodes.

    The source of each magic number is the format's own specification; where a magic number is
    short (BMP, PNM, ICO) further header fields must fit.
    """
    if head.startswith(_MAGICS):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[4:8] == b"ftyp":
        return b"avif" in head[8:] or b"avis" in head[8:]
    if head[:2] == b"BM":
        return head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in _DIB_HEADER_BYTES
    if head[:4] == b"\0\0\1\0":
        return head[4:6] != bytes(2) and head[9:10] == b"\0" and head[10:12] in (b"\0\0", b"\1\0")
    return head[:1] == b"P" and head[1:2] in b"123456fF" and head[2:3] in b" \t\r\n" and _is_digit_or_comment(head[3:4])


def _is_digit_or_comment(byte: bytes) -> bool:
    return byte.isdigit() or byte == b"#"


def is_hidden(name: bytes) -> bool:
    """Whether a file or folder belongs to the system, not to the user: `.DS_Store`, `._x`, `__MACOSX`, …"""
    return name.startswith(b".") or name.lower() in _HIDDEN


def ignored_label(name: bytes) -> str:
    """Under what a passed-over file is counted: its suffix, or a word for what has no telling one.

    The number of different labels stays small however many files there are.
    """
    if is_hidden(name):
        if name.lower() in _NAMED_HIDDEN:
            return name.decode("ascii")
        return "._*" if name.startswith(b"._") else "hidden"
    suffix = suffix_of(name)
    if not suffix:
        return "no suffix"
    return (
        suffix.decode("ascii") if len(suffix) <= 10 and suffix[1:].isalnum() and not suffix[1:].isdigit() else "other"
    )
