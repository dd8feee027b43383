"""`doctor`: what this machine has for imagemill, tried and timed; and what is missing, with how to get it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import numpy as np

from imagemill import __version__, native
from imagemill.codecs import image as images
from imagemill.codecs.batch import decode_batch
from imagemill.config import cache_dir, cpu_count
from imagemill.formats import FORMATS
from imagemill.sources import SOURCES

BASE = ("numpy", "pillow", "opencv-python-headless", "simplejpeg", "pyarrow", "h5py", "google-crc32c")
NOT_FOR_USERS = ("test", "lint", "demo")
"""Extras that only who works on imagemill wants."""

PICTURE_SIDE = 512
TRIED_S = 0.2
"""How long each thing that is timed is tried."""
MATRIX_SIDES = {"cpu": 1024, "mps": 2048, "cuda": 8192}


class Finding(NamedTuple):
    """One line of the diagnosis."""

    name: str
    value: str
    ok: bool


def diagnose() -> list[Finding]:
    """Versions, memory, cores, devices, decoders, locks and extras of this machine, each tried where it can be."""
    findings = [
        Finding("imagemill", __version__, True),
        Finding("python", f"{sys.version.split()[0]} on {platform.platform()}", sys.version_info >= (3, 11)),
        Finding("cores", f"{cpu_count()} for this process of {os.cpu_count()}", True),
        Finding("memory", _memory(), True),
        Finding("cache", _cache(), True),
        _locks(),
    ]
    findings += [_installed(name) for name in BASE]
    findings += [_decode(), _native_core(), _decode_batch()]
    findings += _devices()
    findings += _extras()
    findings.append(Finding("formats", ", ".join(FORMATS), True))
    findings.append(Finding("sources", ", ".join(SOURCES), True))
    return findings


def _installed(name: str) -> Finding:
    try:
        return Finding(name, metadata.version(name), True)
    except metadata.PackageNotFoundError:
        return Finding(name, f"not installed: pip install {name}", False)


def _extras() -> Iterator[Finding]:
    """What each extra brings, by the package's own metadata; what is missing is no fault."""
    wanted: dict[str, list[str]] = {}
    try:
        requirements = metadata.requires("imagemill") or []
    except metadata.PackageNotFoundError:  # run from its sources, without having been installed
        requirements = []
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9._-]+).*extra == ['\"]([a-z0-9-]+)['\"]", requirement)
        if match and match[2] not in NOT_FOR_USERS:
            wanted.setdefault(match[2], []).append(match[1])
    for extra, packages in sorted(wanted.items()):
        versions = [_installed(package) for package in sorted(packages)]
        missing = [finding.name for finding in versions if not finding.ok]
        there = ", ".join(f"{finding.name} {finding.value}" for finding in versions if finding.ok)
        lacks = f"without {', '.join(missing)} (optional): pip install 'imagemill[{extra}]'" if missing else ""
        yield Finding(f"extra {extra}", "; ".join(text for text in (there, lacks) if text), True)


def _memory() -> str:
    """Memory of the machine, and how much is free, where the system says so."""
    try:
        page, total = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "unknown on this system"
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return _gib(page * total)
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
    return f"{_gib(page * total)}, {_gib(free)} of it available"


def _cache() -> str:
    """Where caches lie, and the room that is left there."""
    place = cache_dir()
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return f"{place}, {_gib(shutil.disk_usage(there).free)} free there"


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"


