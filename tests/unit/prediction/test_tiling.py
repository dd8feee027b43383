"""Tiles cover a picture, blend without a trace, and keep memory to rows of tiles."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagemill.errors import ConfigError
from imagemill.prediction.tiling import Pixels, Values, tile_starts, tiled

sides = st.integers(1, 70)


def identity(scale: int):
    def network(batch: Pixels) -> Values:
        values = batch.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        return values.repeat(scale, axis=2).repeat(scale, axis=3)

    return network


@given(sides, sides, st.integers(1, 80), st.integers(0, 79), st.integers(1, 5), st.sampled_from([1, 2, 4]))
@example(31, 47, 8, 0, 3, 1)
@example(31, 47, 8, 7, 3, 2)
def test_identity_in_is_identity_out(height: int, width: int, tile: int, overlap: int, batch: int, scale: int) -> None:
    overlap = min(overlap, tile - 1)
    rng = np.random.default_rng(height * 101 + width)
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    network = identity(scale)
    pieces = list(tiled(pixels, network, tile=tile, overlap=overlap, batch=batch, scale=scale))
    whole = network(pixels[None])[0]
    assert np.array_equal(np.concatenate(pieces, axis=1), whole)


@given(st.integers(1, 500), st.integers(1, 100), st.integers(0, 99))
def test_tiles_cover_the_side_and_overlap_as_asked(side: int, tile: int, overlap: int) -> None:
    overlap = min(overlap, tile - 1)
    starts = tile_starts(side, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] + tile >= side
    assert len(starts) == 1 or starts[-1] + tile == side
    assert all(0 < after - before <= tile - overlap for before, after in pairwise(starts))


def test_where_tiles_differ_the_seam_is_a_ramp() -> None:
    """Each tile as one constant: along the overlap the result goes from one to the other, without a step."""
    pixels = np.zeros((4, 28, 1), np.uint8)
    pixels[:, 12:] = 255
    outputs = iter((0.0, 1.0))

    def network(batch: Pixels) -> Values:
        return np.stack([np.full((1, 4, 16), next(outputs), np.float32) for _ in batch])

    (row,) = tiled(pixels, network, tile=16, overlap=4, batch=1)
    assert np.array_equal(row[0, 0, :12], np.zeros(12))
    assert np.array_equal(row[0, 0, 16:], np.ones(12))
    assert np.allclose(row[0, 0, 12:16], [0.2, 0.4, 0.6, 0.8])


def test_the_result_comes_in_pieces() -> None:
    pixels = np.zeros((1000, 20, 3), np.uint8)
    pieces = [piece.shape[1] for piece in tiled(pixels, identity(1), tile=64, overlap=16, batch=4)]
    assert sum(pieces) == 1000
    assert max(pieces) <= 64


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (16, 16), (16, -1)])
def test_tiles_that_do_not_get_on_are_refused(tile: int, overlap: int) -> None:
    with pytest.raises(ConfigError, match="overlap"):
        tile_starts(100, tile, overlap)
