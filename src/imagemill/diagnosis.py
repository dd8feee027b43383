"""`doctor`: what this machine has for imagemill, and whether it works."""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from importlib import metadata, util
from pathlib import Path
from typing import NamedTuple

import filelock
import numpy as np

from imagemill import __version__, native
from imagemill.codecs import image as images
from imagemill.config import cache_dir, cpu_count
from imagemill.formats import FORMATS
from imagemill.sources import SOURCES

BASE = ("numpy", "pillow", "opencv-python-headless", "simplejpeg", "pyarrow", "h5py", "google-crc32c")
EXTRAS = {"torch": "torch", "ray": "ray"}


class Finding(NamedTuple):
    """One line of the diagnosis."""

    name: str
    value: str
    ok: bool


def diagnose() -> list[Finding]:
    """Versions, extras, cores, codecs and locks of this machine, each tried where it can be."""
    findings = [
        Finding("imagemill", __version__, True),
        Finding("python", f"{sys.version.split()[0]} on {platform.platform()}", sys.version_info >= (3, 11)),
        Finding("cores", str(cpu_count()), True),
        Finding("cache", str(cache_dir()), True),
    ]
    findings += [_installed(name) for name in BASE]
    findings += [_extra(module, extra) for module, extra in EXTRAS.items()]
    findings += [_decode(), _native_core(), _locks(), _device()]
    findings.append(Finding("formats", ", ".join(FORMATS), True))
    findings.append(Finding("sources", ", ".join(SOURCES), True))
    return findings


def _installed(name: str) -> Finding:
    try:
        return Finding(name, metadata.version(name), True)
    except metadata.PackageNotFoundError:
        return Finding(name, f"not installed: pip install {name}", False)


def _extra(module: str, extra: str) -> Finding:
    if util.find_spec(module) is None:
        return Finding(module, f"not installed (optional): pip install 'imagemill[{extra}]'", True)
    return Finding(module, metadata.version(module), True)


def _decode() -> Finding:
    """Encodes a picture, decodes it again, and says how long a decode takes."""
    side = 512
    ramp = np.add.outer(np.arange(side), np.arange(side))
    picture = np.stack([ramp % 256, ramp // 4 % 256, 255 - ramp % 256], axis=-1).astype(np.uint8)
    data = images.encode_jpeg(picture)
    started = time.process_time()
    rounds = 20
    for _ in range(rounds):
        back = images.decode(data)
    milliseconds = (time.process_time() - started) / rounds * 1000
    close = back.shape == picture.shape and float(np.abs(back.astype(int) - picture).mean()) < 8
    return Finding("jpeg decode", f"{milliseconds:.2f} ms of CPU for 512x512 ({len(data) // 1024} KiB)", close)


def _native_core() -> Finding:
    """Whether the C++ core is there; without it everything works, so its absence is no fault."""
    if native.available():
        return Finding("native core", native.build(), True)
    text = f"not in use, {native.why_not()}; batches are decoded by simplejpeg and Pillow, more slowly. "
    return Finding("native core", text + "On Debian: apt-get install g++ libjpeg62-turbo-dev, then install again", True)


def _locks() -> Finding:
    """Whether file locks work where temporary files lie."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.lock"
        try:
            with filelock.FileLock(path, timeout=1):
                return Finding("file locks", f"work in {Path(folder).parent}", True)
        except (filelock.Timeout, NotImplementedError, OSError) as error:
            return Finding("file locks", f"do not work in {Path(folder).parent}: {error}", False)


def _device() -> Finding:
    """What torch would train on, and how fast it multiplies matrices."""
    if util.find_spec("torch") is None:
        return Finding("device", "unknown without torch", True)
    import torch

    name = "cuda" if torch.cuda.is_available() else "cpu"
    label = torch.cuda.get_device_name() if name == "cuda" else "CPU (no CUDA device)"
    matrix = torch.ones(1024, 1024, device=name)
    started = time.perf_counter()
    total = float((matrix @ matrix).sum())
    seconds = time.perf_counter() - started
    text = f"{label}, a 1024x1024 matrix product in {seconds * 1000:.1f} ms"
    return Finding("device", text, total == 1024.0**3)
