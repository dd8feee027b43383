"""What `train` shows while it is at work: each event of the log in a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from imagemill.cli.console import human_bytes, note, progress_bar

SHOWN_METRICS = ("psnr", "psnr-y", "ssim", "ssim-y", "ciede2000", "colourfulness", "lpips", "miou", "accuracy", "loss")


@contextmanager
def live_events(*, quiet: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that shows an event; a bar of steps where there is a terminal."""
    if quiet:
        yield lambda event: None
        return
    with progress_bar("train", quiet=quiet) as bar:
        shown = 0

        def show(event: Mapping[str, Any]) -> None:
            nonlocal shown
            if event["kind"] == "model":
                bar.total(event["steps"])
            if event["kind"] in ("train", "resumed"):
                bar.advance(event["step"] - shown)
                shown = event["step"]
            for line in event_lines(event):
                note(line)

        yield show


def event_lines(event: Mapping[str, Any]) -> list[str]:
    """An event in words; training steps are summed up by the validations' lines."""
    kind = event["kind"]
    if kind in ("remark", "resumed"):
        return [event["text"]]
    if kind == "model":
        return model_lines(event)
    if kind == "baseline":
        return [f"{event['direction']}: {event['name']} on val: {metric_text(event['values'])}"]
    if kind == "train":
        losses = "  ".join(f"{name} {each['loss']:.5f}" for name, each in event["losses"].items())
        rest = f"{event['images_per_s']:,.0f} images/s, {event['waiting_share']:.0%} of the time waiting for data"
        return [f"step {event['step']:,}  loss {losses}  rate {event['learning_rate']:.2e}  {rest}"]
    if kind in ("val", "test"):
        mark = " (best so far)" if event.get("best") else ""
        return [f"{event['direction']}: {kind} at step {event['step']:,}: {metric_text(event['values'])}{mark}"]
    if kind == "upset":
        return [
            f"no number in {', '.join(event['terms'])} at step {event['step']:,}: the batch is in {event['batch']}; "
            f"back to the weights of step {event['back_to']:,}, at {event['rate_factor']:g} of the rate"
        ]
    if kind == "rate":
        value = event.get("learning_rate") or f"{event['factor']:g} of the highest"
        return [f"learning rate now {value}: {event['why']}"]
    if kind == "stop":
        return [f"step {event['step']:,}: {event['why']}"]
    return []


def model_lines(event: Mapping[str, Any]) -> list[str]:
    """What is to be trained, and what that takes."""
    size = "sizes as they come" if event["size"] is None else f"{event['size'][1]}x{event['size'][0]}"
    memory = f"{human_bytes(event['weight_bytes'])} of weights and their copies"
    kept = f"{human_bytes(event['saved_bytes'])} kept of a batch for the backward pass"
    return [
        f"{event['direction']}: {event['network']}, {event['parameters']:,} parameters, {event['takes']} to "
        f"{event['gives']} at {size}",
        f"  {event['samples']:,} samples, {event['steps']:,} steps of {event['batch']:,}, on {event['device']} in "
        f"{event['precision']}: {memory}, {kept}",
    ]


def metric_text(values: Mapping[str, float]) -> str:
    """Metrics in a line."""
    return ", ".join(f"{name} {values[name]:.3f}" for name in SHOWN_METRICS if name in values)
