"""The card of a model: what it takes and gives, what it was trained on, how good it is and against what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagemill import __version__
from imagemill.core.files import atomic_write
from imagemill.training.metrics import PROTOCOLS
from imagemill.training.result import DirectionResult, TrainResult

CARD_NAME = "README.md"

Event = Mapping[str, Any]


def write_card(folder: Path, events: Sequence[Event], result: TrainResult) -> None:
    """Writes the card into the folder of a run; its head is what Hugging Face reads."""
    atomic_write(folder / CARD_NAME, "\n".join(_lines(events, result)).encode())


def _lines(events: Sequence[Event], result: TrainResult) -> Iterator[str]:
    models = {event["direction"]: event for event in events if event["kind"] == "model"}
    segments = any(each.metric == "miou" for each in result.directions)
    yield from ("---", "library_name: imagemill", "tags:")
    yield from (f"- {'image-segmentation' if segments else 'image-to-image'}", "---", "")
    yield from ("# Model trained by imagemill", "")
    for each in result.directions:
        yield from _direction_lines(each, models.get(each.direction, {}))
    yield from ("## Data and training", "")
    yield f"- data: manifest sha256 `{result.dataset}`"
    yield f"- {result.steps:,} steps in {result.epochs:,} epochs; ended: {result.stopped}"
    if result.upsets:
        yield f"- values that were no numbers came up {result.upsets} times; training went back each time"
    yield "- every option: `config.json`; every event: `metrics.jsonl`"
    yield from (f"- written by imagemill {__version__}", "", "## How it was measured", "")
    measured = sorted({name for each in result.directions for name in each.val} - {"loss"})
    yield from (f"- {PROTOCOLS[name]}" for name in measured if name in PROTOCOLS)
    yield ""


def _direction_lines(each: DirectionResult, model: Event) -> Iterator[str]:
    yield from (f"## {each.direction}", "", f"**{each.verdict}**", "")
    if model:
        size = "any size" if model["size"] is None else f"{model['size'][1]}x{model['size'][0]}"
        yield f"- {model['network']}, {model['parameters']:,} parameters"
        yield f"- takes {model['takes']}, gives {model['gives']}"
        yield f"- trained on {model['samples']:,} samples at {size}, loss {_sum_text(model['loss'])}"
        if model["options"].get("palette"):
            yield "- measured are mean colours; likely ones (`predict --vividness 1`) are further from the truth"
    yield f"- best by {each.metric} at step {each.step:,}: `{each.file}`"
    yield from ("", "| metric | val | test | " + " | ".join(f"{name} (val)" for name in each.baselines) + " |")
    yield "|---" * (3 + len(each.baselines)) + "|"
    for name, value in each.val.items():
        if name == "loss":
            continue
        cells = [value, each.test.get(name), *(values.get(name) for values in each.baselines.values())]
        yield f"| {name} | " + " | ".join("" if cell is None else f"{cell:.4f}" for cell in cells) + " |"
    yield from ("", "```python", "from imagemill.training.model_file import load_model", "")
    yield f'network, spec = load_model("{each.file}")'
    yield from ("```", "")


def _sum_text(loss: Mapping[str, float]) -> str:
    return " + ".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in loss.items())
