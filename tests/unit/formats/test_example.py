"""Examples as anybody may write them, and bytes that are none."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.formats.example import parse_example
from imagemill.formats.protobuf import example_head, feature_head, varint


def message(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def example(*features: tuple[str, bytes]) -> bytes:
    entries = (message(1, message(1, name.encode()) + message(2, feature)) for name, feature in features)
    return message(1, b"".join(entries))


def test_lists_that_are_packed_and_lists_that_are_not() -> None:
    packed = message(2, message(1, struct.pack("<3f", 1, 2.5, -3)))
    loose = message(2, b"".join(b"\x0d" + struct.pack("<f", value) for value in (1, 2.5, -3)))
    numbers = message(3, message(1, varint(7) + varint(-1)))
    single = message(3, b"\x08" + varint(7) + b"\x08" + varint(-1))
    texts = message(1, message(1, b"one") + message(1, b""))
    found = parse_example(example(("f", packed), ("g", loose), ("n", numbers), ("m", single), ("t", texts), ("e", b"")))
    for name in "fg":
        assert np.array_equal(found[name], np.float32([1, 2.5, -3]))
    for name in "nm":
        assert np.array_equal(found[name], np.int64([7, -1]))
    assert found["t"] == [b"one", b""]
    assert found["e"] == []


def test_our_own_examples() -> None:
    value = np.arange(5, dtype=np.float32).tobytes()
    head = feature_head(b"x", "float", len(value))
    found = parse_example(example_head(len(head) + len(value)) + head + value)
    assert np.array_equal(found["x"], np.arange(5, dtype=np.float32))


@given(st.binary(max_size=80))
def test_any_bytes_are_an_example_or_an_error(content: bytes) -> None:
    try:
        parse_example(content)
    except (ValueError, KeyError):
        return


@pytest.mark.parametrize("cut", range(1, 30))
def test_an_example_cut_off_is_an_error_or_a_shorter_one(cut: int) -> None:
    whole = example(("name", message(1, message(1, b"some text"))), ("n", message(3, message(1, varint(300)))))
    try:
        parse_example(whole[:-cut])
    except (ValueError, KeyError):
        return
    pytest.fail("a cut-off message was taken as whole")
