"""Small piles of pictures on disk, and how to compare folders."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from imagemill.testing.images import photo


def save_photo(path: Path, height: int, width: int, seed: int) -> None:
    """A photo-like picture, in the format its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo(height, width, seed)).save(path)


def class_folders(folder: Path, *, classes: int = 3, per_class: int = 8, bad: bool = True) -> Path:
    """Class folders of JPEG and PNG files, a few of them bad, one that is no image."""
    for label in range(classes):
        for number in range(per_class):
            suffix = ".png" if number % 4 == 3 else ".jpg"
            path = folder / f"class_{label}" / f"im {number:03d}{suffix}"
            save_photo(path, 40 + number, 48 + label, seed=label * 100 + number)
    if bad:
        whole = (folder / "class_0" / "im 000.jpg").read_bytes()
        (folder / "class_0" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
        (folder / "class_1" / "empty.jpg").write_bytes(b"")
        (folder / "class_1" / "page.jpg").write_text("<html><body>404</body></html>")
        (folder / "notes.txt").write_text("not an image, and not asked for")
    return folder


def pairs(folder: Path, count: int = 6) -> Path:
    """Before (grey) and after (colour) pictures, by name."""
    for number in range(count):
        after = Image.fromarray(photo(48, 32, number))
        folder.mkdir(parents=True, exist_ok=True)
        after.save(folder / f"plate_{number}_after.jpg")
        after.convert("L").save(folder / f"plate_{number}_before.jpg")
    return folder


def masked(folder: Path, count: int = 6) -> Path:
    """Pictures with class masks 0–11, as PNG."""
    for number in range(count):
        save_photo(folder / "images" / f"frame_{number:04d}.png", 36, 48, number)
        ids = np.random.default_rng(number).integers(0, 12, (36, 48), np.uint8)
        (folder / "masks").mkdir(parents=True, exist_ok=True)
        Image.fromarray(ids).save(folder / "masks" / f"frame_{number:04d}.png")
    return folder


def fetched(folder: Path, urls: Path) -> Path:
    """What `fetch` makes of a list, without a network: the last digit of a URL's path is the picture, 9 fails."""
    from imagemill.acquire.contract import Outcome, Verdict
    from imagemill.acquire.index import write_index
    from imagemill.acquire.journal import Journal, Record
    from imagemill.acquire.look import Examination
    from imagemill.acquire.pile import Pile
    from imagemill.acquire.survey import survey, url_hash
    from imagemill.acquire.url_list import UrlList

    pile, listed = Pile(folder), UrlList(urls)
    pile.arriving.mkdir(parents=True)
    arrived = pile.arriving / "picture.jpg"
    with Journal(pile.journal) as journal:
        for entry in listed.entries():
            digit = int(re.findall(r"[0-9]", entry.url.partition("?")[0])[-1])
            outcome = Outcome(entry.number, "failed", "not-found", host="a.org")
            if digit != 9:
                save_photo(arrived, 20, 24 + digit, digit)
                content = arrived.read_bytes()
                size_bytes, sha256 = len(content), hashlib.sha256(content).hexdigest()
                verdict = Verdict(format="JPEG", width=24 + digit, height=20)
                path = pile.keep(arrived, Examination(verdict, size_bytes, sha256))
                outcome = Outcome(
                    entry.number, "fetched", path=path, sha256=sha256, size_bytes=size_bytes, verdict=verdict
                )
            journal.put(Record.of(outcome, url_hash(entry.url), 0.0))
        write_index(folder, listed, survey(listed, pile.work / "list"), journal, {})
    shutil.rmtree(pile.work)
    return folder


def tree(folder: Path, *, without: tuple[str, ...] = ("run.jsonl",)) -> dict[str, str]:
    """Path → sha256 of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in without
    }


def command(*arguments: object) -> list[str]:
    """The command line of imagemill, as a list for subprocess."""
    return [sys.executable, "-m", "imagemill", *map(str, arguments)]


def imagemill(
    *arguments: object, environment: Mapping[str, str] | None = None, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **(environment or {})},
        check=False,
    )
