"""Damaged recoded JPEGs through the native core under AddressSanitizer and UndefinedBehaviorSanitizer.

    python tools/fuzz_recoded.py [--count 100000] [--seed 0]

Builds `fuzz_recoded.cpp` with the core and sanitizers into a temporary folder and runs it on small JPEGs of every kind:
damaged recoded files, compact or not, are decoded at random regions and reductions, given back as JPEGs and recoded
otherwise, damaged JPEGs are recoded.
A million inputs take some minutes. Needs gcc with libasan.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "src")]


def main() -> int:
    from build_native import FLAGS, SANITIZE, SOURCES, compiler

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "fuzz_recoded"
        flags = [flag for flag in FLAGS if flag not in ("-shared", "-fPIC", "-fvisibility=hidden")]
        sources = [str(path) for path in sorted(SOURCES.glob("*.cpp")) if path.name != "api.cpp"]
        command = [*compiler(), *flags, *SANITIZE, f"-I{SOURCES}", str(ROOT / "tools" / "fuzz_recoded.cpp"), *sources]
        built = subprocess.run([*command, "-ljpeg", "-o", str(program)], capture_output=True, text=True, check=False)
        if built.returncode:
            sys.stderr.write(f"cannot build: {built.stderr[-2000:]}\n")
            return 1
        files = []
        for name, data in seeds().items():
            files.append(Path(folder) / name)
            files[-1].write_bytes(data)
        environment = {
            **os.environ,
            "ASAN_OPTIONS": "allocator_may_return_null=0:abort_on_error=1:max_allocation_size_mb=2000",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        }
        started = time.monotonic()
        arguments = [str(program), str(options.count), str(options.seed), *map(str, files)]
        result = subprocess.run(arguments, env=environment, check=False)
    seconds = time.monotonic() - started
    verdict = "no finding" if result.returncode == 0 else f"FAILED with code {result.returncode}"
    sys.stdout.write(f"{options.count} inputs in {seconds:.0f} s: {verdict}\n")
    return 1 if result.returncode else 0


def seeds() -> dict[str, bytes]:
    """Small JPEGs: samplings, scans, restarts, segments, tiles (more than 512 pixels wide)."""
    import simplejpeg

    from imagemill.testing.images import exif_block, photo, saved

    made = {}
    for progressive in (False, True):
        kind = "progressive" if progressive else "baseline"
        for sampling in ("4:4:4", "4:2:2", "4:2:0"):
            options = {"quality": 80, "subsampling": sampling, "progressive": progressive}
            made[f"{kind}-{sampling[2:].replace(':', '')}"] = saved(photo(37, 51), "JPEG", **options)
        made[f"{kind}-grey"] = saved(photo(30, 41)[:, :, 0], "JPEG", progressive=progressive)
    for sampling in ("440", "411"):
        made[sampling] = simplejpeg.encode_jpeg(photo(33, 45), 85, "RGB", sampling)
    made["restarts"] = saved(photo(40, 40), "JPEG", restart_marker_blocks=2)
    made["rgb"] = saved(photo(24, 24), "JPEG", keep_rgb=True)
    made["wide"] = saved(photo(9, 1100), "JPEG", quality=60)
    made["fine"] = saved(photo(20, 20), "JPEG", quality=100, exif=exif_block(8))
    return made


if __name__ == "__main__":
    sys.exit(main())
