"""Full disks, folders that cannot be written, files that cannot be read or vanish."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagemill
from imagemill.formats import FORMATS
from imagemill.testing.piles import class_folders, tree
from imagemill.testing.piles import imagemill as cli


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("format", [name for name in FORMATS if name in ("arrow", "hdf5", "memmap", "parquet", "tar")])
def test_a_full_disk_is_exit_4_and_a_rerun_finishes(format: str, mount: Path, tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "source", classes=4, per_class=12, bad=False)
    before = tree(pile)
    arguments = ("pack", pile, mount / "out", "--format", format, "--pixels", "raw", "--size", "96x96")
    full = cli(*arguments, "--shard-size", "10", "--workers", "1")
    assert full.returncode == 4, full.stderr
    assert full.stderr.startswith("error: no space left")
    assert len(full.stderr.strip().splitlines()) == 1
    assert not (mount / "out" / "manifest.json").exists()
    subprocess.run(["mount", "-o", "remount,size=20m", str(mount)], check=True)
    again = cli(*arguments, "--shard-size", "10", "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert imagemill.verify(mount / "out").damages == ()
    assert tree(pile) == before


@pytest.mark.parametrize("verb", ["stage", "sync"])
def test_folders_of_files_on_a_full_disk(verb: str, mount: Path, tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "source", classes=8, per_class=40, bad=False)
    full = cli(verb, pile, mount / "out")
    assert full.returncode == 4, full.stderr
    assert full.stderr.startswith("error: no space left")
    written = {name: digest for name, digest in tree(mount / "out").items() if not name.startswith(".")}
    originals = tree(pile)
    assert 0 < len(written) < len(originals)
    assert written.items() <= originals.items()
    subprocess.run(["mount", "-o", "remount,size=20m", str(mount)], check=True)
    assert cli(verb, pile, mount / "out").returncode == 0
    assert originals.items() <= tree(mount / "out").items()


def test_tiles_on_a_full_disk(mount: Path, tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "source", classes=2, per_class=20, bad=False)
    options = ("--crop", "32", "--step", "16", "--min-side", "32", "--quality", "100", "--workers", "1")
    full = cli("tile", pile, mount / "out", *options)
    assert full.returncode == 4, full.stderr
    assert full.stderr.startswith("error: no space left")
    assert not (mount / "out" / "tiling.json").exists()
    subprocess.run(["mount", "-o", "remount,size=40m", str(mount)], check=True)
    again = cli("tile", pile, mount / "out", *options)
    assert again.returncode == 0, again.stderr
    assert cli("tile", pile, tmp_path / "whole", *options).returncode == 0
    assert tree(mount / "out") == tree(tmp_path / "whole")


def test_a_folder_that_cannot_be_written(mount: Path, tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "source", classes=1, per_class=2, bad=False)
    subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
    done = cli("pack", pile, mount / "out", "--workers", "0")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    done = cli("pack", tmp_path / "nowhere", tmp_path / "out")
    assert done.returncode == 2
    assert str(tmp_path / "nowhere") in done.stderr


def test_a_file_that_vanishes_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    """Both are there when the pile is scanned: the job is planned, then killed, then finished."""
    pile = class_folders(tmp_path / "source", classes=1, per_class=4, bad=False)
    arguments = ("pack", pile, tmp_path / "out", "--workers", "0", "--max-rejects", "100%")
    cli(*arguments, environment={"IMAGEMILL_FAULT": "plan.write.after"})
    (pile / "class_0" / "im 000.jpg").unlink()
    unreadable = pile / "class_0" / "im 001.jpg"
    if os.geteuid() == 0:
        # Root reads everything; a folder in the place of the file nobody can read.
        unreadable.unlink()
        unreadable.mkdir()
    else:
        unreadable.chmod(0)
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("unreadable") == 2
    assert imagemill.info(tmp_path / "out")["counts"]["reasons"] == {"unreadable": 2}
    shutil.rmtree(pile)
