"""Pictures to test with: a photo-like one, and a corpus of everything an image file can be.

Made on the spot from NumPy and Pillow, so they need no data beside the package.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, features

Pixels = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 48, 80
"""Sides of the pictures in the corpus: not square, and multiples of a JPEG's 16x16 blocks."""


def photo(height: int, width: int, seed: int = 0) -> Pixels:
    """A picture that compresses like a photograph: colour at every scale, some edges, a little noise.

    Returns:
        uint8 RGB, shape (height, width, 3); equal arguments give equal pixels.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.int64)
    weights = 0
    for octave, weight in enumerate((8, 8, 4, 3, 2, 1)):
        cells = 2 << octave
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        total += weight * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int64)
        weights += weight
    rows, columns = np.mgrid[:height, :width]
    for _ in range(6):
        y, x, radius = rng.integers(0, height), rng.integers(0, width), 1 + rng.integers(0, max(2, height // 4))
        disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        total[disc] += weights * rng.integers(-60, 61, 3)
    noisy = total // weights + rng.integers(-3, 4, total.shape)
    levels: npt.NDArray[np.int64] = np.clip((noisy - 128) * 3 // 2 + 128, 0, 255)
    return levels.astype(np.uint8)


def stored(upright: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """How a camera stores an upright picture under an EXIF orientation (EXIF 2.32, 4.6.4 A: row 0, column 0)."""
    from_bottom, from_right = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    pixels = upright[:: -1 if from_bottom else 1, :: -1 if from_right else 1]
    return np.ascontiguousarray(pixels.swapaxes(0, 1) if orientation > 4 else pixels)


def exif_block(orientation: int) -> bytes:
    """An EXIF block, with its prefix, that says nothing but the orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def saved(picture: Image.Image | npt.NDArray[Any], format: str, **options: Any) -> bytes:
    """A picture as a file of one of Pillow's formats."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def blocks(height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    """A picture of flat 16x16 blocks of grey, which a JPEG of quality 100 keeps to within 2 levels."""
    rows, columns = np.mgrid[:height, :width] // 16
    grey = (40 + 37 * rows + 23 * columns + 11 * rows * columns) % 256
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def wide_gamut_profile() -> bytes:
    """An ICC matrix profile with the primaries of Display P3 and sRGB's curve."""
    xyz = {
        b"rXYZ": (0.51512, 0.2412, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.1571, 0.06657, 0.78407),
        b"wtpt": (0.96420, 1.0, 0.82491),
    }
    curve = b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *_fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
    tags = {name: b"XYZ " + bytes(4) + struct.pack(">3i", *_fixed(*values)) for name, values in xyz.items()}
    return _profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def grey_profile(gamma: float = 1.8) -> bytes:
    """An ICC profile of greys with a gamma."""
    white = b"XYZ " + bytes(4) + struct.pack(">3i", *_fixed(0.96420, 1.0, 0.82491))
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    return _profile(b"GRAY", {b"wtpt": white, b"kTRC": curve})


def _profile(colour_space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 5) + b"wide\0" + bytes(78)
    tags[b"cprt"] = b"text" + bytes(4) + b"none\0"
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"", 0x02400000, b"mntr", colour_space, b"XYZ ")
    head += struct.pack(">6H4s28s3i", 2026, 1, 1, 0, 0, 0, b"acsp", b"", *_fixed(0.9642, 1, 0.82491))
    return head.ljust(128, b"\0") + table + body


def _fixed(*values: float) -> tuple[int, ...]:
    """Numbers as ICC's s15Fixed16."""
    return tuple(round(value * 65536) for value in values)


@cache
def nasty_images() -> Mapping[str, tuple[bytes, str]]:
    """The corpus: name → (bytes, "ok" or the reason code that a full inspection must give).

    Every format and kind of pixel that this Pillow writes, every orientation, profiles,
    damage of many kinds, and things that are no images.
    """
    parts = (_jpegs, _pngs, _animations, _tiffs, _others, _turned, _profiles, _damaged, _liars, _aliens)
    return MappingProxyType({name: case for part in parts for name, case in part()})


Cases = Iterator[tuple[str, tuple[bytes, str]]]


