"""Bodies are judged by their bytes, and a decoder that goes wrong costs its own image only."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
from functools import partial
from pathlib import Path
from typing import Literal

import bad_decoders
import pytest
from unit.native.batches import needs_core

from imagemill.acquire.contract import REASONS, Policy
from imagemill.acquire.examine import Examiners
from imagemill.acquire.look import Examination, examine_file
from imagemill.acquire.marks import Marks, left_marks
from imagemill.curate.limits import Limits
from imagemill.testing.images import photo, saved

JPEG, PNG = saved(photo(48, 64), "JPEG"), saved(photo(48, 64), "PNG")


def look(content: bytes, tmp_path: Path, *, full: bool = True) -> Examination:
    path = tmp_path / "0.part"
    path.write_bytes(content)
    return examine_file(path, limits=Limits(max_pixels=1_000_000), full=full)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><html></html>", "html"),
        (b"\xef\xbb\xbf \n<HTML><body>", "html"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "svg"),
        (b"<svg/>", "svg"),
        (b'{"error": 404}', "not-an-image"),
        (b"%PDF-1.7", "not-an-image"),
        (JPEG[:-200], "truncated"),
        (saved(photo(1100, 1000), "PNG"), "too-many-pixels"),
    ],
)
def test_what_is_no_good_image(content: bytes, reason: str, tmp_path: Path) -> None:
    found = look(content, tmp_path)
    assert (found.verdict.reason, found.sha256) == (reason, "")
    assert reason in REASONS
    assert found.verdict.detail


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_what_is_one(format: str, tmp_path: Path) -> None:
    content = saved(photo(48, 64), format)
    found = look(content, tmp_path)
    assert (found.verdict.reason, found.verdict.format) == ("", format)
    assert (found.verdict.width, found.verdict.height) == (64, 48)
    assert (found.size_bytes, found.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_headers_alone_do_not_show_that_pixels_are_missing(tmp_path: Path) -> None:
    assert look(JPEG[:-200], tmp_path, full=False).verdict.reason == ""


def test_a_decoder_that_hangs_or_dies_costs_one_image_each(tmp_path: Path) -> None:
    contents = [JPEG, b"hang", JPEG, b"die!", JPEG, b"<html>", JPEG, b"die!", JPEG]
    paths = [tmp_path / f"{number}.part" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)

    async def run() -> list[Examination]:
        policy = Policy(image=Limits(max_seconds=3.0), examiners=1)
        examiners = Examiners(policy)
        examiners._look = partial(bad_decoders.examine_files, limits=policy.image, full=True)
        try:
            return await asyncio.gather(*map(examiners.examine, paths))
        finally:
            await examiners.close()

    reasons = [found.verdict.reason for found in asyncio.run(run())]
    expected = {JPEG: "", b"hang": "decode-timeout", b"die!": "decoder-died", b"<html>": "html"}
    assert reasons == [expected[content] for content in contents]


def test_a_file_that_is_gone_is_no_verdict(tmp_path: Path) -> None:
    async def run() -> None:
        examiners = Examiners(Policy(examiners=1))
        try:
            await examiners.examine(tmp_path / "nothing.part")
        finally:
            await examiners.close()

    with pytest.raises(FileNotFoundError):
        asyncio.run(run())


def test_a_short_list_is_looked_at_by_one_process(tmp_path: Path) -> None:
    path = tmp_path / "0.part"
    path.write_bytes(PNG)

    async def run() -> int:
        examiners = Examiners(Policy(examiners=4))
        try:
            await asyncio.gather(*[examiners.examine(path) for _ in range(100)])
            return len(examiners._processes.threads)
        finally:
            await examiners.close()

    assert asyncio.run(run()) < 4


def test_a_backlog_that_lasts_starts_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "0.part"
    path.write_bytes(PNG)
    monkeypatch.setattr("imagemill.acquire.examine.PATIENCE_S", -1.0)

    async def run() -> int:
        examiners = Examiners(Policy(examiners=2))
        try:
            await asyncio.gather(*[examiners.examine(path) for _ in range(100)])
            return len(examiners._processes.threads)
        finally:
            await examiners.close()

    assert asyncio.run(run()) == 2


@needs_core
def test_jpegs_in_perfect_order_need_no_process_and_all_others_do(tmp_path: Path) -> None:
    warned = JPEG + b"behind its end"
    expected = {JPEG: True, JPEG[:200]: True, JPEG[:-200]: False, warned: False, PNG: False, b"<html>": False}

    async def run(path: Path) -> tuple[bool, Examination]:
        examiners = Examiners(Policy(examiners=1))
        try:
            found = await examiners.examine(path)
            return not examiners._processes.threads, found
        finally:
            await examiners.close()

    for number, (content, here) in enumerate(expected.items()):
        path = tmp_path / f"{number}.part"
        path.write_bytes(content)
        assert asyncio.run(run(path)) == (here, look(content, tmp_path)), content[:20]


def test_a_suspect_is_looked_at_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "0.part"
    path.write_bytes(JPEG)

    async def run() -> int:
        examiners = Examiners(Policy(examiners=1))
        try:
            found = await examiners.examine(path, alone=True)
            assert not found.verdict.reason
            return len(examiners._processes.threads)
        finally:
            await examiners.close()

    assert asyncio.run(run()) == 1


@pytest.mark.parametrize("decode", ["full", "headers"])
@pytest.mark.parametrize("core", [pytest.param(True, marks=needs_core), False])
def test_a_good_body_in_memory_has_its_file_afterwards_and_a_bad_one_does_not_matter(
    core: bool, decode: Literal["full", "headers"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagemill.native.available", lambda: core)
    contents = [JPEG, PNG, JPEG + b"behind its end", b"<html>", JPEG[:200]]

    async def run() -> list[Examination]:
        examiners = Examiners(Policy(examiners=1, decode=decode))
        try:
            bodies = [(tmp_path / f"{number}.part", content) for number, content in enumerate(contents)]
            return await asyncio.gather(*[examiners.examine(*body) for body in bodies])
        finally:
            await examiners.close()

    for number, found in enumerate(asyncio.run(run())):
        path = tmp_path / f"{number}.part"
        assert bool(found.verdict.reason) == (number >= 3)
        if not found.verdict.reason:
            assert path.read_bytes() == contents[number]
            assert found == examine_file(path, limits=Limits(), full=decode == "full")


@needs_core
def test_a_file_that_cannot_be_written_is_no_verdict(tmp_path: Path) -> None:
    async def run() -> None:
        examiners = Examiners(Policy(examiners=1))
        try:
            await examiners.examine(tmp_path / "no such folder" / "0.part", JPEG)
        finally:
            await examiners.close()

    with pytest.raises(FileNotFoundError, match="no such folder"):
        asyncio.run(run())


@needs_core
def test_what_waits_when_examiners_are_closed_is_forgotten(tmp_path: Path) -> None:
    large = saved(photo(600, 800), "JPEG")

    async def run() -> None:
        examiners = Examiners(Policy(examiners=1))
        tasks = [asyncio.create_task(examiners.examine(tmp_path / f"{i}.part", large, i)) for i in range(50)]
        await asyncio.sleep(0)
        await examiners.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_marks_tell_what_was_looked_at_when_a_process_ended(tmp_path: Path) -> None:
    path = tmp_path / "looked-at"
    assert left_marks(path) == frozenset()
    marks = Marks(path, 3)
    places = (ctypes.c_int64 * 3).from_address(marks.address)
    places[:] = [1, 0, 70_001]
    assert left_marks(path) == {0, 70_000}
    places[0] = 0
    assert left_marks(path) == {70_000}
    path.write_bytes(path.read_bytes()[:-1])
    assert left_marks(path) == frozenset()
    del places
    marks.close()
    assert not path.exists()
