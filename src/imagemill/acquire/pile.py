"""Images on disk under the names of their content: `images/ab/cd/SHA256.jpg`."""

from __future__ import annotations

import os
from pathlib import Path

from imagemill.acquire.look import Examination
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
        self._folders: set[str] = set()

    @property
    def work(self) -> Path:
        """Folder of the unfinished run."""
        return self.root / WORK_NAME

    @property
    def journal(self) -> Path:
        """The journal of the unfinished run."""
        return self.work / JOURNAL

    @property
    def downloaded(self) -> Path:
        """Folder of lists that lie at URLs, until the run is finished; each in a folder named after its URL."""
        return self.work / "downloaded-list"

    @property
    def arriving(self) -> Path:
        """Folder of bodies on their way."""
        return self.work / "arriving"

    def path_of(self, sha256: str, format: str) -> str:
        """Where an image belongs, relative to the pile."""
        extension = EXTENSIONS.get(format) or "".join(filter(str.isalnum, format.lower())) or "bin"
        return f"{IMAGES}/{sha256[:2]}/{sha256[2:4]}/{sha256}.{extension}"

    def keep(self, arrived: Path, found: Examination) -> str:
        """Brings a good image to its place; one that is there already stays.

        Args:
            arrived: the file that it lies in; it is no more afterwards.
            found: what it is.

        Returns:
            Its path relative to the pile.
        """
        path = self.path_of(found.sha256, found.verdict.format)
        folder_is_new = self._make_folder(path.rpartition("/")[0])
        if not folder_is_new and self.is_whole(path, found.size_bytes):
            arrived.unlink()
            return path
        fault_point("image.rename.before")
        os.replace(arrived, f"{self._root_name}/{path}")
        fault_point("image.rename.after")
        return path

    def _make_folder(self, folder: str) -> bool:
        """Whether the folder was not there, so that there is no image in it; calls of the system cost more than a set.

        Args:
            folder: of images, one of 65,536, relative to the pile.
        """
        if folder in self._folders:
            return False
        is_new = True
        try:
            os.mkdir(f"{self._root_name}/{folder}")
        except FileExistsError:
            is_new = False
        except FileNotFoundError:
            os.makedirs(f"{self._root_name}/{folder}", exist_ok=True)
        self._folders.add(folder)
        return is_new

    def is_whole(self, path: str, size_bytes: int) -> bool:
        """Whether an image is there with all its bytes."""
        try:
            return os.stat(f"{self._root_name}/{path}").st_size == size_bytes
        except OSError:
            return False
