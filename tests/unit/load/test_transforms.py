"""Loader with transforms: partners aligned, resumed to the bit, close to Pillow, the same by any number of threads."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, SampleError
from imagemill.load import backend
from imagemill.testing.datasets import write_dataset
from imagemill.transforms import (
    CenterCrop,
    ColorJitter,
    CutMix,
    Cutout,
    Grayscale,
    HorizontalFlip,
    MixUp,
    Normalize,
    Pipeline,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    RandomRotate90,
    Resize,
    SampleRng,
    VerticalFlip,
    View,
)

torch = pytest.importorskip("torch")

IMAGE = Field("image", "image")
LABEL = Field("label", "label", "int64", (), "raw")
TOTAL = 22


def encoded(array: np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format, **options)
    return stream.getvalue()


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Something with soft and sharp parts, as a photograph has them."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8))
    picture = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).copy()
    picture[height // 3 : height // 2, width // 4 : width // 2] //= 3
    return picture


def coordinates(height: int, width: int) -> np.ndarray:
    """Red is the row, green the column, blue neither."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full((height, width), 9)], axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 JPEGs of different sizes, upright and turned, in four shards; the label of sample n is n."""
    rows = []
    for number in range(TOTAL):
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        content = encoded(photo(60 + number, 90 - number, number), "JPEG", quality=90, exif=exif)
        label = np.int64(number).tobytes()
        rows.append(Row(f"{number:03d}", {"image": content, "label": label}, {"image": f"{number}.jpg"}))
    path = tmp_path_factory.mktemp("transforms") / "dataset"
    return write_dataset(path, Schema((IMAGE, LABEL)), {"train": rows}, shard_samples=6)


AUGMENT = (RandomResizedCrop(24), HorizontalFlip(), ColorJitter(0.4, 0.4, 0.4, 0.1), RandomErasing(value="random"))


def pixels_of(loader: imagemill.Loader) -> dict[int, np.ndarray]:
    """Index → pixels of what the loader gives in one epoch."""
    return {
        index: image.numpy()
        for batch in loader
        for index, image in zip(batch["index"].tolist(), batch["image"], strict=True)
    }


