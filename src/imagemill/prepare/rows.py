"""From samples to rows: looked at once, transformed if the recipe asks, encoded, digested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imagemill.codecs import image as images
from imagemill.codecs import recoded
from imagemill.core.recipe import FILE_PIXELS, Recipe
from imagemill.core.sample import Array, Buffer, Encoded, Row, Sample, Value, digest
from imagemill.core.schema import Field, Schema
from imagemill.curate.inspect import inspect
from imagemill.curate.limits import Limits
from imagemill.errors import ConfigError, SampleError
from imagemill.transforms import geometry

LOSSLESS_MASK_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "PPM", "NPY", "TGA", "DIB", "PCX", "QOI", "SGI")


@dataclass(frozen=True)
class RowMaker:
    """Turns samples of one schema into rows, as a recipe says. Picklable, stateless.

    Args:
        schema: fields of the dataset that is made.
        recipe: pixels, size, limits.
    """

    schema: Schema
    recipe: Recipe

    @property
    def limits(self) -> Limits:
        """What one image may cost."""
        return limits_of(self.recipe)

    def __call__(self, sample: Sample) -> Row:
        """The sample's row.

        Raises:
            SampleError: the sample cannot be used; names key and origin.
            ConfigError: the recipe cannot work for this sample (raw pixels of another size).
        """
        values: dict[str, Buffer] = {}
        stored: dict[str, tuple[int, int]] = {}
        found: dict[str, tuple[int, int]] = {}
        notes: list[str] = []
        for field in self.schema:
            try:
                value = value_of(sample, field)
                if not field.is_file:
                    values[field.name] = plain_bytes(field, value)
                    continue
                picture = self._picture(field, value)
            except SampleError as error:
                raise error.of(sample.key, sample.origins.get(field.name, "")) from None
            except ConfigError as error:
                raise ConfigError(f"{sample.key}: {error}") from None
            values[field.name], stored[field.name] = picture.content, picture.stored
            found[field.name] = picture.found
            notes.extend(f"{field.name}:{note}" for note in picture.notes)
        check_sides(self.schema, sample, found)
        digests = {name: digest(value) for name, value in values.items()}
        return Row(sample.key, values, dict(sample.origins), digests, ";".join(notes), stored)

    def _picture(self, field: Field, value: Value) -> _Picture:
        if not isinstance(value, Encoded):
            array = as_array(value)
            if self.recipe.pixels in FILE_PIXELS:
                stored, more = self._stored_file(field, stored_array(field, array))
                return _Picture(stored, sides_of(array), sides_of(array), more)
            return self._transformed(field, in_mode(field, array, self.recipe.mode), ())
        original = self.recipe.pixels in FILE_PIXELS and field.codec != "raw"
        inspection = inspect(value.data, self.limits, full=original and self.recipe.decode == "full")
        header, notes = inspection.header, inspection.notes
        if original:
            content, more = self._stored_file(field, value.data)
            return _Picture(content, header.sides, header.sides, notes + mask_notes(field, header) + more)
        if field.kind == "mask":
            return self._transformed(field, images.decode_mask(value.data, header), notes)
        if self._stays(header):
            if self.recipe.decode == "full":
                images.verify(value.data, header)
            return _Picture(recoded.as_file(value.data), header.sides, header.sides, notes)
        return self._transformed(field, images.decode(value.data, mode=self.recipe.mode, header=header), notes)

    def _stored_file(self, field: Field, data: Buffer) -> tuple[Buffer, tuple[str, ...]]:
        """A file as it is stored, and notes: recoded where the recipe says so and it can be, as it came otherwise."""
        if field.codec != "recoded":
            return recoded.as_file(data) if field.codec == "encoded" else data, ()
        compact = self.recipe.pixels == "recoded-compact"
        made, why_not = recoded.recode(data, compact=compact, max_pixels=self.recipe.max_pixels)
        if why_not:
            return data, (f"not-recoded={why_not}",)
        return made, () if recoded.about(made).is_exact else ("recoded-otherwise",)

    def _stays(self, header: images.Header) -> bool:
        """Whether a JPEG already is what the recipe would make of it: no second generation then."""
        recipe = self.recipe
        if recipe.pixels != "resized" or header.format != "JPEG" or set(header.notes()) - {"grey", "progressive"}:
            return False
        if header.channels != len(recipe.mode):
            return False
        target = target_sides(header.sides, recipe)
        return target == header.sides

    def _transformed(self, field: Field, array: Array, notes: tuple[str, ...]) -> _Picture:
        recipe, found = self.recipe, sides_of(array)
        target = target_sides(found, recipe)
        if field.kind == "mask":
            array = geometry.resize_mask(array, target, fit=exact_or(recipe.fit))
        else:
            array = geometry.resize(array, target, fit=exact_or(recipe.fit), filter=recipe.filter)
        if field.codec == "raw":
            content = raw_bytes(field, array)
        elif field.kind == "mask":
            content = images.encode_mask(array)
        else:
            content = images.encode_jpeg(array, quality=recipe.quality)
        return _Picture(content, sides_of(array), found, notes)


def limits_of(recipe: Recipe) -> Limits:
    """What a recipe lets one image cost."""
    return Limits(
        max_pixels=recipe.max_pixels,
        max_bytes=recipe.max_bytes,
        max_seconds=recipe.max_seconds,
        max_memory_bytes=recipe.max_memory_bytes,
    )


def value_of(sample: Sample, field: Field) -> Value:
    """A sample's value of a field.

    Raises:
        SampleError: "bad-value", it has none.
    """
    if field.name not in sample.values:
        raise SampleError("bad-value", f"no value for field {field.name!r}")
    return sample.values[field.name]


def mask_notes(field: Field, header: images.Header) -> tuple[str, ...]:
    """What is to be said of the file format of a mask; nothing of an image's."""
    if field.kind != "mask" or header.format in LOSSLESS_MASK_FORMATS:
        return ()
    return (f"lossy-mask={header.format}",)


