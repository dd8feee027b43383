"""`export`: a dataset back as plain folders, original files byte for byte.

Layout: `OUT/SPLIT/` and the path the file had in its source (without a split folder of that
name); a labelled image's path begins at the folder of its class, or gets one, so that torch's
ImageFolder reads each split. What no file holds (texts, numbers, vectors, integer labels)
goes to `OUT/SPLIT/metadata.jsonl`, one line a sample, as Hugging Face's imagefolder reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from imagemill.codecs import image as images
from imagemill.codecs.recoded import as_file
from imagemill.core.recipe import FILE_PIXELS
from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.formats.base import scalar_from_bytes
from imagemill.formats.store import Store
from imagemill.prepare.commit import atomic_write, clear_disk_errors, clear_temporary, make_output, refuse_inside

SPLIT_FOLDERS = {"val": ("val", "valid", "validation", "dev"), "train": ("train",), "test": ("test",)}
METADATA_NAME = "metadata.jsonl"
UNFINISHED_NAME = ".imagemill-export"
"""Lies in OUT until the export is complete; an export may be begun again where it lies."""

SUFFIXES = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "PNG": (".png",), "NPY": (".npy",)}


def export(store: Store, out: Path) -> Iterator[str]:
    """Writes every sample of a dataset; yields each key when its files are there.

    Raises:
        ConfigError: OUT is neither new nor empty, or lies in the dataset.
        DamageError: a stored value is damaged.
    """
    refuse_inside(out, store.folder if isinstance(store.folder, Path) else None)
    check_target(out)
    with clear_disk_errors(out):
        make_output(out)
        (out / UNFINISHED_NAME).touch()
        clear_temporary(out.rglob("*"))
        for split in store.splits:
            yield from _export_split(store, split, out / split)
        (out / UNFINISHED_NAME).unlink()


def check_target(out: Path) -> None:
    """OUT is new, empty, or an export that did not finish.

    Raises:
        ConfigError: it is not.
    """
    if not out.exists() or (out / UNFINISHED_NAME).exists():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise ConfigError(f"{out} exists and is not empty: give a new folder")


def _export_split(store: Store, split: str, folder: Path) -> Iterator[str]:
    taken: set[str] = set()
    originals = store.manifest.pixels in FILE_PIXELS
    lines = []
    for row in store.rows(split):
        names = {}
        for field in store.schema:
            if not field.is_file:
                continue
            path = free_name(file_path(store.schema, field, row, split, keep_suffix=originals), taken)
            taken.add(path.lower())
            names[field.name] = path
            atomic_write(folder / path, file_bytes(field, row.values[field.name]), durable=False)
        record = _metadata(store.schema, row, names)
        if record:
            lines.append(json.dumps(record, ensure_ascii=False) + "\n")
        yield row.key
    if lines:
        atomic_write(folder / METADATA_NAME, "".join(lines).encode())


def file_path(schema: Schema, field: Field, row: Row, split: str, *, keep_suffix: bool) -> str:
    """Where a file goes below its split's folder, with `/`; never outside.

    Args:
        keep_suffix: original pixels keep the name they came with, whatever the bytes are.
    """
    origin = row.origins.get(field.name) or row.key
    if "://" in origin:
        origin = urlsplit(origin).path
    parts = [safe_name(part) for part in PurePosixPath(origin).parts if part not in ("/", "..")] or ["sample"]
    if len(parts) > 1 and parts[0].lower() in SPLIT_FOLDERS.get(split, (split.lower(),)):
        parts = parts[1:]
    if any(label.class_names is not None for label in schema.of_kind("label")):
        parts = _below_class(parts, class_name(schema, row))
    path = PurePosixPath(*parts)
    if keep_suffix and path.suffix:
        return str(path)
    suffix = wanted_suffix(field, row.values[field.name], path.suffix)
    return str(path.with_name(path.stem + suffix) if suffix != path.suffix else path)


def _below_class(parts: list[str], label: str | None) -> list[str]:
    """The path from its class folder on; a sample without a class lies beside the class folders, as it must."""
    if label is None:
        return parts[-1:]
    folder = safe_name(label)
    return parts[parts.index(folder) :] if folder in parts[:-1] else [folder, *parts]


def safe_name(name: str) -> str:
    """A name that means one file or folder on every system."""
    return "_" if name in ("", ".", "..") else name.translate(str.maketrans("/\\:", "___"))


def class_name(schema: Schema, row: Row) -> str | None:
    """The sample's class as a word, where the dataset has named classes and it has one."""
    for field in schema.of_kind("label"):
        number: int = scalar_from_bytes(field, row.values[field.name])
        if field.class_names is not None and 0 <= number < len(field.class_names):
            return field.class_names[number]
    return None


def wanted_suffix(field: Field, value: Buffer, suffix: str) -> str:
    """The suffix that fits the bytes; the file's own where it says the same."""
    if field.codec == "raw":
        return ".png" if png_can_hold(field) else ".npy"
    found = images.read_header(value).format
    fitting = SUFFIXES.get(found, (suffix,))
    return suffix if suffix.lower() in fitting or found not in SUFFIXES else fitting[0]


def png_can_hold(field: Field) -> bool:
    """Whether raw pixels of this field fit a PNG without loss."""
    shape = field.shape or ()
    channels = shape[2] if len(shape) == 3 else 1
    return field.dtype == "uint8" and channels in (1, 3, 4)


def file_bytes(field: Field, value: Buffer) -> bytes:
    """The content of an exported file: stored bytes as they are, recoded JPEGs as JPEGs, raw pixels as PNG or .npy."""
    if field.codec != "raw":
        return bytes(as_file(value))
    array = np.frombuffer(value, field.numpy_dtype).reshape([side or 0 for side in field.shape or ()])
    return images.encode_png(array) if png_can_hold(field) else images.encode_npy(array)


def free_name(path: str, taken: set[str]) -> str:
    """The path, or with a number added where another sample has it (also by case alone)."""
    candidate, number = PurePosixPath(path), 1
    while str(candidate).lower() in taken:
        number += 1
        candidate = PurePosixPath(path).with_stem(f"{PurePosixPath(path).stem}-{number}")
    return str(candidate)


def _metadata(schema: Schema, row: Row, names: Mapping[str, str]) -> dict[str, Any]:
    """The line of `metadata.jsonl`, empty where the files and folders say everything."""
    values: dict[str, Any] = {}
    for field in schema:
        if field.is_file or (field.kind == "label" and field.class_names is not None):
            continue
        value = row.values[field.name]
        if field.codec == "utf8":
            values[field.name] = bytes(value).decode()
        elif field.storage == "scalar":
            values[field.name] = scalar_from_bytes(field, value)
        else:
            values[field.name] = np.frombuffer(value, field.numpy_dtype).tolist()
    if not values:
        return {}
    files = list(names.items())
    first = {"file_name": files[0][1]} if files else {}
    return {**first, **{f"{name}_file_name": path for name, path in files[1:]}, **values}
