"""`predict` on files, folders, pairs, masks and packed datasets: what comes out, and after a kill the same."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill.codecs.image import decode_mask
from imagemill.errors import ConfigError
from imagemill.networks import create_network
from imagemill.prediction.run import PART_ROWS, PENDING_FILES
from imagemill.testing.images import photo
from imagemill.testing.piles import imagemill as command
from imagemill.testing.piles import masked, pairs, save_photo, tree
from imagemill.training.model_file import ModelSpec, save_model

torch = pytest.importorskip("torch")

SMALL = {"width": 4, "levels": 2, "blocks": 1, "middle_blocks": 0}


def model_file(path: Path, *, changed: bool = False, spec: ModelSpec | None = None, **options: object) -> Path:
    """A residual U-Net, which begins as the identity; `changed`: with random weights at its end."""
    torch.manual_seed(0)
    network = create_network("residual-unet", **SMALL, **options)
    for parameter in network.parameters() if changed else ():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    save_model(path, network, spec or ModelSpec("residual-unet"))
    return path


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_file(tmp_path_factory.mktemp("model") / "identity.safetensors")


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_file(tmp_path_factory.mktemp("model") / "changing.safetensors", changed=True)


def pixels(path: Path, mode: str | None = None) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode) if mode else image)


def facts(path: Path) -> tuple[str | None, str, tuple[int, int]]:
    """Format, mode and (width, height)."""
    with Image.open(path) as image:
        return image.format, image.mode, image.size


@pytest.mark.parametrize(("tile", "overlap"), [(None, None), (0, None), (16, 0), (16, 5), (16, 15)])
def test_identity_in_is_identity_out(identity: Path, tmp_path: Path, tile: int | None, overlap: int | None) -> None:
    for number, (height, width) in enumerate([(1, 1), (7, 40), (33, 16), (50, 47), (101, 57)]):
        save_photo(tmp_path / "in" / f"p{number}.png", height, width, number)
    result = imagemill.predict(identity, tmp_path / "in", tmp_path / "out", tile=tile, overlap=overlap)
    assert result.pictures == result.found == 5
    for path in (tmp_path / "in").iterdir():
        assert np.array_equal(pixels(path), pixels(tmp_path / "out" / path.name))


def test_flips_change_nothing_of_the_identity_and_much_of_others(
    identity: Path, changing: Path, tmp_path: Path
) -> None:
    save_photo(tmp_path / "p.png", 31, 45, 1)
    for flips in ("none", "horizontal", "all"):
        imagemill.predict(identity, tmp_path / "p.png", tmp_path / f"same-{flips}", flips=flips)
        assert np.array_equal(pixels(tmp_path / "p.png"), pixels(tmp_path / f"same-{flips}" / "p.png"))
        imagemill.predict(changing, tmp_path / "p.png", tmp_path / f"other-{flips}", flips=flips)
    Image.fromarray(np.rot90(pixels(tmp_path / "p.png"))).save(tmp_path / "turned.png")
    imagemill.predict(changing, tmp_path / "turned.png", tmp_path / "other-turned", flips="all")
    back = np.rot90(pixels(tmp_path / "other-turned" / "turned.png"), -1).astype(int)
    assert np.abs(back - pixels(tmp_path / "other-all" / "p.png")).max() <= 1
    assert not np.array_equal(pixels(tmp_path / "other-none" / "p.png"), pixels(tmp_path / "other-all" / "p.png"))


def test_the_play_folder(identity: Path, tmp_path: Path) -> None:
    play = tmp_path / "play_data"
    for name in ("a_before.png", "b_before.JPG", "b_after.jpg", "c.webp", "d_after.png", "deep/e_before.png"):
        save_photo(play / name, 20, 30, len(name))
    (play / "notes.txt").write_text("mine")
    before = tree(play)
    result = imagemill.predict(identity, play, tmp_path / "out")
    made = {"a_after.png", "b_after.JPG", "c.webp", "deep/e_after.png"}
    assert made == set(tree(tmp_path / "out")) - {"predict.json", "predictions.csv", "rejects.jsonl"}
    assert (result.found, result.kept, result.rejected, result.ignored) == (7, 5, 0, 2)
    assert result.pictures == 4
    assert tree(play) == before


def test_a_bad_picture_costs_one_reject(identity: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    for number in range(4):
        save_photo(source / f"{number}.jpg", 24, 24, number)
    whole = (source / "0.jpg").read_bytes()
    (source / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "empty.png").write_bytes(b"")
    done = command("predict", identity, source, tmp_path / "out", "--json")
    assert done.returncode == 6, done.stderr
    result = json.loads(done.stdout)
    assert (result["found"], result["kept"], result["rejected"], result["ignored"]) == (6, 4, 2, 0)
    assert result["reasons"] == {"empty-file": 1, "truncated": 1}
    assert command("predict", identity, source, tmp_path / "out", "--max-rejects", "50%").returncode == 0


def test_a_second_run_finds_all_done_and_other_options_are_refused(identity: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "in" / "a.png", 20, 20, 0)
    imagemill.predict(identity, tmp_path / "in", tmp_path / "out")
    first = tree(tmp_path / "out")
    assert imagemill.predict(identity, tmp_path / "in", tmp_path / "out").already
    assert tree(tmp_path / "out") == first
    with pytest.raises(ConfigError, match="option flips 'none', now it is 'all'"):
        imagemill.predict(identity, tmp_path / "in", tmp_path / "out", flips="all")
    save_photo(tmp_path / "in" / "b.png", 20, 20, 1)
    with pytest.raises(ConfigError, match="the source has changed"):
        imagemill.predict(identity, tmp_path / "in", tmp_path / "out")
    with pytest.raises(ConfigError, match="inside"):
        imagemill.predict(identity, tmp_path / "in", tmp_path / "in" / "output")
    save_photo(tmp_path / "photographs" / "mine.png", 20, 20, 1)
    with pytest.raises(ConfigError, match="is no folder of predictions: give a new or empty folder"):
        imagemill.predict(identity, tmp_path / "in", tmp_path / "photographs")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than a part of the plan, of three sizes, one of them large enough for tiles, and one bad."""
    folder = tmp_path_factory.mktemp("many") / "in"
    for number in range(PART_ROWS + 10):
        save_photo(folder / f"{number:03d}.png", (12, 16, 40)[number % 3], 16, number)
    (folder / "050-bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


OPTIONS = ("--tile", "20", "--overlap", "4", "--batch-size", "3", "--max-rejects", "100%")


@pytest.fixture(scope="module")
def uninterrupted(many: Path, changing: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole") / "out"
    done = command("predict", changing, many, out, *OPTIONS)
    assert done.returncode == 0, done.stderr
    return tree(out)


@pytest.mark.parametrize("fault", ["predict.write.after:2", "predict.record.after:40", "small.rename.before:70"])
def test_killed_and_run_again_gives_the_same_bytes(
    fault: str, many: Path, changing: Path, uninterrupted: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    killed = command("predict", changing, many, out, *OPTIONS, environment={"IMAGEMILL_FAULT": fault})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    there = {name: digest for name, digest in tree(out).items() if not name.startswith((".", "./"))}
    assert all(uninterrupted[name] == digest for name, digest in there.items())
    times = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    again = command("predict", changing, many, out, *OPTIONS)
    assert again.returncode == 0, again.stderr
    assert tree(out) == uninterrupted
    kept = [path for path, time_ns in times.items() if path.stat().st_mtime_ns == time_ns]
    assert len(kept) >= len(times) - PENDING_FILES  # what was not recorded yet is written once more, nothing else


def test_masks_of_a_segmentation(tmp_path: Path) -> None:
    classes = tuple(f"class {number}" for number in range(12))
    spec = ModelSpec("residual-unet", task="segmentation", output_colour="", out_channels=12, classes=classes)
    model = model_file(tmp_path / "m.safetensors", changed=True, spec=spec, out_channels=12)
    source = masked(tmp_path / "in", 3)
    result = imagemill.predict(model, source, tmp_path / "plain")
    assert set(result.metrics) == {"miou", "accuracy"}
    assert 0 < result.metrics["accuracy"] < 1
    imagemill.predict(model, source, tmp_path / "coloured", palette=True)
    (plain, *_), (coloured, *_) = (sorted((tmp_path / name).rglob("*.png")) for name in ("plain", "coloured"))
    assert facts(plain)[1] == "L"
    assert facts(coloured)[1] == "P"
    ids = decode_mask(plain.read_bytes())
    assert ids.shape == (36, 48)
    assert np.array_equal(ids, decode_mask(coloured.read_bytes()))
    assert len(np.unique(pixels(coloured, "RGB").reshape(-1, 3), axis=0)) == len(np.unique(ids))


def test_pairs_are_measured(identity: Path, tmp_path: Path) -> None:
    source = pairs(tmp_path / "in", 4)
    done = command("predict", identity, source, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "per image then mean" in done.stdout
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))
    assert [row["file_name"] for row in rows] == [f"plate_{number}_after.jpg" for number in range(4)]
    assert all(row["psnr"] == row["psnr-input"] for row in rows)
    record = json.loads((tmp_path / "out" / "predict.json").read_text())
    mean = sum(float(row["psnr"]) for row in rows) / 4
    assert record["counts"]["metrics"]["psnr"] == pytest.approx(mean, abs=1e-3)
    before, after = (pixels(source / f"plate_0_{half}.jpg", "RGB").astype(float) for half in ("before", "after"))
    assert float(rows[0]["psnr"]) == pytest.approx(-10 * np.log10(np.square(before - after).mean() / 255**2), abs=1e-3)


def test_a_packed_dataset_of_pairs(identity: Path, tmp_path: Path) -> None:
    imagemill.pack(
        pairs(tmp_path / "in", 5), tmp_path / "dataset", split={"train": 2, "val": 3}, split_counts="exact", workers=0
    )
    result = imagemill.predict(identity, tmp_path / "dataset", tmp_path / "out", split="val")
    assert result.measured == result.pictures == 3
    assert result.ignored == 2
    assert all(path.name.endswith("_after.png") for path in (tmp_path / "out").glob("*.png"))
    with pytest.raises(ConfigError, match="it has train, val"):
        imagemill.predict(identity, tmp_path / "dataset", tmp_path / "other", split="test")


def test_the_reverse_direction(tmp_path: Path) -> None:
    model = model_file(tmp_path / "m.safetensors", spec=ModelSpec("residual-unet", direction="after-to-before"))
    result = imagemill.predict(model, pairs(tmp_path / "in", 2), tmp_path / "out")
    assert result.measured == 2
    assert (tmp_path / "out" / "plate_0_before.jpg").exists()


def test_twice_the_size(tmp_path: Path) -> None:
    model = model_file(tmp_path / "m.safetensors", scale=2, spec=ModelSpec("residual-unet"))
    save_photo(tmp_path / "in" / "a.jpg", 21, 34, 0)
    save_photo(tmp_path / "in" / "b.png", 50, 70, 0)
    imagemill.predict(model, tmp_path / "in", tmp_path / "out", tile=32, overlap=6)
    assert facts(tmp_path / "out" / "a.jpg") == ("JPEG", "RGB", (68, 42))
    enlarged = Image.fromarray(pixels(tmp_path / "in" / "b.png")).resize((140, 100), Image.Resampling.BICUBIC)
    difference = np.abs(pixels(tmp_path / "out" / "b.png").astype(int) - np.asarray(enlarged, int))
    assert difference.mean() < 1  # bicubic: seams would show


def test_pixels_that_are_kept_grey_and_other_formats(changing: Path, tmp_path: Path) -> None:
    Image.fromarray(photo(20, 30, 3)).convert("L").save(tmp_path / "g.png")
    imagemill.predict(changing, tmp_path / "g.png", tmp_path / "colour")
    imagemill.predict(changing, tmp_path / "g.png", tmp_path / "grey", keep_grey=True, to="jpg")
    assert facts(tmp_path / "colour" / "g.png")[1] == "RGB"
    assert facts(tmp_path / "grey" / "g.jpg")[:2] == ("JPEG", "L")


def test_likely_colours_or_their_mean(identity: Path, tmp_path: Path) -> None:
    colours = {"input_colour": "ycbcr", "in_channels": 1, "output_colour": "ycbcr", "out_channels": 2}
    model = model_file(
        tmp_path / "m.safetensors", changed=True, spec=ModelSpec("residual-unet", **colours),
        in_channels=1, out_channels=2, start="table", palette=True,
    )  # fmt: skip
    save_photo(tmp_path / "in" / "a.png", 45, 77, 1)
    made = []
    for vividness in (0, 0.5, 1):
        shown = command("predict", model, tmp_path / "in", tmp_path / str(vividness), "--vividness", str(vividness))
        assert shown.returncode == 0, shown.stderr
        assert json.loads((tmp_path / str(vividness) / "predict.json").read_text())["options"]["vividness"] == vividness
        made.append(pixels(tmp_path / str(vividness) / "a.png").astype(float))
    assert np.abs(made[0] - made[2]).mean() > 1
    middle = np.abs(made[1] - (made[0] + made[2]) / 2)
    assert np.median(middle) <= 1  # where nothing is clipped
    with pytest.raises(ConfigError, match="no guess of colours"):
        imagemill.predict(identity, tmp_path / "in", tmp_path / "none", vividness=1)
    with pytest.raises(ConfigError, match="vividness is from 0 to 1, got 2"):
        imagemill.predict(model, tmp_path / "in", tmp_path / "none", vividness=2)


def test_vectors_beside_pictures(tmp_path: Path) -> None:
    """The colour fusion network: it sees lightness and a vector, and the picture itself is what is wanted."""
    torch.manual_seed(0)
    network = create_network("colour-fusion", embedding_size=5)
    colours = {"input_colour": "lab", "in_channels": 1, "output_colour": "lab", "out_channels": 2}
    save_model(tmp_path / "m.safetensors", network, ModelSpec("colour-fusion", embedding_field="vector", **colours))
    lines = []
    for number in range(3):
        save_photo(tmp_path / "in" / f"{number}.png", 19, 30, number)
        lines.append(json.dumps({"file_name": f"{number}.png", "vector": [number, 1, 2, 3, 4]}))
    (tmp_path / "in" / "metadata.jsonl").write_text("\n".join(lines))
    imagemill.pack(tmp_path / "in", tmp_path / "dataset", vector_column="vector", workers=0)
    result = imagemill.predict(tmp_path / "m.safetensors", tmp_path / "dataset", tmp_path / "out")
    assert result.pictures == 3
    made = pixels(tmp_path / "out" / "1.png")
    assert made.shape == (19, 30, 3)
    luma, wanted = (np.asarray(Image.fromarray(one).convert("L"), int) for one in (made, photo(19, 30, 1)))
    assert np.abs(luma - wanted).mean() < 12  # lightness is the picture's own, colours are not
    with pytest.raises(ConfigError, match="takes vectors 'vector' beside pictures"):
        imagemill.predict(tmp_path / "m.safetensors", tmp_path / "in" / "0.png", tmp_path / "other")
