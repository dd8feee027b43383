"""Masks come back with exactly the ids that went in; arrays become files and come back."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from imagemill.codecs.image import decode, decode_mask, encode_jpeg, encode_mask, encode_npy, encode_png, read_header
from imagemill.errors import ConfigError, SampleError
from imagemill.testing.images import deep_png, exif_block, npy, photo, saved, small_png, stored

IDS = np.random.default_rng(0).integers(0, 12, (9, 14), np.uint8)


def same(result: npt.NDArray[Any], expected: npt.NDArray[Any]) -> bool:
    return result.dtype == expected.dtype and np.array_equal(result, expected) and result.flags.writeable


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "GIF"])
def test_a_palette_mask_gives_indices_not_colours(format: str) -> None:
    image = Image.fromarray(IDS, "L").convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(np.random.default_rng(1).permutation(256).astype(np.uint8).repeat(3).tobytes())
    options = {"optimize": False} if format == "GIF" else {}
    assert same(decode_mask(saved(image, format, **options)), IDS)


@pytest.mark.parametrize("transparency", [3, bytes(range(12))])
def test_transparency_of_a_palette_mask_means_nothing(transparency: int | bytes) -> None:
    image = Image.frombytes("P", IDS.shape[::-1], IDS.tobytes())
    image.putpalette(bytes(range(36)))
    assert same(decode_mask(saved(image, "PNG", transparency=transparency)), IDS)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM", "TGA", "QOI", "WEBP"])
def test_grey_and_colour_masks_are_kept(format: str) -> None:
    colour = photo(9, 14)
    options = {"lossless": True} if format == "WEBP" else {}
    assert same(decode_mask(saved(colour, format, **options)), colour)
    if format not in ("QOI", "WEBP"):
        assert same(decode_mask(saved(IDS, format)), IDS)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bits_are_kept(format: str) -> None:
    deep = IDS.astype(np.uint16) * 5000 + 3
    assert same(decode_mask(saved(deep, format)), deep)


def test_16_bit_colour_is_kept() -> None:
    deep = photo(9, 14).astype(np.uint16) * 199 + 7
    assert same(decode_mask(deep_png(deep)), deep)
    assert same(decode_mask(encode_png(deep)), deep)
    with pytest.raises(SampleError, match="truncated"):
        decode_mask(deep_png(deep)[:-60])


def test_32_bit_tiffs_are_kept() -> None:
    whole = IDS.astype(np.int32) * 1_000_003 - 5
    assert same(decode_mask(saved(whole, "TIFF")), whole)
    flow = IDS.astype(np.float32) / 7 - 1
    assert same(decode_mask(saved(flow, "TIFF")), flow)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_ids_not_grey_levels(bits: int) -> None:
    ids = IDS % (1 << bits)
    assert same(decode_mask(small_png(ids, bits)), ids)


def test_a_1_bit_mask_is_0_and_1_in_every_format() -> None:
    bits = (IDS > 5).astype(np.uint8)
    for format in ("PNG", "TIFF", "PPM", "BMP"):
        assert same(decode_mask(saved(Image.fromarray(bits * 255).convert("1"), format)), bits)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32", "int64", "float32", "float64", "bool", ">i4"])
@pytest.mark.parametrize("shape", [(9, 14), (9, 14, 1), (9, 14, 3), (9, 14, 7)])
def test_npy_masks_keep_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.resize(IDS, shape).astype(dtype)
    result = decode_mask(npy(values))
    assert same(result, values.astype(np.dtype(dtype).newbyteorder("=")))
    assert same(decode_mask(npy(np.asfortranarray(values))), result)
    header = read_header(npy(values))
    assert (header.sides, header.channels) == ((9, 14), shape[2] if len(shape) == 3 else 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_like_its_image(orientation: int) -> None:
    ids = stored(IDS, orientation)
    assert same(decode_mask(saved(ids, "PNG", exif=exif_block(orientation))), IDS)
    assert same(decode_mask(saved(ids, "TIFF", tiffinfo={0x0112: orientation})), IDS)


def test_a_jpeg_mask_decodes_and_its_header_tells() -> None:
    data = saved(IDS * 20, "JPEG", quality=100)
    assert read_header(data).format == "JPEG"
    assert np.abs(decode_mask(data).astype(int) - IDS * 20).max() < 8


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float32", "bool"])
@pytest.mark.parametrize("shape", [(9, 14), (9, 14, 1), (9, 14, 2), (9, 14, 3), (9, 14, 4)])
def test_encoded_masks_come_back_equal(dtype: str, shape: tuple[int, ...]) -> None:
    values = (np.resize(IDS, shape) * 3).astype(dtype)
    data = encode_mask(values)
    assert same(decode_mask(data), values)
    assert encode_mask(values.copy(order="F")) == data
    as_png = dtype in ("uint8", "uint16") and (len(shape) == 2 or shape[2] > 2)
    assert read_header(data).format == ("PNG" if as_png else "NPY")


def test_npy_is_what_numpy_reads() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(np.load(io.BytesIO(encode_npy(values[:, ::-1])), allow_pickle=False), values[:, ::-1])


def test_nothing_is_unpickled() -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("unpickled",)

    for data in (npy(np.array([[Trap()]], object)), npy(np.array([["text"]])), npy(np.zeros((2, 2), "i4,f4"))):
        with pytest.raises(SampleError) as caught:
            decode_mask(data)
        assert caught.value.reason == "unsupported"


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"__import__('os')",
        b"{'descr': '<f4'}",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 2)}",
        b"(" * 900,
    ],
)
def test_a_broken_npy_header_is_a_reject(header: bytes) -> None:
    with pytest.raises(SampleError):
        decode_mask(b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + bytes(64))


def test_sizes_of_npy_files_are_believed_only_if_the_bytes_are_there() -> None:
    data = npy(np.zeros((4, 5), np.uint8))
    for lie in (b"(40, 5), ", b"(-4, 5), ", b"(99999999999, 99999999999), "):
        with pytest.raises(SampleError):
            decode_mask(data.replace(b"(4, 5), ", lie.ljust(9)))


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_jpegs_are_deterministic_and_close(channels: int | None) -> None:
    picture = photo(40, 60) if channels == 3 else photo(40, 60)[:, :, 0]
    picture = picture[:, :, None] if channels == 1 else picture
    data = encode_jpeg(picture, quality=95, subsampling="444")
    assert data == encode_jpeg(np.asfortranarray(picture), quality=95, subsampling="444")
    assert len(encode_jpeg(picture, quality=30)) < len(data)
    pixels = decode(data, mode="RGB" if channels == 3 else "L")
    assert np.abs(pixels.reshape(picture.shape).astype(int) - picture).mean() < 4


def test_what_a_format_cannot_hold_is_refused() -> None:
    empty, flat, two = np.zeros((0, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((2, 2, 2), np.uint8)
    for array in (IDS.astype(np.int32), two, empty, flat):
        with pytest.raises(ConfigError, match="PNG holds"):
            encode_png(array)  # type: ignore[arg-type]
    for array in (IDS.astype(np.uint16), two, empty, flat):
        with pytest.raises(ConfigError, match="JPEG holds"):
            encode_jpeg(array)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="use PNG"):
        encode_jpeg(np.zeros((1, 65_501), np.uint8))
    with pytest.raises(ConfigError, match="1 to 100"):
        encode_jpeg(photo(8, 8), quality=101)
    with pytest.raises(ConfigError, match="420"):
        encode_jpeg(photo(8, 8), subsampling="4:2:0")
