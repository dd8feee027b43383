"""`imagemill bench DATASET`."""

from __future__ import annotations

from typing import Annotated

from imagemill.api.bench import BenchResult, bench
from imagemill.cli import options as o
from imagemill.cli.console import human_bytes, print_json, print_rows
from imagemill.cli.parameters import Option
from imagemill.errors import ConfigError

_LOOPS = {"rrc": "RandomResizedCrop({size}) and flip", "resize": "resize to {size}", "none": "as stored"}

NOISE = 0.02
"""Parts are measured by themselves: a smaller difference to the whole loop says nothing."""


def command(
    dataset: o.Dataset,
    split: Annotated[str | None, Option("--split", help="Default: the only one, or train.")] = None,
    batch_size: Annotated[int, Option("--batch-size", help="Samples a batch.", min=1)] = 64,
    transform: Annotated[
        str | None,
        Option("--transform", help="rrc, resize or none; default none for raw pixels, else rrc."),
    ] = None,
    size: Annotated[str, Option("--size", help="WIDTHxHEIGHT, or one side of a square.")] = "224",
    threads: Annotated[str | None, Option("--threads", help="Numbers of threads, as 1,2,8.")] = None,
    seconds: Annotated[float, Option("--seconds", help="How long each number of threads is measured.")] = 2.0,
    need: Annotated[
        float | None, Option("--need", help="Samples a second that the training takes: is this enough?")
    ] = None,
    json: o.Json = False,
) -> None:
    """Measure samples a second of a dataset on this machine, and say what bounds them. Nothing is written."""
    result = bench(
        dataset,
        split,
        batch_size=batch_size,
        transform=transform,
        size=size,
        threads=parse_threads(threads),
        seconds=seconds,
        need=need,
    )
    if json:
        print_json(result)
    else:
        print_rows([*_loop_rows(result), *_cost_rows(result), *_verdict_rows(result)])


def parse_threads(text: str | None) -> list[int] | None:
    """Numbers as a person lists them: "1,2,8".

    Raises:
        ConfigError: something else.
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--threads {text!r}: whole numbers with commas between them, as 1,2,8") from None


def _loop_rows(result: BenchResult) -> list[tuple[str, str]]:
    sides = f"{result.size[1]}x{result.size[0]}"
    core = result.native_core or f"NOT in use, {result.native_problem}: JPEGs go through Python's decoders, more slowly"
    busy = "" if result.load is None else f"; load average {result.load:.1f} at the start"
    rows = [
        ("dataset", f"{result.path}, split {result.split}: {result.samples:,} samples"),
        ("stored", f"{result.pixels} pixels in {result.format}, {human_bytes(result.sample_bytes)} a sample"),
        ("native core", core),
        ("loop", f"{_LOOPS[result.transform].format(size=sides)}, batches of {result.batch_size}{busy}"),
    ]
    first = result.rates[0].samples_per_s
    for rate in result.rates:
        times = f", {rate.samples_per_s / first:.2f} times one thread" if rate.threads > 1 else ""
        name = f"{rate.threads} thread{'s' * (rate.threads > 1)}"
        rows.append((name, f"{rate.samples_per_s:,.0f} samples/s, {rate.samples_per_cpu_s:,.0f} a CPU-second{times}"))
    return rows


def _cost_rows(result: BenchResult) -> list[tuple[str, str]]:
    whole = sum(part.microseconds for part in result.parts)
    rows = [("a sample", f"{_duration(whole)} of CPU in one thread")]
    for part in result.parts:
        lost = part.name == "rest" and part.share < NOISE
        rows.append(
            (f"  {part.name}", "lost in noise" if lost else f"{_duration(part.microseconds)}, {part.share:.0%}")
        )
    rows.append(("digests", f"{_duration(result.digest_microseconds)} a sample more, in the first epoch only"))
    cold = result.disk.cold_samples_per_s
    speed = f"{cold:,.0f} samples/s ({human_bytes(cold * result.sample_bytes)}/s)" if cold else result.disk.note
    rows.append(("disk, cold", f"{speed}{', shuffled, one thread, nothing decoded' if cold else ': not measured'}"))
    rows.append(("disk, warm", f"{result.disk.warm_samples_per_s:,.0f} samples/s, from memory"))
    start = result.start
    rows.append(
        (
            "first batch",
            f"{start.cpu_s:.1f} s of CPU, {start.wall_s:.1f} s, after `import torch` ({start.torch_cpu_s:.1f} s)",
        )
    )
    if start.peak_mib:
        rows.append(("memory", f"{start.peak_mib:,.0f} MiB at its peak, {start.torch_mib:,.0f} of them torch's import"))
    return rows


def _duration(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f} ms" if microseconds >= 1000 else f"{microseconds:.1f} µs"


def _verdict_rows(result: BenchResult) -> list[tuple[str, str]]:
    rows = [("bound by", result.bound)]
    if result.need is not None and result.cores_needed is not None:
        best = max(rate.samples_per_s for rate in result.rates)
        enough = "enough" if best >= result.need else "not enough"
        cores = f"it takes {result.cores_needed:.1f} such cores, this machine lends {result.cores}"
        rows.append(("need", f"{result.need:,.0f} samples/s, best here {best:,.0f}: {enough}; {cores}"))
    return rows + [("next" if number == 0 else "", advice) for number, advice in enumerate(result.advice)]
