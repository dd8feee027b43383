"""What training comes to, by CPU-seconds of training steps: our network and defaults beside the original's.

    python benchmarks/train.py [--pairs DIR] [--size 128] [--seconds 60 150 600] [--only ROW …]
                               [--scratch DIR] [--record]

Every row but the baselines is a run of `imagemill.train` with one thread. How many steps a budget holds is found by a
short run before it; what the steps really took stands in the table. Runs that lie finished in the scratch folder are
not done again, so a long table can be measured in parts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import describe, record, table

import imagemill
from imagemill.networks import create_network
from imagemill.networks.lookup_table import fit_lookup_table
from imagemill.training import loop
from imagemill.training.metrics import psnr

PAIRS = Path(__file__).resolve().parents[2] / "shared" / "data" / "before_after"
SIZE = 128
LEFT_OUT = 1
"""Steps of the short run that warm up: memory, kernels."""
TRIED = 4
COLOUR, DENOISE, GREY = "grey → colour", "noise of 25 taken away", "colour → grey"
ORIGINAL = {"network": "unet", "network_options": {"variant": "head"}}
"""5,158,995 parameters; everything else is our own."""
AS_IT_WAS = {
    **ORIGINAL,
    "optimizer": "adam",
    "learning_rate": 1e-5,
    "weight_decay": 4e-5,
    "loss": "l1+mse",
    "schedule": "constant",
    "warmup": 0,
    "batch_size": 32,
    "flips": "none",
    "ema": 0,
    "clip": 0,
}
"""As its configuration has it; its plateau of five epochs is longer than a minute."""
OUR_OPTIMIZER = {name: AS_IT_WAS[name] for name in (*ORIGINAL, "loss", "batch_size", "flips")}
"""Its loss, batch and pictures, with our AdamW, rates, averaged weights and clipping."""
TASKS: Mapping[str, Mapping[str, Any]] = {
    COLOUR: {"flips": "all"},
    DENOISE: {"flips": "all", "noise": 25.0, "after": "after"},
    GREY: {"flips": "all", "direction": "after-to-before"},
}


@dataclass(frozen=True, eq=False)
class Row:
    """One training run of the table.

    Args:
        name: of the network and recipe.
        task: a key of `TASKS`.
        seconds: of CPU that its steps may take.
        options: of `imagemill.train`, over those of the task.
    """

    name: str
    task: str
    seconds: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """A name for files."""
        return f"{self.task} {self.name} {self.seconds:g}".replace(" → ", "-to-").replace(" ", "-").replace(",", "")


def rows(seconds: list[float]) -> list[Row]:
    """All runs."""
    shortest, middle = seconds[0], seconds[min(1, len(seconds) - 1)]
    return [
        Row("the original's recipe as it was", COLOUR, shortest, AS_IT_WAS),
        Row("the original's recipe, our optimizer", COLOUR, shortest, OUR_OPTIMIZER),
        Row("the original's network, our recipe", COLOUR, shortest, ORIGINAL),
        *(Row("imagemill", COLOUR, budget) for budget in seconds),
        Row("the original's recipe, our optimizer", DENOISE, middle, OUR_OPTIMIZER),
        Row("the original's network, our recipe", DENOISE, middle, ORIGINAL),
        Row("imagemill", DENOISE, middle),
        Row("imagemill", GREY, shortest / 6),
    ]


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    machine = describe(["imagemill", "torch", "numpy"])
    with _scratch(options.scratch) as folder:
        dataset = folder / "dataset"
        imagemill.pack(
            options.pairs, dataset, pixels="raw", size=(options.size, options.size), fit="exact",
            filter="box", format="memmap", workers=0,
        )  # fmt: skip
        counts = {name: len(imagemill.open(dataset, name)) for name in ("train", "val")}
        runs = {}
        for row in rows(options.seconds):
            if not options.only or any(fnmatch(row.folder, name) for name in options.only):
                print(row.folder, flush=True)
                runs[row] = measured(row, dataset, folder / "runs")
        text = "\n\n".join(
            [
                "\n".join(machine),
                f"{counts['train']} pairs of {options.size}×{options.size} to train on, {counts['val']} to validate; "
                "PSNR over RGB and SSIM of each picture, then the mean over pictures; one thread.",
                render(runs, least_squares_psnr(dataset)),
                size_of_default(options.size),
            ]
        )
    print(text)
    if options.record:
        record(f"Training, {machine[0].partition(',')[0]}", text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=PAIRS, help="folder with train/ and val/ of pairs")
    parser.add_argument("--size", type=int, default=SIZE, help="side that pictures are brought to")
    parser.add_argument("--seconds", type=float, nargs="+", default=[60, 150, 600], help="budgets of CPU, rising")
    parser.add_argument("--only", nargs="+", default=[], help="rows by the names of their folders, * for any letters")
    parser.add_argument("--scratch", type=Path, help="folder that keeps dataset and runs")
    parser.add_argument("--record", action="store_true", help="add to RESULTS.md")
    return parser.parse_args()


@contextmanager
def _scratch(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="imagemill-bench-") as name:
        yield Path(name)


def measured(row: Row, dataset: Path, folder: Path) -> dict[str, Any]:
    """The numbers of a run, measured now or found in the folder."""
    note = folder / f"{row.folder}.json"
    if note.is_file():
        found: dict[str, Any] = json.loads(note.read_text("utf-8"))
        return found
    options = {
        **TASKS[row.task], "epochs": 10**6, "validate_every": 10**6, "workers": 0, "sheets": 0, "device": "cpu",
        "write_page": False, **row.options,
    }  # fmt: skip
    with _timed_steps() as tried:
        imagemill.train(dataset, folder / f"{row.folder}-tried", **options, steps=TRIED)
    steps = max(1, int(row.seconds / median(tried[LEFT_OUT:])))
    with _timed_steps() as taken:
        result = imagemill.train(dataset, folder / row.folder, **options, steps=steps)
    (direction,) = result.directions
    found = {
        "cpu_s": sum(taken),
        "steps": result.steps,
        "parameters": _parameters(folder / row.folder / direction.file),
        "val": dict(direction.val),
        "baselines": {name: dict(values) for name, values in direction.baselines.items()},
    }
    note.write_text(json.dumps(found, indent=1), "utf-8")
    return found


def _parameters(model: Path) -> int:
    from imagemill.training.model_file import load_model

    network, _ = load_model(model)
    return sum(weight.numel() for weight in network.parameters())


@contextmanager
def _timed_steps() -> Iterator[list[float]]:
    """CPU-seconds of each training step: forward, backward, optimizer, averaged weights."""
    taken: list[float] = []
    step = loop._step

    def timed(*given: Any) -> None:
        started = time.process_time()
        step(*given)
        taken.append(time.process_time() - started)

    loop._step = timed
    try:
        yield taken
    finally:
        loop._step = step


def least_squares_psnr(dataset: Path) -> float:
    """PSNR on val of the 256-entry table fitted by plain least squares, grey → colour."""
    train, val = (_pixels(dataset, split) for split in ("train", "val"))
    answers = fit_lookup_table(lambda: [train])(val[0].float() / 255)
    return float(psnr(answers, val[1].float() / 255).mean())


def _pixels(dataset: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey `before` and colour `after` of a split, uint8."""
    batches = list(imagemill.Loader(dataset, split, batch_size=64, shuffle=False, threads=1))
    return torch.cat([b["before"][:, :1] for b in batches]), torch.cat([b["after"] for b in batches])


