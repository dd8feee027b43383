"""Fixtures for tests of sources."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a listing may be written: outside the pile."""
    return tmp_path_factory.mktemp("listing") / "listing.arrow"
