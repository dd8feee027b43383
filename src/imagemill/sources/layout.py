"""What folder names mean: splits, classes, groups. Shared by folders and archives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import pyarrow as pa

from imagemill.core.schema import Field
from imagemill.errors import ConfigError
from imagemill.sources.walk import path_text

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names of split folders, in any case, and the split they mean."""

NO_LABEL = -1
"""Label of a sample that has none, where its neighbours have one."""


CLIP_PATTERN = r"^(.*?)[0-9]+(?:\.[^./]*)?$"
"""On keys: everything before the number at the end of the name, which frames of one clip have in common."""


def split_named(name: str) -> str:
    """A split's usual name, `Validation` → `val`; any other name stays as it is."""
    return SPLITS.get(name.lower(), name)


def split_folders(top: Iterable[bytes]) -> dict[bytes, str]:
    """Which of the top-level folders are splits.

    Folders count as splits if one of them is `train`, or if all of them have a split's name; so a
    class called `test` among other classes stays a class.

    Args:
        top: names of all folders at the top of the source.

    Returns:
        {folder: split}, empty where there are no split folders.
    """
    names = {folder: SPLITS.get(path_text(folder).lower()) for folder in top}
    if "train" not in names.values() and None in names.values():
        return {}
    return {folder: split for folder, split in names.items() if split is not None}


class Tree(Protocol):
    """Folders with images in them, on a disk or in archives."""

    def names(self, folder: bytes) -> Iterable[bytes]:
        """Names of the sub-folders of a folder, with or without images."""
        ...

    def holding(self, folder: bytes) -> Iterator[bytes]:
        """Names of the sub-folders that hold an image, directly or deeper, in order, each looked for when asked."""
        ...

    def has_images(self, folder: bytes) -> bool:
        """Whether images lie directly in a folder."""
        ...


@dataclass(frozen=True)
class Layout:
    """What the folders of a tree mean; the same for a folder on disk and for an archive made of it.

    Args:
        wrapper: the single folder around everything, as archivers like to make it, which means nothing; or empty.
        splits: folder inside the wrapper → split.
        has_classes: whether images lie in folders that are neither.
    """

    wrapper: bytes
    splits: Mapping[bytes, str]
    has_classes: bool

    def divide(self, folder: bytes) -> tuple[str | None, bytes]:
        """The split that a folder lies in, and the rest of its path; see `divide`."""
        inside = folder == self.wrapper or folder.startswith(self.wrapper + b"/")
        return divide(folder[len(self.wrapper) :].removeprefix(b"/") if inside else folder, self.splits)


def read_layout(tree: Tree, *, keep_classes: bool) -> Layout:
    """What the folders of a tree mean.

    A lone `train` of nothing but files, among other folders of images, is a class: CIFAR-100 has one.

    Args:
        tree: folders that hold images.
        keep_classes: whether labels are asked for: the only folder is a class then, unless there are some inside it.
    """
    wrapper, top = b"", _telling(tree, b"")
    if len(top) == 1 and not split_folders(top) and not tree.has_images(b""):
        below = _telling(tree, top[0])
        if below or not keep_classes:
            wrapper, top = top[0], below
    splits = split_folders(top)
    inside = {split: any(tree.holding(b"/".join(filter(None, (wrapper, split))))) for split in splits}
    if set(splits.values()) == {"train"} and not any(inside.values()) and len(top) > len(splits):
        splits = {}
    has_classes = any(folder not in splits or inside[folder] for folder in top)
    return Layout(wrapper, splits, has_classes)


def _telling(tree: Tree, folder: bytes) -> list[bytes]:
    """Sub-folders that hold images: all where one has a split's name, else two at most, which tell as much."""
    enough = None if any(path_text(name).lower() in SPLITS for name in tree.names(folder)) else 2
    return list(islice(tree.holding(folder), enough))


def divide(folder: bytes, splits: Mapping[bytes, str]) -> tuple[str | None, bytes]:
    """The split that a folder lies in, and the rest of its path below the split's folder."""
    if not splits:
        return None, folder
    first, _, rest = folder.partition(b"/")
    split = splits.get(first)
    return (None, folder) if split is None else (split, rest)


def class_folder(folder: bytes) -> bytes:
    """The first component of a path below the split's folder: the class, as ImageFolder has it."""
    return folder.partition(b"/")[0]


def group_finder(pattern: str | None) -> Callable[[str], str | None]:
    """A function from key to group: the first group of the pattern, or the key where it does not match.

    Without a pattern every group is None: the plan then takes the key.

    Raises:
        ConfigError: the pattern is no regular expression, or has no group in parentheses.
    """
    if pattern is None:
        return lambda key: None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"group_pattern {pattern!r} is no regular expression: {error}") from None
    if not compiled.groups:
        raise ConfigError(f"group_pattern {pattern!r} needs a group in parentheses, such as '^(.*)_[0-9]+'")

    def find(key: str) -> str | None:
        match = compiled.search(key)
        return key if match is None or match[1] is None else match[1]

    return find


class Labels:
    """Class names met in a source, and how they become labels.

    Labels are class names, sorted and numbered by the manifest. A given `class_to_idx` that numbers
    its classes 0, 1, …, n-1 fixes that order instead. One that has gaps, or gives a number twice
    (super-classes), cannot be told by a list of names: labels then are its integers themselves.

    Args:
        class_to_idx: class name → integer, or None.

    Raises:
        ConfigError: class_to_idx holds something else than integers from 0 on.
    """

    def __init__(self, class_to_idx: Mapping[str, int] | None) -> None:
        self._given = class_to_idx
        self.seen: set[str] = set()
        if class_to_idx is None:
            self._dense = True
            return
        wrong = [name for name, index in class_to_idx.items() if type(index) is not int or index < 0]
        if wrong:
            raise ConfigError(
                f"class_to_idx: the index of {wrong[0]!r} is {class_to_idx[wrong[0]]!r}, not an integer >= 0"
            )
        self._dense = sorted(class_to_idx.values()) == list(range(len(class_to_idx)))

    @property
    def type(self) -> pa.DataType:
        """Type of the listing's label column."""
        return pa.string() if self._dense else pa.int64()

    def knows(self, name: str) -> bool:
        """Whether the class can be labelled: always, unless class_to_idx leaves it out."""
        return self._given is None or name in self._given

    def label(self, name: str) -> str | int:
        """What the listing says for a class: its name, or its given integer."""
        self.seen.add(name)
        return name if self._dense or self._given is None else self._given[name]

    def field(self) -> Field:
        """The label field, with the names of class 0, 1, … where labels are names."""
        if not self._dense:
            return Field("label", "label", dtype="int64", shape=(), codec="raw")
        names = sorted(self.seen) if self._given is None else sorted(self._given, key=self._given.__getitem__)
        return Field("label", "label", dtype="int64", shape=(), codec="raw", class_names=tuple(names))

    def remark(self, unlabelled: int) -> str:
        """A sentence on the classes found."""
        count = f"{len(self.seen)} classes"
        if len(self.seen) == 1:
            count = f"1 class, {min(self.seen)!r} (if it is none: labels off, or give the folder inside it)"
        rest = f"; {unlabelled} images beside the class folders have no label" if unlabelled else ""
        return f"class folders: {count}{rest}"
