"""Images a second and CPU time of `imagemill fetch` and of img2dataset, over loopback, in one run.

    python benchmarks/fetch.py [--peers PYTHON] [--images DIR] [--count 1000] [--rounds 3] [--record]

Files are kept as they came; all but the bare loop make sure that each is an image. Every measurement is a process of
its own, from its start to its end. Rounds are interleaved, the numbers are medians over them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from machine import describe, record, table
from photos import gather

HERE = Path(__file__).parent
IN_FLIGHT = 64

BARE_LOOP = """
import asyncio, sys
import aiohttp

async def main():
    urls = iter(open(sys.argv[1]).read().split())
    async with aiohttp.ClientSession() as session:
        async def fetch():
            for url in urls:
                async with session.get(url) as response:
                    await response.read()
        await asyncio.gather(*(fetch() for _ in range(8)))

asyncio.run(main())
"""

NOTES = """\
*CPU-s* is user and system time of the process and its children, imports included; *img/s* is images by the wall time
of the whole process. *peak* is the largest sum of its processes' own memory (proportional set size, Linux).
img2dataset stores the bytes as they came (`resize_mode=no, skip_reencode=True`), decodes each by OpenCV, uses one
process of {threads} threads, and hashes with SHA-256, as imagemill does; *re-encodes* is the same without
`skip_reencode`, as it does by default. *bare loop* is aiohttp reading bodies and forgetting them. imagemill decodes
every image to its last byte, or with `--decode headers` trusts the pixels; both obey robots.txt, keep a journal that
survives a kill, and write an index."""


@dataclass(frozen=True)
class Run:
    """One measurement."""

    cpu_s: float
    wall_s: float
    peak_mib: float
    files: int


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="imagemill-bench-", dir=options.scratch) as name:
        folder = Path(name)
        pile = gather(folder / "images", min(options.count, 250), options.images)
        what = f"{options.count} images of {pile.mean_bytes / 1000:.0f} kB, {options.rounds} interleaved rounds."
        with serving(pile.root) as port:
            urls = folder / "urls.txt"
            urls.write_text("".join(f"http://127.0.0.1:{port}/{number}.jpg\n" for number in range(options.count)))
            commands = contenders(urls, folder / "out", port, options.peers)
            runs: dict[str, list[Run]] = {title: [] for title in commands}
            for _ in range(options.rounds):
                for title, command in commands.items():
                    runs[title].append(measured(command, folder / "out"))
    machine = describe(["imagemill", "aiohttp", "uvloop", "simplejpeg"])
    text = "\n\n".join(["\n".join(machine), what, render(runs, options.count), NOTES.format(threads=IN_FLIGHT)])
    print(text)
    if options.record:
        record(f"Fetching, {machine[0].partition(',')[0]}", text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="Python of the environment that has img2dataset")
    parser.add_argument("--images", type=Path, help="folder with JPEGs; by default the ImageNet sample, else made ones")
    parser.add_argument("--count", type=int, default=1000, help="images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="where temporary files go")
    parser.add_argument("--record", action="store_true", help="put the result into RESULTS.md")
    return parser.parse_args()


def contenders(urls: Path, out: Path, port: int, peers: Path | None) -> dict[str, list[str]]:
    """Title → command; `out` is where it writes."""
    ours = [sys.executable, "-m", "imagemill", "fetch", str(urls), str(out), "--allow", f"127.0.0.1:{port}"]
    ours += ["--in-flight", str(IN_FLIGHT), "--per-host", str(IN_FLIGHT)]
    found = {"imagemill": ours, "imagemill, headers": [*ours, "--decode", "headers"]}
    if peers is not None:
        theirs = [str(peers.parent / "img2dataset"), "--url_list", str(urls), "--output_folder", str(out)]
        theirs += ["--output_format", "files", "--processes_count", "1", "--thread_count", str(IN_FLIGHT)]
        theirs += ["--resize_mode", "no", "--compute_hash", "sha256", "--enable_wandb", "False"]
        found["img2dataset"] = [*theirs, "--skip_reencode", "True"]
        found["img2dataset, re-encodes"] = theirs
    return {**found, "bare loop": [sys.executable, "-c", BARE_LOOP, str(urls)]}


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port at which the photographs are served."""
    command = [sys.executable, str(HERE / "fetch_server.py"), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.communicate()


def measured(command: Sequence[str], out: Path) -> Run:
    """Runs a command into an `out` that is not there.

    What the last one wrote moves aside: ext4 makes new files slowly for some seconds after many were deleted.
    """
    if out.exists():
        out.rename(out.with_name(f"out-{time.monotonic_ns()}"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    quiet = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=quiet) as process:
        peak: list[float] = [0.0]
        watcher = threading.Thread(target=_watch, args=(process, peak))
        watcher.start()
        said, _ = process.communicate(timeout=600)
        watcher.join()
    wall_s = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{said}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(cpu_s, wall_s, peak[0], sum(path.suffix in (".jpg", ".jpeg") for path in out.rglob("*")))


def _watch(process: subprocess.Popen[str], peak: list[float]) -> None:
    """Adds up the memory of a process and its descendants, some times a second."""
    while process.poll() is None:
        peak[0] = max(peak[0], sum(map(_memory_mib, _family(process.pid))))
        time.sleep(0.1)


def _family(root: int) -> list[int]:
    found = [root]
    for parent in found:
        try:
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        except OSError:
            continue
    return found


def _memory_mib(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def render(runs: dict[str, list[Run]], count: int) -> str:
    """A row a contender; ratios are to img2dataset in the same round."""
    rows = []
    for title, mine in runs.items():
        if title != "bare loop" and any(run.files != count for run in mine):
            raise SystemExit(f"{title} kept {[run.files for run in mine]} of {count} images")
        peers = runs.get("img2dataset", [])
        faster = [theirs.wall_s / run.wall_s for run, theirs in zip(mine, peers, strict=False)]
        share = [run.cpu_s / theirs.cpu_s for run, theirs in zip(mine, peers, strict=False)]
        rows.append(
            [
                title,
                f"{median(count / run.wall_s for run in mine):,.0f}",
                f"{median(run.cpu_s for run in mine):.2f}",
                f"{median(run.peak_mib for run in mine):,.0f} MiB",
                f"{median(faster):.1f}×" if faster else "",
                f"{median(share):.2f}×" if share else "",
            ]
        )
    return table(["", "img/s", "CPU-s", "peak", "speed of img2dataset", "its CPU"], rows)


if __name__ == "__main__":
    main()
