"""Every other image format, by Pillow: which ones, opened how, and what its many errors mean."""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from imagemill.codecs.header import EXIF_ORIENTATION_TAG, Header, exif_orientation
from imagemill.codecs.png import png_depth, png_exif, png_size, verify_png
from imagemill.codecs.profile import plainly_srgb
from imagemill.codecs.sniff import reject_unknown
from imagemill.core.sample import Buffer
from imagemill.errors import SampleError

PLUGINS = {
    "PNG": "Png", "GIF": "Gif", "WEBP": "WebP", "TIFF": "Tiff", "BMP": "Bmp", "PPM": "Ppm", "AVIF": "Avif",
    "JPEG2000": "Jpeg2K", "ICO": "Ico", "ICNS": "Icns", "PSD": "Psd", "QOI": "Qoi", "DDS": "Dds", "SGI": "Sgi",
    "SUN": "Sun", "BLP": "Blp", "FTEX": "Ftex", "MSP": "Msp", "PIXAR": "Pixar", "DCX": "Dcx", "FLI": "Fli",
    "XPM": "Xpm", "XBM": "Xbm", "PCX": "Pcx", "CUR": "Cur", "DIB": "Bmp", "TGA": "Tga",
}  # fmt: skip
"""Formats that are read, and Pillow's plugin of each, in the order in which they are tried.

Left out on purpose: formats whose reading starts a program or another library (EPS, WMF,
HDF5, GRIB, BUFR, FITS, MPEG), containers of something else (FPX, MIC, IPTC), and those
without a signature that would take any bytes for an image.
"""
_WEAK = frozenset(("XBM", "PCX", "CUR", "DIB", "TGA", "PPM", "SGI", "FLI"))
"""Formats whose signature is so short that other files have it, too."""
_LAYERED = frozenset(("PSD", "ICNS", "ICO", "CUR", "DCX"))
"""Formats whose further frames are layers or sizes of the same picture."""


_BOMB_PIXELS = 89_478_485
"""Pillow's own default: it refuses canvases of more than twice that many pixels."""

# Without a handler Python prints Pillow's complaints about a file to stderr, in the middle of a progress bar.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class _Quiet:
    """Process-wide settings of Pillow, and its warnings, held aside while any thread decodes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._caught = warnings.catch_warnings()
        self._saved: tuple[int | None, bool] = (None, False)

    @contextmanager
    def __call__(self, pixels: int = 0) -> Iterator[None]:
        self._enter(max(pixels, _BOMB_PIXELS))
        try:
            yield
        finally:
            self._leave()

    def _enter(self, pixels: int) -> None:
        with self._lock:
            if self._depth == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
                self._saved = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
                ImageFile.LOAD_TRUNCATED_IMAGES = False
                Image.MAX_IMAGE_PIXELS = pixels
            self._depth += 1
            Image.MAX_IMAGE_PIXELS = max(pixels, Image.MAX_IMAGE_PIXELS or 0)

    def _leave(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = self._saved
                self._caught.__exit__(None, None, None)


quiet = _Quiet()
"""Context in which Pillow does not warn, refuses cut files, and lets an image of `pixels` pass.

