"""What `pack.py` compares: each package through its public API, as its documentation recommends.

Run as a program, this is one measurement in a process of its own (`pack.py` starts it).
Peers are handed the list of files and labels; imagemill is handed the folder and finds them itself.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from machine import Clock, children_peak_mib, peak_mib, reset_peak
from photos import Pile

SIDE = 224
WARM_UP = 8
"""Images packed before the clock starts, so that whatever is imported late has been imported."""


@dataclass(frozen=True)
class Contender:
    """One row of a table.

    Args:
        name: as printed.
        package: whose version is printed; "" for none.
        checks: what it does beside storing the bytes.
        write: packs a pile into a folder.
    """

    name: str
    package: str
    checks: str
    write: Callable[[Pile, Path], None]


# Encoded images, stored as they are


def pack_with_imagemill(pile: Pile, out: Path, **options: Any) -> None:
    import imagemill

    imagemill.pack(pile.root, out / "dataset", **options)


def plain_copy(pile: Pile, out: Path) -> None:
    with open(out / "images.bin", "wb") as images:
        images.writelines((pile.root / name).read_bytes() for name, _ in pile.files)


def webdataset_shards(pile: Pile, out: Path) -> None:
    import webdataset

    with webdataset.ShardWriter(str(out / "shard-%06d.tar"), maxcount=1000, verbose=0) as sink:
        for number, (name, label) in enumerate(pile.files):
            sink.write({"__key__": f"{number:09d}", "jpg": (pile.root / name).read_bytes(), "cls": label})


def streaming_mds(pile: Pile, out: Path, hashes: list[str] | None) -> None:
    from streaming import MDSWriter

    with MDSWriter(out=str(out / "mds"), columns={"image": "bytes", "label": "int"}, hashes=hashes) as writer:
        for name, label in pile.files:
            writer.write({"image": (pile.root / name).read_bytes(), "label": label})


def array_record(pile: Pile, out: Path, options: str) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(out / "train.array_record"), options)
    for name, label in pile.files:
        writer.write(pickle.dumps({"image": (pile.root / name).read_bytes(), "label": label}))
    writer.close()


def datasets_imagefolder(pile: Pile, out: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset("imagefolder", data_dir=str(pile.root), split="train", cache_dir=str(out / "cache"))
    loaded.save_to_disk(str(out / "dataset"))


def datasets_parquet(pile: Pile, out: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    classes = sorted({Path(name).parts[0] for name, _ in pile.files})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=classes)})

    def samples() -> Iterator[dict[str, Any]]:
        for name, label in pile.files:
            yield {"image": {"bytes": (pile.root / name).read_bytes(), "path": name}, "label": label}

    loaded = datasets.Dataset.from_generator(samples, features=features, cache_dir=str(out / "cache"))
    loaded.to_parquet(str(out / "train.parquet"))


def litdata_sample(entry: tuple[str, int]) -> dict[str, Any]:
    from PIL import Image

    return {"image": Image.open(entry[0]), "label": entry[1]}


def litdata_optimize(pile: Pile, out: Path) -> None:
    import litdata

    inputs = [(str(pile.root / name), label) for name, label in pile.files]
    litdata.optimize(litdata_sample, inputs, str(out / "litdata"), chunk_bytes="64MB", num_workers=1, verbose=False)


# Raw arrays of one size


def pixels_of(path: Path) -> Any:
    """RGB pixels at SIDE x SIDE by Pillow's bicubic filter, which widens as it reduces."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def policy_pixels_of(path: Path) -> Any:
    """The same, the orientation and the colour profile applied first, as imagemill does."""
    import io

    import numpy as np
    from PIL import Image, ImageCms, ImageOps

    with Image.open(path) as image:
        shown = ImageOps.exif_transpose(image)
        if profile := image.info.get("icc_profile"):
            source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            with suppress(ImageCms.PyCMSError):  # a profile of another mode than the pixels
                shown = ImageCms.profileToProfile(shown, source, srgb, outputMode="RGB")
        return np.asarray(shown.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def pillow_numpy(pile: Pile, out: Path, pixels: Callable[[Path], Any] = pixels_of) -> None:
    import numpy as np

    shape = (len(pile), SIDE, SIDE, 3)
    images = np.lib.format.open_memmap(out / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    for number, (name, _) in enumerate(pile.files):
        images[number] = pixels(pile.root / name)
    images.flush()
    np.save(out / "labels.npy", np.array([label for _, label in pile.files], np.int64))


def webdataset_arrays(pile: Pile, out: Path) -> None:
    import webdataset

    with webdataset.ShardWriter(str(out / "shard-%06d.tar"), maxcount=1000, verbose=0) as sink:
        for number, (name, label) in enumerate(pile.files):
            sink.write({"__key__": f"{number:09d}", "npy": pixels_of(pile.root / name), "cls": label})


def streaming_arrays(pile: Pile, out: Path) -> None:
    from streaming import MDSWriter

    columns = {"image": f"ndarray:uint8:{SIDE},{SIDE},3", "label": "int"}
    with MDSWriter(out=str(out / "mds"), columns=columns) as writer:
        for name, label in pile.files:
            writer.write({"image": pixels_of(pile.root / name), "label": label})


def h5py_arrays(pile: Pile, out: Path) -> None:
    import h5py
    import numpy as np

    with h5py.File(out / "train.h5", "w") as file:
        shape = (len(pile), SIDE, SIDE, 3)
        images = file.create_dataset("images", shape, np.uint8, chunks=(1, *shape[1:]))
        for number, (name, _) in enumerate(pile.files):
            images[number] = pixels_of(pile.root / name)
        file["labels"] = np.array([label for _, label in pile.files], np.int64)


HEADERS = "header of each image; xxh3 a value, sha256 a shard, fsync"
FULL = "every image decoded whole; xxh3 a value, sha256 a shard, fsync"


def _imagemill(name: str, checks: str, **options: Any) -> Contender:
    return Contender(f"imagemill {name}", "imagemill", checks, partial(pack_with_imagemill, **options))


ENCODED = (
    _imagemill("arrow --decode headers", HEADERS, decode="headers", workers=0),
    _imagemill("tar --decode headers", HEADERS, decode="headers", workers=0, format="tar"),
    _imagemill("parquet --decode headers", f"{HEADERS}; page checksums", decode="headers", workers=0, format="parquet"),
    _imagemill("arrow --decode headers, 2 workers", HEADERS, decode="headers", workers=2, shard_size=250),
    _imagemill("arrow", FULL, workers=0),
    _imagemill("tar", FULL, workers=0, format="tar"),
    _imagemill("parquet", f"{FULL}; page checksums", workers=0, format="parquet"),
    _imagemill("arrow, 2 workers", FULL, workers=2, shard_size=250),
    Contender("plain copy into one file", "", "nothing, and no labels: the floor", plain_copy),
    Contender("webdataset ShardWriter", "webdataset", "nothing", webdataset_shards),
    Contender("Streaming MDSWriter", "mosaicml-streaming", "nothing", partial(streaming_mds, hashes=None)),
    Contender(
        "Streaming MDSWriter, sha1", "mosaicml-streaming", "sha1 a shard", partial(streaming_mds, hashes=["sha1"])
    ),
    Contender(
        "Streaming MDSWriter, sha1 and xxh64",
        "mosaicml-streaming",
        "sha1 and xxh64 a shard, as its documentation shows",
        partial(streaming_mds, hashes=["sha1", "xxh64"]),
    ),
    Contender(
        "array_record group_size:1",
        "array_record",
        "checksums of its blocks; tries to compress",
        partial(array_record, options="group_size:1"),
    ),
    Contender(
        "array_record, uncompressed",
        "array_record",
        "checksums of its blocks",
        partial(array_record, options="group_size:1,uncompressed"),
    ),
    Contender("datasets imagefolder → save_to_disk", "datasets", "nothing", datasets_imagefolder),
    Contender("datasets from_generator → to_parquet", "datasets", "nothing", datasets_parquet),
    Contender("LitData optimize, 1 worker", "litdata", "opens each image with Pillow", litdata_optimize),
)

RAW_IMAGEMILL = "EXIF turned, ICC to sRGB; xxh3 a value, sha256 a shard, fsync"

ARRAYS = (
    _imagemill("memmap", RAW_IMAGEMILL, pixels="raw", size=SIDE, workers=0, format="memmap"),
    _imagemill("arrow", RAW_IMAGEMILL, pixels="raw", size=SIDE, workers=0),
    _imagemill("memmap, 2 workers", RAW_IMAGEMILL, pixels="raw", size=SIDE, workers=2, format="memmap", shard_size=250),
    Contender("Pillow + NumPy memory map", "numpy", "nothing", pillow_numpy),
    Contender(
        "Pillow + NumPy memory map, upright in sRGB",
        "numpy",
        "EXIF turned, ICC to sRGB",
        partial(pillow_numpy, pixels=policy_pixels_of),
    ),
    Contender("webdataset .npy", "webdataset", "nothing", webdataset_arrays),
    Contender("Streaming ndarray", "mosaicml-streaming", "nothing", streaming_arrays),
    Contender("h5py, one image a chunk", "h5py", "nothing", h5py_arrays),
)

TABLES = {"encoded": ENCODED, "arrays": ARRAYS}


def measure(contender: Contender, pile: Pile, scratch: Path) -> dict[str, float]:
    """One run, after a run with a few images that pays for imports; seconds and MiB."""
    began = Clock.now()
    few = _first_of(pile, scratch)
    _write(contender, few, scratch / "warm-up")
    start = Clock.now()
    reset_peak()
    _write(contender, pile, scratch / "out")
    run, before = Clock.now().since(start), start.since(began)
    return {
        "cpu_s": run.cpu_s,
        "wall_s": run.wall_s,
        "start_cpu_s": before.cpu_s,
        "peak_mib": peak_mib(),
        "children_peak_mib": children_peak_mib(),
    }


def _first_of(pile: Pile, scratch: Path) -> Pile:
    root = scratch / "few"
    for name, _ in pile.files[:WARM_UP]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((pile.root / name).read_bytes())
    return Pile(root, pile.files[:WARM_UP], pile.origin)


def _write(contender: Contender, pile: Pile, out: Path) -> None:
    out.mkdir(parents=True)
    contender.write(pile, out)


def main() -> None:
    """`contenders.py TABLE NUMBER FOLDER RESULT`: measures one contender, writes the numbers as JSON."""
    table, number, root, scratch, result = sys.argv[1], int(sys.argv[2]), *map(Path, sys.argv[3:])
    numbers = measure(TABLES[table][number], Pile.of(root, ""), scratch)
    result.write_text(json.dumps(numbers))


if __name__ == "__main__":
    main()
