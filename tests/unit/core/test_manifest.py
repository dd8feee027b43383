"""What is refused in the place of a manifest."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from imagemill.core.manifest import MANIFEST_NAME, Manifest
from imagemill.errors import ConfigError, DamageError


def test_a_folder_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).mkdir()
    with pytest.raises(ConfigError, match="no plain file"):
        Manifest.load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        Manifest.load(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"has no manifest\.json: not a dataset"):
        Manifest.load(tmp_path)


def test_a_pipe_is_no_manifest_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MANIFEST_NAME)
    with pytest.raises(ConfigError, match="no plain file"):
        Manifest.load(tmp_path)


def test_damage_names_the_dataset(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(b"{")
    with pytest.raises(DamageError, match=re.escape(str(tmp_path))):
        Manifest.load(tmp_path)
