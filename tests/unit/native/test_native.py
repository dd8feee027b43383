"""The C++ core itself: what it hands back, that it lets other threads run, and thousands of damaged files."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from unit.codecs.test_fuzz import damaged
from unit.native.batches import jpegs, needs_core

from imagemill import native
from imagemill.codecs.image import decode
from imagemill.errors import ConfigError, SampleError
from imagemill.native import Status
from imagemill.testing.images import photo, saved

ROOT = Path(__file__).resolve().parents[3]
MUTATIONS = 2000


@needs_core
def test_it_says_what_it_is() -> None:
    assert native.why_not() == ""
    assert native.build().startswith("libjpeg-turbo ")


@needs_core
def test_what_is_not_in_order_is_handed_back_with_a_reason() -> None:
    good = saved(photo(64, 64), "JPEG")
    data = [good, saved(photo(64, 64), "PNG"), b"", good[:-300], good.replace(b"JFIF\0\1", b"JFIF\0\7")]
    boxes = np.array([[0, 0, 64, 64]] * len(data), np.int32)
    outcome = native.decode_batch(data, boxes, np.empty((len(data), 3, 16, 16), np.uint8))
    assert outcome.statuses.tolist() == [
        Status.DONE,
        Status.NOT_JPEG,
        Status.NOT_JPEG,
        Status.DOUBTFUL,
        Status.DOUBTFUL,
    ]
    assert [bool(outcome.text(position)) for position in range(len(data))] == [False, False, False, True, True]


@needs_core
def test_other_threads_run_meanwhile() -> None:
    """Python counts on while the core works: it would stand still if the interpreter lock were held."""
    data = [saved(photo(1500, 2000), "JPEG", quality=95)] * 6
    boxes = np.array([[0, 0, 1500, 2000]] * len(data), np.int32)
    out = np.empty((len(data), 3, 224, 224), np.uint8)
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(0.001):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.perf_counter()
    native.decode_batch(data, boxes, out)
    ended = time.perf_counter()
    stop.set()
    thread.join()
    assert ended - started > 0.02
    assert sum(started < moment < ended for moment in ticks) >= 5


@needs_core
def test_damaged_files_give_the_pixels_of_a_full_decode_or_are_handed_back() -> None:
    rng = random.Random(11)
    originals = list(jpegs().values())
    done = 0
    for start in range(0, MUTATIONS, 50):
        data = [damaged(rng.choice(originals), rng) for _ in range(50)]
        boxes = np.array([[5, 7, 100, 120]] * 50, np.int32)
        out = np.empty((50, 100, 120, 3), np.uint8)
        outcome = native.decode_batch(data, boxes, out, layout="NHWC", threads=2, max_pixels=2_000_000)
        assert set(outcome.statuses.tolist()) <= set(Status)
        assert not out[outcome.statuses != Status.DONE].any()
        passed = np.flatnonzero(outcome.statuses == Status.DONE).tolist()
        done += len(passed)
        if start % 200 == 0:
            for position in passed:
                _agrees(data[position], out[position])
    assert MUTATIONS * 0.02 < done < MUTATIONS * 0.9


def _agrees(data: bytes, found: np.ndarray) -> None:
    """The core may pass damage below the box, where the codecs, which read everything, refuse the image."""
    try:
        wanted = decode(data)
    except SampleError:
        return
    assert np.array_equal(found, wanted[5:105, 7:127])


def test_without_the_core_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, boxes = [saved(photo(8, 8), "JPEG")], np.array([[0, 0, 8, 8]], np.int32)
    for content, reason in ((None, "not built"), (b"no library", "cannot be loaded")):
        native._load.cache_clear()
        monkeypatch.setattr(native, "LIBRARY", tmp_path / f"_core-{reason[:3]}.so")
        if content is not None:
            native.LIBRARY.write_bytes(content)
        try:
            assert not native.available()
            assert reason in native.why_not()
            assert native.build() == ""
            with pytest.raises(ConfigError, match=reason):
                native.decode_batch(data, boxes, np.empty((1, 3, 4, 4), np.uint8))
        finally:
            native._load.cache_clear()


@needs_core
def test_a_core_of_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    native._load.cache_clear()
    monkeypatch.setattr(native, "INTERFACE", native.INTERFACE + 1)
    try:
        assert "other sources" in native.why_not()
    finally:
        native._load.cache_clear()


def test_a_build_that_cannot_be_says_why(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "tools" / "build_native.py", tmp_path / "_core.so"]
    result = subprocess.run(command, capture_output=True, text=True, env={"CXX": "/no/such/compiler"}, check=False)
    assert result.returncode == 1
    assert "compiler" in result.stderr
    assert list(tmp_path.iterdir()) == []
