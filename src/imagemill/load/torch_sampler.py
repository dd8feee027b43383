"""`imagemill.Sampler`: the order of an epoch for torch's DataLoader, also inside Lightning."""

from __future__ import annotations

from imagemill.errors import MissingExtra
from imagemill.load import sampler

try:
    from torch.utils.data import DistributedSampler
except ImportError:
    raise MissingExtra("torch", "torch") from None


class Sampler(sampler.Sampler, DistributedSampler):  # type: ignore[misc]
    # A DistributedSampler by name alone: any other sampler Lightning and Fabric wrap in one of their own,
    # and each rank would see its share of its share.
    __doc__ = sampler.Sampler.__doc__
