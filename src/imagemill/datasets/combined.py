"""`combined`: several data sets side by side, item by item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from imagemill.datasets import create_dataset
from imagemill.datasets.base import LOADER_OPTIONS, TrainingDataset
from imagemill.errors import ConfigError

COPIED = ("scale", "phase")
"""Options of the whole that every part is given, where it does not say otherwise."""
UNNAMED = "default"
"""The part whose keys get no prefix."""


class CombinedDataset(TrainingDataset):
    """Item i holds item i of every part (the shorter ones begin again), keys as `NAME_key`; `default` has no prefix.

    Args:
        parts: name → data set.
    """

    options_class = dict

    def __init__(self, parts: Mapping[str, TrainingDataset]) -> None:
        if not parts:
            raise ConfigError("combined: no parts; each is an option dict under a name of its own")
        self.parts = dict(parts)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Every value that is a dict is the options of a part."""
        shared = {name: options[name] for name in COPIED if name in options}
        for name, value in options.items():
            if not isinstance(value, Mapping) and name not in LOADER_OPTIONS and name not in COPIED:
                raise ConfigError(f"combined: option {name!r} is neither a part (a dict) nor one of scale, phase")
        parts = {name: value for name, value in options.items() if isinstance(value, Mapping)}
        return cls({name: create_dataset(shared | dict(value)) for name, value in parts.items()})

    def __len__(self) -> int:
        return max(len(part) for part in self.parts.values())

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = self.position(index)
        item: dict[str, Any] = {}
        for name, part in self.parts.items():
            prefix = "" if name == UNNAMED else f"{name}_"
            item |= {f"{prefix}{key}": value for key, value in part[index % len(part)].items()}
        return item

    def set_epoch(self, epoch: int) -> None:
        """See `TrainingDataset.set_epoch`; concerns every part."""
        super().set_epoch(epoch)
        for part in self.parts.values():
            part.set_epoch(epoch)
