"""A learning rate by a range test (Smith 2015): the rate grows step by step, the loss says how far it may."""

from __future__ import annotations

import math
from collections.abc import Iterator

from imagemill.training.checkpoint import learner_state, restore_learner
from imagemill.training.data import Feed, Pairs
from imagemill.training.learner import Learner

LOWEST, HIGHEST = 1e-6, 1.0
STEPS = 80
SMOOTHING = 0.9
WORSE = 0.25
"""The test ends where the loss is worse than at its beginning by this share of its size; losses may be negative."""
BELOW_BEST = 0.1
"""The rate that is taken: a tenth of that with the lowest loss, well before it rises again."""
LEAST_RATE = 1e-5


def find_rate(learner: Learner, feed: Feed, *, steps: int = STEPS) -> float:
    """A learning rate for the learner, whose state is as before when this returns.

    Args:
        feed: batches of its first epoch are used, again and again where there are few.
    """
    tensors, rest = learner_state(learner)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    growth = (HIGHEST / LOWEST) ** (1 / (steps - 1))
    smooth, first, best, found = 0.0, math.inf, math.inf, LEAST_RATE
    learner.rate = LOWEST
    for step, pairs in zip(range(steps), _endless(feed), strict=False):
        terms = learner.terms(pairs)
        loss = learner.weighted(terms)
        smooth = SMOOTHING * smooth + (1 - SMOOTHING) * float(loss.detach())
        value = smooth / (1 - SMOOTHING ** (step + 1))
        first = value if step == 0 else first
        if not math.isfinite(value) or value > first + WORSE * abs(first):
            break
        if value < best:
            best, found = value, learner.rate
        learner.backward(loss)
        learner.step(1.0)
        learner.rate *= growth
    restore_learner(learner, tensors, rest)
    return max(found * BELOW_BEST, LEAST_RATE)


def _endless(feed: Feed) -> Iterator[Pairs]:
    epoch = 0
    while True:
        yield from feed.batches(epoch)
        epoch += 1
