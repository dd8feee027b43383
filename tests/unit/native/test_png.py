"""PNG by the core: what Pillow and the codecs make of the same files, or handed back."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from unit.native.batches import needs_core

from imagemill import native
from imagemill.codecs import image as images
from imagemill.codecs.image import decode, decode_mask
from imagemill.errors import SampleError
from imagemill.native import Status
from imagemill.native.png import read_png
from imagemill.testing.images import photo, saved

pytestmark = needs_core


class _NoCore:
    """Stands where the codecs look for the core."""

    @staticmethod
    def available() -> bool:
        return False


@pytest.fixture(autouse=True)
def codecs_without_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the core is held against is Pillow's."""
    monkeypatch.setattr(images, "native", _NoCore)


HANDED_BACK = (Status.NOT_JPEG, Status.DOUBTFUL, Status.TOO_LARGE, Status.ELSEWHERE)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(header: tuple[int, ...], rows: bytes, *before: bytes, level: int = 6, parts: int = 1) -> bytes:
    """A file of given (width, height, bits, colour type, compression, filter, interlace) and filtered rows."""
    stream = zlib.compress(rows, level)
    size = -(-len(stream) // parts)
    pieces = [chunk(b"IDAT", stream[start : start + size]) for start in range(0, len(stream), size)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", struct.pack(">IIBBBBB", *header)), *before, *pieces, chunk(b"IEND", b"")]
    )


def filtered(rng: random.Random, height: int, row_bytes: int, kind: str) -> bytes:
    """Rows of residuals under every filter."""
    rows = []
    for row in range(height):
        residuals = {"noise": rng.randbytes(row_bytes), "even": bytes(row_bytes), "few": bytes([row % 7]) * row_bytes}
        rows.append(bytes([rng.randrange(5)]) + residuals[kind])
    return b"".join(rows)


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("kind", ["noise", "even", "few"])
@pytest.mark.parametrize(("bits", "colour"), [(8, 0), (8, 2), (8, 3), (4, 3), (2, 0), (1, 3)])
def test_every_filter_and_depth(bits: int, colour: int, kind: str, level: int) -> None:
    rng = random.Random(f"{bits}{colour}{kind}{level}")
    for width, height in ((1, 1), (7, 5), (64, 33), (331, 20)):
        row_bytes = (width * bits * (3 if colour == 2 else 1) + 7) // 8
        palette = [chunk(b"PLTE", rng.randbytes(3 << bits))] if colour == 3 else []
        rows = filtered(rng, height, row_bytes, kind)
        file = png((width, height, bits, colour, 0, 0, 0), rows, *palette, level=level, parts=3)
        if colour != 2:
            assert np.array_equal(read_png(file, (height, width), 0), decode_mask(file))
        for channels, mode in ((3, "RGB"), (1, "L")):
            found = read_png(file, (height, width), channels)
            if bits == 8 and colour != 3:
                assert np.array_equal(found, decode(file, mode=mode))
            else:
                assert found in HANDED_BACK


def test_photographs_and_masks() -> None:
    picture = photo(120, 150, 3)
    for level in (1, 6, 9):
        assert np.array_equal(read_png(saved(picture, "PNG", compress_level=level), (120, 150), 3), picture)
    ids = (picture[:, :, 0] // 50).astype(np.uint8)
    file = saved(Image.fromarray(ids), "PNG")
    assert np.array_equal(read_png(file, (120, 150), 0), ids)


def test_what_is_handed_back() -> None:
    """Files that turn, colour, have frames or depths of their own, and every damage."""
    picture = Image.fromarray(photo(20, 30))
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x/>")
    exif = Image.Exif()
    exif[0x0112] = 6
    files: dict[str, bytes] = {
        "alpha": _png(picture.convert("RGBA")),
        "palette": _png(picture.quantize(20)),
        "grey and alpha": _png(picture.convert("LA")),
        "16 bits": _png(Image.fromarray(np.zeros((20, 30), np.uint16))),
        "profile": _png(picture, icc_profile=b"anything"),
        "transparent colour": _png(picture, transparency=(1, 2, 3)),
        "EXIF": _png(picture, exif=exif),
        "XMP": _png(picture, pnginfo=text),
        "frames": _png(picture, save_all=True, append_images=[Image.new("RGB", (30, 20))]),
        "interlaced": png((1, 1, 8, 2, 0, 0, 1), bytes(4)),
        "no filter": png((2, 1, 8, 0, 0, 0, 0), bytes([5, 1, 2])),
        "too few rows": png((2, 2, 8, 0, 0, 0, 0), bytes(3)),
        "too many": png((2, 1, 8, 0, 0, 0, 0), bytes(6)),
        "no palette": png((2, 1, 8, 3, 0, 0, 0), bytes(3)),
        "JPEG": saved(np.asarray(picture), "JPEG"),
        "nothing": b"",
    }
    for name, file in files.items():
        assert read_png(file, (20, 30), 3) in HANDED_BACK, name
    assert read_png(_png(picture), (20, 31), 3) is Status.ELSEWHERE
    assert read_png(_png(picture), (10, 30), 3) is Status.TOO_LARGE


def _png(picture: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def test_damage_is_never_pixels() -> None:
    """Mutated files, and mutated streams under right checksums: an error, or what the codecs make of them."""
    rng = random.Random(5)
    made = 0
    for number in range(600):
        sides = rng.randrange(1, 40), rng.randrange(1, 60)
        is_mask = number % 2 == 0
        picture = photo(max(sides[0], 8), max(sides[1], 8), number)[: sides[0], : sides[1]]
        values = picture[:, :, 0] // 60 if is_mask else picture
        whole = saved(Image.fromarray(values), "PNG", compress_level=rng.randrange(10))
        file = bytearray(_with_another_stream(whole, rng) if number % 3 else whole)
        if number % 3 == 0:
            for _ in range(rng.randrange(1, 4)):
                file[rng.randrange(len(file))] = rng.randrange(256)
        found = read_png(bytes(file), sides, 0 if is_mask else 3)
        if isinstance(found, Status):
            assert found in HANDED_BACK
            continue
        try:
            wanted = decode_mask(bytes(file)) if is_mask else decode(bytes(file), mode="RGB")
        except SampleError as error:
            raise AssertionError(f"file {number}: the codecs say {error}") from error
        assert np.array_equal(found, wanted)
        made += 1
    assert made > 20


def _with_another_stream(file: bytes, rng: random.Random) -> bytes:
    """The file with a few bytes of its deflate stream changed, and a right checksum of the chunk."""
    start = file.index(b"IDAT") + 4
    length = int.from_bytes(file[start - 8 : start - 4], "big")
    stream = bytearray(file[start : start + length])
    for _ in range(rng.randrange(3)):
        stream[rng.randrange(len(stream))] ^= 1 << rng.randrange(8)
    rest = file[start + length + 4 :]
    return file[: start - 8] + chunk(b"IDAT", bytes(stream)) + rest


def test_the_codecs_take_the_core_for_plain_files(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = photo(50, 70, 2)
    files = [saved(picture, "PNG"), saved(Image.fromarray(picture).convert("L"), "PNG")]
    masks = [saved(Image.fromarray(picture[:, :, 0]), "PNG"), saved(Image.fromarray(picture).quantize(9), "PNG")]
    wanted = [decode(file, mode=mode) for file in files for mode in ("RGB", "L")], [decode_mask(file) for file in masks]
    monkeypatch.setattr(images, "native", native)
    monkeypatch.setattr(images, "load_image", None)
    monkeypatch.setattr(images.arrays, "load_image", None)
    found = [decode(memoryview(file), mode=mode) for file in files for mode in ("RGB", "L")]
    assert all(np.array_equal(*pair) for pair in zip(found, wanted[0], strict=True))
    assert all(np.array_equal(decode_mask(file), ids) for file, ids in zip(masks, wanted[1], strict=True))
