"""Names that count up as the frames of a clip do, so that nobody splits a film frame by frame without knowing."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from imagemill.sources.layout import CLIP_PATTERN

LOOKED_AT = 10_000
"""Keys that are looked at; clips lie side by side in any listing."""

MIN_FRAMES = 8
MIN_DIGITS = 4
REGULAR = 0.9
"""Share of the steps between neighbours that must be the same for a clip."""

_FRAME = re.compile(CLIP_PATTERN)


def clip_remark(keys: Iterable[str]) -> str:
    """A sentence for the user where keys look like frames of clips, else nothing.

    Frames are names that differ in a number of at least `MIN_DIGITS` digits, as many in each, that mostly counts up by
    the same step.
    """
    clips: dict[tuple[str, int], list[int]] = defaultdict(list)
    total = 0
    for key in keys:
        total += 1
        match = _FRAME.match(key)
        if match is not None:
            number = key[match.end(1) :].partition(".")[0]
            clips[match[1], len(number)].append(int(number))
    frames = {name: sorted(numbers) for name, numbers in clips.items() if _is_clip(name[1], numbers)}
    if sum(map(len, frames.values())) < REGULAR * max(total, 1):
        return ""
    (prefix, digits), numbers = min(frames.items())
    first, second = (f"{prefix}{number:0{digits}d}" for number in numbers[:2])
    return (
        f"names count up ({first}, {second}, …): if they are frames of clips, --clips keeps each clip in one split "
        "(of one long clip, blocks: --group-pattern '^(.*)[0-9]{3}')"
    )


def _is_clip(digits: int, numbers: list[int]) -> bool:
    if digits < MIN_DIGITS or len(numbers) < MIN_FRAMES:
        return False
    ordered = sorted(numbers)
    steps = Counter(after - before for before, after in pairwise(ordered))
    return max(steps.values()) >= REGULAR * steps.total()
