"""What a user asks of `predict`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from imagemill.curate.limits import Limits
from imagemill.errors import ConfigError
from imagemill.prediction.model import FLIPS
from imagemill.prediction.picture import FORMAT_OF_SUFFIX
from imagemill.prediction.tiling import check_tile

TARGETS = {suffix.removeprefix("."): name for suffix, name in FORMAT_OF_SUFFIX.items()}
"""Formats that `to` names."""

WHOLE_PIXELS = 2**21
"""Pictures of up to so many pixels are shown whole where no tile is given: no seam, and the widest view."""

TILE = 1024
OVERLAP = 64

BATCH_PIXELS = {"cpu": 2**20, "cuda": 2**23}
"""Pixels that a network is shown at a time, at most, unless a single picture or tile has more: bounds its memory."""


@dataclass(frozen=True)
class PredictOptions:
    """How pictures are predicted: equal options, pictures and versions give equal files on one kind of device.

    Args:
        tile: side of a tile; None shows pictures of up to `WHOLE_PIXELS` whole, and tiles of `TILE` of larger ones; 0
            shows all of them whole.
        overlap: pixels that tiles share at least; None is `OVERLAP`, or less than half a small tile.
        batch_size: pictures of one size, or tiles, that the network gets at a time, at most.
        flips: one of `imagemill.prediction.model.FLIPS`.
        vividness: of models that guess colours: 0 gives the mean of what a place may be, 1 its likeliest colours.
        to: format that all are written in, of `TARGETS`; None keeps each picture's own.
        quality: of JPEG and WebP, 1–100.
        keep_grey: whether what is made of a grey picture is grey.
        palette: whether masks get colours for people to look at.
        split: only this split of the source.
        limit: only the first so many pictures.
        limits: what one picture may cost.

    Raises:
        ConfigError: values that cannot work.
    """

    tile: int | None = None
    overlap: int | None = None
    batch_size: int = 8
    flips: str = "none"
    vividness: float = 0.0
    to: str | None = None
    quality: int = 95
    keep_grey: bool = False
    palette: bool = False
    split: str | None = None
    limit: int | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, value, allowed in (("flips", self.flips, FLIPS), ("to", self.to, (None, *TARGETS))):
            if value not in allowed:
                raise ConfigError(f"{name} {value!r} is none of {', '.join(str(one) for one in allowed if one)}")
        for name, number in (("batch_size", self.batch_size), ("limit", self.limit)):
            if number is not None and number < 1:
                raise ConfigError(f"{name} must be at least 1, got {number}")
        if not 0 <= self.vividness <= 1:
            raise ConfigError(f"vividness is from 0 to 1, got {self.vividness}")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality must be 1–100, got {self.quality}")
        if self.tile == 0 and self.overlap:
            raise ConfigError("with tile 0 every picture is shown whole: leave the overlap out")
        if self.tile != 0:
            check_tile(*self.tiles)

    @property
    def tiles(self) -> tuple[int, int]:
        """Side and overlap of the tiles of a picture that is not shown whole."""
        tile = self.tile or TILE
        return tile, min(OVERLAP, tile // 4) if self.overlap is None else self.overlap

    def shown_whole(self, height: int, width: int) -> bool:
        """Whether a picture goes through the network in one piece, perhaps with others of its size."""
        if self.tile is None:
            return height * width <= WHOLE_PIXELS
        return self.tile == 0 or max(height, width) <= self.tile

    def at_a_time(self, pixels: int, device: str) -> int:
        """Pictures or tiles of so many pixels that the network gets at a time."""
        return max(min(self.batch_size, BATCH_PIXELS.get(device, BATCH_PIXELS["cpu"]) // pixels), 1)

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return asdict(self)
