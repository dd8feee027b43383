"""Runs end to end: what is learnt, what is said of it, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import imagemill
from imagemill.errors import ConfigError
from imagemill.networks import NETWORKS
from imagemill.networks.base import Network
from imagemill.training.data import Fields
from imagemill.training.model_file import load_model, read_tensors
from imagemill.training.options import train_options
from imagemill.training.plan import Nature, make_network, plan_models
from imagemill.training.run_log import read_log
from imagemill.training.upset import Diverged

Train = Callable[..., Any]


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_log(folder) if event["kind"] == kind]


def test_both_directions_side_by_side(pairs: Path, train_small: Train) -> None:
    result = train_small(pairs, direction="both", sheets=2)
    assert [each.direction for each in result.directions] == ["before-to-after", "after-to-before"]
    assert events(result.path, "train")[0]["losses"].keys() == {"before-to-after", "after-to-before"}
    network, spec = load_model(result.path, direction="after-to-before")
    assert (spec.input_colour, spec.output_colour, spec.out_channels) == ("rgb", "grey", 1)
    forward = load_model(result.path)[1]
    assert (forward.in_channels, forward.output_colour, forward.out_channels) == (1, "ycbcr", 2)
    assert network(torch.rand(1, 3, 9, 9)).shape == (1, 1, 9, 9)
    assert (result.path / "README.md").read_text().count("--vividness 1") == 1
    assert len(list((result.path / "sheets").iterdir())) == 6
    with Image.open(result.path / "sheets" / "step-000006.png") as sheet:
        assert sheet.width > 4 * 16


def test_baselines_are_measured_before_the_first_step(pairs: Path, train_small: Train) -> None:
    result = train_small(pairs)
    kinds = [event["kind"] for event in read_log(result.path)]
    assert kinds.index("baseline") < kinds.index("train")
    assert result.directions[0].baselines.keys() == {"identity", "table"}
    dataset = imagemill.open(pairs, "val")
    squares = [np.mean((np.asarray(b, np.float64) - np.asarray(a)) ** 2) / 255**2 for b, a in dataset]
    expected = np.mean([-10 * np.log10(square) for square in squares])
    assert result.directions[0].baselines["identity"]["psnr"] == pytest.approx(expected, abs=1e-3)


def test_a_run_that_beats_no_baseline_is_no_improvement(pairs: Path, train_small: Train) -> None:
    result = train_small(pairs, learning_rate=0.5, optimizer="sgd", clip=0, steps=3, ema=0)
    assert not result.directions[0].improvement
    assert result.directions[0].verdict.startswith("no improvement")


def test_denoising_learns(pairs: Path, train_small: Train) -> None:
    result = train_small(pairs, noise=40.0, epochs=40, learning_rate=1e-2, after="after", flips="all", validate_every=8)
    found = result.directions[0]
    assert found.improvement
    assert found.val["psnr"] > found.baselines["identity"]["psnr"] + 1


def test_super_resolution_and_corruptions(pairs: Path, train_small: Train) -> None:
    result = train_small(pairs, scale=2, fixed_corruptions=("jpeg",), after="after", epochs=1)
    spec = load_model(result.path)[1]
    assert (spec.scale, spec.size) == (2, (8, 8))
    assert {"psnr-y", "ssim-y"} <= result.directions[0].val.keys()


def test_segmentation_learns(masks: Path, train_small: Train) -> None:
    result = train_small(masks, ignore_class=255, epochs=15, learning_rate=5e-3, sheets=1, classes=("dark", "red"))
    found = result.directions[0]
    assert found.metric == "miou"
    assert found.improvement
    assert found.val["miou"] > 0.7
    spec = load_model(result.path)[1]
    assert spec.classes == ("dark", "red")
    with pytest.raises(ConfigError, match="class 255"):
        train_small(masks, "other", classes=("dark", "red"))


def test_classes_are_counted_in_every_split_and_255_is_not_taken_in_silence(
    tmp_path: Path, train_small: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    highest = {"train": 1, "val": 3, "test": 2}
    for split, value in highest.items():
        for number in range(2):
            for kind in ("images", "masks"):
                (tmp_path / "in" / split / kind).mkdir(parents=True, exist_ok=True)
            name = f"{split}{number}.png"
            Image.fromarray(np.full((16, 16, 3), 40 * number, np.uint8)).save(tmp_path / "in" / split / "images" / name)
            mask = np.full((16, 16), value, np.uint8)
            mask[0] = 255
            Image.fromarray(mask).save(tmp_path / "in" / split / "masks" / name)
    imagemill.pack(tmp_path / "in", tmp_path / "out", workers=0)
    found = load_model(train_small(tmp_path / "out", ignore_class=255, steps=1).path)[1]
    assert found.classes == ("class 0", "class 1", "class 2", "class 3")
    everything = train_small(tmp_path / "out", "255", steps=1, sheets=2)
    assert len(load_model(everything.path)[1].classes) == 256
    assert any("--ignore-class 255" in event["text"] for event in events(everything.path, "remark"))
    assert list((everything.path / "sheets").iterdir())
    monkeypatch.setattr("imagemill.training.splits.highest_class", lambda *_: 1)  # none of those that are looked at
    with pytest.raises(ConfigError, match="has class 3, which none.*name all 4 by --classes"):
        train_small(tmp_path / "out", "late", ignore_class=255, steps=1)


def test_pictures_of_many_sizes_one_at_a_time(tmp_path: Path, train_small: Train) -> None:
    sides = {"train": [(16, 20), (9, 31), (24, 24)], "val": [(17, 12), (40, 8)]}
    for split, wanted in sides.items():
        (tmp_path / "in" / split).mkdir(parents=True)
        for number, (height, width) in enumerate(wanted):
            image = Image.fromarray(np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8))
            image.save(tmp_path / "in" / split / f"{number}_after.png")
            image.convert("L").save(tmp_path / "in" / split / f"{number}_before.png")
    imagemill.pack(tmp_path / "in", tmp_path / "out", workers=0)
    result = train_small(tmp_path / "out", batch_size=1, epochs=1, sheets=4, direction="both")
    assert load_model(result.path)[1].size is None
    assert events(result.path, "val")[0]["images"] == 2
    with pytest.raises(ConfigError, match=r"--size 224x224.*batch_size of 1"):
        train_small(tmp_path / "out", "two", batch_size=2)
    # Halves of other sizes are told by their names, wherever they come up.
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "in" / "train" / "1_before.png")
    imagemill.pack(tmp_path / "in", tmp_path / "halves", workers=0)
    with pytest.raises(ConfigError, match="before of 'train/1' is 8x8 and after 31x9: give --size"):
        train_small(tmp_path / "halves", "unlike", batch_size=1)


def test_the_units_other_use(masks: Path, train_small: Train) -> None:
    options = {"network": "unet", "network_options": {"variant": "first"}, "size": 128, "steps": 1}
    result = train_small(masks, ignore_class=255, **options)
    network, spec = load_model(result.path)
    assert spec.options["activation"] == "none"
    assert network(torch.rand(1, 3, 128, 128)).shape == (1, 2, 128, 128)


def test_sizes_are_refused_before_training(pairs: Path, train_small: Train) -> None:
    with pytest.raises(ConfigError, match=r"multiples of 128.*128x128"):
        train_small(pairs, network="unet", network_options={})
    with pytest.raises(ConfigError, match="did you mean 'batch_size'"):
        train_small(pairs, batchsize=3)
    with pytest.raises(ConfigError, match="metric 'miou' says nothing"):
        train_small(pairs, metric="miou")
    with pytest.raises(ConfigError, match="loss 'dice' says nothing"):
        train_small(pairs, loss="dice")
    with pytest.raises(ConfigError, match="in whole pixels"):
        train_small(pairs, scale=4, size=18)
    with pytest.raises(ConfigError, match="did you mean 'levels'"):
        train_small(pairs, "other", network_options={"level": 3})


def test_nothing_is_packed_for_an_option_that_no_network_has(tmp_path: Path) -> None:
    from .conftest import write_pairs

    pairs = write_pairs(tmp_path / "in", {"train": 2, "val": 1})
    with pytest.raises(ConfigError, match="did you mean 'levels'"):
        imagemill.train(pairs, tmp_path / "run", network_options={"levles": 2})
    with pytest.raises(ConfigError, match="unknown network 'unit'"):
        imagemill.train(pairs, tmp_path / "run", network="unit")
    assert not (tmp_path / "run" / "dataset").exists()


def test_a_run_is_not_taken_for_a_dataset(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.safetensors").touch()
    with pytest.raises(ConfigError, match="a trained model, no dataset"):
        imagemill.train(run, tmp_path / "further")
    assert not (tmp_path / "further" / "dataset").exists()


def test_a_folder_is_packed_first(tmp_path: Path, train_small: Train) -> None:
    from .conftest import write_pairs

    result = train_small(write_pairs(tmp_path / "in", {"train": 8, "val": 4}), epochs=1)
    assert (result.path / "dataset" / "manifest.json").is_file()
    assert any("packed into" in event["text"] for event in events(result.path, "remark")) is False
    assert result.directions[0].test == {}


def test_what_packing_rejects_is_said(tmp_path: Path) -> None:
    from .conftest import SMALL, write_pairs

    pairs = write_pairs(tmp_path / "in", {"train": 4, "val": 2})
    (pairs / "train" / "broken_before.png").write_bytes(b"none")
    (pairs / "train" / "broken_after.png").write_bytes(b"none")
    said: list[str] = []
    imagemill.train(pairs, tmp_path / "run", **{**SMALL, "steps": 1}, on_event=lambda e: said.append(e.get("text", "")))
    assert any(text.startswith("packed 6 samples and rejected 1 (") for text in said), said


def test_recipes_and_training_data_sets(
    tmp_path: Path, pairs: Path, train_small: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pictures"
    for number in range(6):
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)).save(
            folder / f"{number}.png"
        )
    tables = "".join(
        f'[train.data.{split}]\nmode = "imagefolder"\npaths = "{folder.as_posix()}"\ntarget_size = 16\nscale = 2\n'
        "fetch_alt_image = false\nfetch_alt_tiled_image = false\n"
        for split in ("train", "val")
    )
    (tmp_path / "small.toml").write_text(f"[train]\nbatch_size = 2\nscale = 2\nepochs = 9\n{tables}")
    result = train_small(tmp_path / "small.toml", epochs=1)
    assert result.steps == 1
    assert load_model(result.path)[1].scale == 2
    # What is for `run` alone does no harm, and paths mean what they mean to it.
    monkeypatch.chdir(pairs.parent)
    (tmp_path / "packed.toml").write_text(f'[train]\nname = "x"\nout = "y"\ndataset = "{pairs.name}"\n')
    assert train_small(tmp_path / "packed.toml", "c", steps=1).steps == 1
    (tmp_path / "packed.toml").write_text("[[train]]\n[[train]]\n")
    with pytest.raises(ConfigError, match="has 2 tables"):
        train_small(tmp_path / "packed.toml", "b")
    (tmp_path / "packed.toml").write_text('[train]\ndataset = "nowhere"\nbatch_sise = 2\n')
    with pytest.raises(ConfigError, match="did you mean 'batch_size'"):
        train_small(tmp_path / "packed.toml", "b")


@dataclass(frozen=True)
class _BrokenOptions:
    in_channels: int = 3
    out_channels: int = 3


class _Broken(Network):
    """Gives no number at its third call in training."""

    options_class = _BrokenOptions
    limit = 3

    def __init__(self, options: _BrokenOptions) -> None:
        super().__init__(options)
        self.layer = torch.nn.Conv2d(options.in_channels, options.out_channels, 1)
        self.calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        value = self.layer(images)
        return value * float("nan") if self.training and self.calls >= self.limit and self.calls % 2 else value


@pytest.fixture
def broken() -> Iterator[type[_Broken]]:
    NETWORKS.register("broken", _Broken)
    yield _Broken
    del NETWORKS._targets["broken"]


def test_no_number_is_named_kept_and_gone_back_from(pairs: Path, broken: type[_Broken], train_small: Train) -> None:
    options = {"network": "broken", "network_options": {}, "checkpoint_every": 1, "loss": {"l1": 1.0, "ssim": 0.5}}
    result = train_small(pairs, **options, steps=3, colour="rgb")
    upset = events(result.path, "upset")[0]
    assert upset["terms"] == ["before-to-after l1", "before-to-after ssim"]
    assert (upset["step"], upset["back_to"], upset["rate_factor"]) == (3, 2, 0.5)
    tensors, said = read_tensors(Path(upset["batch"]))
    assert tensors["before.0"].shape == (8, 3, 16, 16)
    assert len(upset["keys"]) == 8
    assert "l1" in said["why"]
    assert all(torch.isfinite(weight).all() for weight in load_model(result.path)[0].parameters())
    with pytest.raises(Diverged, match="5 times"):
        train_small(pairs, "again", **options, epochs=9)


def test_the_range_test_finds_a_rate(pairs: Path, train_small: Train) -> None:
    result = train_small(pairs, learning_rate="find", epochs=1)
    rate = events(result.path, "rate")[0]["learning_rate"]
    assert 1e-5 <= rate <= 0.1


def test_it_stops_early(pairs: Path, train_small: Train) -> None:
    result = train_small(pairs, epochs=30, patience=2, learning_rate=1e-12, schedule="constant", ema=0)
    assert result.stopped == "no improvement in 2 validations"
    assert result.steps == 6


def test_a_model_is_a_place_to_start(pairs: Path, train_small: Train) -> None:
    first = train_small(pairs, "first", epochs=1)
    second = train_small(pairs, "second", start=str(first.path), learning_rate=1e-12, steps=1, ema=0)
    weights = [load_model(each.path)[0].state_dict() for each in (first, second)]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-6) for name in weights[0])
    with pytest.raises(ConfigError, match=r"is of residual-unet \(ycbcr \(1\) .* here of residual-unet \(rgb \(3\)"):
        train_small(pairs, "other", start=str(first.path), colour="rgb", steps=1)
    with pytest.raises(ConfigError, match="is of width=8, and what is to be trained here of width=16"):
        train_small(
            pairs,
            "wider",
            start=str(first.path),
            steps=1,
            network_options={"width": 16, "levels": 2, "middle_blocks": 0},
        )


def test_colour_fusion_trains_on_lab_and_embeddings(tmp_path: Path, train_small: Train) -> None:
    rng = np.random.default_rng(0)
    samples = [
        (Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)), rng.random(6, np.float32)) for _ in range(8)
    ]
    imagemill.pack(samples, tmp_path / "lab", fields="lab", size=16, workers=0, split="50/50")
    result = train_small(tmp_path / "lab", network="colour-fusion", network_options={}, batch_size=4, epochs=1)
    spec = load_model(result.path)[1]
    assert spec.options == {"embedding_size": 6}
    assert (spec.input_colour, spec.in_channels, spec.out_channels) == ("lab", 1, 2)


GREY_TO_COLOUR = Nature(before_grey=True, after_grey=False, luma_kept=True, size=(8, 8))
COLOURS = Nature(before_grey=False, after_grey=False, luma_kept=False, size=(8, 8))


@pytest.mark.parametrize(
    ("options", "nature", "takes", "gives", "start"),
    [
        ({}, GREY_TO_COLOUR, ("ycbcr", 1), ("ycbcr", 2), "table"),
        ({"colour": "lab"}, GREY_TO_COLOUR, ("lab", 1), ("lab", 2), "nothing"),
        ({"colour": "rgb"}, GREY_TO_COLOUR, ("rgb", 3), ("rgb", 3), "table"),
        ({"direction": "after-to-before"}, GREY_TO_COLOUR, ("rgb", 3), ("grey", 1), "table"),
        ({}, COLOURS, ("rgb", 3), ("rgb", 3), "table"),
        ({"colour": "ycbcr"}, COLOURS, ("ycbcr", 3), ("ycbcr", 3), None),
        ({"network": "unet"}, GREY_TO_COLOUR, ("rgb", 3), ("rgb", 3), None),
    ],
)
def test_what_is_learnt_follows_the_data(
    options: dict[str, Any],
    nature: Nature,
    takes: tuple[str, int],
    gives: tuple[str, int],
    start: str | None,
) -> None:
    spec = plan_models(train_options(options), nature, "", Fields("before", "after"))[0]
    assert (spec.input_colour, spec.in_channels) == takes
    assert (spec.output_colour, spec.out_channels) == gives
    assert spec.options.get("start") == start
    network, spec = make_network(spec)
    picture = torch.rand(1, 3, 128, 128)
    assert spec.to_rgb(network.eval()(spec.network_input(picture)), picture).shape == picture.shape


def test_training_that_makes_it_worse_ends_with_what_it_began_with(pairs: Path, train_small: Train) -> None:
    result = train_small(pairs, learning_rate=0.5, optimizer="sgd", clip=0, steps=3, ema=0)
    found = result.directions[0]
    assert load_model(result.path)[1].steps == 0
    assert found.val["psnr"] == pytest.approx(found.baselines["table"]["psnr"], abs=1e-3)
    assert "no step of training beat what it began with" in found.verdict
