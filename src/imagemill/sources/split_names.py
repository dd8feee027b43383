"""The split that the name of a shard tells: `train-00000-of-00002.parquet`, `imagenet-val-000017.tar`, `test/7.tar`."""

from __future__ import annotations

import re

from imagemill.sources.layout import SPLITS
from imagemill.sources.walk import path_text

_NUMBERED = re.compile(r"(.+)-[0-9]{5}-of-[0-9]{5}")


def split_of_shard(path: bytes) -> str | None:
    """The split of a shard file, None where its name and folders say nothing.

    The last component with a word that is a split's name decides; failing that, what stands before
    `-00000-of-00002` in the file's name.

    Args:
        path: of the file, relative to its source, with suffix.
    """
    components = path_text(path).rpartition(".")[0].split("/")
    for component in reversed(components):
        for word in re.split(r"[^A-Za-z]+", component):
            if word.lower() in SPLITS:
                return SPLITS[word.lower()]
    match = _NUMBERED.fullmatch(components[-1])
    return None if match is None else match[1]
