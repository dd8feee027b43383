"""Ten million rows: planned, and opened, in how much time and memory.

    python benchmarks/scale.py [--rows 10000000] [--scratch DIR] [--json] [--record]

Every stage is a process of its own:

plan    a source lists rows with made-up paths of 45 characters in 1,000 class folders, one by one through
        `ListingBuilder`, as the folder source does; then the job is planned, written and synced by the
        function that `pack` calls, opened again, and the rows of a few shards are asked for.
make    a dataset of 1,000 rows a shard is written, not measured: data and index files with the columns
        that `pack` writes, each image 32 bytes long. Every file is there, with its digests.
open    the dataset is opened, rows at random positions are read with digests checked, and the order of a
        whole epoch of the train split is computed, batch by batch.

Peak memory is all resident memory: the process itself, what it allocates, and the pages of mapped files it touched.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from machine import Clock, describe, peak_mib, record, reset_peak, table

from imagemill.core.manifest import MANIFEST_NAME, FileInfo, Manifest, ShardInfo
from imagemill.core.recipe import Recipe, parse_split
from imagemill.core.sample import Sample
from imagemill.core.schema import Field, Schema
from imagemill.formats.arrow import arrow_schema
from imagemill.formats.index import index_schema
from imagemill.formats.store import Store
from imagemill.load.sampler import Sampler
from imagemill.prepare.commit import WORK_NAME
from imagemill.prepare.job import LISTING_NAME, Job
from imagemill.prepare.planning import freeze
from imagemill.sources.base import ListingBuilder, Scan, Source, SourceOptions

CLASSES = 1000
ROWS_PER_SHARD = 1000
SPLIT = "80/12/8"
IMAGE_BYTES = 32
BATCH = 256
READS = 1_000
LABEL = Field("label", "label", dtype="int64", shape=(), codec="raw")
FIELDS = (Field("image", "image"), LABEL)


def class_name(number: int) -> str:
    """A folder name like `n01440764_class`."""
    return f"n{number * 7919:08d}_class"


def paths(start: int, stop: int, rows: int) -> Iterator[tuple[str, str]]:
    """(path, class) of rows [start, stop) out of `rows`, class after class; paths have 45 characters."""
    per_class = -(-rows // CLASSES)
    for number in range(start // per_class, -(-stop // per_class)):
        name = class_name(number)
        head = f"{name}/ILSVRC2012_{number:04d}_"
        for row in range(max(start, number * per_class), min(stop, (number + 1) * per_class)):
            yield f"{head}{row:08d}.JPEG", name


class MadeUp(Source):
    """Rows that are only listed."""

    kind = "made-up"

    def __init__(self, rows: int) -> None:
        super().__init__(Path("made-up"), SourceOptions())
        self.rows = rows
        self.listed = Clock(0, 0)

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        start = Clock.now()
        with ListingBuilder(listing_path, {"path": pa.binary(), "label": pa.string()}) as builder:
            for path, name in paths(0, self.rows, self.rows):
                builder.add(key=path, size=110_000, path=path.encode(), label=name)
            listing = builder.finish()
        self.listed = Clock.now().since(start)
        return Scan(listing, FIELDS, found=self.rows)

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`."""
        raise OSError(f"{row['key']} is made up")