def check_sides(schema: Schema, sample: Sample, sides: Mapping[str, tuple[int, int]]) -> None:
    """Compares the (height, width) of a sample's masks with those of its first image.

    Raises:
        SampleError: "mask-size".
    """
    pictures = [sides[field.name] for field in schema.of_kind("image")]
    for field in schema.of_kind("mask"):
        if pictures and sides[field.name] != pictures[0]:
            (height, width), (mask_height, mask_width) = pictures[0], sides[field.name]
            raise SampleError(
                "mask-size",
                f"the mask is {mask_width}x{mask_height}, the image {width}x{height}",
                key=sample.key,
                origin=sample.origins.get(field.name, ""),
            )


@dataclass(frozen=True, slots=True)
class _Picture:
    """An image or mask as stored; sides are (height, width), stored and as found."""

    content: Buffer
    stored: tuple[int, int]
    found: tuple[int, int]
    notes: tuple[str, ...]


def sides_of(array: Array) -> tuple[int, int]:
    """(height, width) of an image array."""
    return array.shape[0], array.shape[1]


def in_mode(field: Field, array: Array, mode: str) -> Array:
    """An image array in the recipe's colour mode, by the policy for pixels that came in a file; masks stay."""
    if field.kind == "mask" or (array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == len(mode)):
        return array
    return images.decode(images.encode_npy(array), mode=mode)


def exact_or(fit: str) -> str:
    """The fit to apply once the target is known: short and long have become exact."""
    return "exact" if fit in ("short", "long") else fit


def target_sides(sides: tuple[int, int], recipe: Recipe) -> tuple[int, int]:
    """(height, width) that the recipe gives an image of these sides; short and long never enlarge."""
    if recipe.size is None:
        return sides
    if recipe.fit not in ("short", "long"):
        return recipe.size
    target = geometry.fit_size(*sides, recipe.size, recipe.fit).out
    return target if target[0] * target[1] < sides[0] * sides[1] else sides


def as_array(value: Value) -> Array:
    """A picture's pixels as an array.

    Raises:
        SampleError: it is no array.
    """
    if not isinstance(value, np.ndarray) or value.ndim not in (2, 3):
        raise SampleError("bad-value", f"a picture must be an array of 2 or 3 dimensions, got {type(value).__name__}")
    return value


def stored_array(field: Field, array: Array) -> bytes:
    """An array that came without a file, stored without loss: as it is (raw fields), else as PNG or .npy."""
    if field.codec != "raw":
        return images.encode_mask(array) if field.kind == "mask" else images.encode_png(array)
    if field.shape != array.shape:
        raise SampleError("bad-value", f"shape {array.shape}, the field has {field.shape}")
    return np.ascontiguousarray(array, field.numpy_dtype).tobytes()


def raw_bytes(field: Field, array: Array) -> bytes:
    """Pixels of a raw field.

    Raises:
        ConfigError: another size than the field's: the run cannot go on without --size.
        SampleError: a mask with other channels than the field's.
    """
    shape = field.shape or ()
    if tuple(array.shape[:2]) != tuple(shape[:2]):
        raise ConfigError(
            f"raw pixels need one size: this {field.kind} is {array.shape[1]}x{array.shape[0]}, the first one was "
            f"{shape[1]}x{shape[0]}. Say --size WIDTHxHEIGHT, or --pixels resized (JPEG) or original"
        )
    if array.shape != shape:
        raise SampleError("bad-value", f"shape {array.shape}, the field has {shape}")
    if field.kind == "mask" and not np.can_cast(array.dtype, field.numpy_dtype, "safe"):
        raise SampleError("bad-value", f"mask of {array.dtype} does not fit the field's {field.dtype}")
    return np.ascontiguousarray(array, field.numpy_dtype).tobytes()


def plain_bytes(field: Field, value: Value) -> bytes:
    """Bytes of a label, number, vector or text.

    Raises:
        SampleError: "bad-value", it does not fit the field.
    """
    try:
        if field.codec == "utf8":
            if not isinstance(value, str):
                raise TypeError(f"text expected, got {type(value).__name__}")
            return value.encode()
        if isinstance(value, str):
            value = class_number(field, value)
        if value is None and field.kind == "label":
            value = -1
        if type(value) is int and field.dtype == "int64" and field.storage == "scalar":
            return value.to_bytes(8, "little", signed=True)  # most labels; the way through NumPy costs 5 µs
        array = np.asarray(value)
        if field.kind == "label" and array.dtype.kind not in "iub":
            raise TypeError(f"an integer label expected, got {value!r}")
        array = array.astype(field.numpy_dtype, casting="same_kind")
    except (TypeError, ValueError, OverflowError) as error:
        raise SampleError("bad-value", f"field {field.name!r}: {error}") from None
    if field.storage != "ragged" and array.shape != field.shape:
        raise SampleError("bad-value", f"field {field.name!r} has shape {array.shape}, not {field.shape}")
    return array.tobytes()


def class_number(field: Field, name: str) -> int:
    """Number of a class name of a label field."""
    if name not in field.class_numbers:
        raise ValueError(f"{name!r} is no class of this dataset")
    return field.class_numbers[name]
