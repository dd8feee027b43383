"""What pixels say of a picture, and the flags that follow."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from imagemill.curate.flags import Thresholds, parse_thresholds, picture_flags
from imagemill.curate.hashes import turned
from imagemill.curate.quality import measure, thumbnail
from imagemill.curate.table import HEADER_COLUMNS, PIXEL_COLUMNS
from imagemill.errors import ConfigError
from imagemill.testing.images import photo

Pixels = npt.NDArray[np.uint8]


def grey(picture: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


@pytest.mark.parametrize("sides", [(1, 1), (3, 70), (256, 300), (375, 501), (601, 257), (1031, 2049), (2, 5000)])
def test_a_thumbnail_is_the_mean_of_equal_parts(sides: tuple[int, int]) -> None:
    luma = grey(photo(*sides, seed=1))
    height, width = sides
    fine = np.repeat(np.repeat(luma.astype(np.float32), 32, axis=0), 32, axis=1) if height * width < 3e4 else None
    if fine is not None:
        expected = fine.reshape(32, height, 32, width).mean(axis=(1, 3))
    else:
        expected = cv2.resize(luma.astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(thumbnail(luma) - expected).max() <= 0.51
    assert np.abs(measure(photo(*sides, seed=1)).thumbnail - expected).max() <= 8


@pytest.mark.parametrize("turn", range(8))
def test_a_turned_picture_has_the_turned_thumbnail(turn: int) -> None:
    picture = photo(375, 501, seed=2)
    shown = np.ascontiguousarray(np.stack([turned(picture[None, :, :, channel], turn)[0] for channel in range(3)], 2))
    apart = turned(measure(picture).thumbnail[None], turn)[0].astype(int) - measure(shown).thumbnail
    assert np.abs(apart).max() <= 6
    assert np.abs(apart).mean() <= 0.5


def test_light_and_contrast_are_those_of_luma() -> None:
    picture = photo(120, 90, seed=3)
    luma = grey(picture)
    found = measure(picture)
    assert found.brightness == pytest.approx(luma.mean() / 255)
    assert found.contrast == pytest.approx(luma.std() / 255)
    assert found.luma05 == pytest.approx(np.percentile(luma, 5, method="inverted_cdf") / 255)
    assert found.luma95 == pytest.approx(np.percentile(luma, 95, method="inverted_cdf") / 255)
    shares = np.bincount(luma.ravel(), minlength=256) / luma.size
    assert found.entropy == pytest.approx(-sum(share * np.log2(share) for share in shares if share))


def test_sharpness_falls_with_blur_and_stays_with_contrast() -> None:
    picture = photo(300, 400, seed=4)
    blurred = [measure(np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)).sharpness for sigma in (1, 3, 9)]
    assert sorted(blurred, reverse=True) == blurred
    faint = (picture // 3 + 80).astype(np.uint8)
    assert measure(faint).sharpness == pytest.approx(measure(picture).sharpness, rel=0.2)


def test_grey_pictures_have_one_digest_however_they_are_stored() -> None:
    luma = grey(photo(50, 60, seed=5))[:, :, None]
    assert measure(luma).pixels == measure(np.repeat(luma, 3, axis=2)).pixels
    assert measure(luma).pixels != measure(np.ascontiguousarray(luma.reshape(60, 50, 1))).pixels
    assert measure(luma).chroma == 0


def test_one_coloured_pixel_among_thousands_is_seen() -> None:
    picture = np.repeat(grey(photo(700, 500, seed=6))[:, :, None], 3, axis=2)
    picture[333, 221] = (250, 10, 10)
    assert measure(picture).chroma == pytest.approx(240 / 255)


def test_an_even_surface_has_numbers_too() -> None:
    found = measure(np.full((9, 9, 3), 128, np.uint8))
    assert (found.contrast, found.entropy, found.sharpness) == (0, 0, 0)


def flags_of(*pictures: Pixels, **thresholds: float) -> list[set[str]]:
    """Flags of a pile of pictures, one set a picture."""
    measures = [measure(picture) for picture in pictures]
    columns: dict[str, pa.Array] = {
        f"{name}.image": pa.array([getattr(found, name) for found in measures], kind)
        for name, kind in PIXEL_COLUMNS.items()
        if name not in ("phash", "dhash")
    }
    columns["height.image"] = pa.array([picture.shape[0] for picture in pictures], HEADER_COLUMNS["height"])
    columns["width.image"] = pa.array([picture.shape[1] for picture in pictures], HEADER_COLUMNS["width"])
    columns["mode.image"] = pa.array(["L" if picture.shape[2] == 1 else "RGB" for picture in pictures])
    found = picture_flags(pa.table(columns), ("image",), parse_thresholds(thresholds))
    return [{name for name, held in found.items() if held[row]} for row in range(len(pictures))]


def test_flags_say_what_a_person_would_say() -> None:
    usual = [photo(200 + number, 300, seed=number) for number in range(12)]
    luma = np.repeat(grey(usual[0])[:, :, None], 3, axis=2)
    odd = {
        "dark": (usual[1] // 6).astype(np.uint8),
        "bright": np.concatenate([np.full((195, 300, 3), 245, np.uint8), usual[2][:9]]),
        "blurred": np.asarray(cv2.GaussianBlur(usual[3], (0, 0), 9), np.uint8),
        "low-information": np.full((210, 300, 3), (200, 120, 90), np.uint8),
        "grey-in-rgb": luma,
        "odd-size": photo(20, 30, seed=20),
        "odd-aspect": photo(80, 700, seed=21),
    }
    found = flags_of(*usual, *odd.values(), luma[:, :, :1])
    assert found[:12] == [set()] * 12
    assert found[12:-1] == [{name} for name in odd]
    assert found[-1] == set()  # grey, and stored as grey


def test_thresholds_move_flags_and_unknown_ones_are_refused() -> None:
    usual = [photo(200, 300, seed=number) for number in range(3)]
    assert flags_of(*usual, dark=1.0) == [{"dark"}] * 3
    assert flags_of(*usual, blurred=100) == [{"blurred"}] * 3
    with pytest.raises(ConfigError, match="thresholds are"):
        parse_thresholds({"darkness": 1})
    with pytest.raises(ConfigError, match="from 0 on"):
        parse_thresholds({"dark": float("nan")})
    with pytest.raises(ConfigError, match="whole number"):
        parse_thresholds({"bits": 2.5})
    assert parse_thresholds({}) == Thresholds()


def test_samples_that_could_not_be_looked_at_have_no_flags() -> None:
    names = {"height": pa.int32(), "width": pa.int32(), "mode": pa.string()}
    numbers = {name: kind for name, kind in PIXEL_COLUMNS.items() if name not in ("phash", "dhash", "pixels")}
    table = pa.table({f"{name}.image": pa.nulls(3, kind) for name, kind in (names | numbers).items()})
    assert not any(held.any() for held in picture_flags(table, ("image",), Thresholds()).values())
