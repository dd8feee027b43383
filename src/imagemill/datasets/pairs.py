"""Images at two resolutions, as training data sets show them: by the native core where it can, else by OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import torch

from imagemill import native
from imagemill.codecs.colour_map import known_profiles, learn_profile
from imagemill.core.sample import Encoded
from imagemill.datasets.base import Image, Pixels, resized
from imagemill.datasets.batches import empty_items
from imagemill.datasets.pictures import File, as_pixels, as_planes, read_file
from imagemill.errors import SampleError
from imagemill.native.pairs import PairView, PictureBatch, Place

ViewOf: TypeAlias = Callable[[int, int], PairView]
"""What is seen of an image of this height and width."""

MOST_OPEN = 16
"""Files that are held in memory at a time, encoded."""


class LastView:
    """A `ViewOf` that remembers its last view: most images of a data set have the sides of the one before.

    Args:
        view_of: what is asked otherwise.
    """

    def __init__(self, view_of: ViewOf) -> None:
        self._view_of = view_of
        self._last: tuple[tuple[int, int], PairView] | None = None

    def __call__(self, height: int, width: int) -> PairView:
        last = self._last  # another thread may change it meanwhile
        if last is None or last[0] != (height, width):
            self._last = last = (height, width), self._view_of(height, width)
        return last[1]


@dataclass(frozen=True, slots=True)
class Pair:
    """An image at two resolutions.

    Args:
        planes: float32 (C, H, W), of the sides kept.
        low_planes: the same of those over the scale; None without a scale.
        sides: upright (height, width) of the whole image.
    """

    planes: torch.Tensor
    low_planes: torch.Tensor | None
    sides: tuple[int, int]

    @property
    def high(self) -> Image:
        """The planes as an image (H, W, C), the same memory."""
        return image_of(self.planes)

    @property
    def low(self) -> Image | None:
        """The same of the low resolution."""
        return None if self.low_planes is None else image_of(self.low_planes)


@dataclass(frozen=True, slots=True, eq=False)
class KeptPair:
    """A pair that was shown, to be shown again under the same view: to the last bit the same, without a decoder.

    Args:
        planes: (3, H, W), uint8 levels where these say all, else float32.
        low_planes: float32 (3, H / scale, W / scale); None without a scale.
        sides: upright (height, width) of the whole image.
    """

    planes: Pixels | Image
    low_planes: Image | None
    sides: tuple[int, int]

    @classmethod
    def of(cls, pair: Pair) -> KeptPair:
        """A copy of what was shown."""
        planes = pair.planes.numpy()[:3]
        levels = np.rint(planes * np.float32(255)).astype(np.uint8)
        are_all = np.array_equal(_floats_of(levels, np.empty_like(planes)), planes)
        low = None if pair.low_planes is None else pair.low_planes.numpy()[:3].copy()
        return cls(levels if are_all else planes.copy(), low, pair.sides)

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        return int(self.planes.nbytes) + (0 if self.low_planes is None else int(self.low_planes.nbytes))

    def show(self, planes: torch.Tensor, low_planes: torch.Tensor | None) -> Pair:
        """The pair in this memory, of three channels or more."""
        high = planes.numpy()[:3]
        if _are_levels(self.planes):
            _floats_of(self.planes, high)
        else:
            high[:] = self.planes
        if low_planes is not None:
            low_planes.numpy()[:3] = self.low_planes
        return Pair(planes, low_planes, self.sides)


def _are_levels(planes: Pixels | Image) -> TypeGuard[Pixels]:
    return planes.dtype == np.uint8


def _floats_of(levels: Pixels, out: Image) -> Image:
    """What the core makes of levels."""
    return np.multiply(levels, np.float32(1 / 255), out=out, dtype=np.float32)


def image_of(planes: torch.Tensor) -> Image:
    """Planes (C, H, W) as an image (H, W, C), the same memory."""
    image: Image = planes.numpy().transpose(1, 2, 0)
    return image


def show_pair(value: Any, name: str, view_of: ViewOf, *, room: int = 0) -> Pair:
    """A part of one image; see `show_pairs`."""
    return show_pairs([value], [name], [view_of], room=room)[0]


def show_pairs(values: Sequence[Any], names: Sequence[str], views_of: Sequence[ViewOf], *, room: int = 0) -> list[Pair]:
    """Parts of images by area, and their low resolution; damage that lies below the part is not looked for.

    Tensors of equal sides lie one behind the other where the first sixteen are of equal sides; see `batches.collate`.

    Args:
        values: encoded bytes, pixels, files, or pairs kept of such under the same view.
        names: for messages.
        room: channels that the images have beyond three, whose values mean nothing yet.

    Raises:
        SampleError: one cannot be read or decoded, or is smaller than what is to be kept of it; by its name.
    """
    memory = _Memory(len(values), 3 + room)
    pairs: list[Pair] = []
    for start in range(0, len(values), MOST_OPEN):
        part = slice(start, start + MOST_OPEN)
        pairs += _shown(values[part], names[part], views_of[part], memory)
    return pairs


def cut_to(sides: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Sides without what a multiple leaves over."""
    return sides[0] - sides[0] % multiple, sides[1] - sides[1] % multiple


