"""Loops that count batches, and never learn from the iterator that it has ended, as Lightning's Trainer does."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import imagemill
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.load.order import permute
from imagemill.testing.datasets import write_dataset

pytest.importorskip("torch")

TOTAL = 10


@pytest.fixture
def loader(tmp_path: Path) -> imagemill.Loader:
    rows = [Row(str(number), {"label": np.int64(number).tobytes()}) for number in range(TOTAL)]
    schema = Schema((Field("label", "label", "int64", (), "raw"),))
    return imagemill.Loader(write_dataset(tmp_path / "dataset", schema, {"train": rows}), batch_size=4, seed=2)


def counted(loader: imagemill.Loader) -> list[int]:
    """An epoch of as many batches as the loader has, and not a question more."""
    batches = iter(loader)
    return [sample for batch in islice(batches, len(loader)) for sample in batch["index"].tolist()]


def test_every_epoch_has_an_order_of_its_own(loader: imagemill.Loader) -> None:
    orders = [permute(np.arange(TOTAL), TOTAL, seed=2, epoch=epoch).tolist() for epoch in range(3)]
    assert [counted(loader) for _ in range(3)] == orders
    assert loader.state_dict()["epoch"] == 3


def test_an_epoch_that_was_asked_for_is_taken(loader: imagemill.Loader) -> None:
    first = counted(loader)
    loader.set_epoch(0)
    assert counted(loader) == first
    loader.load_state_dict({**loader.state_dict(), "epoch": 0, "step": 1})
    assert counted(loader) == first[4:]
