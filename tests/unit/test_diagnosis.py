"""`doctor` tries what it tells of, and says how to get what is missing."""

from __future__ import annotations

from importlib import metadata

import pytest

from imagemill import diagnosis
from imagemill.codecs import image as images


def test_everything_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "TRIED_S", 0.01)
    monkeypatch.setitem(diagnosis.MATRIX_SIDES, "cpu", 64)
    found = {finding.name: finding for finding in diagnosis.diagnose()}
    assert all(finding.ok for finding in found.values()), found
    assert "GiB" in found["memory"].value
    assert "images/s" in found["batch decode"].value
    assert "64x64 matrix product" in found["device cpu"].value
    assert "GFLOP/s" in found["device cpu"].value


def test_a_decoder_that_is_wrong_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "TRIED_S", 0.01)
    right = images.decode
    monkeypatch.setattr(images, "decode", lambda data: 255 - right(data))
    assert not diagnosis._decode().ok


def test_a_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = [
        "numpy>=2",
        'pillow>=11; extra == "embed"',
        "nonesuch>=1; extra == 'embed'",
        'pytest; extra == "test"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: requirements)
    (extra,) = diagnosis._extras()
    assert extra.name == "extra embed"
    assert extra.ok
    assert extra.value.startswith("pillow ")
    assert "without nonesuch (optional): pip install 'imagemill[embed]'" in extra.value
