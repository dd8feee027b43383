"""The pixel policy: what every stored image looks like when it is shown.

Upright, sRGB, 8 bits, first frame, transparency over white:

1. Integers of 16 bits (and 9 to 15) are scaled by their full range, v * 255 / (2**bits - 1),
   rounded. Colour of 16 bits comes from Pillow with the upper 8 bits of each channel.
   32-bit integers and floats have no known full range: they are stretched from their own
   minimum..maximum (infinite values and NaN aside) to 0..255; a constant picture is clipped to 0..255.
2. Palettes are expanded, bits become 0 and 255.
3. A colour profile that is not plainly sRGB is applied (perceptual intent); a broken or
   ill-fitting one is passed over.
4. CMYK without a profile is 255 - min(255, C + K) and so on, as Pillow has it; in JPEGs
   the inks count as inverted, as Adobe writes them.
5. Transparent pixels are laid over white, unless the mode asked for has alpha.
6. Turned and mirrored as the EXIF orientation says.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from imagemill.codecs.header import Header

MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV")
"""Modes that pixels can be asked for in."""
_WHITE = 255

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def apply_policy(image: Image.Image, header: Header, mode: str) -> Image.Image:
    """A loaded image as it is to be seen, in one of `MODES`."""
    profile = image.info.get("icc_profile") if header.icc else None
    image = _eight_bits(image, header)
    image = _without_palette(image)
    image, alpha = _split_alpha(image)
    if profile:
        image = to_srgb(image, bytes(profile))
    if image.mode not in ("L", "RGB"):
        image = _lab_to_srgb(image) if image.mode == "LAB" else image.convert("RGB")
    image = _join_alpha(image, alpha, mode)
    if header.orientation != 1 and header.format != "TIFF":  # Pillow turns TIFF files itself when it loads them
        image = image.transpose(_TURNS[header.orientation])
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image, header: Header) -> Image.Image:
    transparent = image.info.get("transparency")
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "L" and header.bits in (2, 4) and isinstance(transparent, int):
        image.info["transparency"] = transparent * _WHITE // ((1 << header.bits) - 1)  # Pillow spreads the pixels only
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    bits = header.bits if image.mode != "F" and header.bits <= 16 else None
    grey = Image.fromarray(scale_to_uint8(values, bits))
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, _WHITE).astype(np.uint8)))
    return grey


def scale_to_uint8(values: npt.NDArray[Any], bits: int | None) -> npt.NDArray[np.uint8]:
    """Numbers as grey levels; `bits` is their full range, None stretches from their own minimum to maximum."""
    if bits is not None:
        full = (1 << bits) - 1
        levels: npt.NDArray[np.int64] = (np.clip(values, 0, full).astype(np.int64) * _WHITE + full // 2) // full
        return levels.astype(np.uint8)
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = float(numbers[finite].min()), float(numbers[finite].max())
    if low < high:
        numbers = (np.clip(numbers, low, high) / 2 - low / 2) / (high / 2 - low / 2) * _WHITE
    stretched: npt.NDArray[np.float64] = np.nan_to_num(np.clip(numbers, 0, _WHITE), nan=0.0)
    return np.floor(stretched + 0.5).astype(np.uint8)


def _without_palette(image: Image.Image) -> Image.Image:
    if image.mode in ("P", "PA"):
        transparent = image.mode == "PA" or image.has_transparency_data
        return image.convert("RGBA" if transparent else "RGB")
    if image.mode in ("La", "RGBa"):
        return image.convert(image.mode.upper())
    if "transparency" in image.info and image.mode in ("L", "RGB"):
        return image.convert("RGBA")
    return image


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    if image.mode == "RGBA":
        return image.convert("RGB"), image.getchannel("A")
    if image.mode == "LA":
        return image.getchannel("L"), image.getchannel("A")
    return image, None


def _join_alpha(image: Image.Image, alpha: Image.Image | None, mode: str) -> Image.Image:
    if alpha is None:
        return image
    if mode in ("LA", "RGBA"):
        image = image.convert(mode.removesuffix("A"))
        image.putalpha(alpha)
        return image
    white = Image.new(image.mode, image.size, "white")
    white.paste(image, mask=alpha)
    return white


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The image with its profile's colours in sRGB; unchanged where profile and pixels do not fit."""
    try:
        transform = _transform(profile, image.mode)
        return ImageCms.applyTransform(image, transform) or image
    except (ImageCms.PyCMSError, ValueError, OSError):
        return image


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _lab_to_srgb(image: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    return ImageCms.applyTransform(image, transform) or image


def turn(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Pixels (H, W, ...) as seen upright, given how they are stored; a view."""
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    return pixels.swapaxes(0, 1) if orientation > 4 else pixels