def plan(rows: int, folder: Path) -> dict[str, float]:
    """Lists and plans the rows, opens the job again and asks for a few shards."""
    out = folder / "planned"
    (out / WORK_NAME).mkdir(parents=True)
    source = MadeUp(rows)
    before_mib = peak_mib()
    reset_peak()
    start = Clock.now()
    freeze(source, out, Recipe(split=parse_split(SPLIT), shard_samples=ROWS_PER_SHARD))
    frozen = Clock.now()
    job = Job.open(out)
    shards = job.plan.shards()
    for split, number in shards[:: max(len(shards) // 20, 1)]:
        asked = [row["key"] for row in job.listing_rows(job.plan.rows(split, number))]
        if len(asked) != len(job.plan.rows(split, number)):
            raise SystemExit(f"{split} shard {number} lost rows")
    took, listed, done = frozen.since(start), source.listed, Clock.now().since(frozen)
    work = out / WORK_NAME / "plan"
    text = sum(2 * len(path) + len(name) for path, name in paths(0, rows, rows)) / rows
    return {
        "before_mib": before_mib,
        "peak_mib": peak_mib(),
        "list_cpu_s": listed.cpu_s,
        "list_wall_s": listed.wall_s,
        "plan_cpu_s": took.cpu_s - listed.cpu_s,
        "plan_wall_s": took.wall_s - listed.wall_s,
        "reopen_cpu_s": done.cpu_s,
        "shards": len(shards),
        "listing_text_bytes": text,
        "listing_bytes": (work / LISTING_NAME).stat().st_size / rows - text,
        "order_bytes": (work / "order.npy").stat().st_size / rows,
        "groups_bytes": (work / "groups.npy").stat().st_size / rows,
    }


def make(rows: int, folder: Path) -> dict[str, float]:
    """Writes the dataset that `open_dataset` opens."""
    out = folder / "dataset"
    for name in ("data", "index"):
        (out / name).mkdir(parents=True)
    names = tuple(sorted(map(class_name, range(CLASSES))))
    schema = Schema((FIELDS[0], Field("label", "label", dtype="int64", shape=(), codec="raw", class_names=names)))
    splits: dict[str, tuple[ShardInfo, ...]] = {}
    start = 0
    for name, share in parse_split(SPLIT).items():
        stop = start + int(rows * share)
        count = -(-(stop - start) // ROWS_PER_SHARD)
        bounds = [(first, min(first + ROWS_PER_SHARD, stop)) for first in range(start, stop, ROWS_PER_SHARD)]
        splits[name] = tuple(
            _shard(out, schema, f"{name}-{number:05d}-of-{count:05d}", first, last, rows)
            for number, (first, last) in enumerate(bounds)
        )
        start = stop
    counts = {"found": start, "kept": start, "rejected": 0, "ignored": 0, "samples": start}
    manifest = Manifest("arrow", "original", schema, splits, Recipe().to_json(), {}, counts, {"kind": "made-up"})
    (out / MANIFEST_NAME).write_text(manifest.to_json(), "utf-8")
    return {}


def _shard(out: Path, schema: Schema, name: str, first: int, last: int, rows: int) -> ShardInfo:
    """One shard and its index, as `pack` lays them out, a column at a time."""
    count = last - first
    keys = pa.array([path for path, _ in paths(first, last, rows)])
    labels = np.arange(first, last, dtype=np.int64) // -(-rows // CLASSES)
    pixels = [number.to_bytes(8, "little") * (IMAGE_BYTES // 8) for number in range(first, last)]
    images, numbers = pa.array(pixels, pa.binary()), pa.array(labels)
    data = _write(out, f"data/{name}.arrow", arrow_schema(schema), [keys, images, numbers])
    columns = [
        keys,
        pa.array(np.arange(first, last, dtype=np.uint64)),
        pa.array([""] * count),
        pa.array([xxhash.xxh3_64_intdigest(pixel) for pixel in pixels], pa.uint64()),
        keys,
        pa.array(np.full(count, 375, np.int32)),
        pa.array(np.full(count, 500, np.int32)),
        pa.array([xxhash.xxh3_64_intdigest(label.tobytes()) for label in labels], pa.uint64()),
    ]
    return ShardInfo(name, count, (data,), _write(out, f"index/{name}.arrow", index_schema(schema), columns))


def _write(out: Path, relative: str, schema: pa.Schema, columns: list[pa.Array]) -> FileInfo:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))
    content = sink.getvalue().to_pybytes()
    (out / relative).write_bytes(content)
    return FileInfo(relative, len(content), sha256(content).hexdigest(), xxhash.xxh3_64_hexdigest(content))


def open_dataset(rows: int, folder: Path) -> dict[str, float]:
    """Opens the dataset, reads rows all over it, and computes the order of an epoch."""
    out = folder / "dataset"
    before_mib = peak_mib()
    reset_peak()
    start = Clock.now()
    store = Store(out)
    opened = Clock.now()
    count = store.count("train")
    reads = min(READS, count)
    positions = np.random.default_rng(0).integers(0, count, reads)
    for begin in range(0, reads, BATCH):
        store.read("train", positions[begin : begin + BATCH].tolist())
    read = Clock.now()
    sampler = Sampler(count, BATCH)
    ordered = sum(len(sampler.ids(step)) for step in range(sampler.steps))
    if ordered != count:
        raise SystemExit(f"the order of an epoch has {ordered} samples, the split {count}")
    done = Clock.now()
    text = 2 * len(next(paths(0, 1, rows))[0])
    index_bytes = sum(path.stat().st_size for path in (out / "index").iterdir()) / rows
    return {
        "before_mib": before_mib,
        "peak_mib": peak_mib(),
        "open_cpu_s": opened.since(start).cpu_s,
        "read_cpu_s": read.since(opened).cpu_s,
        "order_cpu_s": done.since(read).cpu_s,
        "cpu_s": done.since(start).cpu_s,
        "wall_s": done.since(start).wall_s,
        "reads": reads,
        "index_text_bytes": text,
        "index_bytes": index_bytes - text,
        "manifest_bytes": (out / MANIFEST_NAME).stat().st_size / rows,
    }


STAGES = {"plan": plan, "make": make, "open": open_dataset}


def run_stage(name: str, rows: int, folder: Path) -> dict[str, float]:
    """One stage in a process of its own."""
    command = [sys.executable, __file__, "--stage", name, "--rows", str(rows), "--scratch", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    numbers: dict[str, float] = json.loads(done.stdout)
    return numbers


def measure(rows: int, scratch: Path | None) -> dict[str, dict[str, float]]:
    """All stages."""
    folder = Path(tempfile.mkdtemp(prefix="imagemill-scale-", dir=scratch))
    try:
        return {name: run_stage(name, rows, folder) for name in STAGES}
    finally:
        shutil.rmtree(folder)


def render(rows: int, stages: Mapping[str, Mapping[str, float]]) -> str:
    """The numbers in words and tables."""
    planned, opened = stages["plan"], stages["open"]
    times = table(
        ["", "CPU s", "wall s", "peak MiB", "before MiB"],
        [
            ["listed, through ListingBuilder", *_times(planned, "list"), "", ""],
            [f"planned, {planned['shards']:.0f} shards", *_times(planned, "plan"), *_memory(planned)],
            ["plan opened again, rows of 20 shards", f"{planned['reopen_cpu_s']:.1f}", "", "", ""],
            ["Store opened", f"{opened['open_cpu_s']:.1f}", "", "", ""],
            [f"{opened['reads']:,.0f} rows read at random", f"{opened['read_cpu_s']:.1f}", "", "", ""],
            [f"order of an epoch, batches of {BATCH}", f"{opened['order_cpu_s']:.1f}", "", "", ""],
            ["opened, in all", f"{opened['cpu_s']:.1f}", f"{opened['wall_s']:.1f}", *_memory(opened)],
        ],
    )
    sizes = [
        ["listing", planned["listing_bytes"], planned["listing_text_bytes"], "keys, paths and class names"],
        ["order of the shards", planned["order_bytes"], 0.0, ""],
        ["group hashes", planned["groups_bytes"], 0.0, ""],
        ["index of a shard", opened["index_bytes"], opened["index_text_bytes"], "keys and origins"],
        ["manifest.json (read, not mapped)", opened["manifest_bytes"], 0.0, ""],
    ]
    mapped = table(
        ["mapped", "bytes a row", "and of text", "which is"],
        [[name, f"{size:.1f}", f"{text:.1f}" if text else "", what] for name, size, text, what in sizes],
    )
    total = sum(size for _, size, _, _ in sizes[:3])
    return (
        f"{rows:,} rows of 45-character paths in {CLASSES:,} class folders.\n\n{times}\n\n{mapped}\n\n"
        f"While a job runs {total:.1f} bytes a row are mapped, while a dataset is read {opened['index_bytes']:.1f}, "
        "beside the text itself."
    )


def _times(stage: Mapping[str, float], name: str) -> list[str]:
    return [f"{stage[f'{name}_cpu_s']:.1f}", f"{stage[f'{name}_wall_s']:.1f}"]


def _memory(stage: Mapping[str, float]) -> list[str]:
    return [f"{stage['peak_mib']:.0f}", f"{stage['before_mib']:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--scratch", type=Path, help="folder for what is written, about 450 bytes a row")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--record", action="store_true", help="add to RESULTS.md")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(STAGES[options.stage](options.rows, options.scratch)))
        return
    machine = describe(["imagemill", "numpy", "pyarrow", "xxhash"])
    stages = measure(options.rows, options.scratch)
    text = "\n".join(machine) + "\n\n" + render(options.rows, stages)
    print(json.dumps(stages) if options.json else text)
    if options.record:
        record(f"Scale, {machine[0].partition(',')[0]}", text)


if __name__ == "__main__":
    main()
