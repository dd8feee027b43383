"""A source whose samples kill, stall or exhaust whoever reads them."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagemill.core.sample import Encoded, Sample
from imagemill.core.schema import Field
from imagemill.sources.base import ListingBuilder, Scan, Source, SourceOptions
from imagemill.testing.piles import save_photo


class PoisonSource(Source):
    """Good pictures, and ones named crash, hang and hog."""

    kind = "poison"

    def __init__(self, path: Path) -> None:
        super().__init__(path, SourceOptions())

    def scan(self, listing_path: Path) -> Scan:
        names = sorted(entry.name for entry in self.path.iterdir())
        with ListingBuilder(listing_path, {}) as builder:
            for name in names:
                builder.add(key=name, size=1)
            listing = builder.finish()
        return Scan(listing, (Field("image", "image"),), found=len(names))

    def read(self, row: Mapping[str, Any]) -> Sample:
        if row["key"].startswith("crash"):
            ctypes.string_at(0)
        if row["key"].startswith("hang"):
            time.sleep(600)
        if row["key"].startswith("hog"):
            bytearray(64 * 2**30)
        return Sample(row["key"], {"image": Encoded((self.path / row["key"]).read_bytes())}, {"image": row["key"]})


def poisoned_folder(folder: Path) -> Path:
    """Twelve pictures, four of them poison."""
    names = [f"a{number}.png" for number in range(5)] + ["crash 1.png", "crash 2.png", "hang.png", "hog.png"]
    for number, name in enumerate([*names, "x.png", "y.png", "z.png"]):
        save_photo(folder / name, 16, 16, number)
    return folder
