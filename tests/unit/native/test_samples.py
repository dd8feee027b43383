"""The core's own digests and draws: those of the packages and classes that define them, to the bit."""

from __future__ import annotations

import random
from typing import Any

import pytest
import xxhash
from unit.native.batches import needs_core

from imagemill import native
from imagemill.errors import ConfigError
from imagemill.native.samples import drawn
from imagemill.transforms import (
    CenterCrop,
    Fit,
    HorizontalFlip,
    Pipeline,
    RandomCrop,
    RandomResizedCrop,
    RandomRotate90,
    Resize,
    SampleRng,
    VerticalFlip,
)
from imagemill.transforms.program import says_size, size_after, steps_of
from imagemill.transforms.rng import stream_state

pytestmark = needs_core

TURNS = [RandomRotate90(0.7), HorizontalFlip(), VerticalFlip(0.3)]
PIPELINES: dict[str, list[Any]] = {
    "nothing": [],
    "random resized crop": [RandomResizedCrop(224), HorizontalFlip()],
    "few fit": [RandomResizedCrop((20, 31), scale=(0.8, 1.0), ratio=(0.2, 0.4), filter="bicubic"), *TURNS],
    "evaluation": [Resize(256), CenterCrop(224)],
    "bounded": [Resize(200, max_size=240, filter="box"), RandomCrop(60, pad_if_needed=True, fill=7)],
    "exact": [Resize((90, 70)), RandomCrop((80, 60)), *TURNS],
    **{f"fit {fit}": [Fit((70, 90), fit), RandomRotate90()] for fit in ("exact", "contain", "cover", "short", "long")},
    "turned first": [*TURNS, RandomCrop(50, padding=30), RandomRotate90(), CenterCrop((70, 40)), Resize(31)],
    "twice": [RandomResizedCrop(300), RandomRotate90(), RandomResizedCrop(128), CenterCrop(140), *TURNS],
}


def test_digests_are_xxh3() -> None:
    content = random.Random(0).randbytes(1_000_001)
    rng = random.Random(1)
    lengths = [*range(600), *range(1000, 1100), *range(2040, 2060), *(rng.randrange(1_000_001) for _ in range(200))]
    for length in (*lengths, 1_000_000):
        start = rng.randrange(len(content) - length + 1)
        part = content[start : start + length]
        assert native.xxh3_64(part) == xxhash.xxh3_64_intdigest(part), length


@pytest.mark.parametrize("name", PIPELINES)
def test_draws_are_those_of_the_classes(name: str) -> None:
    """The same numbers, not nearly the same: a run that is resumed without the core goes on with the same crops."""
    geometry = PIPELINES[name]
    steps = steps_of(geometry, 3)
    assert steps is not None
    rng = random.Random(name)
    for number in range(400):
        sides = rng.choice([(375, 500), (1, 1), (rng.randrange(1, 900), rng.randrange(1, 900)), (61, 2000)])
        seed, epoch = rng.randrange(2**64), rng.randrange(100)
        found = drawn(steps, sides, stream_state(1, seed, epoch), number)
        try:
            view, _ = Pipeline(geometry).draw(sides, SampleRng(1, seed, epoch, number))
        except ConfigError:
            assert found is None
            continue
        turn = [view.transpose, view.flip_rows, view.flip_columns]
        wanted = [*view.limit, *view.out, *turn, native.FILTERS.index(view.filter)]
        assert found == ([*view.box], wanted), (sides, seed, epoch)
        size = size_after(geometry, None)
        assert size in (None, view.size)
        assert not says_size(geometry) or view.is_resized


def test_what_the_core_does_not_draw() -> None:
    class Mine(RandomResizedCrop):
        """A crop of one's own."""

    assert steps_of([Mine(8)], 3) is None
    assert steps_of([Resize(8, filter="lanczos")], 3) is None
    assert steps_of([CenterCrop(8, fill=(1, 2, 3))], 1) is None
    three = steps_of([CenterCrop(8, fill=(1, 2, 3))], 3)
    assert three is not None
    assert three["fill"].tolist() == [[1, 2, 3, 0]]
    assert size_after([Resize(8)], None) is None
    assert size_after([Resize(8), CenterCrop((9, 7)), HorizontalFlip()], None) == (9, 7)
    assert size_after([RandomCrop((9, 7)), RandomRotate90()], (20, 20)) is None
    assert size_after([RandomRotate90()], (20, 20)) == (20, 20)
