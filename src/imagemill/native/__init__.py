"""The C++ core: batches of image files to pixels on threads of its own, without the interpreter lock.

It is built where a C++ compiler and libjpeg-turbo's headers are at hand when imagemill is installed; `available()`
says whether. Nothing depends on it: `imagemill.codecs.batch` does the same without, more slowly, and takes over
whatever the core hands back. The core judges no image: it decodes JPEGs and PNGs that are in perfect order and says
of all others why not.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagemill.core.sample import Buffer
from imagemill.errors import ConfigError
from imagemill.native.signatures import declare

if TYPE_CHECKING:
    import numpy.typing as npt

    from imagemill.native.batch import (
        COLOUR_MAP_SIZE,
        Outcome,
        Profiles,
        check_batch,
        decode_batch,
        map_channels,
        read_jpeg,
        read_rgb,
    )

__all__ = [
    "AREA",
    "COLOUR_MAP_SIZE",
    "DECODERS",
    "FILTERS",
    "LIBRARY",
    "MAX_PIXELS",
    "SHRINK_GAP",
    "Outcome",
    "Profiles",
    "Status",
    "available",
    "build",
    "check_batch",
    "decode_batch",
    "library",
    "map_channels",
    "prove_jpeg",
    "read_jpeg",
    "read_rgb",
    "why_not",
    "xxh3_64",
]

LIBRARY = Path(__file__).with_name("_core.so")
"""Where the build puts the core; a plain shared library, of this name on every system."""
FILTERS = ("box", "bilinear", "bicubic")
"""Resampling filters of Pillow, in the order of the core's own list; all widen with the reduction."""
AREA = "area"
"""The core's last filter: a pixel weighs what is covered of it, as in OpenCV's INTER_AREA where that shrinks."""
DECODERS = ("any", "libjpeg", "own")
"""Ways to decode a JPEG, in the order of the core's own list; "any" is our own where it can, else libjpeg."""
INTERFACE = 10
MAX_PIXELS = 178_956_970
SHRINK_GAP = 2.0
"""A reduced decode leaves at least so many times the target's sides; below 2 it is faster, and some pictures differ
by more than 2 levels on average from a resize of all pixels."""

_OF_BATCHES = frozenset(
    ("COLOUR_MAP_SIZE", "Outcome", "Profiles", "check_batch", "decode_batch", "map_channels", "read_jpeg", "read_rgb")
)
"""Names of `imagemill.native.batch`, imported when first used: whoever only has files proven needs no NumPy."""


def __getattr__(name: str) -> Any:
    if name not in _OF_BATCHES:
        raise AttributeError(f"module 'imagemill.native' has no attribute {name!r}")
    return getattr(import_module("imagemill.native.batch"), name)


class Status(IntEnum):
    """What became of one image; the numbers are those of the core."""

    DONE = 0
    NOT_JPEG = 1
    PROFILE = 2
    DOUBTFUL = 3
    TOO_LARGE = 4
    BAD_BOX = 5
    NO_MEMORY = 6
    DAMAGED = 7
    ELSEWHERE = 8


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """(the core, "") or (None, why there is none)."""
    if not LIBRARY.is_file():
        return None, "it was not built"
    try:
        library = ctypes.CDLL(str(LIBRARY))
        library.imagemill_interface.restype = ctypes.c_int32
        found = library.imagemill_interface()
        if found != INTERFACE:
            return None, f"it was built from other sources (interface {found}, not {INTERFACE})"
        declare(library)
    except (OSError, AttributeError) as error:
        return None, f"it cannot be loaded: {error}"
    return library, ""


def library() -> ctypes.CDLL:
    """The core.

    Raises:
        ConfigError: it is not available; says why.
    """
    found, reason = _load()
    if found is None:
        raise ConfigError(f"the native core is not available: {reason}; imagemill.codecs.batch does without it")
    return found


def address(array: npt.NDArray[Any]) -> int:
    """Where an array's first element lies."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))  # a fifth of the time of what follows
    except (TypeError, ValueError, BufferError):  # read-only, empty or in pieces
        return int(array.__array_interface__["data"][0])


def available() -> bool:
    """Whether the core is there and works."""
    return _load()[0] is not None


def why_not() -> str:
    """Why the core is not available; empty where it is."""
    return _load()[1]


def build() -> str:
    """What the core was built with and which instructions it uses: "libjpeg-turbo 2.1.5, avx2"; empty without it."""
    core = _load()[0]
    if core is None:
        return ""
    parts: list[bytes] = [core.imagemill_build(), core.imagemill_kernel()]
    return b", ".join(parts).decode()


def xxh3_64(content: bytes) -> int:
    """The core's own xxh3-64, with which it checks values; for tests."""
    return int(library().imagemill_xxh3(content, len(content)))


def prove_jpeg(data: Buffer) -> bool:
    """Whether every code of a JPEG is there and nothing whatever is to be remarked of the file.

    The entropy-coded data of all scans are decoded and no pixels made of them: an inverse transform cannot fail. False
    says nothing: another decoder must judge, also where the core is not available. The interpreter lock is released.

    Args:
        data: the whole file.
    """
    core = _load()[0]
    if core is None:
        return False
    import numpy as np  # the address of any buffer

    content = np.frombuffer(data, np.uint8)
    return bool(core.imagemill_prove(address(content), content.size)) if content.size else False
