"""The screens of `check` and `pack`, as a log file gets them."""

from __future__ import annotations

from pathlib import Path

import pytest

import imagemill
from imagemill.errors import ConfigError
from imagemill.testing.piles import imagemill as cli
from imagemill.testing.piles import save_photo


def test_a_table_that_names_what_is_not_there(tmp_path: Path) -> None:
    pile = tmp_path / "a pile"
    save_photo(pile / "1.jpg", 8, 8, 0)
    (pile / "notes.md").write_text("mine")
    (pile / "metadata.csv").write_text("file_name,label\n1.jpg,ant\n2.jpg,bee\n3.jpg,bee\n")
    done = cli("pack", pile, tmp_path / "out", "--workers", 0)
    assert done.returncode == 6
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "found        3 files",
        "kept         1",
        "rejected     0 (2 samples)",
        "             2 missing-file (a table names a file that is not there)",
    ]
    assert lines[4] == "ignored      2: 1 .csv, 1 .md"
    assert lines[-1] == f"next: imagemill verify {tmp_path / 'out'}"
    checked = cli("check", pile, "--workers", 0)
    assert f"next: imagemill pack '{pile}' OUT\n" in checked.stdout
    with_table = cli("check", pile, "--out", tmp_path / "checked", "--workers", 0)
    assert f"next: imagemill pack '{pile}' OUT --checks {tmp_path / 'checked'}\n" in with_table.stdout
    of_some = cli("check", pile, "--out", tmp_path / "some", "--limit", 1, "--workers", 0)
    assert f"next: imagemill pack '{pile}' OUT\n" in of_some.stdout


def test_a_dry_run_says_why_files_are_rejected(tmp_path: Path) -> None:
    save_photo(tmp_path / "pile" / "a_before.jpg", 8, 8, 0)
    save_photo(tmp_path / "pile" / "a_after.jpg", 8, 8, 0)
    save_photo(tmp_path / "pile" / "b_after.jpg", 8, 8, 0)
    result = imagemill.pack(tmp_path / "pile", tmp_path / "out", dry_run=True)
    assert (result.rejected, result.reasons) == (1, {"missing-partner": 1})


def test_nothing_to_pack_says_what_was_wrong_with_the_first(tmp_path: Path) -> None:
    (tmp_path / "pile.zip").write_bytes(b"no archive at all")
    with pytest.raises(ConfigError, match=r"1 files found, 1 rejects, the first: pile\.zip: unreadable: "):
        imagemill.pack(tmp_path / "pile.zip", tmp_path / "out", workers=0)
