"""Which URLs come again: the way for few and the way for many find the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemill.acquire import repeats as module
from imagemill.acquire.repeats import find_few_repeats, find_repeats
from imagemill.acquire.survey import url_hash


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 40))
def test_repeats_are_all_but_the_first_of_equal_urls(numbers: list[int], bucket_rows: int) -> None:
    content = b"".join(url_hash(f"http://a.org/{number}") for number in numbers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BUCKET_ROWS", bucket_rows)
        repeats = find_repeats(np.frombuffer(content, np.uint64).reshape(-1, 2))
    assert find_few_repeats(memoryview(content)) == repeats
    expected = {row: numbers.index(number) for row, number in enumerate(numbers) if numbers.index(number) != row}
    assert repeats.first_of(0, len(numbers)) == expected
    assert repeats.rows.tolist() == sorted(expected)
    half = len(numbers) // 2
    assert repeats.first_of(0, half) | repeats.first_of(half, len(numbers)) == expected


def test_hashes_that_are_half_equal_are_no_repeats() -> None:
    hashes = np.array([[1, 2], [1, 3], [1, 2], [4, 2]], np.uint64)
    assert find_repeats(hashes).first_of(0, 4) == {2: 0}
