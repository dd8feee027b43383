"""One `tf.train.Example` that anybody wrote, as plain values: any order of features, packed lists or not.

`protobuf.py` reads the Examples that are written here, many at once; this reads whatever the format allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imagemill.core.wire import FIXED32, LENGTH, fields
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
    pieces = [bytes(piece) for _, wire, piece in fields(body) if wire in (LENGTH, FIXED32)]
    return np.frombuffer(b"".join(pieces), "<f4").astype(np.float32)


def _integers(body: memoryview) -> npt.NDArray[np.int64]:
    numbers: list[int] = []
    for _, wire, piece in fields(body):
        if isinstance(piece, int):
            numbers.append(piece & (2**64 - 1))
        elif wire == LENGTH:
            numbers += varints(piece)
    return np.array(numbers, np.uint64).astype(np.int64)


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(field number, content) of the fields of a message that are themselves messages, texts or bytes."""
    return ((number, body) for number, wire, body in fields(data) if wire == LENGTH and not isinstance(body, int))
