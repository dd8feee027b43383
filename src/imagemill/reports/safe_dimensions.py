"""Sides that survive pooling: how often they halve, what a U-Net makes of them level by level, what that costs.

A network that pools n times and joins the halves again needs sides that are multiples of 2**n. Elsewhere one
pooling rounds, the up-sampled tensor is a pixel smaller than the one it is to be joined with, and the forward pass
fails ("Expected size 14 but got size 15"). Everything here is a pure function of integers; nothing is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from imagemill.errors import ConfigError
from imagemill.reports.charts import size_text

CHANNEL_PLANS = {
    "color-reverser": (16, 32, 48, 64, 80, 96, 112, 128),
    "unet": (64, 128, 256, 512, 1024),
    "unet-small": (32, 64, 128, 256),
    "one-level": (64,),
}
"""Channels of the levels of U-Nets: those of Image-Color-Reverser (256x384 before and after), and of Ronneberger,
Fischer and Brox 2015 in full and half; a plan of n channels pools n - 1 times."""

TABLE_ROWS = 15
TABLE_BASES = (1, 1.5, 2.5, 2.625, 2.75, 3.25, 3.5, 3.75, 4.25, 4.5, 4.75)
"""Rows and first row of the kit's picture `odd_pixel_count.png`: each column doubles downwards."""

SIDE_LIMIT = 1_000_000
POOLINGS_LIMIT = 30
BYTES_PER_VALUE = 4
"""float32, of pixels, weights and gradients."""


@dataclass(frozen=True)
class SideFacts:
    """One side.

    Args:
        side: in pixels.
        halvings: how often it halves before it is odd.
        odd: what is left then.
        below, above: nearest sides that halve `poolings` times; `below` is 0 where there is none.
        poolings: how often it is to halve.
    """

    side: int
    halvings: int
    odd: int
    poolings: int
    below: int
    above: int

    @property
    def safe(self) -> bool:
        """Whether it halves as often as it is to."""
        return self.halvings >= self.poolings


@dataclass(frozen=True)
class Level:
    """One level of a U-Net, 0 at full size.

    Args:
        level: how many poolings came before it.
        channels: of its tensors.
        floor: (height, width) where poolings round down, as PyTorch's do by default; None where nothing is left.
        ceil: (height, width) where they round up (`ceil_mode=True`).
        joined: (height, width) of the tensor from below after doubling, with floor; None at the lowest level.
        fits: whether that is the level's own size, so that skip connection and up-sampled tensor can be joined.
        tensor_bytes: one float32 tensor of this level for the whole batch, with floor.
    """

    level: int
    channels: int
    floor: tuple[int, int] | None
    ceil: tuple[int, int]
    joined: tuple[int, int] | None
    fits: bool
    tensor_bytes: int


@dataclass(frozen=True)
class Memory:
    """What one training step needs at least.

    Args:
        weights: parameters.
        weight_bytes: weights, their gradients, and Adam's two moments: 16 bytes a parameter.
        saved_bytes: what the forward pass keeps for the backward pass, without weights.
        total_bytes: the two together; kernels' workspaces and a framework's own come on top.
    """

    weights: int
    weight_bytes: int
    saved_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Dimensions:
    """Everything about one size.

    Args:
        size: (height, width).
        poolings: that the model makes, or that were asked for.
        channels: of its levels.
        batch: pictures a step.
        sides: facts of height and width.
        levels: from full size down.
        first_mismatch: the first level, going up, whose skip connection does not fit; None where all do.
        memory_size: (height, width) that `memory` is of: the size itself, or where the model cannot take it the nearest
            larger one that it can; None where that is beyond `SIDE_LIMIT`.
        memory: of a training step.
    """

    size: tuple[int, int]
    poolings: int
    channels: tuple[int, ...]
    batch: int
    sides: tuple[SideFacts, SideFacts]
    levels: tuple[Level, ...]
    first_mismatch: int | None
    memory_size: tuple[int, int] | None
    memory: Memory | None