def _picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
    ramp = np.add.outer(np.arange(PICTURE_SIDE), np.arange(PICTURE_SIDE))
    return np.stack([ramp % 256, ramp // 4 % 256, 255 - ramp % 256], axis=-1).astype(np.uint8)


def _rate(function: Callable[[], object]) -> float:
    """How often a second a function can be called, after a first time that does not count."""
    function()
    started, calls = time.perf_counter(), 0
    while (passed_s := time.perf_counter() - started) < TRIED_S:
        function()
        calls += 1
    return calls / passed_s


def _decode() -> Finding:
    """Encodes a picture, decodes it again, and says how long a decode takes."""
    picture = _picture()
    data = images.encode_jpeg(picture)
    back = images.decode(data)
    close = back.shape == picture.shape and float(np.abs(back.astype(int) - picture).mean()) < 8
    milliseconds = 1000 / _rate(lambda: images.decode(data))
    return Finding("jpeg decode", f"{milliseconds:.2f} ms for 512x512 ({len(data) // 1024} KiB), one thread", close)


def _native_core() -> Finding:
    """Whether the C++ core is there; without it everything works, so its absence is no fault."""
    if native.available():
        return Finding("native core", native.build(), True)
    text = f"not in use, {native.why_not()}; batches are decoded by simplejpeg and Pillow, more slowly. "
    return Finding("native core", text + "On Debian: apt-get install g++ libjpeg62-turbo-dev, then install again", True)


def _decode_batch() -> Finding:
    """Pictures a second as a training loop wants them: decoded and resized, on all cores."""
    count = 16
    data = [images.encode_jpeg(_picture())] * count
    boxes = np.tile(np.array([0, 0, PICTURE_SIDE, PICTURE_SIDE], np.int32), (count, 1))
    out = np.zeros((count, 3, 224, 224), np.uint8)
    errors = decode_batch(data, boxes, out, threads=cpu_count())
    rate = count * _rate(lambda: decode_batch(data, boxes, out, threads=cpu_count()))
    text = f"{rate:,.0f} images/s, 512x512 to 224x224, {cpu_count()} threads"
    return Finding("batch decode", text, not errors and bool(out.any()))


def _locks() -> Finding:
    """Whether file locks work where temporary files lie."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.lock"
        try:
            with filelock.FileLock(path, timeout=1):
                return Finding("file locks", f"work in {Path(folder).parent}", True)
        except (filelock.Timeout, NotImplementedError, OSError) as error:
            return Finding("file locks", f"do not work in {Path(folder).parent}: {error}", False)


def _devices() -> Iterator[Finding]:
    """What torch would train on: each device with its memory, tried by a sum and a timed matrix product."""
    if util.find_spec("torch") is None:
        yield Finding("device", "unknown without torch: pip install 'imagemill[torch]'", True)
        return
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    yield Finding("torch", f"{torch.__version__}, {build}, {torch.get_num_threads()} threads", True)
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    names += ["mps"] if torch.backends.mps.is_available() else []
    for name in [*names, "cpu"]:
        yield _device(torch, name)
    if not names:
        yield Finding("gpu", "none that this torch can use: training and predict run on the CPU", True)


def _device(torch: Any, name: str) -> Finding:
    """One device, tried: a sum whose result is known, and a matrix product."""
    label = name
    if name.startswith("cuda"):
        facts = torch.cuda.get_device_properties(name)
        free, total = torch.cuda.mem_get_info(name)
        narrow = ", bfloat16" if torch.cuda.is_bf16_supported() else ""
        label = f"{facts.name}, {_gib(total)}, {_gib(free)} free, capability {facts.major}.{facts.minor}{narrow}"
    try:
        summed = (torch.tensor([1, 2, 3], device=name) + torch.tensor([4, 5, 6], device=name)).tolist()
        side, seconds, right = _matrix_product(torch, name)
    except RuntimeError as error:
        return Finding(f"device {name}", f"{label}: cannot be used: {str(error).splitlines()[0]}", False)
    rate = 2 * side**3 / seconds / 1e9
    text = f"{label}; {side}x{side} matrix product in {seconds * 1000:.1f} ms, {rate:,.0f} GFLOP/s in float32"
    return Finding(f"device {name}", text, right and summed == [5, 7, 9])


def _matrix_product(torch: Any, name: str) -> tuple[int, float, bool]:
    """(side, seconds a product, whether it is right)."""
    side = MATRIX_SIDES[name.partition(":")[0]]
    matrix = torch.ones(side, side, device=name)

    def product() -> float:
        return float((matrix @ matrix)[-1, -1])  # reading a number waits for the device

    return side, 1 / _rate(product), product() == side
