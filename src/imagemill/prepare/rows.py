"""From samples to rows: looked at once, transformed if the recipe asks, encoded, digested."""

from __future__ import annotations

import faulthandler
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from imagemill.codecs import image as images
from imagemill.core.recipe import Recipe
from imagemill.core.sample import Array, Buffer, Encoded, Reject, Row, Sample, Value, digest
from imagemill.core.schema import Field, Schema
from imagemill.curate.inspect import Limits, inspect
from imagemill.curate.isolated import Isolated
from imagemill.engines import progress
from imagemill.errors import ConfigError, SampleError
from imagemill.prepare.commit import atomic_write
from imagemill.sources.base import Source
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
        recipe = self.recipe
        return Limits(
            max_pixels=recipe.max_pixels,
            max_bytes=recipe.max_bytes,
            max_seconds=recipe.max_seconds,
            max_memory_bytes=recipe.max_memory_bytes,
        )

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
                if field.name not in sample.values:
                    raise SampleError("bad-value", f"no value for field {field.name!r}")
                value = sample.values[field.name]
                if not field.is_file:
                    values[field.name] = plain_bytes(field, value)
                    continue
                picture = self._picture(field, value)
            except SampleError as error:
                raise error.of(sample.key, sample.origins.get(field.name, "")) from None
            values[field.name], stored[field.name] = picture.content, picture.stored
            found[field.name] = picture.found
            notes.extend(f"{field.name}:{note}" for note in picture.notes)
        self._check_sides(sample, found)
        digests = {name: digest(value) for name, value in values.items()}
        return Row(sample.key, values, dict(sample.origins), digests, ";".join(notes), stored)

    def _check_sides(self, sample: Sample, sides: Mapping[str, tuple[int, int]]) -> None:
        pictures = [sides[field.name] for field in self.schema.of_kind("image")]
        for field in self.schema.of_kind("mask"):
            if pictures and sides[field.name] != pictures[0]:
                (height, width), (mask_height, mask_width) = pictures[0], sides[field.name]
                raise SampleError(
                    "mask-size",
                    f"the mask is {mask_width}x{mask_height}, the image {width}x{height}",
                    key=sample.key,
                    origin=sample.origins.get(field.name, ""),
                )

    def _picture(self, field: Field, value: Value) -> _Picture:
        if not isinstance(value, Encoded):
            array = as_array(value)
            if self.recipe.pixels == "original":
                content = stored_array(field, array)
                return _Picture(content, sides_of(array), sides_of(array), ())
            return self._transformed(field, array, ())
        original = self.recipe.pixels == "original" and field.codec == "encoded"
        inspection = inspect(value.data, self.limits, full=original and self.recipe.decode == "full")
        header, notes = inspection.header, inspection.notes
        if original:
            if field.kind == "mask" and header.format not in LOSSLESS_MASK_FORMATS:
                notes = (*notes, f"lossy-mask={header.format}")
            return _Picture(value.data, header.sides, header.sides, notes)
        if field.kind == "mask":
            return self._transformed(field, images.decode_mask(value.data), notes)
        if self._stays(header):
            if self.recipe.decode == "full":
                images.verify(value.data, header)
            return _Picture(value.data, header.sides, header.sides, notes)
        return self._transformed(field, images.decode(value.data, mode=self.recipe.mode), notes)

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
    if field.class_names is None or name not in field.class_names:
        raise ValueError(f"{name!r} is no class of this dataset")
    return field.class_names.index(name)


