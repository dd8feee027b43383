"""The 1000 classes of ImageNet (ILSVRC 2012): WordNet's ids and a short English name each, for a person to read."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from imagemill.errors import ConfigError

BACKGROUND = "background"
"""Class 0 of networks that have 1001."""

_ID = re.compile(r"n[0-9]{8}")


@cache
def imagenet_classes() -> dict[str, str]:
    """Id → name, in the order of the ids, which is that of the classes; names differ from each other."""
    text = resources.files("imagemill.core").joinpath("imagenet_classes.txt").read_text("utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines())


def class_title(name: str) -> str:
    """The name of a class for a person: "n01440764 tench" of "n01440764"; other names as they are."""
    if not _ID.fullmatch(name):
        return name
    known = imagenet_classes().get(name)
    return name if known is None else f"{name} {known}"


def logit_names(count: int) -> list[str]:
    """Names of the logits of a network trained on ImageNet, in order.

    Args:
        count: 1000, or 1001 with background first.

    Raises:
        ConfigError: another number.
    """
    names = list(imagenet_classes().values())
    if count not in (len(names), len(names) + 1):
        raise ConfigError(f"networks of ImageNet have 1000 or 1001 logits, not {count}")
    return names if count == len(names) else [BACKGROUND, *names]