The caller has compared the header's size with its own limit by then. What some plugins
allocate beyond it (a GIF's later frames, a TIFF's tiles) stays bounded by Pillow's check.
"""


def open_image(data: Buffer) -> ImageFile.ImageFile:
    """A Pillow image of the bytes, its pixels not loaded yet; call it inside `quiet`.

    Raises:
        SampleError: "not-an-image", "unsupported", "corrupt", "truncated".
    """
    prefix = bytes(data[:16]).ljust(16, b"\0")
    for name, factory, accept in _openers():
        if accept is not None and not accept(prefix):
            continue
        try:
            return factory(io.BytesIO(data), "")
        except Exception as error:
            if name not in _WEAK:
                raise _located(pillow_reject(error, name), data) from error
    raise reject_unknown(data)


@cache
def _openers() -> tuple[tuple[str, Callable[..., ImageFile.ImageFile], Callable[[bytes], bool | str] | None], ...]:
    """(format, factory, test of the first 16 bytes) of each format this Pillow has."""
    for plugin in PLUGINS.values():
        import_module(f"PIL.{plugin}ImagePlugin")
    return tuple((name, *Image.OPEN[name]) for name in PLUGINS if name in Image.OPEN)


def pillow_header(image: ImageFile.ImageFile, data: Buffer) -> Header:
    """Header of an opened, not yet loaded image; call it inside `quiet`."""
    name = image.format or ""
    if name == "TIFF" and image.tag_v2.get(_SUBFILE_TYPE, 0) & 1:  # type: ignore[attr-defined]
        raise SampleError("unsupported", "a TIFF that begins with a thumbnail: a camera's raw format")
    width, height = image.size
    orientation = _orientation(image, data)
    if name == "TIFF" and orientation > 4:
        width, height = height, width
    profile = image.info.get("icc_profile") or b""
    return Header(
        format=name,
        width=width,
        height=height,
        mode=image.mode,
        bits=_bits(image, data),
        orientation=orientation,
        icc=bool(profile) and not plainly_srgb(bytes(profile)),
        frames=1 if name in _LAYERED else int(getattr(image, "n_frames", 1)),
        alpha=image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info,
        palette=image.mode in ("P", "PA"),
        progressive=name == "PNG" and bool(image.info.get("interlace")),
    )


def _bits(image: ImageFile.ImageFile, data: Buffer) -> int:
    if image.format == "PNG":
        return png_depth(data)[0]
    if image.format == "TIFF":
        stated = image.tag_v2.get(_BITS_PER_SAMPLE, 1)  # type: ignore[attr-defined]
        return int(max(stated) if isinstance(stated, tuple) else stated)
    if image.format == "PPM" and image.mode == "I":
        return 16
    return _MODE_BITS.get(image.mode[:4], 8)


_SUBFILE_TYPE, _BITS_PER_SAMPLE = 254, 258
_MODE_BITS = {"1": 1, "I;16": 16, "I": 32, "F": 32}


def _orientation(image: ImageFile.ImageFile, data: Buffer) -> int:
    if image.format == "TIFF":
        value = image.tag_v2.get(EXIF_ORIENTATION_TAG, 1)  # type: ignore[attr-defined]
        return value if value in range(1, 9) else 1
    exif = png_exif(data) if image.format == "PNG" else image.info.get("exif") or b""
    return exif_orientation(bytes(exif).removeprefix(b"Exif\0\0"))


def pillow_reject(error: Exception, name: str) -> SampleError:
    """What a Pillow exception means for the sample."""
    text = f"{name}: {error}" if str(error) else f"{name}: {type(error).__name__}"
    lowered = text.lower()
    if isinstance(error, SampleError):
        return error
    if isinstance(error, Image.DecompressionBombError):
        return SampleError("too-many-pixels", text)
    if isinstance(error, MemoryError):
        return SampleError("memory", text)
    if isinstance(error, EOFError | IndexError) or any(word in lowered for word in _TRUNCATED_WORDS):
        return SampleError("truncated", text)
    if isinstance(error, NotImplementedError) or any(word in lowered for word in _UNSUPPORTED_WORDS):
        return SampleError("unsupported", text)
    return SampleError("corrupt", text)


_TRUNCATED_WORDS = ("truncated", "unexpected end", "end of data", "eof", "not enough data", "requires a buffer")
_UNSUPPORTED_WORDS = ("unsupported", "not supported", "cannot handle", "not available", "unknown", "not installed")


def _located(reject: SampleError, data: Buffer) -> SampleError:
    """The same reject; "truncated" where a container announces more bytes than there are."""
    if reject.reason == "corrupt" and announced_size(data) > len(data):
        return SampleError("truncated", f"{reject.detail}; {len(data):,} of {announced_size(data):,} bytes are there")
    return reject


def announced_size(data: Buffer) -> int:
    """Bytes that a PNG's chunks, a RIFF (WebP) or boxes (AVIF, JPEG 2000) say there are; 0 where they do not say."""
    if data[:4] == b"\x89PNG":
        return png_size(data)
    if data[:4] == b"RIFF":
        return 8 + int.from_bytes(data[4:8], "little")
    if data[4:8] not in (b"ftyp", b"jP  "):
        return 0
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size < 8:  # 0: up to the end of the file; less: no box
            return 0
        position += size
    return position


def load_image(data: Buffer, header: Header) -> ImageFile.ImageFile:
    """The first frame of an image file, decoded; call it inside `quiet`.

    Raises:
        SampleError: whatever the decoder found.
    """
    try:
        image = JpegImageFile(io.BytesIO(data)) if header.format == "JPEG" else open_image(data)
        image.load()
    except Exception as error:
        raise _located(pillow_reject(error, header.format), data) from error
    return image


def verify_image(data: Buffer, header: Header) -> tuple[str, ...]:
    """Proves that a file is whole by decoding every frame of it.

    Animations and multi-page files of more than `FRAME_BUDGET` pixels in all are proven by
    their first frame, the only one that is ever used, and get the note "later-frames-unchecked".
    """
    notes = verify_png(data, header) if header.format == "PNG" else ()
    if header.format == "PNG" and header.frames == 1:
        return notes
    with quiet(header.pixels):
        image = load_image(data, header)
        if header.frames * header.pixels > FRAME_BUDGET:
            return (*notes, "later-frames-unchecked")
        try:
            for frame in range(1, header.frames):
                image.seek(frame)
                image.load()
        except Exception as error:
            raise _located(pillow_reject(error, header.format), data) from error
    return notes


FRAME_BUDGET = 178_956_970
"""Pixels of all frames together up to which `verify_image` decodes them all."""
