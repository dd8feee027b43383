"""Colour profiles for the native core: curves and matrix as the way to linear sRGB, and which are known by now."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagemill import native
from imagemill.codecs.image import read_header
from imagemill.codecs.jpeg_header import jpeg_profile
from imagemill.codecs.policy import to_srgb
from imagemill.codecs.profile import COLORANTS, curve_value, profile_tags
from imagemill.codecs.recoded import is_recoded, outline_of
from imagemill.core.sample import Buffer
from imagemill.errors import SampleError

FloatArray = npt.NDArray[np.float32]

_KNOWN_LIMIT = 4096
_WORST, _MEAN = 2, 0.6
"""Levels that a map may be off the colour engine of Pillow (Little CMS), at worst and on average; both round."""
_MODES = {1: "L", 3: "RGB"}
_known = native.Profiles()


def known_profiles() -> native.Profiles:
    """The profiles that were looked at so far; another object when more are known."""
    return _known


def learn_profile(number: int, data: Buffer) -> bool:
    """Looks at the profile of an image that the core handed back for it.

    Args:
        number: the core's hash of it.
        data: the JPEG, or its recoded form.

    Returns:
        Whether the core can decode such images from now on.
    """
    global _known
    if number in _known:
        return True
    if len(_known) >= _KNOWN_LIMIT:
        return False
    try:
        header = read_header(data)
    except SampleError:
        return False
    colours = colour_map(jpeg_profile(outline_of(data) if is_recoded(data) else data)) if header.icc else None
    if header.icc and (colours is None or header.mode != _MODES[native.map_channels(colours)]):
        return False
    _known = native.Profiles({**_known.maps, number: colours})  # never changed: other threads may be using the old one
    return True


def learn_profiles(outcome: native.Outcome, data: Sequence[Buffer]) -> bool:
    """Looks at the profiles of all images of a batch that the core handed back for theirs.

    Returns:
        Whether the core can decode some of them now: then it has to, for the first batch with a
        profile must not look otherwise than later ones.
    """
    places = np.flatnonzero(outcome.statuses == native.Status.PROFILE).tolist()
    known = [learn_profile(int(outcome.profiles[place]), data[place]) for place in places]
    return any(known)


@lru_cache(maxsize=256)
def colour_map(profile: bytes) -> FloatArray | None:
    """A profile of a curve, or of three and a matrix, as `native.Profiles` wants it; None for any other.

    What it gives is compared with what Pillow gives, on colours from all over: a profile with more to it
    than curves and matrix is none.
    """
    try:
        tags = profile_tags(profile)
        if any(name.startswith((b"A2B", b"B2A", b"D2B")) for name in tags):
            return None
        colours = _COLOUR_SPACES[profile[16:24]](tags)
    except (KeyError, struct.error, IndexError, ZeroDivisionError, OverflowError):
        return None
    return colours if np.isfinite(colours).all() and _is_right(colours, profile) else None


def _curve(tag: bytes) -> FloatArray:
    return np.array([curve_value(tag, level) for level in np.arange(256) / 255], np.float32)


def _grey(tags: dict[bytes, bytes]) -> FloatArray:
    return _curve(tags[b"kTRC"])


def _rgb(tags: dict[bytes, bytes]) -> FloatArray:
    curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    colorants = [struct.unpack_from(">3i", tags[name], 8) for name in COLORANTS]
    to_xyz = np.array(colorants, np.float64).T / 65536
    srgb_to_xyz = np.array(list(COLORANTS.values())).T
    matrix = np.linalg.solve(srgb_to_xyz, to_xyz).astype(np.float32)
    return np.concatenate([*curves, matrix.ravel()])


_COLOUR_SPACES = {b"GRAYXYZ ": _grey, b"RGB XYZ ": _rgb}
"""Colour space and connection space of a profile's header, and what makes its map."""


def _is_right(colours: FloatArray, profile: bytes) -> bool:
    if native.map_channels(colours) == 1:
        probe = np.arange(256, dtype=np.uint8)[np.newaxis]
    else:
        steps = np.linspace(0, 255, 18).round().astype(np.uint8)
        probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(18, -1, 3)
    wanted = np.asarray(to_srgb(Image.fromarray(probe), profile).convert("RGB"))
    off = np.abs(mapped(probe, colours).astype(int) - wanted)
    return bool(off.max() <= _WORST and off.mean() <= _MEAN)


def mapped(pixels: npt.NDArray[np.uint8], colours: FloatArray) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3), or greys (H, W), in sRGB (H, W, 3), as the core computes them."""
    if pixels.ndim == 2:
        light = np.repeat(colours[pixels][:, :, np.newaxis], 3, axis=-1)
    else:
        linear = np.stack([colours[256 * channel :][pixels[:, :, channel]] for channel in range(3)], axis=-1)
        light = linear @ colours[768:].reshape(3, 3).T
    light = light.clip(0, 1)
    levels = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (levels * 255 + 0.5).astype(np.uint8)