class _Memory:
    """Memory for the tensors of several pairs.

    Args:
        count: of the pairs.
        channels: of the tensors.
    """

    def __init__(self, count: int, channels: int) -> None:
        self._count = count
        self._channels = channels
        self._shape: tuple[tuple[int, int], int] | None = None
        self._high: list[torch.Tensor] = []
        self._low: list[torch.Tensor] = []

    def reserve(self, views: Sequence[PairView]) -> None:
        """Makes room for all where the first views have equal sides; called before `take`, the later times are moot."""
        if self._shape is None:
            shape = self._shape = views[0].kept, views[0].scale
            if all((view.kept, view.scale) == shape for view in views):
                self._high, self._low = self._empty(self._count, views[0])

    def take(self, view: PairView) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tensors for one view."""
        high, low = self._high, self._low
        if not high or (view.kept, view.scale) != self._shape:
            high, low = self._empty(1, view)
        return high.pop(0), low.pop(0) if low else None

    def _empty(self, count: int, view: PairView) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        (height, width), channels = view.kept, self._channels
        if not view.scale:
            return empty_items(count, (channels, height, width))[0], []
        low = channels, height // view.scale, width // view.scale
        high, lows = empty_items(count, (channels, height, width), low)
        return high, lows


def _shown(values: Sequence[Any], names: Sequence[str], views_of: Sequence[ViewOf], memory: _Memory) -> list[Pair]:
    pairs = _by_core(values, names, views_of, memory)
    return [
        _by_opencv(value, name, view_of, memory) if pair is None else pair
        for value, name, view_of, pair in zip(values, names, views_of, pairs, strict=True)
    ]


def _by_core(
    values: Sequence[Any], names: Sequence[str], views_of: Sequence[ViewOf], memory: _Memory
) -> Sequence[Pair | None]:
    """Pairs of the images that the core can show; None of the others."""
    places = [_place(value) for value in values]
    if not native.available():
        return [None] * len(values)
    with PictureBatch([b"" if place is None else place for place in places], known_profiles()) as batch:
        if _learn(values, batch):
            return _by_core(values, names, views_of, memory)
        kept = [value if isinstance(value, KeptPair) else None for value in values]
        all_sides = [of if each is None else each.sides for of, each in zip(batch.sides, kept, strict=True)]
        views = _views(all_sides, names, views_of)
        seen = [view for view in views if view is not None]
        if not seen:
            return [None] * len(values)
        memory.reserve(seen)
        made = [None if view is None else memory.take(view) for view in views]
        wanted = [
            None
            if view is None or tensors is None or each is not None
            else (view, tensors[0].data_ptr(), _address(tensors[1]))
            for view, tensors, each in zip(views, made, kept, strict=True)
        ]
        shown = batch.show(wanted)
    return [_pair(*each) for each in zip(made, all_sides, kept, shown, strict=True)]


def _pair(
    tensors: tuple[torch.Tensor, torch.Tensor | None] | None,
    sides: tuple[int, int] | None,
    kept: KeptPair | None,
    is_shown: bool,
) -> Pair | None:
    """What became of one image's tensors: filled from what was kept, by the core, or not at all."""
    if tensors is None or sides is None:
        return None
    if kept is not None:
        return kept.show(*tensors)
    return Pair(*tensors, sides) if is_shown else None


def _views(
    all_sides: Sequence[tuple[int, int] | None], names: Sequence[str], views_of: Sequence[ViewOf]
) -> list[PairView | None]:
    """What is seen of images of these sides; None of what is not for the core."""
    views: list[PairView | None] = []
    last: tuple[PairView, tuple[int, int], PairView | None] | None = None
    for sides, name, view_of in zip(all_sides, names, views_of, strict=True):
        if sides is None:
            views.append(None)
            continue
        view = view_of(*sides)
        if last is None or last[0] is not view or last[1] != sides:
            last = view, sides, _checked(view, sides, name)
        views.append(last[2])
    return views


def _address(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _place(value: Any) -> Place | None:
    """Where the core finds an image; None where it is not for the core."""
    if isinstance(value, File):
        return value.path
    if isinstance(value, Encoded):
        return value.data
    if isinstance(value, KeptPair):
        return None
    is_plain = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.shape[2:] == (3,) and value.size
    return np.ascontiguousarray(value) if is_plain else None


def _learn(values: Sequence[Any], batch: PictureBatch) -> bool:
    """Whether colour profiles were learnt for which the core left images out."""
    learnt = False
    for value, sides, profile in zip(values, batch.sides, batch.profiles, strict=True):
        if sides is None and profile and profile not in known_profiles():
            encoded = read_file(value.path) if isinstance(value, File) else value
            learnt = learn_profile(profile, encoded.data) or learnt
    return learnt


def _checked(view: PairView, sides: tuple[int, int], name: str) -> PairView | None:
    """The view; None where it is not for the core."""
    if min(view.kept) < 1:
        height, width = view.size
        raise SampleError(
            "too-small", f"{width}x{height} holds no multiple of the sides asked for", key=name, origin=name
        )
    return view if view.is_within(sides) else None


def _by_opencv(value: Any, name: str, view_of: ViewOf, memory: _Memory) -> Pair:
    if isinstance(value, KeptPair):
        return value.show(*memory.take(view_of(*value.sides)))
    pixels: Pixels = as_pixels(value, name)
    sides = pixels.shape[0], pixels.shape[1]
    view = view_of(*sides)
    _checked(view, sides, name)
    top, left, height, width = view.box
    part = pixels[top : top + height, left : left + width]
    image = resized(as_planes(np.ascontiguousarray(part[:, ::-1] if view.mirrored else part)), *view.size)
    image = image[: view.kept[0], : view.kept[1]]
    high, low = memory.take(view)
    image_of(high)[..., :3] = image
    if low is not None:
        image_of(low)[..., :3] = resized(image, view.kept[0] // view.scale, view.kept[1] // view.scale)
    return Pair(high, low, sides)
