"""The C interface of the core: what each function takes and gives; every name begins with `imagemill_` there."""

from __future__ import annotations

import ctypes
from typing import Any

_POINTER, _SIZE, _INT, _LONG, _REAL = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32, ctypes.c_int64, ctypes.c_double
_BYTES, _UNSIGNED = ctypes.c_char_p, ctypes.c_uint64

SIGNATURES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "build": ((), _BYTES),
    "kernel": ((), _BYTES),
    "xxh3": ((_BYTES, _SIZE), _UNSIGNED),
    "join": ((_POINTER, _LONG, _POINTER), None),
    "decode_batch": ((_POINTER, _INT), _INT),
    "prove": ((_POINTER, _SIZE), _INT),
    "sha256": ((_BYTES, _SIZE, _POINTER), None),
    "proofs_start": ((_INT, _INT, _POINTER), _POINTER),
    "proofs_put": ((_POINTER, _BYTES, _SIZE, _LONG, _LONG, _INT, _BYTES), _INT),
    "proofs_take": ((_POINTER, _POINTER, _LONG), _LONG),
    "proofs_end": ((_POINTER,), None),
    "read_jpeg": ((_BYTES, _SIZE, _POINTER, _INT, _INT, _POINTER), _INT),
    "read_rgb": ((_BYTES, _SIZE, _POINTER, _POINTER), _INT),
    "read_png": ((_POINTER, _SIZE, *[_INT] * 3, _POINTER), _INT),
    "shrink": ((_POINTER, *[_INT] * 5, _POINTER), _INT),
    "pairs_open": ((_BYTES, _LONG, _BYTES, _LONG, _POINTER, _LONG, _POINTER), _POINTER),
    "pairs_show": ((_POINTER, _BYTES, _POINTER), None),
    "pairs_end": ((_POINTER,), None),
    "look": ((_POINTER,), _INT),
    "find_near": ((_POINTER,), _LONG),
    "team_start": ((_INT,), _POINTER),
    "team_end": ((_POINTER,), None),
    "load_samples": ((_POINTER, _POINTER), _INT),
    "draw": ((_POINTER, *[_INT] * 3, *[_UNSIGNED] * 2, _POINTER, _POINTER), _INT),
    "change": ((_INT, _REAL, _POINTER, *[_INT] * 3), None),
    "run_over": ((_POINTER, _SIZE), _INT),
    "recode": ((_POINTER, _SIZE, _LONG, _INT, _POINTER), _POINTER),
    "restore": ((_POINTER, _SIZE, _LONG, _POINTER), _POINTER),
    "write_png": ((_POINTER, _LONG, *[_INT] * 3), _POINTER),
    "bytes_data": ((_POINTER,), _POINTER),
    "bytes_size": ((_POINTER,), _SIZE),
    "bytes_end": ((_POINTER,), None),
    "jpeg_parts_start": ((_POINTER,), _POINTER),
    "jpeg_part": ((_POINTER, _LONG, _POINTER), _POINTER),
    "jpeg_parts_end": ((_POINTER,), None),
}
"""Name → (arguments, result)."""


def declare(core: ctypes.CDLL) -> None:
    """Tells ctypes the types.

    Raises:
        AttributeError: the core has no such function.
    """
    for name, (arguments, result) in SIGNATURES.items():
        function = getattr(core, f"imagemill_{name}")
        function.argtypes, function.restype = arguments, result


def taken(core: ctypes.CDLL, made: int) -> bytes:
    """The bytes that a function of the core made, which it need not keep any longer."""
    try:
        return ctypes.string_at(core.imagemill_bytes_data(made), core.imagemill_bytes_size(made))
    finally:
        core.imagemill_bytes_end(made)