class GuardedRows:
    """Makes rows from listing rows, so that a bad sample is a reject and a killer of processes is found.

    While it works, a marker lies in `work_dir/decoding`. Finding the marker there at the start
    means that an earlier attempt died or hung on one of these samples; this attempt then makes
    every row in a child process with a time limit, and records what kills or stalls it.

    Args:
        source: where the samples are.
        maker: how rows are made.
        work_dir: folder for markers and verdicts; survives until the job is finished.
        name: of this part of the job, unique in it.
        watch: whether this process may be ended if a decode hangs (workers: yes, a user's own process: no).
    """

    def __init__(self, source: Source, maker: RowMaker, work_dir: Path, name: str, *, watch: bool) -> None:
        self._made = ReadAndMake(source, maker)
        self._marker = work_dir / "decoding" / name
        self._verdicts_path = work_dir / "verdicts" / f"{name}.jsonl"
        self._max_seconds = maker.recipe.max_seconds
        self._watch = watch
        self._careful = False
        self._isolated: Isolated | None = None

    def __enter__(self) -> GuardedRows:
        self._careful = self._marker.exists()
        self._verdicts = load_verdicts(self._verdicts_path)
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        self._marker.touch()
        self._stall = Stall(self._max_seconds) if self._watch and not self._careful else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stall is not None:
            self._stall.close()
        if self._isolated is not None:
            self._isolated.close()
        self._marker.unlink(missing_ok=True)

    def make(self, listing_rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Row | Reject]]:
        """(listing row, row or reject) for each listing row, in order."""
        for listing_row in listing_rows:
            if self._stall is not None:
                self._stall.next()
            try:
                yield listing_row, self._row(listing_row)
            except SampleError as error:
                yield (
                    listing_row,
                    Reject(
                        key=listing_row["key"],
                        path=error.origin or listing_row["key"],
                        reason=error.reason,
                        detail=error.detail,
                        files=listing_row["files"],
                    ),
                )
            progress.advance(1)

    def _row(self, listing_row: Mapping[str, Any]) -> Row:
        key = listing_row["key"]
        if key in self._verdicts:
            raise self._verdicts[key]
        if not self._careful:
            try:
                return self._made(listing_row)
            except SampleError as error:
                if error.reason != "memory":
                    raise
        return self._made_in_child(listing_row)

    def _made_in_child(self, listing_row: Mapping[str, Any]) -> Row:
        """The row, made by a process that may die of it; what it died of is settled for good."""
        if self._isolated is None:
            self._isolated = Isolated(self._made, self._made.maker.limits)
        try:
            made: Row = self._isolated(dict(listing_row))
        except SampleError as error:
            if error.reason not in ("timeout", "decoder-died", "memory"):
                raise
            verdict = error.of(listing_row["key"], error.origin or listing_row["key"])
            self._verdicts[listing_row["key"]] = verdict
            save_verdicts(self._verdicts_path, self._verdicts)
            raise verdict from None
        return made


@dataclass(frozen=True)
class ReadAndMake:
    """From a listing row to the row of the dataset; picklable, so that a child process can do it."""

    source: Source
    maker: RowMaker

    def __call__(self, listing_row: Mapping[str, Any]) -> Row:
        """Reads the sample and makes its row.

        Raises:
            SampleError: the sample cannot be used.
        """
        return self.maker(self.source.read(listing_row))


class Stall:
    """Ends this process if one sample takes much too long, even where the decoder holds the interpreter.

    The alarm is set anew at most twice a limit, not for every sample (each costs a thread), so a
    stall is noticed after half to once the limit; the careful attempt that follows measures exactly.
    """

    def __init__(self, max_seconds: float) -> None:
        self._limit_s = max_seconds
        # Closed by hand: the traceback that faulthandler insists on goes nowhere.
        self._sink = open(os.devnull, "w")  # noqa: SIM115
        self._armed_at = -max_seconds

    def next(self) -> None:
        """A new sample begins."""
        now = time.monotonic()
        if now - self._armed_at > self._limit_s / 2:
            faulthandler.dump_traceback_later(self._limit_s, exit=True, file=self._sink)
            self._armed_at = now

    def close(self) -> None:
        """No alarm any more."""
        faulthandler.cancel_dump_traceback_later()
        self._sink.close()


def load_verdicts(path: Path) -> dict[str, SampleError]:
    """Key → what an earlier attempt found out about it."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    records = [json.loads(line) for line in lines]
    return {record["key"]: SampleError(**record) for record in records}


def save_verdicts(path: Path, verdicts: Mapping[str, SampleError]) -> None:
    """Writes verdicts so that they survive this process."""
    lines = [
        json.dumps({"reason": error.reason, "detail": error.detail, "key": key, "origin": error.origin})
        for key, error in verdicts.items()
    ]
    atomic_write(path, "".join(line + "\n" for line in lines).encode())