def _jpegs() -> Cases:
    picture = photo(HEIGHT, WIDTH)
    colour, grey = Image.fromarray(picture), Image.fromarray(picture).convert("L")
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"jpeg-{name}", (saved(colour, "JPEG", subsampling=subsampling), "ok")
    yield "jpeg-progressive", (saved(colour, "JPEG", progressive=True), "ok")
    yield "jpeg-grey", (saved(grey, "JPEG"), "ok")
    yield "jpeg-grey-progressive", (saved(grey, "JPEG", progressive=True), "ok")
    yield "jpeg-restarts", (saved(colour, "JPEG", restart_marker_blocks=2), "ok")
    yield "jpeg-rgb", (saved(colour, "JPEG", keep_rgb=True), "ok")
    yield "jpeg-cmyk", (saved(colour.convert("CMYK"), "JPEG"), "ok")
    yield "jpeg-cmyk-progressive", (saved(colour.convert("CMYK"), "JPEG", progressive=True), "ok")
    yield "jpeg-odd-sides", (saved(picture[:37, :51], "JPEG"), "ok")
    yield "jpeg-one-pixel", (saved(picture[:1, :1], "JPEG"), "ok")
    plain = saved(colour, "JPEG")
    yield "jpeg-trailing-bytes", (plain + b"\0left over from a camera" * 9, "ok")
    yield "jpeg-second-image", (plain + saved(grey, "JPEG"), "ok")
    yield "jpeg-mpo", (saved(colour, "MPO", save_all=True, append_images=[colour]), "ok")
    yield "jpeg-thumbnail", (_with_segment(plain, 0xE1, exif_block(1) + saved(picture[::4, ::4], "JPEG")), "ok")
    yield "jpeg-missing-eoi", (plain[:-2], "ok")
    yield "jpeg-padded-end", (plain[:-2] + bytes(64) + plain[-2:], "ok")
    yield "jpeg-fill-bytes", (plain[:2] + b"\xff\xff\xff" + plain[2:], "ok")
    yield "jpeg-stray-bytes", (plain[:20] + b"\x12\x34" + plain[20:], "ok")
    yield "jpeg-broken-exif", (_with_segment(plain, 0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff"), "ok")
    yield "jpeg-two-exif", (_with_segment(_with_segment(plain, 0xE1, b"Exif\0\0"), 0xE1, exif_block(1)), "ok")


def _with_segment(jpeg: bytes, marker: int, payload: bytes) -> bytes:
    """A JPEG with one more segment after its start."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload + jpeg[2:]


def _pngs() -> Cases:
    picture = photo(HEIGHT, WIDTH, 1)
    colour = Image.fromarray(picture)
    grey = picture[:, :, 0]
    palette = colour.quantize(16)
    yield "png-rgb", (saved(colour, "PNG"), "ok")
    yield "png-grey", (saved(grey, "PNG"), "ok")
    yield "png-1-bit", (saved(Image.fromarray(grey).convert("1"), "PNG"), "ok")
    yield "png-16-bit", (saved(grey.astype(np.uint16) * 257, "PNG"), "ok")
    yield "png-16-bit-rgb", (deep_png(picture.astype(np.uint16) * 257), "ok")
    yield "png-4-bit-grey", (small_png(grey // 16, 4), "ok")
    yield "png-2-bit-grey", (small_png(grey // 64, 2), "ok")
    yield "png-palette", (saved(palette, "PNG"), "ok")
    yield "png-palette-4-bit", (saved(palette, "PNG", bits=4), "ok")
    yield "png-palette-transparent", (saved(palette, "PNG", transparency=3), "ok")
    yield "png-palette-alpha", (saved(palette, "PNG", transparency=bytes(range(0, 256, 16))), "ok")
    yield "png-grey-transparent", (saved(grey, "PNG", transparency=int(grey[0, 0])), "ok")
    yield "png-rgb-transparent", (saved(colour, "PNG", transparency=tuple(map(int, picture[0, 0]))), "ok")
    yield "png-16-bit-transparent", (with_trns(saved(grey.astype(np.uint16) * 257, "PNG"), int(grey[0, 0]) * 257), "ok")
    yield "png-4-bit-transparent", (with_trns(small_png(grey // 16, 4), int(grey[0, 0]) // 16), "ok")
    yield "png-alpha", (saved(with_alpha(picture), "PNG"), "ok")
    yield "png-grey-alpha", (saved(Image.fromarray(with_alpha(picture)).convert("LA"), "PNG"), "ok")
    yield "png-interlaced", (interlaced_png(grey), "ok")
    yield "png-trailing-bytes", (saved(colour, "PNG") + b"left over", "ok")


def with_alpha(picture: Pixels) -> Pixels:
    """RGBA whose alpha runs from 0 at the left to 255 at the right."""
    alpha = np.linspace(0, 255, picture.shape[1]).astype(np.uint8)
    return np.dstack([picture, np.broadcast_to(alpha, picture.shape[:2])])


def png_file(width: int, height: int, bits: int, colour_type: int, rows: bytes, interlace: int = 0) -> bytes:
    """A PNG around filtered rows."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlace)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, payload) for name, payload in chunks)


def png_chunk(name: bytes, payload: bytes) -> bytes:
    """One chunk: length, name, payload, checksum."""
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def with_trns(png: bytes, grey: int) -> bytes:
    """A grey PNG in which one value, as stored, is transparent."""
    pixels = png.index(b"IDAT") - 4
    return png[:pixels] + png_chunk(b"tRNS", struct.pack(">H", grey)) + png[pixels:]


def deep_png(pixels: npt.NDArray[np.uint16]) -> bytes:
    """16-bit RGB, which Pillow cannot write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png_file(width, height, 16, 2, rows)


def small_png(values: Pixels, bits: int) -> bytes:
    """Grey of 1, 2 or 4 bits a pixel: exactly these values, below 2**bits."""
    height, width = values.shape
    shifts = np.arange(8 - bits, -1, -bits)
    padded = np.pad(values, ((0, 0), (0, -width % shifts.size))).reshape(height, -1, shifts.size)
    packed = (padded.astype(np.int64) << shifts).sum(2).astype(np.uint8)
    return png_file(width, height, bits, 0, b"".join(b"\0" + row.tobytes() for row in packed))


def interlaced_png(grey: Pixels) -> bytes:
    """8-bit grey in the seven passes of Adam7."""
    height, width = grey.shape
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    parts = (grey[top::down, left::right] for top, left, down, right in passes)
    rows = [b"\0" + row.tobytes() for part in parts if part.size for row in part]
    return png_file(width, height, 8, 0, b"".join(rows), interlace=1)


def _animations() -> Cases:
    frames = [Image.fromarray(photo(HEIGHT, WIDTH, seed)) for seed in range(3)]
    rest: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": 50}
    yield "gif-still", (saved(frames[0], "GIF"), "ok")
    yield "gif-animated", (saved(frames[0], "GIF", **rest), "ok")
    yield "gif-transparent", (saved(frames[0].quantize(16), "GIF", transparency=2), "ok")
    yield "png-animated", (saved(frames[0], "PNG", **rest), "ok")
    if features.check("webp"):
        yield "webp-lossy", (saved(frames[0], "WEBP"), "ok")
        yield "webp-lossless", (saved(frames[0], "WEBP", lossless=True), "ok")
        yield "webp-alpha", (saved(with_alpha(np.asarray(frames[0])), "WEBP"), "ok")
        yield "webp-animated", (saved(frames[0], "WEBP", **rest), "ok")
        yield "webp-truncated", (saved(frames[0], "WEBP")[:-100], "truncated")
    if features.check("avif"):
        yield "avif", (saved(frames[0], "AVIF"), "ok")
        yield "avif-animated", (saved(frames[0], "AVIF", save_all=True, append_images=frames[1:]), "ok")
    if features.check("jpg_2000"):
        yield "jpeg2000", (saved(frames[0], "JPEG2000"), "ok")
    yield "gif-truncated-later", (saved(frames[0], "GIF", **rest)[:-500], "truncated")


def _tiffs() -> Cases:
    picture = photo(HEIGHT, WIDTH, 2)
    colour = Image.fromarray(picture)
    grey = picture[:, :, 0]
    yield "tiff-rgb", (saved(colour, "TIFF"), "ok")
    yield "tiff-lzw", (saved(colour, "TIFF", compression="tiff_lzw"), "ok")
    yield "tiff-deflate", (saved(colour, "TIFF", compression="tiff_adobe_deflate"), "ok")
    yield "tiff-jpeg", (saved(colour, "TIFF", compression="jpeg"), "ok")
    yield "tiff-packbits", (saved(colour, "TIFF", compression="packbits"), "ok")
    yield "tiff-1-bit", (saved(Image.fromarray(grey).convert("1"), "TIFF", compression="group4"), "ok")
    yield "tiff-16-bit", (saved(grey.astype(np.uint16) * 257, "TIFF"), "ok")
    yield "tiff-32-bit", (saved(grey.astype(np.int32) * 1000 - 7, "TIFF"), "ok")
    yield "tiff-float", (saved(grey.astype(np.float32) / 255, "TIFF"), "ok")
    yield "tiff-cmyk", (saved(colour.convert("CMYK"), "TIFF"), "ok")
    yield "tiff-lab", (saved(_lab(colour), "TIFF"), "ok")
    yield "tiff-palette", (saved(colour.quantize(16), "TIFF"), "ok")
    yield "tiff-alpha", (saved(with_alpha(picture), "TIFF"), "ok")
    yield "tiff-pages", (saved(colour, "TIFF", save_all=True, append_images=[colour, colour]), "ok")
    yield "tiff-truncated", (saved(colour, "TIFF")[:-2000], "truncated")


def _lab(colour: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(colour, transform) or colour
    del lab.info["icc_profile"]  # carries the time of its making
    return lab


def _others() -> Cases:
    picture = photo(HEIGHT, WIDTH, 3)
    colour = Image.fromarray(picture)
    for format in ("BMP", "DIB", "PPM", "TGA", "PCX", "SGI", "QOI", "ICO", "ICNS", "DDS"):
        try:
            yield format.lower(), (saved(colour, format), "ok")
        except (KeyError, OSError):
            continue
    yield "bmp-palette", (saved(colour.quantize(16), "BMP"), "ok")
    yield "pgm", (saved(picture[:, :, 0], "PPM"), "ok")
    yield "pbm", (saved(colour.convert("1"), "PPM"), "ok")
    yield "pgm-16-bit", (saved(Image.fromarray(picture[:, :, 0].astype(np.int32) * 257), "PPM"), "ok")
    yield "tga-rle", (saved(colour, "TGA", compression="tga_rle"), "ok")
    yield "xbm", (saved(colour.convert("1"), "XBM"), "ok")
    for name, array in (("uint8", picture), ("grey", picture[:, :, 0]), ("float", picture / np.float32(255))):
        yield f"npy-{name}", (npy(array), "ok")
    yield "npy-fortran", (npy(np.asfortranarray(picture)), "ok")
    yield "npy-truncated", (npy(picture)[:-1], "truncated")
    yield "npy-vector", (npy(np.arange(5)), "unsupported")
    yield "npy-objects", (npy(np.array([[1, "a"]], object)), "unsupported")


def npy(array: npt.NDArray[Any]) -> bytes:
    """A `.npy` file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _turned() -> Cases:
    picture = photo(HEIGHT, WIDTH, 4)
    for orientation in range(1, 9):
        pixels, exif = stored(picture, orientation), exif_block(orientation)
        yield f"png-orientation-{orientation}", (saved(pixels, "PNG", exif=exif), "ok")
        yield f"tiff-orientation-{orientation}", (saved(pixels, "TIFF", tiffinfo={0x0112: orientation}), "ok")
        jpeg = saved(stored(blocks(), orientation), "JPEG", quality=100, exif=exif)
        yield f"jpeg-orientation-{orientation}", (jpeg, "ok")
        if features.check("webp"):
            yield f"webp-orientation-{orientation}", (saved(pixels, "WEBP", lossless=True, exif=exif), "ok")
    yield "jpeg-orientation-99", (saved(blocks(), "JPEG", exif=exif_block(99)), "ok")
    late = saved(stored(picture, 6), "PNG")
    chunk = png_chunk(b"eXIf", exif_block(6).removeprefix(b"Exif\0\0"))
    yield "png-orientation-late", (late[:-12] + chunk + late[-12:], "ok")


def _profiles() -> Cases:
    picture = photo(HEIGHT, WIDTH, 5)
    wide = wide_gamut_profile()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    srgb = srgb[:24] + wide[24:36] + srgb[36:]  # the time of its making
    yield "jpeg-icc-wide", (saved(picture, "JPEG", icc_profile=wide), "ok")
    yield "png-icc-wide", (saved(picture, "PNG", icc_profile=wide), "ok")
    yield "png-alpha-icc-wide", (saved(with_alpha(picture), "PNG", icc_profile=wide), "ok")
    yield "jpeg-icc-srgb", (saved(picture, "JPEG", icc_profile=srgb), "ok")
    yield "jpeg-icc-broken", (saved(picture, "JPEG", icc_profile=wide[:200]), "ok")
    yield "jpeg-icc-garbage", (saved(picture, "JPEG", icc_profile=b"no profile" * 30), "ok")
    yield "jpeg-icc-large", (saved(picture, "JPEG", icc_profile=wide + bytes(150_000)), "ok")
    yield "jpeg-cmyk-icc-rgb", (saved(Image.fromarray(picture).convert("CMYK"), "JPEG", icc_profile=wide), "ok")


def _damaged() -> Cases:
    picture = photo(HEIGHT * 2, WIDTH * 2, 6)
    baseline, progressive = saved(picture, "JPEG"), saved(picture, "JPEG", progressive=True)
    png = saved(picture, "PNG")
    for percent in (1, 5, 30, 60, 90, 99):
        for name, whole in (("jpeg", baseline), ("progressive", progressive), ("png", png)):
            yield f"{name}-truncated-{percent}", (whole[: len(whole) * percent // 100], "truncated")
    middle = len(baseline) // 2
    yield "jpeg-end-in-the-middle", (baseline[:middle] + b"\xff\xd9" + baseline[middle:], "corrupt")
    yield "jpeg-marker-in-scan", (baseline[:middle] + b"\xff\x02" + baseline[middle + 2 :], "corrupt")
    tables = baseline.index(b"\xff\xc4")
    yield "jpeg-broken-table", (baseline[: tables + 5] + b"\xff" * 16 + baseline[tables + 21 :], "corrupt")
    for position in (30, 50, 70):
        at = len(png) * position // 100
        yield f"png-bit-{position}", (png[:at] + bytes((png[at] ^ 16,)) + png[at + 1 :], "corrupt")
    yield "png-broken-header", (png[:17] + b"\xff" + png[18:], "corrupt")
    yield "gif-truncated", (saved(picture, "GIF")[:2000], "truncated")
    yield "bmp-truncated", (saved(picture, "BMP")[:2000], "truncated")
    yield "ppm-truncated", (saved(picture, "PPM")[:2000], "truncated")


def _liars() -> Cases:
    picture = photo(HEIGHT, WIDTH, 7)
    jpeg, png = saved(picture, "JPEG"), saved(picture, "PNG")
    frame = jpeg.index(b"\xff\xc0") + 5
    taller = struct.pack(">HH", HEIGHT * 10, WIDTH)
    yield "jpeg-lying-height", (jpeg[:frame] + taller + jpeg[frame + 4 :], "corrupt")
    yield "jpeg-zero-width", (jpeg[:frame] + struct.pack(">HH", HEIGHT, 0) + jpeg[frame + 4 :], "corrupt")
    yield "jpeg-zero-height", (jpeg[:frame] + struct.pack(">HH", 0, WIDTH) + jpeg[frame + 4 :], "unsupported")
    yield "jpeg-12-bit", (jpeg[: frame - 1] + b"\x0c" + jpeg[frame:], "unsupported")
    yield "jpeg-hierarchical", (jpeg.replace(b"\xff\xc0", b"\xff\xc5", 1), "unsupported")
    yield "jpeg-bomb", (jpeg[:frame] + b"\xff\xdc\xff\xdc" + jpeg[frame + 4 :], "too-many-pixels")
    yield "png-bomb", (png_file(50_000, 50_000, 1, 0, bytes(6_251 * 100)), "too-many-pixels")
    yield "png-lying-height", (png_file(WIDTH, HEIGHT, 8, 0, bytes((WIDTH + 1) * 10)), "truncated")
    yield "png-zero-size", (png_file(0, 0, 8, 0, b""), "corrupt")
    yield "gif-bomb", (b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b";", "corrupt")
    bmp = bytearray(saved(picture, "BMP"))
    bmp[22:26] = struct.pack("<i", HEIGHT * 10)
    yield "bmp-lying-height", (bytes(bmp), "truncated")
    yield "png-named-jpeg", (png, "ok")


def _aliens() -> Cases:
    yield "empty", (b"", "empty-file")
    for name, content in {
        "one-byte": b"\xff",
        "html": b"<!DOCTYPE html><html><body>404 not found</body></html>",
        "text": b"This is no image.\n" * 40,
        "c-header": b"#define WIDTH 7\n/* a comment */\nint main(void) { return 0; }\n",
        "json": b'{"error": "quota exceeded"}',
        "zip": b"PK\x03\x04" + bytes(60),
        "pdf": b"%PDF-1.7\n" + bytes(60),
        "zeros": bytes(4096),
        "noise": np.random.default_rng(0).bytes(4096),
        "video": b"\0\0\0\x18ftypisom" + bytes(60),
        "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    }.items():
        yield name, (content, "not-an-image")
    for name, content in {
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(evil) run\n",
        "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "heic": b"\0\0\0\x18ftypheic" + bytes(60),
        "jpeg-xl": b"\xff\x0a" + bytes(60),
    }.items():
        yield name, (content, "unsupported")
    yield "camera-raw", (saved(photo(HEIGHT, WIDTH), "TIFF", tiffinfo={254: 1}), "unsupported")
