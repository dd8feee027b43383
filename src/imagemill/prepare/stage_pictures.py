"""What becomes of one sample's pictures in `stage`: turned together, resized, made grey, written, or left as they are.

Whatever is written follows the project's pixel policy (`codecs/policy.py`): upright, sRGB, 8 bits, first frame,
transparency over white; grey pictures stay grey. EXIF and colour profiles are applied and left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagemill.codecs import image as images
from imagemill.codecs.arrays import fits_png
from imagemill.codecs.header import Header
from imagemill.codecs.jpeg import decode_reduced
from imagemill.codecs.policy import turn
from imagemill.core.sample import Array, Buffer, Encoded, Sample
from imagemill.curate.inspect import inspect
from imagemill.curate.limits import Limits
from imagemill.curate.plain import Inspection
from imagemill.errors import ConfigError, SampleError
from imagemill.prepare.stage_options import StageOptions, format_of, written_suffix
from imagemill.sources.image_files import suffix_of
from imagemill.transforms import geometry

Pixels = npt.NDArray[np.uint8]
Sides = tuple[int, int]

DCT_MARGIN = 3
"""A JPEG is decoded at 1/f of its sides only where they are still so many times the target's then: the antialiased
resize hides what the smaller inverse transform does differently. On 47 photographs of ImageNet, with LANCZOS, the
worst mean error against the full decode was 0.7 levels of 255 with 3, 0.9 with 2.5 and 1.4 with 2."""

_HARMLESS = frozenset(("grey",))


@dataclass(frozen=True, slots=True)
class Staged:
    """The files of one staged sample.

    Args:
        contents: output name ("image", "before", "after", "mask") → the file's bytes.
        unchanged: those of them that are the source's own bytes.
        notes: what the pixel policy met, `before:orientation=6`.
    """

    contents: Mapping[str, bytes]
    unchanged: frozenset[str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class StageMaker:
    """Makes the staged files of a sample; picklable, stateless.

    Args:
        options: what is asked for.
        masks: names of the fields that hold class ids and no picture.
    """

    options: StageOptions
    masks: tuple[str, ...] = ()

    @property
    def limits(self) -> Limits:
        """What one image may cost."""
        return self.options.limits

    def __call__(self, sample: Sample) -> Staged:
        """The sample's files.

        Raises:
            SampleError: one of its pictures is bad, or its halves do not lie the same way; names key and origin.
        """
        values = {name: value.data for name, value in sample.values.items() if isinstance(value, Encoded)}
        if self.options.grey_before:
            values = {"after": values["after"] if "after" in values else values["image"]}
        pictures: dict[str, _Picture] = {}
        for name, data in values.items():
            origin = sample.origins.get(name, sample.origins.get("image", ""))
            try:
                inspection = inspect(data, self.limits, full=False)
                suffix = written_suffix(suffix_of(origin.encode()), self.options, mask=name in self.masks)
                pictures[name] = _Picture(data, inspection, suffix)
            except SampleError as error:
                raise error.of(sample.key, origin) from None
        try:
            return self._staged(pictures)
        except _AtFault as fault:
            origin = sample.origins.get(fault.name, sample.origins.get("image", ""))
            raise fault.error.of(sample.key, origin) from None

    def _staged(self, pictures: Mapping[str, _Picture]) -> Staged:
        turned = self._turned(pictures)
        contents: dict[str, bytes] = {}
        unchanged = set()
        notes = {name: picture.inspection.notes for name, picture in pictures.items()}
        for name, picture in pictures.items():
            try:
                if self._stays(picture, turned, name in self.masks):
                    notes[name] += images.verify(picture.data, picture.header)
                    contents[name] = bytes(picture.data)
                    unchanged.add(name)
                elif name in self.masks:
                    contents[name] = self._mask(picture, turned)
                else:
                    pixels = self._pixels(picture, turned)
                    contents[name] = self._encoded(pixels, picture)
            except SampleError as error:
                raise _AtFault(name, error) from None
        if self.options.grey_before:
            contents["before"] = self._grey(contents["after"], pictures["after"])
        told = tuple(f"{name}:{note}" for name, found in notes.items() for note in found)
        return Staged(contents, frozenset(unchanged), told)

    def _turned(self, pictures: Mapping[str, _Picture]) -> bool:
        """Whether the sample is turned; all of its pictures lie the same way, or are square."""
        sides = {name: picture.header.sides for name, picture in pictures.items()}
        for name in self.masks:
            image = next(other for other in sides if other not in self.masks)
            if sides[name] != sides[image]:
                detail = f"the mask is {_shown(sides[name])}, the image {_shown(sides[image])}"
                raise _AtFault(name, SampleError("mask-size", detail))
        if self.options.orient is None:
            return False
        lying = {name: width > height for name, (height, width) in sides.items() if height != width}
        if len(set(lying.values())) > 1:
            detail = ", ".join(f"{name} is {_shown(sides[name])}" for name in lying)
            raise _AtFault(next(iter(lying)), SampleError("pair-orientation", f"{detail}: turn one of them"))
        return any(is_lying == (self.options.orient == "portrait") for is_lying in lying.values())

    def _stays(self, picture: _Picture, turned: bool, mask: bool) -> bool:
        """Whether a file is already what is asked for: its bytes are kept then, no second generation."""
        if not self.options.changes_pixels:
            return True
        header = picture.header
        shown_as_stored = header.orientation == 1 if mask else not set(header.notes()) - _HARMLESS
        if turned or not shown_as_stored or format_of(picture.suffix) != header.format:
            return False
        return self._placement(header.sides).out == header.sides

    def _placement(self, sides: Sides) -> geometry.Placement:
        """How a picture of these (turned) sides comes to the size asked for."""
        options = self.options
        if options.size is None:
            return geometry.Placement(sides, sides)
        place = geometry.fit_size(*sides, options.size, options.fit)
        enlarged = place.scaled[0] * place.scaled[1] >= sides[0] * sides[1]
        return geometry.Placement(sides, sides) if enlarged and options.fit in ("short", "long") else place

    def _pixels(self, picture: _Picture, turned: bool) -> Pixels:
        """Pixels as they are written, (H, W, 1 or 3)."""
        options, header = self.options, picture.header
        if header.format != "JPEG":
            images.verify(picture.data, header)  # Pillow fills rows that a PNG does not bring, and says nothing
        place = self._placement(header.sides[::-1] if turned else header.sides)
        pixels = resized(picture.data, header, place.scaled, options.filter, self._quarters if turned else 0)
        if place.out == place.scaled:
            return pixels
        pad = options.fill if pixels.shape[2] == 3 else (_luma(options.fill),)
        return geometry.resize(pixels, place.out, fit=options.fit, filter=options.filter, pad=pad)

    @property
    def _quarters(self) -> int:
        """Quarter turns, counter-clockwise."""
        return 1 if self.options.orient == "portrait" else -1

    def _mask(self, picture: _Picture, turned: bool) -> bytes:
        images.verify(picture.data, picture.header)
        ids: Array = images.decode_mask(picture.data, picture.header)
        if turned:
            ids = np.rot90(ids, self._quarters)
        place = self._placement((ids.shape[0], ids.shape[1]))
        fit = self.options.fit if place.out != place.scaled else "exact"
        ids = geometry.resize_mask(ids, place.out, fit=fit)
        if not fits_png(ids):
            raise SampleError("unsupported", f"a mask of {ids.dtype} {ids.shape} does not fit a PNG")
        return images.encode_png(np.ascontiguousarray(ids))

    def _encoded(self, pixels: Pixels, picture: _Picture) -> bytes:
        options = self.options
        wanted = format_of(picture.suffix)
        try:
            if wanted == "JPEG":
                return images.encode_jpeg(pixels, options.quality, options.subsampling)
            if wanted == "WEBP":
                return images.encode_webp(pixels, options.quality)
            return images.encode_png(pixels)
        except ConfigError as error:  # a side beyond what the format can hold: this picture's fault alone
            raise SampleError("unsupported", str(error)) from None

    def _grey(self, after: bytes, picture: _Picture) -> bytes:
        """The grey of what was written as `after`, so that the two differ by their colours alone."""
        return self._encoded(images.decode(after, mode="L"), picture)


@dataclass(frozen=True)
class _Picture:
    """A picture as it came: its bytes, what its header says, and the suffix that it is to get."""

    data: Buffer
    inspection: Inspection
    suffix: bytes

    @property
    def header(self) -> Header:
        return self.inspection.header


class _AtFault(Exception):
    """A bad sample, and which of its pictures is to blame."""

    def __init__(self, name: str, error: SampleError) -> None:
        super().__init__(name, error)
        self.name = name
        self.error = error


def resized(data: Buffer, header: Header, sides: Sides, filter: str, quarters: int = 0) -> Pixels:
    """A picture as it is to be seen, at other sides; a JPEG is decoded smaller where that costs no quality.

    Args:
        data: the whole file.
        header: of it.
        sides: (height, width) wanted, after all turning.
        filter: name in `codecs.image.FILTERS`.
        quarters: quarter turns, counter-clockwise, of what is seen upright.

    Returns:
        uint8, (height, width, 3), of a grey picture (height, width, 1).

    Raises:
        SampleError: the file is no whole picture.
    """
    mode = "L" if header.grey else "RGB"
    upright = sides[::-1] if quarters % 2 else sides
    factor = reduction(header, upright, filter)
    stored = decode_reduced(data, header, mode, factor) if factor > 1 else None
    if stored is None:
        pixels = np.rot90(images.decode(data, mode=mode, header=header), quarters)
        return geometry.resize(np.ascontiguousarray(pixels), sides, filter=filter)
    wanted = upright[::-1] if header.orientation > 4 else upright
    picture = Image.fromarray(stored[:, :, 0] if stored.shape[2] == 1 else stored)
    # The last row and column may stand for fewer pixels than the others do.
    box = (0.0, 0.0, header.width / factor, header.height / factor)
    small = np.asarray(picture.resize(wanted[::-1], images.FILTERS[filter], box)).reshape(*wanted, -1)
    return np.ascontiguousarray(np.rot90(turn(small, header.orientation), quarters))


def reduction(header: Header, sides: Sides, filter: str) -> int:
    """By how much a picture's sides may be divided in the inverse cosine transform: 1, 2, 4 or 8.

    Progressive files are decoded in full, since only that tells whether a scan is missing.
    """
    plain = header.format == "JPEG" and header.mode in ("L", "RGB") and not header.icc and not header.progressive
    if not plain or filter == "nearest":
        return 1
    ratio = min(header.sides[0] / sides[0], header.sides[1] / sides[1])
    return next((factor for factor in (8, 4, 2) if ratio >= factor * DCT_MARGIN), 1)


def _luma(colour: tuple[int, int, int]) -> int:
    """Grey of a colour, as Pillow's conversion to L has it (ITU-R BT.601, 16-bit fixed point)."""
    red, green, blue = colour
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def _shown(sides: Sides) -> str:
    return f"{sides[1]}x{sides[0]}"
