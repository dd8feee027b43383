"""Images on disk under the names of their content: `images/ab/cd/SHA256.jpg`."""

from __future__ import annotations

import os
from pathlib import Path

from imagemill.core.files import WORK_NAME
from imagemill.faults import fault_point

IMAGES = "images"
JOURNAL = "journal.sqlite"

EXTENSIONS = {
    "JPEG": "jpg",
    "MPO": "jpg",
    "PNG": "png",
    "GIF": "gif",
    "WEBP": "webp",
    "TIFF": "tif",
    "BMP": "bmp",
    "AVIF": "avif",
    "JPEG2000": "jp2",
    "ICO": "ico",
    "PPM": "ppm",
    "DDS": "dds",
    "PSD": "psd",
    "QOI": "qoi",
    "TGA": "tga",
    "ICNS": "icns",
    "PCX": "pcx",
    "SGI": "sgi",
}
"""Suffix by the format that the bytes have; another format's name in lower case where it is not here."""


class Pile:
    """The images of a folder; each is seen whole or not at all, and never changed.

    An image is renamed into place once it is whole. It is not synced to the disk one by one, which would cost
    more than fetching it: after a power cut a file may be shorter than it was (`is_whole` finds it).

    Args:
        root: OUT.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root_name = os.fspath(root)

    @property
    def work(self) -> Path:
        """Folder of the unfinished run."""
        return self.root / WORK_NAME

    @property
    def journal(self) -> Path:
        """The journal of the unfinished run."""
        return self.work / JOURNAL

    @property
    def arriving(self) -> Path:
        """Folder of bodies on their way."""
        return self.work / "arriving"

    def path_of(self, sha256: str, format: str) -> str:
        """Where an image belongs, relative to the pile."""
        extension = EXTENSIONS.get(format) or "".join(filter(str.isalnum, format.lower())) or "bin"
        return f"{IMAGES}/{sha256[:2]}/{sha256[2:4]}/{sha256}.{extension}"

    def take(self, arrived: Path, sha256: str, size_bytes: int, format: str) -> str:
        """Moves an image that arrived to its place; one that is there already stays.

        Returns:
            Its path relative to the pile.
        """
        path = self.path_of(sha256, format)
        if self.is_whole(path, size_bytes):
            arrived.unlink()
            return path
        place = f"{self._root_name}/{path}"
        fault_point("image.rename.before")
        try:
            os.replace(arrived, place)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.replace(arrived, place)
        fault_point("image.rename.after")
        return path

    def is_whole(self, path: str, size_bytes: int) -> bool:
        """Whether an image is there with all its bytes."""
        try:
            return os.stat(f"{self._root_name}/{path}").st_size == size_bytes
        except OSError:
            return False
