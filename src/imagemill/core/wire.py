"""The wire format of Protocol Buffers: the fields of a message, whatever the message is.

https://protobuf.dev/programming-guides/encoding: a field is a number and a wire type, then a number in groups of
seven bits, four or eight bytes, or a length and so many bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types; groups (3 and 4) are no longer written by anybody."""

_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT_BITS = 70


def fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(field number, wire type, value) of a message, in order; values are integers (varints) or views of bytes.

    Raises:
        ValueError: it is cut off, or no message.
    """
    place = 0
    while place < len(message):
        tag, place = varint(message, place)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, place = varint(message, place)
            yield number, wire, value
            continue
        if wire == LENGTH:
            length, place = varint(message, place)
        elif wire in _SIZES:
            length = _SIZES[wire]
        else:
            raise ValueError(f"wire type {wire} is none of protobuf's")
        if place + length > len(message):
            raise ValueError("a field reaches beyond its message")
        yield number, wire, message[place : place + length]
        place += length


def varint(data: memoryview, place: int) -> tuple[int, int]:
    """The number that starts at a place, and the place after it.

    Raises:
        ValueError: it is cut off, or longer than ten bytes.
    """
    number = shift = 0
    while place < len(data) and shift < _LONGEST_VARINT_BITS:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
    raise ValueError("a number is cut off")


def signed(number: int) -> int:
    """A varint as the signed integer of 64 bits that it stands for."""
    number &= 2**64 - 1
    return number - 2**64 if number >> 63 else number
