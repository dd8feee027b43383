"""A picture on its way through a model: its pixels, and what of its file is to be in the file that is made of it.

A network sees three channels of 8 bits, upright, sRGB (`codecs/policy.py`): a grey picture three times the same
channel, of a transparent one the colours as they are stored, white where nothing of them is to be seen. Transparency
itself goes past the network into the result, where the result's format has it. Kept besides: EXIF (but for the
orientation, which the pixels have by now, thumbnail and maker's notes), resolution, and a colour profile that is
plainly sRGB; any other has been applied. Of a TIFF's EXIF the first directory is kept.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, JpegImagePlugin

from imagemill.codecs import image as images
from imagemill.codecs.arrays import JPEG_SIDE_LIMIT, WEBP_SIDE_LIMIT
from imagemill.codecs.header import Header
from imagemill.codecs.pillow import open_image, quiet
from imagemill.core.sample import Buffer
from imagemill.errors import ConfigError, SampleError

Pixels = npt.NDArray[np.uint8]

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
}
"""Formats that are written, and the suffixes of each; the first one is given to files of other formats."""

FORMAT_OF_SUFFIX = {suffix: name for name, suffixes in SUFFIXES.items() for suffix in suffixes}
_WITH_ALPHA = ("PNG", "WEBP", "TIFF")
_SIDE_LIMITS = {"JPEG": JPEG_SIDE_LIMIT, "WEBP": WEBP_SIDE_LIMIT}

_DESCRIBING = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)
"""What of the first directory says something about the picture and nothing about how its pixels lie in the file."""
_DROPPED = (ExifTags.Base.MakerNote, ExifTags.Base.ExifInteroperabilityOffset)
_SIDES = {ExifTags.Base.ExifImageWidth: 1, ExifTags.Base.ExifImageHeight: 0}


@dataclass(frozen=True)
class Kept:
    """What of a file goes into the file that is made of it.

    Args:
        exif: a block as Pillow takes it, without orientation; empty where there is none.
        dpi: dots an inch, horizontally and vertically.
        icc: a profile that is plainly sRGB.
    """

    exif: bytes = b""
    dpi: tuple[float, float] | None = None
    icc: bytes = b""


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Args:
        pixels: uint8 RGB, (H, W, 3).
        alpha: uint8, (H, W), or None where nothing is transparent.
        grey: whether its file has no colour.
        kept: of its file.
        notes: what the pixel policy met.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    kept: Kept = field(default_factory=Kept)
    notes: tuple[str, ...] = ()


def read_picture(data: Buffer, header: Header) -> Picture:
    """A picture file, decoded.

    Raises:
        SampleError: the bytes are no whole picture.
    """
    notes = header.notes() + images.verify(data, header) if header.format != "JPEG" else header.notes()
    kept = kept_of(data, header)
    if not header.alpha:
        pixels = images.decode(data, mode="RGB", header=header)
        return Picture(pixels, None, header.grey, kept, notes)
    whole = images.decode(data, mode="RGBA", header=header)
    alpha = np.ascontiguousarray(whole[:, :, 3])
    pixels = np.ascontiguousarray(whole[:, :, :3])
    pixels[alpha == 0] = 255
    return Picture(pixels, None if alpha.min() == 255 else alpha, header.grey, kept, notes)


def kept_of(data: Buffer, header: Header) -> Kept:
    """What of a file is kept; what cannot be read of it is left out."""
    if header.format == "NPY":
        return Kept()
    with quiet(header.pixels):
        try:
            image = JpegImagePlugin.JpegImageFile(io.BytesIO(data)) if header.format == "JPEG" else open_image(data)
            exif = _exif(image)
        except Exception:  # noqa: BLE001  whatever a broken block raises: the picture itself is judged elsewhere
            return Kept()
        dpi = image.info.get("dpi")
        icc = b"" if header.icc or header.grey else bytes(image.info.get("icc_profile") or b"")
        usable = isinstance(dpi, tuple) and len(dpi) == 2 and all(0 < float(one) < 1e6 for one in dpi)
        return Kept(exif, (float(dpi[0]), float(dpi[1])) if usable and dpi else None, icc)


def _exif(image: Image.Image) -> bytes:
    """The EXIF block without what the pixels have by now; empty where nothing is left."""
    source, kept = image.getexif(), Image.Exif()
    for tag in _DESCRIBING:
        if tag in source:
            kept[tag] = source[tag]
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        entries = {tag: value for tag, value in source.get_ifd(directory).items() if tag not in _DROPPED}
        if entries:
            kept.get_ifd(directory).update(entries)
            kept[directory] = 0  # its place, which Pillow fills in
    return kept.tobytes() if len(kept) else b""


def exif_with_sides(exif: bytes, sides: tuple[int, int], *, describing_only: bool = False) -> bytes:
    """The block with the sides of the picture that is made.

    Args:
        exif: a block that is not empty.
        sides: (height, width).
        describing_only: leaves further directories out, which libtiff cannot write into a compressed TIFF.
    """
    block = Image.Exif()
    block.load(exif)
    if describing_only:
        for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            block.pop(directory, None)
        return block.tobytes()
    entries = block.get_ifd(ExifTags.IFD.Exif)
    for tag, place in _SIDES.items():
        if tag in entries:
            entries[tag] = sides[place]
    return block.tobytes()


def encode_picture(pixels: Pixels, like: Picture, format: str, quality: int) -> bytes:
    """A file of predicted pixels.

    Args:
        pixels: uint8, (H, W, 3) or (H, W, 1).
        like: what they were made from: lends transparency and what is kept.
        format: one of `SUFFIXES`.
        quality: of JPEG and WebP, 1–100; colours are not subsampled in JPEG.

    Raises:
        SampleError: "unsupported": sides beyond what the format can hold.
    """
    height, width = pixels.shape[:2]
    limit = _SIDE_LIMITS.get(format)
    if limit is not None and max(height, width) > limit:
        raise SampleError("unsupported", f"{width}x{height} does not fit a {format} (sides up to {limit:,}): --to png")
    image = _with_alpha(pixels, like.alpha, format)
    by_format: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": quality, "subsampling": 0},
        "WEBP": {"quality": quality},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }
    settings = by_format.get(format, {})
    if like.kept.dpi is not None and format != "WEBP":
        settings["dpi"] = like.kept.dpi
    if like.kept.exif and format != "BMP":
        settings["exif"] = exif_with_sides(like.kept.exif, (height, width), describing_only=format == "TIFF")
    if like.kept.icc and format != "BMP" and image.mode.startswith("RGB"):
        settings["icc_profile"] = like.kept.icc
    file = io.BytesIO()
    image.save(file, format, **settings)
    return file.getvalue()


def _with_alpha(pixels: Pixels, alpha: Pixels | None, format: str) -> Image.Image:
    """The picture to be saved: with its transparency, or over white where the format has none."""
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
    if alpha is None:
        return image
    mask = Image.fromarray(alpha)
    if mask.size != image.size:
        mask = mask.resize(image.size, Image.Resampling.LANCZOS)
    if format in _WITH_ALPHA:
        image.putalpha(mask)
        return image
    white = Image.new(image.mode, image.size, "white")
    white.paste(image, mask=mask)
    return white


def encode_mask(ids: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], *, palette: bool) -> bytes:
    """A PNG of class ids, which `codecs.image.decode_mask` gives back as they are.

    Args:
        ids: (H, W).
        palette: whether each class gets a colour of its own for people to look at; up to 256 classes.

    Raises:
        ConfigError: a palette for more than 256 classes.
    """
    if not palette:
        return images.encode_png(ids)
    if ids.dtype != np.uint8:
        raise ConfigError("a palette has 256 colours, and the model has more classes: leave --palette out")
    image = Image.fromarray(ids)
    image.putpalette(class_colours().tobytes())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def class_colours() -> Pixels:
    """A colour for each of 256 classes, uint8 (256, 3): class 0 black, neighbours far apart.

    The bits of a class number are dealt to red, green and blue in turn, the lowest to their highest bits.
    """
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        colours[:, bit % 3] |= (((numbers >> bit) & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours


def without_colour(pixels: Pixels) -> Pixels:
    """The luma of pixels (H, W, 3), as (H, W, 1); grey ones stay."""
    return pixels if pixels.shape[2] == 1 else np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
