"""The recipes in examples/, shrunk: each goes the whole way, and docs/recipes.md shows what the file says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from http_place import serve
from PIL import Image

import imagemill
from imagemill.api.run import RunResult
from imagemill.testing.piles import class_folders, pairs, save_photo

pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
RECIPES = sorted(EXAMPLES.glob("*.toml"))
SMALL = "train.network_options={width = 8, levels = 2, middle_blocks = 1}"


def run(
    name: str,
    source: Path,
    root: Path,
    *settings: str,
    limit: int | None = None,
    trainings: tuple[str, ...] = ("train",),
) -> RunResult:
    """A recipe, small; then once more, when nothing is left to do.

    Args:
        trainings: its tables of training, as settings name them.
    """
    small = ("train.epochs=1", "train.workers=0", "train.sheets=1", *settings)
    given = [setting.replace("train.", f"{table}.", 1) for table in trainings for setting in small]
    result = imagemill.run(EXAMPLES / name, source, root=root, settings=given, limit=limit, workers=0)
    assert all(step.todo == "run" for step in result.steps)
    again = imagemill.run(EXAMPLES / name, source, root=root, settings=given, limit=limit, workers=0)
    assert all(step.todo == "done" for step in again.steps)
    return result


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_the_page_shows_the_file(path: Path) -> None:
    assert f"```toml\n{path.read_text()}```" in (ROOT / "docs" / "recipes.md").read_text("utf-8")


def test_before_after(tmp_path: Path) -> None:
    pairs(tmp_path / "photos", 13)
    options = ("stage.size=32x48", "train.size=32x48", "train.batch_size=4", SMALL)
    trainings = ("train.colour", "train.grey")
    run("before_after.toml", tmp_path / "photos", tmp_path, *options, trainings=trainings)
    splits = {split: len(list((tmp_path / "data" / "resized" / split).iterdir())) for split in ("train", "val", "test")}
    assert splits == {"train": 20, "val": 2, "test": 4}
    coloured = sorted((tmp_path / "runs" / "coloured").glob("*_after.jpg"))
    greyed = sorted((tmp_path / "runs" / "greyed").glob("*_before.jpg"))
    assert len(coloured) == len(greyed) == 2
    with Image.open(coloured[0]) as colour, Image.open(greyed[0]) as grey:
        assert (colour.mode, colour.size) == ("RGB", (32, 48))
        assert np.asarray(grey.convert("RGB"), int).std(axis=2).mean() < np.asarray(colour, int).std(axis=2).mean()
    assert (tmp_path / "runs" / "report.html").is_file()


def test_before_after_with_the_originals_own_values(tmp_path: Path) -> None:
    pairs(tmp_path / "photos", 13)
    options = ("stage.size=128x128", "train.batch_size=2", "train.steps=1")
    run("before_after_original.toml", tmp_path / "photos", tmp_path, *options)
    config = json.loads((tmp_path / "runs-original" / "coloured" / "predict.json").read_text())
    assert config["counts"]["pictures"] == 2


def test_super_resolution(tmp_path: Path) -> None:
    for number in range(8):
        save_photo(tmp_path / "photos" / f"{number}.jpg", 260, 300, number)
    result = run(
        "super_resolution.toml",
        tmp_path / "photos",
        tmp_path,
        SMALL,
        "train.batch_size=4",
        "tile.split=70/30",
        "predict.limit=2",
    )
    assert result.steps[0].verb == "tile"
    made = sorted((tmp_path / "runs-sr" / "larger").glob("*.jpg"))
    assert len(made) == 2
    with Image.open(made[0]) as larger:
        assert larger.size == (600, 520)


def embedder(path: Path) -> Path:
    """Seven numbers a picture: a convolution and its mean."""
    onnx = pytest.importorskip("onnx")
    kernel = np.random.default_rng(3).standard_normal((7, 3, 3, 3), np.float32)
    helper = onnx.helper
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    sides = [helper.make_tensor_value_info("x", 1, ["n", 3, 32, 32]), helper.make_tensor_value_info("y", 1, ["n", 7])]
    graph = helper.make_graph(nodes, "tiny", sides[:1], sides[1:], [onnx.numpy_helper.from_array(kernel, "kernel")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_colour_from_lab_and_an_embedding(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    for number in range(5):
        save_photo(tmp_path / "web" / f"{number}.jpg", 60, 50, number)
    with serve(tmp_path / "web") as server:
        (tmp_path / "urls.txt").write_text("".join(f"{server.url}/{number}.jpg\n" for number in range(5)))
        settings = (
            f'fetch.allow=["127.0.0.1:{server.server_port}"]',
            "fetch.robots=false",
            "stage.size=40x40",
            "pack.lab.size=32x32",
            f"embed.model={embedder(tmp_path / 'e.onnx')}",
            "train.steps=1",
        )
        result = run("colourise_lab.toml", tmp_path / "urls.txt", tmp_path, *settings)
    assert [step.verb for step in result.steps][:5] == ["fetch", "stage", "pack", "embed", "pack"]
    assert (tmp_path / "data-lab" / "records" / "lab_images_0.tfrecord").is_file()
    assert (tmp_path / "data-lab" / "records" / "val_lab_images_0.tfrecord").is_file()
    (made,) = (tmp_path / "runs-lab" / "coloured").rglob("*.jpg")
    with Image.open(made) as picture:
        assert picture.size == (40, 40)


def script(name: str, *arguments: object, **environment: str) -> str:
    if sys.platform == "win32":
        pytest.skip("a shell script")
    words = ["bash", EXAMPLES / name, *arguments]
    settings = {**os.environ, "PYTHON": sys.executable, **environment}
    done = subprocess.run(list(map(str, words)), env=settings, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_imagenet(tmp_path: Path) -> None:
    class_folders(tmp_path / "photos" / "train", classes=2, per_class=4, bad=False)
    class_folders(tmp_path / "photos" / "val", classes=2, per_class=2, bad=False)
    said = script("imagenet_pack.sh", tmp_path / "photos", tmp_path / "out", "tar", WORKERS="0", PIXELS="resized")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["format"], manifest["recipe"]["order"]) == ("tar", "shuffled")
    assert "split val" in said


def test_caltech256_from_its_archive(tmp_path: Path) -> None:
    class_folders(tmp_path / "256_ObjectCategories", classes=3, per_class=10, bad=False)
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        archive.add(tmp_path / "256_ObjectCategories", "256_ObjectCategories")
    script("caltech256.sh", tmp_path / "c.tar", tmp_path / "out", "hdf5", "16", LIMIT="30")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["counts"]["classes"]["test"] == {f"class_{number}": 1 for number in range(3)}
    assert (tmp_path / "out.html").is_file()
