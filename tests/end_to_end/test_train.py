"""`imagemill train` and `imagemill info MODEL` as commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from end_to_end.test_readme import blocks
from PIL import Image

from imagemill.cli.app import application
from imagemill.training.run_log import TENSORBOARD_NAME


def run(*words: str) -> None:
    """A command in this process."""
    application(list(words), standalone_mode=False)


def write_pairs(folder: Path) -> Path:
    folder.mkdir()
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        image = Image.fromarray(pixels).resize((20, 16), Image.Resampling.BICUBIC)
        image.save(folder / f"p{number}_after.png")
        image.convert("L").save(folder / f"p{number}_before.png")
    return folder


def test_from_a_folder_of_pairs_to_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = str(write_pairs(tmp_path / "photos")), tmp_path / "run"
    words = ["--epochs", "1", "--batch-size", "4", "--workers", "0", "--network-option", "width=8", "--tensorboard"]
    run("train", source, str(out), *words, "--loss", "l1+0.2*ssim", "--device", "cpu")
    shown = capsys.readouterr()
    assert "packed into" in shown.err
    assert "table on val: psnr" in shown.err
    assert f"next: imagemill predict {out} SRC OUT" in shown.out
    page = (out / "report.html").read_text("utf-8")
    assert "before-to-after" in page
    assert (out / "README.md").read_text("utf-8").startswith("---\nlibrary_name: imagemill")
    assert any((out / TENSORBOARD_NAME).iterdir())
    assert (out / "dataset" / "manifest.json").is_file()

    run("train", source, str(out), *words, "--loss", "l1+0.2*ssim", "--device", "cpu", "--json")
    record = json.loads(capsys.readouterr().out)
    assert record["already"] is True
    assert record["directions"][0]["metric"] == "psnr"

    (of_a_model,) = (block for block in blocks("docs/guide.md", "python") if "load_model(" in block)
    names = {"images": torch.rand(2, 3, 17, 23)}
    exec(of_a_model.replace("runs/colour", str(out)), names)
    assert names["rgb"].shape == (2, 3, 17, 23)

    run("info", str(out))
    facts = capsys.readouterr().out
    assert "residual-unet" in facts
    assert "sides: any" in facts
    run("info", str(out / "last.safetensors"), "--json")
    assert json.loads(capsys.readouterr().out)["models"][0]["in_channels"] == 1
