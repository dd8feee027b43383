"""Names that count up like frames, and names that only have numbers in them."""

from __future__ import annotations

import random

import pytest

from imagemill.prepare.clips import clip_remark


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ([f"cam_{number:05d}.png" for number in range(0, 600, 30)], "cam_00000, cam_00030"),
        ([f"{clip}/{number:06d}.jpg" for clip in "ab" for number in range(12)], "a/000000, a/000001"),
        ([f"film/{number:04d}" for number in [*range(40), 50, 51]], "film/0000, film/0001"),
    ],
)
def test_frames_are_told(keys: list[str], shown: str) -> None:
    assert f"({shown}, …)" in clip_remark(keys)
    assert "--clips" in clip_remark(random.Random(0).sample(keys, len(keys)))


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["a.jpg"],
        [f"animal_{number}_after" for number in range(50)],
        [f"im_{number}.jpg" for number in range(50)],
        [f"n0144_{number:05d}.JPEG" for number in random.Random(1).sample(range(99_999), 200)],
        [f"clip_{clip:02d}_{frame:04d}" for clip in range(20) for frame in range(4)],
        [f"cam_{number:05d}" for number in range(20)] + [f"{name}.jpg" for name in "abcdefgh"],
    ],
)
def test_other_names_are_not(keys: list[str]) -> None:
    assert clip_remark(keys) == ""
