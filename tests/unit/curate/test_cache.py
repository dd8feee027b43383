"""Looks remembered by content, and what may go wrong with the file that remembers them."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imagemill.curate.cache import PictureCache
from imagemill.curate.limits import Limits
from imagemill.curate.picture import Picture, look_at_array, look_at_file, remembered
from imagemill.errors import SampleError
from imagemill.testing.images import nasty_images, photo, saved

JPEG = saved(photo(60, 80, 1), "JPEG")


_opened: list[PictureCache] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def cache_in(folder: Path) -> PictureCache:
    """A cache that the end of the test closes."""
    _opened.append(PictureCache(folder))
    return _opened[-1]


def look(data: bytes, cache: PictureCache, *, measured: bool = True, limits: Limits | None = None) -> Picture:
    return look_at_file(data, limits or Limits(), full=True, measured=measured, cache=cache)


def keep(picture: Picture, cache: PictureCache) -> None:
    cache.add([(picture.content, remembered(picture))])


def equal(one: Picture, other: Picture) -> bool:
    if one.measures is None or other.measures is None:
        return (one.header, one.notes, one.measures) == (other.header, other.notes, other.measures)
    names = ("pixels", "brightness", "luma05", "luma95", "contrast", "entropy", "sharpness", "chroma")
    same = all(getattr(one.measures, name) == getattr(other.measures, name) for name in names)
    thumbnails = np.array_equal(one.measures.thumbnail, other.measures.thumbnail)
    return same and thumbnails and (one.header, one.notes, one.content) == (other.header, other.notes, other.content)


@pytest.mark.parametrize("name", [name for name, (_, verdict) in nasty_images().items() if verdict == "ok"])
def test_what_is_remembered_is_what_was_found(name: str, tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    data = nasty_images()[name][0]
    for measured in (True, False):
        fresh = look(data, cache, measured=measured)
        assert fresh.fresh
        assert not fresh.known
        keep(fresh, cache)
        again = look(data, cache_in(tmp_path), measured=measured)
        assert again.known
        assert not again.fresh
        assert equal(fresh, again)


def test_a_mask_is_not_taken_for_a_measured_image(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    keep(look(JPEG, cache, measured=False), cache)
    assert look(JPEG, cache).fresh
    assert look(JPEG, cache, measured=False).known


def test_limits_hold_for_what_is_remembered(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    keep(look(JPEG, cache), cache)
    with pytest.raises(SampleError, match="too-many-pixels"):
        look(JPEG, cache, limits=Limits(max_pixels=60 * 80 - 1))
    with pytest.raises(SampleError, match="too-many-bytes"):
        look(JPEG, cache, limits=Limits(max_bytes=len(JPEG) - 1))


BAD = [name for name, (_, verdict) in nasty_images().items() if verdict != "ok"]


@pytest.mark.parametrize("name", BAD)
def test_verdicts_on_bad_pictures_are_remembered(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = nasty_images()[name][0]
    found = []
    for _ in range(2):
        with pytest.raises(SampleError) as caught:
            look(data, cache_in(tmp_path))
        found.append((caught.value.reason, caught.value.detail))
        monkeypatch.setattr("imagemill.curate.picture._decoded", lambda *_, **__: pytest.fail("decoded again"))
    assert found[0] == found[1]


def test_limits_come_before_a_remembered_verdict(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cut = JPEG[: len(JPEG) // 2]
    for limits, reason in ((None, "truncated"), (Limits(max_pixels=60 * 80 - 1), "too-many-pixels")):
        with pytest.raises(SampleError, match=reason):
            look(cut, cache, limits=limits)


def test_what_took_too_long_or_too_much_is_looked_at_again(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    content = look(JPEG, cache).content
    for reason in ("timeout", "memory", "decoder-died", "too-many-pixels"):
        cache.add_reject(content, True, SampleError(reason))
    assert look(JPEG, cache).fresh


def test_a_damaged_row_is_looked_at_again(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    keep(look(JPEG, cache), cache)
    cache.close()
    with sqlite3.connect(cache.path) as file:
        file.execute("UPDATE looks SET thumbnail = zeroblob(1024)")
    file.close()
    assert look(JPEG, cache).fresh
    cache.close()


def test_a_damaged_file_is_removed_and_begun_anew(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cache.path.parent.mkdir(parents=True)
    cache.path.write_bytes(b"this is no database, it is longer than a header of one would be " * 20)
    keep(look(JPEG, cache), cache)
    later = cache_in(tmp_path)
    keep(look(JPEG, later), later)
    assert look(JPEG, later).known
    later.close()


def test_a_file_that_is_deleted_in_between_costs_a_decode_only(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    keep(look(JPEG, cache), cache)
    cache.close()
    for path in cache.path.parent.iterdir():
        path.unlink()
    cache.path.parent.rmdir()
    picture = look(JPEG, cache)
    assert picture.fresh
    keep(picture, cache)
    assert look(JPEG, cache).known
    cache.close()


def test_a_place_that_cannot_be_written_means_no_cache(tmp_path: Path) -> None:
    (tmp_path / "checks").write_text("a file where the folder should be")
    cache = cache_in(tmp_path)
    keep(look(JPEG, cache), cache)
    assert look(JPEG, cache).fresh


def test_many_may_write_and_read_at_once(tmp_path: Path) -> None:
    looks = [look_at_array(photo(16, 16, seed), Limits(), measured=True) for seed in range(40)]
    shared = pickle.loads(pickle.dumps(PictureCache(tmp_path)))

    def work(start: int) -> int:
        for picture in looks[start:] + looks[:start]:
            keep(picture, shared)
        found = sum(shared.get(picture.content, True) is not None for picture in looks)
        shared.close()
        return found

    with ThreadPoolExecutor(8) as crew:
        assert list(crew.map(work, range(0, 40, 5))) == [40] * 8
