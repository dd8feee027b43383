"""Over sizes, world sizes, threads, workers and stop points: the same samples in the same order, to the bit."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import imagemill
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.load.order import permute
from imagemill.testing.datasets import write_dataset
from imagemill.testing.images import photo, saved
from imagemill.transforms import ColorJitter, HorizontalFlip, PixelTransform, RandomErasing, RandomResizedCrop

torch = pytest.importorskip("torch")
data = pytest.importorskip("torch.utils.data")

MOST = 40


class Rolled(PixelTransform):
    """A transform of one's own: rows moved by a number that is drawn."""

    def draw(self, sides: Any, rng: Any) -> int:
        return int(rng.integer(0, 12))

    def pixels(self, pixels: Any, params: int) -> Any:
        return np.roll(pixels, params, axis=0)


GEOMETRY = (RandomResizedCrop(12), HorizontalFlip())
COLOURS = (*GEOMETRY, ColorJitter(0.4, 0.4, 0.4, 0.1), RandomErasing(value="random"))
TRANSFORMS: dict[str, Any] = {"geometry": GEOMETRY, "with colours": COLOURS, "of one's own": (*COLOURS, Rolled())}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty small JPEGs of several sizes, in shards of seven; every fifth is a PNG."""
    rows = []
    for number in range(MOST):
        picture = photo(20 + number % 7, 30 - number % 5, number)
        rows.append(Row(str(number), {"image": saved(picture, "PNG" if number % 5 == 4 else "JPEG")}))
    folder = tmp_path_factory.mktemp("resume") / "dataset"
    return write_dataset(folder, Schema((Field("image", "image"),)), {"train": rows})


@pytest.mark.parametrize("way", TRANSFORMS)
@given(
    total=st.integers(1, MOST),
    world_size=st.integers(1, 8),
    per_rank=st.integers(1, 3),
    threads=st.integers(1, 4),
    prefetch=st.integers(0, 4),
    shuffle=st.sampled_from([True, False, "window"]),
    last=st.sampled_from(["keep", "drop", "wrap"]),
    stop=st.integers(0, MOST),
    resumed=st.integers(0, 7),
)
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pixels_go_on_to_the_bit_on_another_world_size(
    images: Path,
    way: str,
    total: int,
    world_size: int,
    per_rank: int,
    threads: int,
    prefetch: int,
    shuffle: Any,
    last: Any,
    stop: int,
    resumed: int,
) -> None:
    global_batch = world_size * per_rank
    dataset = imagemill.open(images)[:total]
    options: Any = {"seed": 5, "shuffle": shuffle, "window": 9, "last": last, "transforms": TRANSFORMS[way]}
    alone = imagemill.Loader(dataset, batch_size=global_batch, threads=1, prefetch_batches=0, **options)
    whole = [(batch["index"], batch["image"]) for batch in alone]
    stop = stop % (len(whole) + 1)
    options |= {"threads": threads, "prefetch_batches": prefetch}
    first = ranks(dataset, global_batch, world_size, options)
    before = [joined(parts) for parts in islice(zip(*(steps(each, len(whole)) for each in first), strict=True), stop)]
    state = first[0].state_dict()
    assert all(each.state_dict() == state for each in first)
    divisors = [size for size in range(1, 9) if global_batch % size == 0]
    second = ranks(dataset, global_batch, divisors[resumed % len(divisors)], options)
    for each in second:
        each.load_state_dict(state)
    rest = len(whole) - stop
    after = [joined(parts) for parts in zip(*(steps(each, rest) for each in second), strict=True)] if rest else []
    for (index, pixels), (wanted_index, wanted_pixels) in zip([*before, *after], whole, strict=True):
        assert torch.equal(index, wanted_index)
        assert torch.equal(pixels, wanted_pixels)


def ranks(dataset: Any, global_batch: int, world_size: int, options: dict[str, Any]) -> list[imagemill.Loader]:
    batch_size = global_batch // world_size
    return [
        imagemill.Loader(dataset, batch_size=batch_size, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]


def steps(loader: imagemill.Loader, count: int) -> Any:
    """So many batches; a rank that has no share of the last step gives None for it."""
    batches = iter(loader)
    for _ in range(count):
        yield next(batches, None)


def joined(parts: Any) -> tuple[Any, Any]:
    """Indices and pixels of one step over all ranks."""
    present = [part for part in parts if part is not None]
    return torch.cat([part["index"] for part in present]), torch.cat([part["image"] for part in present])


class Positions(data.Dataset):  # type: ignore[misc,name-defined]
    """A dataset whose samples are their positions."""

    def __init__(self, total: int) -> None:
        self.total = total

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("workers", range(5))
def test_workers_of_a_dataloader_change_nothing(workers: int) -> None:
    total, world_size, stop = 45, 3, 2
    order = permute(np.arange(total), total, seed=3, epoch=0).tolist()

    def taken(state: dict[str, int] | None = None) -> tuple[list[list[list[int]]], dict[str, int]]:
        samplers = [imagemill.Sampler(total, 4, seed=3, last="keep", rank=r, world_size=world_size) for r in range(3)]
        for sampler in samplers:
            if state is not None:
                sampler.load_state_dict(state)
        loaders = [data.DataLoader(Positions(total), 4, sampler=each, num_workers=workers) for each in samplers]
        parts = [[batch.tolist() for batch in loader] for loader in loaders]
        return parts, samplers[0].state_dict(stop)

    parts, state = taken()
    assert [sample for step in zip(*parts, strict=True) for part in step for sample in part] == order
    rest, _ = taken(state)
    assert [sample for step in zip(*rest, strict=True) for part in step for sample in part] == order[stop * 12 :]
