"""Sheets of pictures: before, output, after and error of a few samples, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from imagemill.core.files import replacing
from imagemill.training.evaluate import Pixels, Shown

LARGEST_SIDE = 256
GAP, HEAD = 6, 18
ERROR_GAIN = 4
"""Errors are shown so many times as large as they are: one of 64 levels is white."""


def write_sheet(path: Path, shown: Sequence[Shown], *, classes: int = 0) -> None:
    """Writes a PNG that is seen whole or not at all.

    Args:
        classes: of a segmentation, for their colours.
    """
    rows = [_row(each, classes) for each in shown]
    width = max(row.shape[1] for row in rows)
    page = np.full((HEAD + sum(row.shape[0] + GAP for row in rows), width, 3), 255, np.uint8)
    top = HEAD
    for row in rows:
        page[top : top + row.shape[0], : row.shape[1]] = row
        top += row.shape[0] + GAP
    image = Image.fromarray(page)
    _write_heads(image, rows[0].shape[1], "wrong" if classes else f"error x{ERROR_GAIN}")
    with replacing(path, durable=False) as temporary:
        image.save(temporary, "PNG")


def _write_heads(image: Image.Image, width: int, error: str) -> None:
    draw, font = ImageDraw.Draw(image), ImageFont.load_default()
    step = (width + GAP) // 4
    for number, text in enumerate(("before", "output", "after", error)):
        draw.text((number * step + 2, 3), text, fill=(0, 0, 0), font=font)


def _row(shown: Shown, classes: int) -> Pixels:
    height, width = shown.after.shape[:2]
    zoom = min(1.0, LARGEST_SIDE / max(height, width))
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    if classes:
        colours = class_colours(classes)
        output, after = colours[shown.output % classes], colours[shown.after % classes]
        error = np.where((shown.output == shown.after)[..., None], 0, 255).astype(np.uint8).repeat(3, axis=2)
    else:
        output, after = shown.output, shown.after
        error = np.clip(np.abs(output.astype(np.int16) - after) * ERROR_GAIN, 0, 255).astype(np.uint8)
    gap = np.full((size[1], GAP, 3), 255, np.uint8)
    parts: list[Pixels] = []
    for number, picture in enumerate((shown.before, output, after, error)):
        parts += [gap] if number else []
        parts.append(_fitted(picture, size, nearest=bool(classes) and number > 0))
    return np.concatenate(parts, axis=1)


def _fitted(picture: Pixels, size: tuple[int, int], *, nearest: bool) -> Pixels:
    """At (width, height); small ones are enlarged without smoothing, so that their pixels are seen."""
    if picture.shape[1::-1] == size:
        return picture
    grows = picture.shape[1] < size[0]
    filter = cv2.INTER_NEAREST if nearest or grows else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, size, interpolation=filter), np.uint8)


def class_colours(classes: int) -> Pixels:
    """A colour a class, far apart in hue, the first one dark grey: uint8 (classes, 3)."""
    hues = (np.arange(classes) * 0.618033988749895 % 1 * 179).astype(np.uint8)
    values: npt.NDArray[np.uint8] = np.stack([hues, np.full(classes, 170), 160 + 80 * (np.arange(classes) % 2)], -1)
    colours = cv2.cvtColor(values[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0]
    colours[0] = 64
    return np.asarray(colours, np.uint8)