def render(runs: Mapping[Row, Mapping[str, Any]], least_squares: float) -> str:
    """A table a task."""
    parts = []
    for task in TASKS:
        measured_here = {row: run for row, run in runs.items() if row.task == task}
        if not measured_here:
            continue
        lines = []
        if task == COLOUR:
            lines.append(["table of 256 entries, least squares", "", "", "", f"{least_squares:.2f}", ""])
        known = next(iter(measured_here.values()))["baselines"]
        lines = [_baseline(name, values) for name, values in known.items()] + lines
        lines += [_line(row, run) for row, run in measured_here.items()]
        parts.append(f"### {task}\n\n" + table(["", "parameters", "CPU-s", "steps", "val PSNR, dB", "val SSIM"], lines))
    return "\n\n".join(parts)


def _baseline(name: str, values: Mapping[str, float]) -> list[str]:
    shown = {"identity": "identity", "table": "table of 256 entries, fitted for PSNR"}[name]
    return [shown, "", "", "", f"{values['psnr']:.2f}", f"{values['ssim']:.3f}"]


def _line(row: Row, run: Mapping[str, Any]) -> list[str]:
    numbers = [f"{run['parameters']:,}", f"{run['cpu_s']:.0f}", f"{run['steps']:,}"]
    return [row.name, *numbers, f"{run['val']['psnr']:.2f}", f"{run['val']['ssim']:.3f}"]


def size_of_default(size: int) -> str:
    """Parameters of the default networks and what a batch of 8 keeps for the backward pass."""
    from imagemill.training.suited import COLOURISING

    said = []
    colourising = {**COLOURISING, "in_channels": 1, "out_channels": 2, "start": "table", "palette": True}
    for name, options in (("grey → colour", colourising), ("other tasks", {})):
        network = create_network(**options)
        kept = 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += 0 if isinstance(tensor, torch.nn.Parameter) else tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            wanted = [torch.rand(8, 2, size, size)] if network.options.palette else []
            network(torch.rand(8, network.options.in_channels, size, size), *wanted)
        parameters = sum(weight.numel() for weight in network.parameters())
        said.append(f"{name} {parameters:,} parameters, {kept / 2**20:.0f} MiB")
    return f"The default network, and what a batch of 8 keeps for the backward pass: {'; '.join(said)}."


if __name__ == "__main__":
    main()
