"""`imagemill train DATASET|RECIPE OUT`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

from imagemill.api.train import train
from imagemill.cli import options as o
from imagemill.cli.console import note, print_json, print_rows, say
from imagemill.cli.parameters import Argument, Option
from imagemill.cli.train_display import live_events
from imagemill.engines.ranks import membership
from imagemill.errors import ConfigError

Text = str | None
Number = float | None
Whole = int | None


def command(
    source: Annotated[
        str,
        Argument(metavar="DATASET|RECIPE", help="A dataset, what `pack` takes, or a TOML file with [train]."),
    ],
    out: Annotated[Path, Argument(metavar="OUT", help="Folder of the run; the same command again goes on.")],
    network: Annotated[Text, Option("--network", help="residual-unet (default), unet, colour-fusion.")] = None,
    network_option: Annotated[
        list[str] | None, Option("--network-option", help="NAME=VALUE, as variant=head; repeat for each.")
    ] = None,
    start: Annotated[Text, Option("--start", help="Model or run whose weights it begins with.")] = None,
    task: Annotated[Text, Option("--task", help="auto, image-to-image or segmentation.")] = None,
    direction: Annotated[Text, Option("--direction", help="before-to-after, after-to-before or both.")] = None,
    before: Annotated[Text, Option("--before", help="Field that is predicted from.")] = None,
    after: Annotated[Text, Option("--after", help="Field that is predicted.")] = None,
    embedding: Annotated[Text, Option("--embedding", help="Vector field that colour-fusion takes.")] = None,
    colour: Annotated[Text, Option("--colour", help="auto, rgb, ycbcr, lab or grey.")] = None,
    size: Annotated[Text, Option("--size", help="WIDTHxHEIGHT that images are brought to.")] = None,
    fit: Annotated[Text, Option("--fit", help="cover (default), exact or contain.")] = None,
    crop: Annotated[Text, Option("--crop", help="WIDTHxHEIGHT of a random part, for each step.")] = None,
    flips: Annotated[Text, Option("--flips", help="none, horizontal (default), both, all: turned, too.")] = None,
    scale: Annotated[Whole, Option("--scale", help="2 or 4: super-resolution.")] = None,
    noise: Annotated[Number, Option("--noise", help="Standard deviation of noise on the input, of 255.")] = None,
    fixed_corruptions: Annotated[
        Text, Option("--fixed-corruptions", help="Of the input, as gaussian_blur,jpeg.")
    ] = None,
    random_corruptions: Annotated[Text, Option("--random-corruptions", help="Drawn of these.")] = None,
    num_corrupts_per_image: Annotated[Whole, Option("--num-corrupts-per-image", help="So many.")] = None,
    train_split: Annotated[Text, Option("--train-split", help="Split to train on (train).")] = None,
    val_split: Annotated[Text, Option("--val-split", help="Split to validate on (val).")] = None,
    test_split: Annotated[Text, Option("--test-split", help="Split for the last word (test).")] = None,
    limit: Annotated[Whole, Option("--limit", help="Only the first N training samples.")] = None,
    epochs: Annotated[Whole, Option("--epochs", help="Passes over the training split (20).")] = None,
    steps: Annotated[Whole, Option("--steps", help="Optimizer steps at most.")] = None,
    batch_size: Annotated[Whole, Option("--batch-size", help="Of a rank (8).")] = None,
    accumulation: Annotated[Whole, Option("--accumulation", help="Batches that make one step.")] = None,
    optimizer: Annotated[Text, Option("--optimizer", help="adamw, adam or sgd.")] = None,
    learning_rate: Annotated[Text, Option("--learning-rate", help="At its highest; find looks for one.")] = None,
    weight_decay: Annotated[Number, Option("--weight-decay")] = None,
    schedule: Annotated[Text, Option("--schedule", help="one-cycle, cosine, plateau or constant.")] = None,
    warmup: Annotated[Number, Option("--warmup", help="Share of all steps, or a number of them.")] = None,
    plateau_patience: Annotated[Whole, Option("--plateau-patience", help="Validations before it halves.")] = None,
    loss: Annotated[Text, Option("--loss", help="As psnr+0.2*ssim: psnr, l1, mse, charbonnier, ssim; …")] = None,
    metric: Annotated[Text, Option("--metric", help="That the best model is chosen by (psnr, miou).")] = None,
    ema: Annotated[Number, Option("--ema", help="Decay of the averaged weights; 0 averages none.")] = None,
    clip: Annotated[Number, Option("--clip", help="Largest norm of the gradient; 0 leaves it.")] = None,
    precision: Annotated[Text, Option("--precision", help="auto, float32, bfloat16 or float16.")] = None,
    channels_last: Annotated[bool | None, Option("--channels-last/--no-channels-last")] = None,
    compile: Annotated[bool | None, Option("--compile/--no-compile", help="torch.compile.")] = None,
    validate_every: Annotated[Whole, Option("--validate-every", help="Epochs.")] = None,
    checkpoint_every: Annotated[Whole, Option("--checkpoint-every", help="Steps; default validations.")] = None,
    patience: Annotated[Whole, Option("--patience", help="Validations without improvement; 0 goes on.")] = None,
    classes: Annotated[Text, Option("--classes", help="Names of a mask's classes: sky,road,…")] = None,
    ignore_class: Annotated[Whole, Option("--ignore-class", help="Mask value that is no class.")] = None,
    seed: Annotated[Whole, Option("--seed")] = None,
    workers: Annotated[Whole, Option("--workers", help="Reading threads; 0 reads in the loop.")] = None,
    device: Annotated[Text, Option("--device", help="cuda, cpu, …; default the best there is.")] = None,
    sheets: Annotated[Whole, Option("--sheets", help="Pictures on each validation's sheet (6).")] = None,
    tensorboard: Annotated[bool | None, Option("--tensorboard/--no-tensorboard")] = None,
    report: Annotated[bool, Option("--report/--no-report", help="Whether a page ends it.")] = True,
    json: o.Json = False,
) -> None:
    """Train a network: after of before, before of after, clean of corrupted, large of small, mask of image."""
    given = {name: value for name, value in locals().items() if name not in NOT_OPTIONS and value is not None}
    if network_option:
        given["network_options"] = read_pairs(network_option)
    with live_events(quiet=json) as on_event:
        result = train(source, out, on_event=on_event, write_page=report, **given)
    if membership().rank:
        return  # the first rank speaks for all
    if json:
        print_json(result)
        return
    rows = []
    for each in result.directions:
        rows.append((each.direction, each.verdict))
        rows += [("", f"test {name} {value:.4f}") for name, value in each.test.items() if name == each.metric]
        rows.append(("", f"best model {result.path / each.file} (step {each.step:,})"))
    rows.append(("ended", f"{result.stopped}, after {result.steps:,} steps" + (" (already)" if result.already else "")))
    if result.report is not None:
        rows.append(("report", str(result.report)))
    print_rows(rows)
    say(f"next: imagemill predict {quote(str(result.path))} SRC OUT")
    if not all(each.improvement for each in result.directions):
        note("not every direction beats its baselines: see the verdicts above")


NOT_OPTIONS = ("source", "out", "network_option", "report", "json", "given")


def read_pairs(texts: list[str]) -> dict[str, Any]:
    """NAME=VALUE options as a mapping; values are texts, read by the network's own options.

    Raises:
        ConfigError: one is not of that form.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise ConfigError(f"--network-option {text!r}: write NAME=VALUE, as variant=head")
        found[name.replace("-", "_")] = value
    return found
