"""Random numbers of one sample: a function of (seed, epoch, sample), never of a worker.

The stream is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", 2014) in plain integers: the same on every machine and in every version of
Python and NumPy, and a generator costs a microsecond to make, where NumPy's cost twenty.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_INCREMENT = 0x9E3779B97F4A7C15
_MULTIPLY_1 = 0xFF51AFD7ED558CCD
_MULTIPLY_2 = 0xC4CEB9FE1A85EC53
_MASK_64 = (1 << 64) - 1


def mix(value: int) -> int:
    """A 64-bit number that depends on every bit of another (finaliser of MurmurHash3, Appleby)."""
    value = (value + _INCREMENT) & _MASK_64
    value = ((value ^ value >> 33) * _MULTIPLY_1) & _MASK_64
    value = ((value ^ value >> 33) * _MULTIPLY_2) & _MASK_64
    return value ^ value >> 33


def stream_state(*key: int) -> int:
    """Where the stream of a key begins; `mix(stream_state(*key) ^ part)` is that of the key with one more part."""
    state = 0
    for part in key:
        state = mix(state ^ part)
    return state


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """`mix` of each; NumPy's integers wrap around by themselves."""
    values = values + np.uint64(_INCREMENT)
    for factor in (_MULTIPLY_1, _MULTIPLY_2):
        values = (values ^ values >> np.uint64(33)) * np.uint64(factor)
    return values ^ values >> np.uint64(33)


class SampleRng:
    """A stream of random numbers that a few integers name.

    Args:
        key: integers in [0, 2**64), as (seed, epoch, index); equal keys give equal streams.

    Example::

        >>> rng = SampleRng(0, 3, 17)
        >>> rng.integer(0, 10) == SampleRng(0, 3, 17).integer(0, 10)
        True
    """

    __slots__ = ("_state",)

    def __init__(self, *key: int) -> None:
        self._state = stream_state(*key)

    @classmethod
    def at(cls, state: int) -> SampleRng:
        """A stream that stands at this state of another."""
        rng = cls()
        rng._state = state
        return rng

    @property
    def state(self) -> int:
        """Where the stream stands; see `at`."""
        return self._state

    def bits(self) -> int:
        """An integer in [0, 2**64)."""
        self._state = (self._state + _INCREMENT) & _MASK_64
        return mix(self._state)

    def random(self) -> float:
        """A float in [0, 1), a multiple of 2**-53."""
        return (self.bits() >> 11) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """A float between low and high."""
        return low + (high - low) * self.random()

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high); high is above low."""
        return low + (self.bits() * (high - low) >> 64)

    def permutation(self, count: int) -> list[int]:
        """0 … count - 1 in random order (Fisher and Yates)."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            other = self.integer(0, last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def bytes(self, count: int) -> npt.NDArray[np.uint8]:
        """`count` bytes, uniform in 0 to 255: those of as many integers of 64 bits as it takes, lowest byte first."""
        words = np.arange(1, -(-count // 8) + 1, dtype=np.uint64)
        values = _mixed(np.uint64(self._state) + words * np.uint64(_INCREMENT))
        self._state = (self._state + len(words) * _INCREMENT) & _MASK_64
        return values.astype("<u8").view(np.uint8)[:count]

    def generator(self) -> np.random.Generator:
        """A NumPy generator seeded from this stream, for noise and other distributions."""
        return np.random.Generator(np.random.PCG64(self.bits()))