def assert_equal(one: dict[int, np.ndarray], other: dict[int, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for index, pixels in one.items():
        assert np.array_equal(pixels, other[index]), index


@pytest.mark.parametrize("transforms", [AUGMENT[:2], AUGMENT])
def test_draws_do_not_depend_on_threads_batches_or_ranks(photos: Path, transforms: Any) -> None:
    alone = pixels_of(imagemill.Loader(photos, batch_size=6, transforms=transforms, seed=3, threads=1))
    assert len(alone) == TOTAL
    assert_equal(pixels_of(imagemill.Loader(photos, batch_size=11, transforms=transforms, seed=3, threads=3)), alone)
    ranks: dict[int, np.ndarray] = {}
    for rank in range(3):
        options: Any = {"rank": rank, "world_size": 3, "last": "keep"}
        ranks |= pixels_of(imagemill.Loader(photos, batch_size=2, transforms=transforms, seed=3, **options))
    assert_equal(ranks, alone)
    loader = imagemill.Loader(photos, batch_size=6, transforms=transforms, seed=3)
    loader.set_epoch(1)
    later = pixels_of(loader)
    assert all(not np.array_equal(later[index], alone[index]) for index in alone)


@pytest.mark.parametrize("stop", range(4))
@pytest.mark.parametrize("shuffle", ["full", "window"])
def test_resumed_on_another_world_size_to_the_bit(photos: Path, stop: int, shuffle: Any) -> None:
    order: Any = {"shuffle": shuffle, "window": 5, "last": "wrap", "transforms": AUGMENT}
    whole = imagemill.Loader(photos, batch_size=6, seed=8, **order)
    batches = list(whole)
    first = imagemill.Loader(photos, batch_size=6, seed=8, **order)
    for _ in islice(first, stop):
        pass
    state = first.state_dict()
    for world_size in (1, 2, 3):
        loaders = [
            imagemill.Loader(photos, batch_size=6 // world_size, rank=rank, world_size=world_size, **order)
            for rank in range(world_size)
        ]
        for loader in loaders:
            loader.load_state_dict(state)
        for expected, *parts in zip(batches[stop:], *loaders, strict=True):
            assert torch.equal(torch.cat([part["index"] for part in parts]), expected["index"])
            assert torch.equal(torch.cat([part["image"] for part in parts]), expected["image"])


GEOMETRY: dict[str, tuple[Any, ...]] = {
    "random resized crop": (RandomResizedCrop((40, 50)), HorizontalFlip(), VerticalFlip()),
    "resize and crop": (Resize(48), RandomCrop(40), RandomRotate90(), HorizontalFlip()),
    "crops": (RandomCrop(70, padding=9), RandomCrop(50), VerticalFlip(), RandomRotate90()),
    "colour and erasing": (RandomResizedCrop(48), HorizontalFlip(), Cutout(5, p=0.0), Grayscale(3)),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_before_and_after_are_cut_alike_at_every_pixel(tmp_path: Path, name: str) -> None:
    """After is before with 255 - v: whatever is done to both, it must stay so."""
    schema = Schema((Field("before", "image"), Field("after", "image")))
    rows = []
    for number in range(12):
        before = coordinates(80 + number, 90)
        rows.append(Row(str(number), {"before": encoded(before), "after": encoded(255 - before)}))
    path = write_dataset(tmp_path / "d", schema, {"train": rows})
    for batch in imagemill.Loader(path, batch_size=4, transforms=GEOMETRY[name], seed=2):
        inverse = 255 - batch["after"].int()
        padded = (batch["before"] == 0).all(1) & (batch["after"] == 0).all(1)
        apart = (batch["before"].int() - inverse).abs().amax(1)
        assert apart[~padded].max() <= 1  # rounding, of either
        if "padding" not in str(name) and name != "crops":
            assert not padded.any()


@pytest.mark.parametrize("name", [name for name in GEOMETRY if name != "colour and erasing"])
def test_image_and_mask_are_cut_alike_at_every_pixel(tmp_path: Path, name: str) -> None:
    """Both hold coordinates: at every pixel the image must show where the mask comes from."""
    schema = Schema((IMAGE, Field("mask", "mask")))
    rows = []
    for number in range(12):
        picture = coordinates(80 + number, 90)
        rows.append(Row(str(number), {"image": encoded(picture), "mask": encoded(picture)}))
    path = write_dataset(tmp_path / "d", schema, {"train": rows})
    for batch in imagemill.Loader(path, batch_size=4, transforms=GEOMETRY[name], seed=5):
        image, mask = batch["image"][:, :2].int(), batch["mask"][:, :2].int()
        apart = (image - mask).abs()
        padded = (batch["mask"] == 0).all(1)
        apart = apart.amax(1)[~padded]
        # The nearest pixel is at most half a pixel off, a filter's mean at the border of a crop a little more.
        assert apart.float().mean() < 0.6
        assert apart.max() <= 3
        if name == "crops":
            assert apart.max() == 0
            assert torch.equal(padded, (batch["image"] == 0).all(1))


def test_a_partner_of_twice_the_size_shows_the_same_part(tmp_path: Path) -> None:
    schema = Schema((Field("before", "image"), Field("after", "image")))
    small = photo(40, 60)
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    path = write_dataset(
        tmp_path / "d", schema, {"train": [Row("a", {"before": encoded(small), "after": encoded(large)})]}
    )
    batch = next(iter(imagemill.Loader(path, transforms=[RandomCrop(16), HorizontalFlip(), RandomRotate90()])))
    assert batch["after"].shape == (1, 3, 32, 32)
    assert torch.equal(batch["after"], batch["before"].repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_masks_of_any_type_follow(tmp_path: Path) -> None:
    ids = (np.arange(40 * 50).reshape(40, 50) * 31).astype(np.uint16)
    schema = Schema((IMAGE, Field("mask", "mask", "uint16", (40, 50), "raw")))
    row = Row("a", {"image": encoded(photo(40, 50)), "mask": ids.tobytes()})
    path = write_dataset(tmp_path / "d", schema, {"train": [row]})
    transforms = [RandomResizedCrop(24), HorizontalFlip(1.0), ColorJitter(0.9), RandomErasing(1.0)]
    batch = next(iter(imagemill.Loader(path, transforms=transforms)))
    box = transforms[0].draw((40, 50), SampleRng(1, 0, 0, 0))
    top, left, height, width = box
    rows = top + (2 * np.arange(24) + 1) * height // 48
    columns = left + (2 * np.arange(24) + 1) * width // 48
    assert np.array_equal(batch["mask"][0].numpy(), ids[rows[:, None], columns][:, ::-1])


@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
def test_resize_is_close_to_pillows(photos: Path, filter: str) -> None:
    each = RandomResizedCrop(24, filter=filter)
    shown = pixels_of(imagemill.Loader(photos, transforms=[each]))
    for index, (picture, _) in enumerate(imagemill.open(photos)):
        top, left, height, width = each.draw((picture.height, picture.width), SampleRng(1, 0, 0, index))
        crop = picture.crop((left, top, left + width, top + height))
        expected = np.asarray(crop.resize((24, 24), Image.Resampling[filter.upper()]))
        assert np.abs(shown[index].transpose(1, 2, 0).astype(int) - expected).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_large_jpegs_are_decoded_at_a_fraction(orientation: int, options: dict[str, Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photo(601, 803), "JPEG", quality=92, exif=exif, **options)
    field = IMAGE
    sides, header = backend.read_sides(field, content)
    assert header is not None
    factors = set()
    for number in range(8):
        each = RandomResizedCrop(40, scale=(0.2, 1.0))
        box = each.draw(sides, SampleRng(number))
        view = HorizontalFlip().view(each.view(View.whole(*sides), box), True)
        factors.add(backend.dct_factor(header, view, "RGB"))
        out = np.empty((1, 40, 40, 3), np.uint8)
        assert backend.fill(field, [content], [header], [view], "RGB", out) == [None]
        top, left, height, width = box
        whole = Image.open(io.BytesIO(content))
        upright = whole.transpose(TURNS[orientation]) if orientation > 1 else whole
        crop = upright.crop((left, top, left + width, top + height))
        expected = np.asarray(crop.resize((40, 40), Image.Resampling.BILINEAR))[:, ::-1]
        assert np.abs(out[0].astype(int) - expected).mean() < 2
    assert max(factors) >= 4


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_put_into_planes_and_pixels(mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, Image.getmodebands(mode)), np.uint8)[:, ::-1]
    planes, whole = np.zeros((pixels.shape[2], 5, 7), np.uint8), np.zeros(pixels.shape, np.uint8)
    backend.put(planes.transpose(1, 2, 0), pixels)
    backend.put(whole, pixels)
    assert np.array_equal(planes.transpose(1, 2, 0), pixels)
    assert np.array_equal(whole, pixels)


def test_raw_arrays_are_cropped_too(tmp_path: Path) -> None:
    pictures = [photo(12, 16, number) for number in range(5)]
    rows = [Row(str(number), {"image": picture.tobytes()}) for number, picture in enumerate(pictures)]
    schema = Schema((Field("image", "image", "uint8", (12, 16, 3), "raw"),))
    path = write_dataset(tmp_path / "d", schema, {"train": rows}, pixels="raw")
    batch = next(iter(imagemill.Loader(path, shuffle=False, transforms=[CenterCrop(8), VerticalFlip(1.0)])))
    expected = np.stack([picture[2:10, 4:12][::-1] for picture in pictures]).transpose(0, 3, 1, 2)
    assert np.array_equal(batch["image"].numpy(), expected)
    erased = next(iter(imagemill.Loader(path, shuffle=False, transforms=[Cutout(16, value=1)])))
    assert (erased["image"] == 1).any()
    assert np.array_equal(
        next(iter(imagemill.Loader(path, shuffle=False)))["image"][0].numpy().transpose(1, 2, 0), pictures[0]
    )


def test_callables_on_both_sides_of_the_batch(photos: Path) -> None:
    def sample(values: dict[str, Any]) -> dict[str, Any]:
        assert values["image"].shape == (16, 16, 3)
        assert values["image"].flags.writeable
        return {**values, "image": values["image"][:8, :, :1], "label": values["label"] + 100}

    def batch(values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "sum": values["image"].float().sum()}

    loader = imagemill.Loader(photos, batch_size=5, size=16, transforms=[sample], batch_transforms=[batch])
    shown = next(iter(loader))
    assert shown["image"].shape == (5, 1, 8, 16)
    assert torch.equal(shown["label"], shown["index"] + 100)
    assert shown["sum"] == shown["image"].float().sum()


def test_transforms_of_batches(photos: Path) -> None:
    loader = imagemill.Loader(
        photos,
        batch_size=6,
        size=16,
        device="cpu",
        batch_transforms=[Normalize(), MixUp(TOTAL, alpha=0.4), CutMix(TOTAL)],
    )
    batches = list(loader)
    assert all(batch["image"].dtype == torch.float32 for batch in batches)
    assert all(torch.allclose(batch["label"].sum(1), torch.ones(len(batch["label"]))) for batch in batches)
    loader.set_epoch(0)
    for one, other in zip(batches, loader, strict=True):
        assert torch.equal(one["image"], other["image"])


def test_sizes_compose_with_transforms(photos: Path) -> None:
    batch = next(iter(imagemill.Loader(photos, size=32, transforms=[RandomCrop(28), ColorJitter(0.2)])))
    assert batch["image"].shape[1:] == (3, 28, 28)
    with pytest.raises(ConfigError, match="a batch needs one size"):
        next(iter(imagemill.Loader(photos, transforms=[ColorJitter(0.2)])))


def test_samples_that_come_twice_are_drawn_twice(photos: Path) -> None:
    weights = np.r_[np.ones(2), np.zeros(TOTAL - 2)]
    loader = imagemill.Loader(photos, batch_size=TOTAL, weights=weights, transforms=[RandomResizedCrop(16)])
    batch = next(iter(loader))
    assert set(batch["index"].tolist()) == {0, 1}
    assert len({image.numpy().tobytes() for image in batch["image"]}) == TOTAL


def test_a_bad_image_among_transformed_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = [encoded(photo(30, 40, number), "JPEG") for number in range(9)]
    files = [
        content if number not in (3, 5) else content[: 40 if number == 3 else 700]
        for number, content in enumerate(good)
    ]
    rows = [Row(str(number), {"image": content}, {"image": f"{number}.jpg"}) for number, content in enumerate(files)]
    path = write_dataset(tmp_path / "d", Schema((IMAGE,)), {"train": rows}, shard_samples=9)
    for transforms in (AUGMENT[:1], AUGMENT):
        loader = imagemill.Loader(path, batch_size=9, shuffle=False, transforms=transforms, on_error="skip")
        with caplog.at_level(logging.WARNING):
            batch = next(iter(loader))
        assert batch["index"].tolist() == [0, 1, 2, 4, 6, 7, 8]
        assert loader.skipped == 2
        assert "3.jpg" in caplog.text
        assert "5.jpg" in caplog.text
        whole = imagemill.open(path)
        for place, index in enumerate(batch["index"].tolist()):
            drawn = Pipeline(transforms).draw((30, 40), SampleRng(1, 0, 0, index))
            view = drawn[0]
            if len(transforms) == 1:
                out = np.empty((1, 24, 24, 3), np.uint8)
                header = backend.read_sides(IMAGE, files[index])[1]
                backend.fill(IMAGE, [files[index]], [header], [view], "RGB", out)
                assert np.array_equal(batch["image"][place].numpy().transpose(1, 2, 0), out[0])
        assert len(whole) == 9
        with pytest.raises(SampleError, match=r"3\.jpg"):
            list(imagemill.Loader(path, batch_size=9, shuffle=False, transforms=transforms))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (lambda: {"batch_transforms": [HorizontalFlip()]}, "transforms=.HorizontalFlip"),
        (lambda: {"transforms": [Normalize()]}, "batch_transforms=.Normalize"),
        (lambda: {"batch_transforms": [3]}, "neither"),
        (lambda: {"device": "gpu"}, "cpu, cuda"),
        (lambda: {"shuffle": "blocks"}, "'window'"),
        (lambda: {"transforms": [ColorJitter(0.1), Resize(3)]}, "Resize comes after ColorJitter"),
    ],
)
def test_options_that_cannot_work(photos: Path, options: Callable[[], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        imagemill.Loader(photos, **options())


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_no_cuda_is_said_at_once(photos: Path) -> None:
    with pytest.raises(ConfigError, match="finds no CUDA"):
        imagemill.Loader(photos, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_batches_arrive_on_the_gpu(photos: Path) -> None:
    here = list(imagemill.Loader(photos, batch_size=5, transforms=AUGMENT, batch_transforms=[Normalize()]))
    loader = imagemill.Loader(photos, batch_size=5, transforms=AUGMENT, batch_transforms=[Normalize()], device="cuda")
    for one, other in zip(here, loader, strict=True):
        assert other["image"].device.type == other["index"].device.type == "cuda"
        assert torch.allclose(one["image"], other["image"].cpu(), atol=1e-5)
        assert torch.equal(one["index"], other["index"].cpu())
