"""The core's plain, AVX2 and AVX-512 code give the same bytes: a batch is the same on any processor."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from unit.native.batches import jpegs, needs_core
from unit.native.jpeg_writer import random_jpeg

import imagemill
from imagemill.testing.images import photo, saved

torch = pytest.importorskip("torch")
pytestmark = needs_core

KINDS = ("original", "recoded", "recoded-compact", "raw")
SCRIPT = """
import hashlib, sys
from pathlib import Path
import imagemill, pyarrow.parquet
from imagemill import native, transforms as t

folder = Path(sys.argv[1])
print(native.build())
for kind in sys.argv[2].split():
    for changes in ([t.HorizontalFlip()], [t.ColorJitter(0.4, 0.4, 0.4, 0.1)], []):
        for size in ((96, 112), (31, 40)):
            steps = [t.RandomResizedCrop(size), *changes] if changes else [t.Resize(size), t.RandomErasing(1.0)]
            last = size[0] == 31
            loader = imagemill.Loader(folder / kind, "train", batch_size=8, transforms=steps, channels_last=last)
            batches = [batch["image"].contiguous().numpy().tobytes() for batch in loader]
            print(kind, size, [type(step).__name__ for step in steps], hashlib.sha256(b"".join(batches)).hexdigest())
from imagemill.core.sample import Encoded
from imagemill.datasets.pairs import show_pair
from imagemill.native.pairs import PairView
for path in sorted((folder / "pile").iterdir()):
    for scale, mirrored in ((4, False), (2, True), (3, True)):
        def view(height, width):
            kept = height - height % scale, width - width % scale
            return PairView((0, 0, height, width), (height, width), kept, mirrored, scale)
        pair = show_pair(Encoded(path.read_bytes()), path.name, view)
        digests = [hashlib.sha256(part.numpy().tobytes()).hexdigest() for part in (pair.planes, pair.low_planes)]
        print(path.name, scale, digests)
imagemill.check(folder / "pile", out=sys.argv[3], workers=0, cache=False)
table = pyarrow.parquet.read_table(Path(sys.argv[3]) / "checks.parquet")
print(hashlib.sha256(repr(table.to_pylist()).encode()).hexdigest())
"""


def test_every_build_of_the_loops_gives_the_same_bytes(tmp_path: Path) -> None:
    pile = tmp_path / "pile"
    pile.mkdir()
    for name, content in jpegs().items():
        (pile / f"{name.replace(':', '')}.jpg").write_bytes(content)
    for number in range(4):
        (pile / f"{number}.jpg").write_bytes(saved(photo(400, 610, number), "JPEG", quality=85))
    for amplitude in (60.0, 400.0, 3000.0):
        data = random_jpeg(random.Random(1), (140, 150), [(2, 2), (1, 1), (1, 1)], amplitude=amplitude)
        (pile / f"random {amplitude}.jpg").write_bytes(data)
    (pile / "photo.png").write_bytes(saved(photo(141, 203, 7), "PNG"))
    for kind in KINDS:
        size = {"size": (224, 224)} if kind == "raw" else {}
        imagemill.pack(pile, tmp_path / kind, pixels=kind, workers=0, **size)
    printed = {}
    for wanted in ("", "avx2", "baseline"):
        command = [sys.executable, "-c", SCRIPT, tmp_path, " ".join(KINDS), tmp_path / f"checked{wanted}"]
        environment = {**os.environ, "IMAGEMILL_CPU": wanted}
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        printed[wanted] = done.stdout.splitlines()
    assert "avx512" not in printed["avx2"][0]
    assert "baseline" in printed["baseline"][0]
    assert len(printed[""]) > 1 + len(KINDS) * 6 + 3 * 4
    assert printed["baseline"][1:] == printed["avx2"][1:] == printed[""][1:]
