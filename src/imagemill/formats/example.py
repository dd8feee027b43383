"""One `tf.train.Example` that anybody wrote, as plain values: any order of features, packed lists or not.

`protobuf.py` reads the Examples that are written here, many at once; this reads whatever the format allows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imagemill.formats.protobuf import varints

Feature: TypeAlias = list[bytes] | npt.NDArray[np.float32] | npt.NDArray[np.int64]

_BYTES, _FLOATS, _INTEGERS = 1, 2, 3
"""Field numbers of the three kinds of list in a Feature."""


def parse_example(content: bytes) -> dict[str, Feature]:
    """{name: values} of an Example: lists of bytes, float32 or int64 arrays of one dimension.

    Raises:
        ValueError: it is no Example.
    """
    features: dict[str, Feature] = {}
    for number, body in _messages(memoryview(content)):
        if number != 1:
            continue
        for _, entry in _messages(body):
            parts = dict(_messages(entry))
            features[bytes(parts[1]).decode()] = _feature(parts[2]) if 2 in parts else []
    return features


def _feature(body: memoryview) -> Feature:
    for number, values in _messages(body):
        if number == _BYTES:
            return [bytes(value) for _, value in _messages(values)]
        if number == _FLOATS:
            return _floats(values)
        if number == _INTEGERS:
            return _integers(values)
    return []


def _floats(body: memoryview) -> npt.NDArray[np.float32]:
    pieces = [bytes(piece) for _, piece in _fields(body, fixed32=True)]
    return np.frombuffer(b"".join(pieces), "<f4").astype(np.float32)


def _integers(body: memoryview) -> npt.NDArray[np.int64]:
    numbers = [number for _, piece in _fields(body, whole_varints=True) for number in varints(piece)]
    return np.array(numbers, np.uint64).astype(np.int64)


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(field number, content) of the fields of a message that are themselves messages, texts or bytes."""
    return ((number, body) for number, body in _fields(data))


def _fields(
    data: memoryview, *, fixed32: bool = False, whole_varints: bool = False
) -> Iterator[tuple[int, memoryview]]:
    """Fields of a message; single floats and integers (lists that are not packed) only where they are expected."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        start = place
        if wire == 2:
            length, start = _varint(data, place)
            place = start + length
        elif wire == 5:
            place += struct.calcsize("<f")
        elif wire == 1:
            place += struct.calcsize("<d")
        elif wire == 0:
            _, place = _varint(data, place)
        else:
            raise ValueError(f"wire type {wire} is none of protobuf's")
        if place > len(data):
            raise ValueError("a field reaches beyond its message")
        if wire == 2 or (wire == 5 and fixed32) or (wire == 0 and whole_varints):
            yield number, data[start:place]


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    number = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
    raise ValueError("a number is cut off")
