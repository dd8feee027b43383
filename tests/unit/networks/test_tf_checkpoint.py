"""TensorFlow's V1 checkpoints: what its saver wrote, packed blocks, and every kind of damage."""

from __future__ import annotations

import random
import struct
import tarfile
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import numpy as np
import pyarrow as pa
import pytest
from tensorflow_env import run_with_tensorflow

from imagemill.errors import ConfigError, DamageError
from imagemill.formats.protobuf import varint
from imagemill.networks.tf_checkpoint import FOOTER_BYTES, MAGIC, is_checkpoint, read_checkpoint

Entries = Sequence[tuple[bytes, bytes]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("v1")
    run_with_tensorflow(
        Path(__file__).with_name("write_v1_checkpoint.py"), folder / "model.ckpt", folder / "values.npz"
    )
    with np.load(folder / "values.npz") as values:
        return folder / "model.ckpt", {name.replace("|", "/"): values[name] for name in values}


def assert_equal(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
        assert np.array_equal(found[name], value), name


def test_what_tensorflow_saved_is_read(written: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    path, values = written
    assert is_checkpoint(path)
    assert_equal(read_checkpoint(path), values)
    for name, mode in (("model.tar.gz", "w:gz"), ("model.tar", "w")):
        with tarfile.open(tmp_path / name, mode) as archive:
            archive.add(path, "folder/inception_resnet_v2_2016_08_30.ckpt")
        assert_equal(read_checkpoint(tmp_path / name), values)


def test_damage_is_told(written: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    content = bytearray(written[0].read_bytes())
    target = tmp_path / "bad.ckpt"
    for place in random.Random(0).sample(range(len(content) - FOOTER_BYTES), 60):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        target.write_bytes(changed)
        with pytest.raises(DamageError):
            read_checkpoint(target)
    for length in (0, 47, 48, 1000, len(content) - 1):
        target.write_bytes(content[:length])
        with pytest.raises(ConfigError):
            read_checkpoint(target)


# A writer of tables as small as can be, to make files that TensorFlow would not.


def field(number: int, body: bytes | int) -> bytes:
    if isinstance(body, int):
        return varint(number << 3) + varint(body)
    return varint(number << 3 | 2) + varint(len(body)) + body


def block(entries: Entries) -> bytes:
    """Keys share what they can with the one before."""
    content, last = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(last)) and key[shared] == last[shared]:
            shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return content + struct.pack("<II", 0, 1)


def table(blocks: Sequence[bytes], *, snappy: bool = False) -> bytes:
    content, handles = b"", []
    # The last two: one of no use that LevelDB has, and the index.
    for raw in (*blocks, block([]), None):
        if raw is None:
            raw = block([(bytes([number]), handle) for number, handle in enumerate(handles[:-1])])
        packed = pa.Codec("snappy").compress(raw, asbytes=True) if snappy else raw
        handles.append(varint(len(content)) + varint(len(packed)))
        crc = google_crc32c.value(packed + bytes([snappy]))
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        content += packed + bytes([snappy]) + struct.pack("<I", masked)
    footer = (handles[-2] + handles[-1]).ljust(40, b"\0")
    return content + footer + struct.pack("<Q", MAGIC)


def declared(name: str, shape: Sequence[int], kind: int = 1) -> bytes:
    sides = b"".join(field(2, field(1, side)) for side in shape)
    return field(1, field(1, field(1, name.encode()) + field(2, sides) + field(3, kind)))


def part(name: str, extents: Sequence[tuple[int, int] | None], values: bytes) -> bytes:
    places = b"".join(
        field(1, b"" if extent is None else field(1, extent[0]) + field(2, extent[1])) for extent in extents
    )
    return field(2, field(1, name.encode()) + field(2, places) + field(3, field(1, 1) + values))


def floats(*values: float) -> bytes:
    return field(5, np.array(values, "<f4").tobytes())


def checkpoint(path: Path, meta: bytes, *parts: bytes, snappy: bool = False) -> Path:
    entries = [(b"", meta), *((b"\0part%d" % number, value) for number, value in enumerate(parts))]
    half = len(entries) // 2
    path.write_bytes(table([block(entries[:half]), block(entries[half:])], snappy=snappy))
    return path


@pytest.mark.parametrize("snappy", [False, True])
def test_packed_blocks_and_parts_of_variables(snappy: bool, tmp_path: Path) -> None:
    meta = declared("a", (2, 3)) + declared("b", ()) + declared("c", (4,))
    parts = (
        part("a", [None, (0, 2)], floats(0, 1, 3, 4)),
        part("a", [None, (2, 1)], floats(2, 5)),
        part("b", [], floats(7)),
        part("c", [None], field(4, np.arange(4, dtype="<f4").tobytes())),
    )
    found = read_checkpoint(checkpoint(tmp_path / "x.ckpt", meta, *parts, snappy=snappy))
    assert np.array_equal(found["a"], [[0, 1, 2], [3, 4, 5]])
    assert (found["b"].shape, float(found["b"])) == ((), 7)
    assert found["c"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("meta", "parts", "said"),
    [
        (declared("a", (2, 2)), [part("a", [None, (0, 1)], floats(1, 2))], "2 of 4 elements"),
        (declared("a", (2,)), [], "0 of 2 elements"),
        (declared("a", (2,)), [part("a", [None], floats(1, 2, 3))], "3 values for 2 elements"),
        (declared("a", (2,)), [part("a", [(1, 2)], floats(1, 2))], "from 1 to 3 of 2"),
        (declared("a", (2,)), [part("a", [(2**64 - 1, 1)], floats(1))], "from -1"),
        (declared("a", (2,)), [part("a", [], floats(1))], "0 dimensions"),
        (declared("a", (2,)), [part("b", [None], floats(1, 2))], "does not describe"),
        (declared("a", (2**40, 2**40)), [], "claim more than"),
        (declared("a", (2**64 - 5,)), [], "a shape of"),
        (declared("a", (1,), kind=7), [], "type 7"),
    ],
)
def test_what_does_not_fit_is_damage(meta: bytes, parts: list[bytes], said: str, tmp_path: Path) -> None:
    with pytest.raises(DamageError, match=said):
        read_checkpoint(checkpoint(tmp_path / "x.ckpt", meta, *parts))


def test_no_content_crashes_the_reader(tmp_path: Path) -> None:
    """Bytes changed below checksums that fit: errors of ours, whatever they are, and no memory without end."""
    chance = random.Random(1)
    whole = [declared("a", (2, 3)) + declared("bb", (3,)), part("a", [None, None], floats(*range(6)))]
    whole.append(part("bb", [(0, 3)], floats(1, 2, 3)))
    entries = [(b"\0%d" % number if number else b"", value) for number, value in enumerate(whole)]
    path = tmp_path / "x.ckpt"
    refused = 0
    for _ in range(400):
        changed = bytearray(block(entries))
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(len(changed))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        path.write_bytes(table([bytes(changed)], snappy=chance.random() < 0.3))
        try:
            read_checkpoint(path)
        except DamageError:
            refused += 1
    assert refused > 200


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello" * 100)
    with pytest.raises(ConfigError, match="no checkpoint of TensorFlow's first format"):
        read_checkpoint(tmp_path / "text")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_checkpoint(tmp_path / "nowhere")
    with tarfile.open(tmp_path / "two.tar", "w") as archive:
        archive.add(tmp_path / "text", "a.ckpt")
        archive.add(tmp_path / "text", "b.ckpt")
    with pytest.raises(ConfigError, match="holds 2 files"):
        read_checkpoint(tmp_path / "two.tar")