def halvings(side: int) -> int:
    """How often a side halves before it is odd: the number of factors 2 in it.

    Raises:
        ConfigError: below 1.
    """
    _check_side(side)
    return (side & -side).bit_length() - 1


def side_facts(side: int, poolings: int) -> SideFacts:
    """What there is to know about one side and a number of poolings.

    Raises:
        ConfigError: a side outside 1 to `SIDE_LIMIT`, poolings outside 0 to `POOLINGS_LIMIT`.
    """
    times = halvings(side)
    if not 0 <= poolings <= POOLINGS_LIMIT:
        raise ConfigError(f"poolings are 0 to {POOLINGS_LIMIT}, got {poolings}")
    step = 1 << poolings
    return SideFacts(side, times, side >> times, poolings, side // step * step, -(-side // step) * step)


def levels(size: tuple[int, int], channels: Sequence[int], batch: int = 1) -> tuple[Level, ...]:
    """Every level of a U-Net for pictures of this size.

    Args:
        size: (height, width).
        channels: of each level, from full size down.
        batch: pictures.

    Raises:
        ConfigError: sides, channels or batch that cannot be.
    """
    _check_plan(channels, batch)
    for side in size:
        _check_side(side)
    floors = [tuple(side >> level for side in size) for level in range(len(channels))]
    found = []
    for level, count in enumerate(channels):
        height, width = floors[level]
        there = min(height, width) > 0
        below = floors[level + 1] if level + 1 < len(channels) and there else None
        joined = (2 * below[0], 2 * below[1]) if below is not None else None
        found.append(
            Level(
                level,
                count,
                (height, width) if there else None,
                (_ceil_halved(size[0], level), _ceil_halved(size[1], level)),
                joined,
                there and (joined is None or joined == (height, width)),
                batch * count * height * width * BYTES_PER_VALUE,
            )
        )
    return tuple(found)


def memory(size: tuple[int, int], channels: Sequence[int], batch: int = 1, in_channels: int = 3) -> Memory:
    """Memory of one training step of a plain U-Net with these channels, in float32 with Adam.

    The model: at each level two convolutions 3x3 (with bias), each followed by batch normalisation and ReLU in
    place; poolings 2x2; on the way up bilinear doubling, the skip joined to it, and two convolutions again; a
    convolution 1x1 to the picture's channels.

    What is kept for the backward pass: of two convolutions from i to c channels, each pixel's i values that come in,
    2c from the convolutions (the normalisations' inputs) and 2c from the ReLUs; of a pooling, an int64 index for each
    value that it gives; of a normalisation, mean and inverse deviation of each channel. Going up, i counts the
    joined tensor. A loss keeps a few pictures more; gradients of activations come and go and are not counted.

    Raises:
        ConfigError: sides that do not halve as often as the plan pools, channels or batch that cannot be.
    """
    _check_plan(channels, batch)
    height, width = size
    poolings = len(channels) - 1
    if any(halvings(side) < poolings for side in size):
        raise ConfigError(f"{width}x{height} does not halve {poolings} times: there is no training step to estimate")
    saved = weights = 0
    for level, count in enumerate(channels):
        pixels = batch * (height >> level) * (width >> level)
        before = channels[level - 1] if level else in_channels
        saved += _block_values(pixels, before, count)
        weights += _block_weights(before, count)
        if level < poolings:
            deeper = channels[level + 1]
            # An int64 is two float32; the pooled values themselves are counted as the next level's input.
            saved += 2 * (pixels // 4) * count
            saved += _block_values(pixels, deeper + count, count)
            weights += _block_weights(deeper + count, count)
    weights += channels[0] * in_channels + in_channels
    return Memory(weights, 16 * weights, saved * BYTES_PER_VALUE, 16 * weights + saved * BYTES_PER_VALUE)


def _block_values(pixels: int, before: int, count: int) -> int:
    """Values that two convolutions with normalisation and ReLU keep."""
    return pixels * (before + 4 * count) + 4 * count


def _block_weights(before: int, count: int) -> int:
    """Weights and biases of two convolutions 3x3, and of two normalisations."""
    return 9 * before * count + 9 * count * count + 2 * count + 4 * count


def dimensions(
    size: tuple[int, int], *, channels: Sequence[int] | None = None, poolings: int | None = None, batch: int = 1
) -> Dimensions:
    """Everything about one size.

    Args:
        size: (height, width).
        channels: of the model's levels; None takes the kit's, cut or continued (by its last) to `poolings`.
        poolings: None is one less than there are channels.
        batch: pictures a step.

    Raises:
        ConfigError: sides, channels, poolings or batch that cannot be, or that contradict each other.
    """
    plan = tuple(channels) if channels is not None else CHANNEL_PLANS["color-reverser"]
    if poolings is not None:
        if channels is not None and poolings != len(plan) - 1:
            raise ConfigError(f"{len(plan)} channels pool {len(plan) - 1} times, not {poolings}: give one of the two")
        plan = (*plan, *(plan[-1] for _ in range(poolings)))[: poolings + 1]
    pooled = len(plan) - 1
    sides = side_facts(size[0], pooled), side_facts(size[1], pooled)
    found = levels(size, plan, batch)
    wrong = [level.level for level in found if not level.fits]
    taken = (sides[0].above, sides[1].above) if wrong else size
    memory_size = taken if max(taken) <= SIDE_LIMIT else None
    return Dimensions(
        size=size,
        poolings=pooled,
        channels=plan,
        batch=batch,
        sides=sides,
        levels=found,
        first_mismatch=max(wrong) if wrong else None,
        memory_size=memory_size,
        memory=None if memory_size is None else memory(memory_size, plan, batch),
    )


def safe_table(rows: int = TABLE_ROWS, bases: Sequence[float] = TABLE_BASES) -> list[list[float]]:
    """The kit's table of sides: row r (from 1) holds base · 2**(r - 1).

    The bases are the odd numbers from 1 to 21, each brought between 1 and 5 by powers of 2. So a row's number does not
    say how often its sides halve (960 stands in row 9 and halves 6 times); `halvings` does. Fractions are no sides.
    """
    return [[base * 2**row for base in bases] for row in range(rows)]


LEVEL_HEADS = ("level", "channels", "size", "rounded up", "joined from below", "one tensor")
"""Of the columns of `level_rows`."""


def level_rows(found: Dimensions) -> list[tuple[str, str, str, str, str, str]]:
    """Rows for a table of the levels: level, channels, size with floor, with ceil, joined from below, tensor bytes."""
    rows = []
    for level in found.levels:
        joined = "" if level.joined is None else shown(level.joined) + ("" if level.fits else " does not fit")
        floor = "nothing left" if level.floor is None else shown(level.floor)
        cells = (str(level.level), str(level.channels), floor, shown(level.ceil), joined)
        rows.append((*cells, f"{level.tensor_bytes / 1e6:,.1f} MB"))
    return rows


def poolings_text(found: Dimensions) -> str:
    """Whether all poolings go through, and if not which level is the first to fail on the way up."""
    if found.first_mismatch is None:
        return "are safe: every skip connection fits"
    level = found.levels[found.first_mismatch]
    if level.floor is None or level.joined is None:
        return f"fail at level {level.level}: nothing is left there"
    return f"fail at level {level.level}: {shown(level.joined)} from below cannot be joined with {shown(level.floor)}"


def memory_text(found: Dimensions) -> str:
    """What a training step takes at least, of the size itself or the nearest safe one; "" where there is none."""
    if found.memory is None or found.memory_size is None:
        return ""
    return (
        f"{size_text(found.memory.total_bytes)} at least for a batch of {found.batch:,} at {shown(found.memory_size)}: "
        f"{size_text(found.memory.saved_bytes)} kept for the backward pass, {found.memory.weights:,} weights with Adam "
        f"{size_text(found.memory.weight_bytes)}"
    )


def levels_html(found: Dimensions) -> Markup:
    """A size level by level as a table, with what a training step takes: a fragment of a page."""
    plan = f"a U-Net of {', '.join(map(str, found.channels))} channels"
    caption = f"{shown(found.size)} in {plan}; one tensor of a batch of {found.batch:,}"
    said = f"{found.poolings} poolings {poolings_text(found)}."
    if taken := memory_text(found):
        said += f" Training takes {taken}."
    return Markup(
        '<table class="safe-dimensions"><caption>{}</caption><thead>{}</thead><tbody>{}</tbody></table><p>{}</p>'
    ).format(caption, _row(LEVEL_HEADS, "th"), Markup("").join(map(_row, level_rows(found))), said)


def dimensions_html(sizes: Sequence[tuple[tuple[int, int], int]], poolings: int, batch: int = 16) -> Markup:
    """The sizes of a pile as a table with a verdict, the first of them level by level, and the table of safe sides: a
    fragment of a page.

    Args:
        sizes: ((height, width), how many pictures), the most frequent first.
        poolings: how often the sides are to halve.
        batch: pictures of a training step.
    """
    body = []
    for (height, width), count in sizes:
        facts = side_facts(height, poolings), side_facts(width, poolings)
        verdict = "safe" if all(side.safe for side in facts) else f"next: {facts[1].above}x{facts[0].above}"
        cells = (f"{width}x{height}", f"{count:,}", str(facts[1].halvings), str(facts[0].halvings), verdict)
        body.append(_row(cells))
    heads = ("size", "pictures", "width halves", "height halves", f"{poolings} poolings")
    return Markup('<table class="safe-dimensions"><thead>{}</thead><tbody>{}</tbody></table>{}{}').format(
        _row(heads, "th"),
        Markup("").join(body),
        levels_html(dimensions(sizes[0][0], poolings=poolings, batch=batch)),
        safe_table_html(),
    )


_SIDE, _FRACTION = Markup("<td>{:.0f} <small>{}</small></td>"), Markup('<td class="odd">{:g}</td>')


def safe_table_html() -> Markup:
    """`safe_table` as HTML: after each side how often it halves; fractions have the class `odd`."""
    rows = []
    for number, row in enumerate(safe_table(), start=1):
        cells = [
            _SIDE.format(cell, halvings(int(cell))) if cell.is_integer() else _FRACTION.format(cell)
            for cell in map(float, row)
        ]
        rows.append(Markup('<tr><th scope="row">{}</th>{}</tr>').format(number, Markup("").join(cells)))
    head = Markup('<tr><th scope="col">row</th><th scope="col" colspan="{}">side, and how often it halves</th></tr>')
    head = head.format(len(TABLE_BASES))
    return Markup('<table class="safe-sides"><thead>{}</thead><tbody>{}</tbody></table>').format(
        head, Markup("").join(rows)
    )


def _row(cells: Sequence[str], tag: str = "td") -> Markup:
    opened = Markup('<th scope="col">') if tag == "th" else Markup("<td>")
    closed = Markup("</th>") if tag == "th" else Markup("</td>")
    return Markup("<tr>") + Markup("").join(opened + escape(cell) + closed for cell in cells) + Markup("</tr>")


def shown(size: tuple[int, int]) -> str:
    """(height, width) as WIDTHxHEIGHT."""
    return f"{size[1]}x{size[0]}"


def _ceil_halved(side: int, times: int) -> int:
    return -(-side >> times)


def _check_side(side: int) -> None:
    if not 1 <= side <= SIDE_LIMIT:
        raise ConfigError(f"a side is 1 to {SIDE_LIMIT:,} pixels, got {side}")


def _check_plan(channels: Sequence[int], batch: int) -> None:
    if not channels or len(channels) > POOLINGS_LIMIT + 1 or min(channels) < 1:
        raise ConfigError(f"channels are 1 to {POOLINGS_LIMIT + 1} numbers above 0, got {list(channels)}")
    if batch < 1:
        raise ConfigError(f"a batch has at least one picture, got {batch}")
