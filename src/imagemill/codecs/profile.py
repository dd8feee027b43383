"""ICC colour profiles: whether one is plainly sRGB, and the way from any other to sRGB."""

from __future__ import annotations

import struct
from functools import lru_cache

_CURVE_TOLERANCE = 0.005
_COLORANT_TOLERANCE = 0.003
COLORANTS = {
    b"rXYZ": (0.4361, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
"""Primaries of IEC 61966-2-1 adapted to D50, in XYZ, as every sRGB profile carries them."""
_CURVE_POINTS = (0.05, 0.25, 0.5, 0.75)


@lru_cache(maxsize=32)
def plainly_srgb(profile: bytes) -> bool:
    """Whether a profile says what a viewer assumes anyway: sRGB, or sRGB's curve for greys.

    Decided by its primaries and curves, not by its name, so renamed and stripped-down
    copies of sRGB count as sRGB. A profile that cannot be read is plain, too: it is ignored.
    """
    try:
        return _plainly_srgb(profile)
    except (struct.error, IndexError, ZeroDivisionError, OverflowError):
        return True


def _plainly_srgb(profile: bytes) -> bool:
    if profile[36:40] != b"acsp":
        return True
    space = profile[16:20]
    if space not in (b"RGB ", b"GRAY"):
        return False
    tags = profile_tags(profile)
    if space == b"GRAY":
        return b"kTRC" in tags and _is_srgb_curve(tags[b"kTRC"])
    if any(name not in tags for name in (*COLORANTS, b"rTRC", b"gTRC", b"bTRC")) or b"A2B0" in tags:
        return False
    return all(_near(tags[name], wanted) for name, wanted in COLORANTS.items()) and all(
        _is_srgb_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")
    )


def profile_tags(profile: bytes) -> dict[bytes, bytes]:
    """Signature → content of the profile's tags.

    Raises:
        struct.error: the profile is shorter than its header.
    """
    (count,) = struct.unpack_from(">I", profile, 128)
    table = profile[132 : 132 + 12 * min(count, 100)]
    return {
        name: profile[start : start + size]
        for name, start, size in struct.iter_unpack(">4sII", table[: len(table) // 12 * 12])
    }


def _near(tag: bytes, wanted: tuple[float, float, float]) -> bool:
    xyz = struct.unpack_from(">3i", tag, 8)
    return all(abs(value / 65536 - want) < _COLORANT_TOLERANCE for value, want in zip(xyz, wanted, strict=True))


def _is_srgb_curve(tag: bytes) -> bool:
    return all(abs(curve_value(tag, x) - srgb_to_linear(x)) < _CURVE_TOLERANCE for x in _CURVE_POINTS)


def srgb_to_linear(x: float) -> float:
    """sRGB's transfer function, [0, 1] → [0, 1] (IEC 61966-2-1)."""
    return x / 12.92 if x <= 0.04045 else float(((x + 0.055) / 1.055) ** 2.4)


def curve_value(tag: bytes, x: float) -> float:
    """Value at x of a `curv` (table or gamma) or `para` (parametric) tag; negative for functions not known here."""
    if tag[:4] == b"para":
        return _parametric(tag, x)
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return x
    if count == 1:
        return float(x ** (struct.unpack_from(">H", tag, 12)[0] / 256))
    position = x * (count - 1)
    index = min(int(position), count - 2)
    low, high = struct.unpack_from(">2H", tag, 12 + 2 * index)
    return float(low + (high - low) * (position - index)) / 65535


def _parametric(tag: bytes, x: float) -> float:
    """ICC.1:2022, 10.18: functions 0, and 3 (what sRGB is written as); others count as not sRGB."""
    (function,) = struct.unpack_from(">H", tag, 8)
    if function == 0:
        return float(x ** (struct.unpack_from(">i", tag, 12)[0] / 65536))
    if function != 3:
        return -1.0
    gamma, a, b, c, d = (value / 65536 for value in struct.unpack_from(">5i", tag, 12))
    return float((a * x + b) ** gamma) if x >= d else c * x
