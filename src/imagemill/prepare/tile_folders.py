"""One folder of tiles. Its tiles are numbered through the whole set: at once where it is known how many numbers are
taken before, else under numbers of their own, and again later."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagemill.codecs.centers import encode_centers
from imagemill.core.sample import Buffer
from imagemill.faults import fault_point
from imagemill.prepare.commit import atomic_write
from imagemill.prepare.tile_cutting import CutRegion
from imagemill.sources.chunked import CENTERS_NAME, REFERENCE_NAME, TILES_NAME

CUT_NAME = "cut.json"
"""What lies in a folder whose tiles are not numbered yet, in place of `centers.pt` and `tiles.json`."""
DIGITS = 8
"""Of a tile's number in its file name."""
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)


def numbers_taken(tiles: int) -> int:
    """Numbers that a folder of so many tiles takes: the reference's, which none bears, and those of its tiles."""
    return tiles + 1 if tiles else 0


def write_folder(folder: Path, about: Mapping[str, Any], cut: CutRegion, taken: int | None) -> None:
    """Writes a new folder, nothing of it synced.

    Args:
        about: what `tile_cutting.facts` says of the region.
        taken: numbers taken by the folders before this one; None where that is not known yet.
    """
    folder.mkdir()
    files: dict[str, Buffer] = {REFERENCE_NAME: cut.reference} if cut.reference else {}
    if taken is None:
        files[CUT_NAME] = json.dumps(about, ensure_ascii=False).encode()
        names = [_local_name(index) for index in range(len(cut.tiles))]
    else:
        files |= _about_tiles(about, taken)
        names = [_final_name(taken, index) for index in range(len(cut.tiles))]
    for name, content in (*files.items(), *((name, jpeg) for name, (_, jpeg) in zip(names, cut.tiles, strict=True))):
        _write(f"{folder}/{name}", content)


def number_folder(folder: Path, taken: int) -> bool:
    """Gives a folder's tiles their final names; may be called again after it was killed.

    `CUT_NAME` stays until all else is durable: whoever finds it numbers again.

    Returns:
        Whether they had none yet, or might have lost them.
    """
    if not (folder / CUT_NAME).exists():
        return False
    about = json.loads((folder / CUT_NAME).read_bytes())
    names = set(os.listdir(folder))
    for index in range(len(about["tiles"])):
        if (local := _local_name(index)) in names:
            os.replace(f"{folder}/{local}", f"{folder}/{_final_name(taken, index)}")
    for name, content in _about_tiles(about, taken).items():
        atomic_write(folder / name, content, durable=False)
    fault_point("tile.number.after")
    return True


def _local_name(index: int) -> str:
    return f"tile{index}.jpg"


def _final_name(taken: int, index: int) -> str:
    return f"{taken + 1 + index:0{DIGITS}d}.jpg"


def _about_tiles(about: Mapping[str, Any], taken: int) -> dict[str, bytes]:
    numbered = dict(enumerate(about["tiles"], taken + 1))
    centers = {number: (tuple(tile["center"]), tile["size"]) for number, tile in numbered.items()}
    return {CENTERS_NAME: encode_centers(centers), TILES_NAME: _tiles_file(about, numbered)}


def _tiles_file(about: Mapping[str, Any], numbered: Mapping[int, Any]) -> bytes:
    """`tiles.json`: what is said of the region, and a line a tile."""
    head = json.dumps({name: value for name, value in about.items() if name != "tiles"}, ensure_ascii=False)
    # Made at once, as a call a tile takes longer, and parted again: nothing in a tile has a brace but its end.
    tiles = json.dumps(list(numbered.values())).removeprefix("[").removesuffix("}]").split("}, ")
    lines = (f'"{number:0{DIGITS}d}": {tile}}}' for number, tile in zip(numbered, tiles, strict=True))
    return (head.removesuffix("}") + ', "tiles": {\n' + ",\n".join(lines) + "\n}}\n").encode()


def _write(path: str, content: Buffer) -> None:
    """A file by as few calls as there can be: a set has as many as tiles."""
    descriptor = os.open(path, _NEW_FILE, 0o666)
    try:
        rest = memoryview(content)
        while rest:  # a disk that is almost full takes a part, and says so at the next attempt
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)
