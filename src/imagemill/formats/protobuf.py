"""`tf.train.Example` as bytes, without TensorFlow.

An Example is one message, Features; that is a map from names to a Feature each; a Feature is a list of bytes, of
floats or of integers. Written here with one value per list of bytes, numbers packed, in the order given. All of it
is lengths around the values, so an Example is a few bytes of head before each value, and reading finds where the
values lie, for all records at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from imagemill.formats.mapped import Bytes, Integers

Kind = Literal["bytes", "float", "int64"]

# The tag of a field holds its number and, in the last three bits, 2: a length and so many bytes follow.
_FIRST, _SECOND = 0x0A, 0x12
_LISTS: dict[Kind, int] = {"bytes": 0x0A, "float": 0x12, "int64": 0x1A}

_VARINT_BYTES = 5
"""Lengths below 2 GiB take no more."""


def varint(number: int) -> bytes:
    """A number in groups of seven bits, the least first; negative ones as two's complement of 64 bits."""
    number &= 2**64 - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def varints(data: memoryview) -> list[int]:
    """The numbers in a packed list, each in [0, 2**64).

    Raises:
        ValueError: the last is cut off, or one is longer than ten bytes.
    """
    numbers = []
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number & (2**64 - 1))
            number = shift = 0
        elif shift == 70:
            raise ValueError("an integer has more than ten bytes")
    if shift:
        raise ValueError("an integer is cut off")
    return numbers


def feature_head(name: bytes, kind: Kind, size_bytes: int) -> bytes:
    """What stands before the value of a feature: its bytes, or its packed numbers, so many bytes."""
    value = b"" if size_bytes == 0 and kind != "bytes" else bytes([_FIRST]) + varint(size_bytes)
    feature = bytes([_LISTS[kind]]) + varint(len(value) + size_bytes) + value
    entry = bytes([_FIRST]) + varint(len(name)) + name + bytes([_SECOND]) + varint(len(feature) + size_bytes) + feature
    return bytes([_FIRST]) + varint(len(entry) + size_bytes) + entry


def example_head(size_bytes: int) -> bytes:
    """What stands before all features, so many bytes together."""
    return bytes([_FIRST]) + varint(size_bytes)


def find_features(
    values: Bytes, starts: Integers, ends: Integers, features: Iterable[tuple[bytes, Kind]]
) -> list[tuple[Integers, Integers]]:
    """Where the values of the features of many Examples lie.

    Args:
        values: holds all of them.
        starts: first byte of each Example, int64, shape (examples,).
        ends: byte after each, inside `values`.
        features: name and kind of every feature, in the order written.

    Returns:
        For each feature starts and lengths of its values, int64, shape (examples,).

    Raises:
        ValueError: an Example is no such message, or has other features.
    """
    place, end = _enter(values, starts, ends, _FIRST)
    _require(end == ends)
    found = []
    for name, kind in features:
        entry, entry_end = _enter(values, place, end, _FIRST)
        text, text_end = _enter(values, entry, entry_end, _FIRST)
        _require(text_end - text == len(name))
        _require((values[text[:, None] + np.arange(len(name))] == np.frombuffer(name, np.uint8)).all(axis=1))
        feature, feature_end = _enter(values, text_end, entry_end, _SECOND)
        value, value_end = _enter(values, feature, feature_end, _LISTS[kind])
        _require((feature_end == entry_end) & (value_end == feature_end))
        filled = value < value_end if kind != "bytes" else np.ones(len(value), np.bool_)
        value[filled], value_end[filled] = _enter(values, value[filled], value_end[filled], _FIRST)
        _require(value_end == entry_end)
        found.append((value, value_end - value))
        place = entry_end
    _require(place == end)
    return found


def _enter(values: Bytes, places: Integers, ends: Integers, tag: int) -> tuple[Integers, Integers]:
    """Contents of the messages that start at `places` and do not reach beyond `ends`."""
    # One byte of a tag, then the bytes of the length, read beyond the end only to be thrown away.
    window = values[np.minimum(places[:, None] + np.arange(1 + _VARINT_BYTES), len(values) - 1)].astype(np.int64)
    _require((places < ends) & (window[:, 0] == tag))
    digits = window[:, 1:]
    counts = np.cumprod(digits >= 0x80, axis=1).sum(axis=1) + 1
    _require(counts <= _VARINT_BYTES)
    digits = np.where(np.arange(_VARINT_BYTES) < counts[:, None], digits & 0x7F, 0)
    contents = places + 1 + counts
    stops = contents + digits @ (1 << 7 * np.arange(_VARINT_BYTES))
    _require(stops <= ends)
    return contents, stops


def _require(holds: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
    wrong = np.flatnonzero(~holds)
    if len(wrong):
        raise ValueError(f"record {wrong[0]} is no Example with the features expected")
