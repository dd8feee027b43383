"""Versions of everything that has a say in the bytes of a dataset."""

from __future__ import annotations

from functools import cache
from importlib import metadata

from imagemill import __version__

ALWAYS = ("numpy", "pillow", "pyarrow", "simplejpeg", "opencv-python-headless")
"""Index files are pyarrow's; pixels simplejpeg's, resized by Pillow, JPEGs of them OpenCV's; .npy headers NumPy's."""

BY_FORMAT = {"hdf5": ("h5py",), "tfrecord": ("google-crc32c",)}


def library_versions(format_name: str) -> dict[str, str]:
    """imagemill's version and those of the libraries that write this format."""
    names = (*ALWAYS, *BY_FORMAT.get(format_name.partition("-")[0], ()))
    return {"imagemill": __version__, **{name: _version(name) for name in names}}


@cache
def _version(name: str) -> str:
    """A package's version, which is looked up in a file of its own: 5 ms each."""
    return metadata.version(name)
