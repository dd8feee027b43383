"""`tile`: what the original extractor made, what it should have made, and what a kill leaves."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import imagemill as mill
from imagemill.cli.tile import parse_scales
from imagemill.codecs.centers import decode_centers, encode_centers
from imagemill.datasets import create_dataset
from imagemill.errors import ConfigError, SampleError
from imagemill.faults import TILE_POINTS
from imagemill.prepare.tile_cutting import folder_name
from imagemill.sources import SourceOptions
from imagemill.sources.detect import detect
from imagemill.testing.piles import command, imagemill, save_photo, tree
from imagemill.transforms.tiling import TileScale

SCALES = (TileScale(32, 16), TileScale(64, 32, 0.5))
OPTIONS = ("--crop", "32,64", "--step", "16,32", "--factor", "1,0.5", "--min-side", "40", "--threshold", "8")
ALLOWED = ("--max-rejects", "100%")


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven usable images of several kinds, three that are not, one that is no image."""
    folder = tmp_path_factory.mktemp("tiles") / "source"
    for number in range(9):
        save_photo(folder / f"sub {number % 2}" / f"im{number}.jpg", 70 + 7 * number, 100, number)
    grey = Image.open(folder / "sub 0" / "im0.jpg").convert("L")
    grey.save(folder / "Grey.jpg")
    alpha = Image.open(folder / "sub 1" / "im1.jpg").convert("RGBA")
    alpha.save(folder / "alpha.png")
    save_photo(folder / "small.jpg", 39, 80, 1)
    (folder / "broken.jpg").write_bytes((folder / "Grey.jpg").read_bytes()[:500])
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def whole(pile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiles, made without any interruption."""
    out = tmp_path_factory.mktemp("whole") / "tiles"
    before = tree(pile)
    done = imagemill("tile", pile, out, *OPTIONS, *ALLOWED, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert tree(pile) == before
    return out


def test_where_nothing_was_cut_nothing_is_to_be_packed(tmp_path: Path) -> None:
    save_photo(tmp_path / "in" / "small.jpg", 39, 80, 1)
    done = imagemill("tile", tmp_path / "in", tmp_path / "out", *OPTIONS, *ALLOWED)
    assert "next: there is no tile to pack" in done.stdout
    assert "imagemill pack" not in done.stdout
    assert "try a smaller --crop" in done.stdout


def test_images_that_masks_leave_out_are_no_failure(tmp_path: Path) -> None:
    save_photo(tmp_path / "in" / "a.jpg", 64, 64, 1)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "masks" / "a.png")
    done = imagemill("tile", tmp_path / "in", tmp_path / "out", *OPTIONS, "--tile-masks", tmp_path / "masks")
    assert done.returncode == 0, done.stderr
    assert "at least half white" in done.stdout
    assert "try a smaller --crop" not in done.stdout


def test_everything_is_accounted_for(pile: Path, whole: Path) -> None:
    record = json.loads((whole / "tiling.json").read_bytes())
    assert record["kept"] + record["rejected"] + sum(record["ignored"].values()) == record["found"] == 15
    assert (record["kept"], record["images"], record["rejected"]) == (11, 11, 3)
    rejects = [json.loads(line) for line in (whole / "rejects.jsonl").read_text().splitlines()]
    assert {reject["key"]: reject["reason"] for reject in rejects} == {
        "broken.jpg": "truncated",
        "empty.png": "empty-file",
        "small.jpg": "too-small",
    }
    assert len(list(whole.glob("*/*.jpg"))) == record["tiles"] + record["images"]
    assert not (whole / ".imagemill").exists()


def test_a_tile_is_traced_back_to_its_source(pile: Path, whole: Path) -> None:
    for path in whole.glob("*/tiles.json"):
        about = json.loads(path.read_bytes())
        with Image.open(pile / about["source"]) as image:
            source = np.asarray(image.convert("RGB"), np.float32)
        assert source.shape[:2] == (about["height"], about["width"])
        for name, tile in about["tiles"].items():
            if tile["scale"] != 0:
                continue
            top, left, height, width = tile["box"]
            with Image.open(path.parent / f"{name}.jpg") as opened:
                found = np.asarray(opened.convert("RGB"), np.float32)
            assert np.abs(found - source[top : top + height, left : left + width]).mean() < 6


def test_numbers_run_through_and_references_take_one(whole: Path) -> None:
    records = [json.loads(path.read_bytes()) for path in whole.glob("*/tiles.json")]
    records.sort(key=lambda record: min(map(int, record["tiles"])))
    expected = 0
    for record in records:
        expected += 1
        for number in sorted(map(int, record["tiles"])):
            assert number == expected
            expected += 1
    assert [record["key"] for record in records] == sorted(record["key"] for record in records)


def test_torch_reads_the_centres_as_plain_weights(whole: Path) -> None:
    for path in whole.glob("*/centers.pt"):
        centers = torch.load(path, weights_only=True)
        assert centers == decode_centers(path.read_bytes())
        about = json.loads(path.with_name("tiles.json").read_bytes())
        assert centers == {int(n): (tuple(t["center"]), t["size"]) for n, t in about["tiles"].items()}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_any_number_of_workers_gives_the_same_bytes(workers: str, pile: Path, whole: Path, tmp_path: Path) -> None:
    done = imagemill("tile", pile, tmp_path / "tiles", *OPTIONS, *ALLOWED, "--workers", workers)
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "tiles") == tree(whole)


def test_ranks_share_the_work(pile: Path, whole: Path, tmp_path: Path) -> None:
    arguments = command("tile", pile, tmp_path / "tiles", *OPTIONS, *ALLOWED, "--workers", "0", "--world-size", "2")
    ranks = [subprocess.Popen([*arguments, "--rank", rank], stderr=subprocess.PIPE) for rank in ("0", "1")]
    assert [rank.communicate(timeout=60)[1] and rank.returncode for rank in ranks] == [0, 0]
    assert tree(tmp_path / "tiles") == tree(whole)


@pytest.mark.parametrize("passes", [1, 5])
@pytest.mark.parametrize("point", TILE_POINTS)
def test_killed_anywhere_the_same_command_finishes(
    point: str, passes: int, pile: Path, whole: Path, tmp_path: Path
) -> None:
    if point in ("tile.record.before", "tile.manifest.before"):
        passes = 1
    out = tmp_path / "tiles"
    # A rank that begins with the second task does not know how many numbers the first one takes.
    unknown = ("--rank", "1", "--world-size", "2") if point == "tile.number.after" else ()
    arguments = ("tile", pile, out, *OPTIONS, *ALLOWED, "--workers", "0", *unknown)
    killed = imagemill(*arguments, environment={"IMAGEMILL_FAULT": f"{point}:{passes}"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    finished = tree(whole)
    assert all(finished.get(name) == digest for name, digest in tree(out).items() if not name.startswith("."))
    again = imagemill(*arguments)
    assert again.returncode == 0, again.stderr
    assert tree(out) == finished


def test_a_finished_folder_is_left_as_it_is_and_other_options_are_refused(
    pile: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiles"
    shutil.copytree(whole, out)
    assert mill.tile(pile, out, scales=SCALES, min_side=40, threshold=8, workers=0).tiles > 0
    assert tree(out) == tree(whole)
    with pytest.raises(ConfigError, match="with other options"):
        mill.tile(pile, out, scales=SCALES, min_side=40, threshold=9, workers=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="no folder of tiles"):
        mill.tile(pile, tmp_path / "full", workers=0)
    with pytest.raises(ConfigError, match="inside the source"):
        mill.tile(pile, pile / "tiles", workers=0)


@pytest.mark.parametrize("lossless", [False, True])
def test_packed_tiles_keep_their_box_and_their_image_s_split(pile: Path, tmp_path: Path, lossless: bool) -> None:
    out = tmp_path / "dataset"
    result = mill.tile(
        pile, out, scales=SCALES, min_side=40, threshold=8, format="arrow", lossless=lossless, split="50/50", workers=0
    )
    # A broken image costs each of its tiles.
    assert set(result.reasons) == {"empty-file", "too-small", "truncated"}
    seen: dict[str, set[str]] = {}
    for split in ("train", "val"):
        for sample in mill.open(out, split, returns="sample"):
            key, _, _ = sample.key.rpartition("/")
            seen.setdefault(key, set()).add(split)
            top, left, height, width = sample.values["box"]
            with Image.open(pile / key) as image:
                source = np.asarray(image.convert("RGB"))[top : top + height, left : left + width]
            tile = np.asarray(Image.open(io.BytesIO(sample.values["image"].data)).convert("RGB"))
            if lossless and tile.shape == source.shape and "alpha" not in key:
                assert np.abs(tile.astype(int) - source).max() <= 1
    assert len(seen) == 11
    assert all(len(splits) == 1 for splits in seen.values())


def test_damage_below_the_square_is_found(tmp_path: Path) -> None:
    save_photo(tmp_path / "pile" / "tall.jpg", 400, 100, 1)
    whole = (tmp_path / "pile" / "tall.jpg").read_bytes()
    (tmp_path / "pile" / "cut.jpg").write_bytes(whole[: len(whole) * 9 // 10])
    result = mill.tile(tmp_path / "pile", tmp_path / "tiles", scales=SCALES, min_side=40, workers=0)
    assert (result.kept, dict(result.reasons)) == (1, {"truncated": 1})


def test_dull_and_masked_tiles_are_left_out_and_counted(tmp_path: Path) -> None:
    source, masks = tmp_path / "source", tmp_path / "masks"
    pixels = np.full((64, 128, 3), 90, np.uint8)
    pixels[:32, 32:64] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    source.mkdir()
    Image.fromarray(pixels).save(source / "a.png")
    options = {"scales": [TileScale(32, 32)], "min_side": 32, "threshold": 0, "workers": 0}
    result = mill.tile(source, tmp_path / "dull", min_deviation=4.0, **options)
    assert (result.tiles, result.dull) == (1, 3)
    masks.mkdir()
    mask = np.zeros((64, 128), np.uint8)
    mask[32:, 64:96] = 255
    Image.fromarray(mask).save(masks / "a.png.png")
    result = mill.tile(source, tmp_path / "masked", masks=masks, **options)
    assert (result.tiles, result.masked) == (1, 3)
    (masks / "a.png.png").unlink()
    result = mill.tile(source, tmp_path / "missing", masks=masks, **options)
    assert (result.tiles, result.reasons) == (0, {"missing-mask": 1})


def test_a_recipe_says_the_same_as_the_command_line(pile: Path, whole: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiles.toml"
    recipe.write_text(
        "[tile]\nmin_side = 40\nthreshold = 8\n"
        "[[tile.scales]]\ncrop = 32\nstep = 16\nfactor = 1.0\n"
        "[[tile.scales]]\ncrop = 64\nstep = 32\nfactor = 0.5\n"
    )
    done = imagemill("tile", pile, tmp_path / "tiles", "--recipe", recipe, *ALLOWED, "--workers", "0")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "tiles") == tree(whole)
    recipe.write_text("[tile]\ntreshold = 8\n")
    refused = imagemill("tile", pile, tmp_path / "other", "--recipe", recipe)
    assert refused.returncode == 2
    assert "tile.treshold" in refused.stderr
    assert "did you mean 'threshold'" in refused.stderr


def test_folder_names_differ_where_keys_do() -> None:
    keys = ["a.jpg", "A.jpg", "a/b.jpg", "a%2Fb.jpg", "a_b.jpg", "a.png", "x" * 300, "x" * 301, "con.jpg", "a?b.jpg"]
    keys += ["a*b.jpg", "ä.jpg", "end.", "a~b.jpg"]
    names = [folder_name(key, part) for key in keys for part in ("", "left", "right")]
    assert len({name.lower() for name in names}) == len(names)
    assert all(len(name.encode()) < 255 and not set(name) & set('/\\:*?"<>|') for name in names)
    assert folder_name("a.jpg") == "a.jpg"


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch pwned",)


def hostile_files() -> dict[str, bytes]:
    new, old = io.BytesIO(), io.BytesIO()
    torch.save({1: Hostile()}, new)
    torch.save({1: Hostile()}, old, _use_new_zipfile_serialization=False)
    return {"zip": new.getvalue(), "old": old.getvalue(), "bare": pickle.dumps(Hostile())}


@pytest.mark.parametrize("kind", ["zip", "old", "bare"])
def test_a_hostile_centers_file_runs_nothing_and_is_a_reject(
    kind: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = hostile_files()[kind]
    with pytest.raises(SampleError):
        decode_centers(content)
    tiles = tmp_path / "tiles"
    shutil.copytree(whole, tiles)
    (tiles / "alpha.png" / "centers.pt").write_bytes(content)
    scan = detect(tiles, SourceOptions()).scan(tmp_path / "listing")
    bad = {reject.path for reject in scan.rejects}
    assert bad == {f"alpha.png/{path.name}" for path in (tiles / "alpha.png").glob("0*.jpg")}
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02}", encode_centers({1: ((1, 2), 3)})[:200], b"junk"])
def test_a_damaged_centers_file_is_a_sample_error(content: bytes) -> None:
    with pytest.raises(SampleError):
        decode_centers(content)


def test_a_centers_file_is_an_archive_in_order() -> None:
    content = encode_centers({5: ((1, 2), 3)})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert {name.partition("/")[0] for name in archive.namelist()} == {"centers"}
        assert len(archive.namelist()) == 5
    assert decode_centers(content) == {5: ((1, 2), 3)}


def test_centers_of_old_torch_are_read() -> None:
    buffer = io.BytesIO()
    torch.save({7: ((1, 2), 3)}, buffer, _use_new_zipfile_serialization=False)
    assert decode_centers(buffer.getvalue()) == {7: ((1, 2), 3)}


def test_tiles_are_packed_with_their_image_as_group(whole: Path, tmp_path: Path) -> None:
    result = mill.pack(whole, tmp_path / "dataset", split="60/40", workers=0)
    assert result.kept + result.rejected + result.ignored == result.found
    sample = mill.open(tmp_path / "dataset", "train", returns="dict")[0]
    assert {"image", "center", "size", "box"} <= set(sample)
    splits: dict[str, set[str]] = {}
    for split in ("train", "val"):
        for sample in mill.open(tmp_path / "dataset", split, returns="sample"):
            splits.setdefault(sample.key.partition("/")[0], set()).add(split)
    assert len(splits) == 11
    assert all(len(of_one) == 1 for of_one in splits.values())


@pytest.mark.parametrize("name", ["chunked_head_defaults", "chunked_readme", "chunked_masked"])
def test_the_original_s_tiles(name: str, shared_data: Path, tmp_path: Path) -> None:
    golden = shared_data / "golden" / "dlas"
    record = json.loads((golden / f"{name}.json").read_bytes())
    options = record["opt"]
    raw = tmp_path / "raw"
    shutil.copytree(golden / "raw", raw)
    # The original dropped grey images without a word; here they are tiled, which would move the numbers after them.
    (raw / "f_grey.jpg").unlink()
    masked = options["use_masking"]
    crops, steps, factors = options["crop_sz"], options["step"], options["resize_final_img"]
    # Masks of scales but the first were read at a wrong scale there, so that only the first can be compared.
    count = 1 if masked else len(crops)
    result = mill.tile(
        raw,
        tmp_path / "tiles",
        scales=[TileScale(*scale) for scale in zip(crops[:count], steps[:count], factors[:count], strict=True)],
        threshold=options["thres_sz"],
        masks=golden / "masks" if masked else None,
        workers=0,
    )
    assert result.reasons == {"not-an-image": 1, "too-small": 1}
    for folder, theirs in record["folders"].items():
        stem = folder.rsplit("_", 2)[0]
        key = next(path.name for path in raw.iterdir() if stem in (path.stem, path.name))
        ours = torch.load(tmp_path / "tiles" / key / "centers.pt", weights_only=True)
        wanted = {int(number): (tuple(center), size) for number, (center, size) in theirs["centers"].items()}
        if masked:
            first = [place for place in wanted.values() if place[1] == min(size for _, size in wanted.values())]
            assert list(ours.values()) == first
            continue
        assert ours == wanted
        for file in ("ref.jpg", *(f"{number:08d}.jpg" for number in wanted)):
            with Image.open(golden / name / folder / file) as a, Image.open(tmp_path / "tiles" / key / file) as b:
                theirs_pixels, our_pixels = np.asarray(a.convert("RGB"), float), np.asarray(b.convert("RGB"), float)
            assert np.abs(theirs_pixels - our_pixels).mean() <= 1.0, (folder, file)


@pytest.mark.parametrize("name", ["chunked_readme", "chunked_frames"])
def test_the_original_s_folders_are_read(name: str, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "golden" / "dlas" / name
    before = tree(source)
    result = mill.pack(source, tmp_path / "dataset", workers=0)
    assert result.kept + result.rejected + result.ignored == result.found
    files = {path for path in source.glob("*/*.jpg") if path.name != "ref.jpg"}
    assert result.kept == len(files)
    for sample in mill.open(tmp_path / "dataset", "train", returns="sample"):
        centers = torch.load(source / sample.key.partition("/")[0] / "centers.pt", weights_only=True)
        center, size = centers[int(Path(sample.key).stem)]
        assert (tuple(sample.values["center"]), sample.values["size"]) == (center, size)
    assert tree(source) == before


def test_from_the_command_line_with_python_dash_m(pile: Path, tmp_path: Path) -> None:
    arguments = ["tile", str(pile), str(tmp_path / "t"), "--crop", "32", "--step", "32,16"]
    done = subprocess.run([sys.executable, "-m", "imagemill", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert "one number a scale each" in done.stderr


@pytest.mark.parametrize(
    ("crop", "step", "factor", "message"),
    [
        ("32", None, None, "--crop and --step belong together"),
        (None, "16", None, "--crop and --step belong together"),
        (None, None, "0.5", "--crop and --step belong together"),
        ("32.5", "16", None, "--crop takes whole numbers"),
        ("32", "16", "half", "--factor takes numbers with commas"),
        ("32", "16", "inf", "above 0 and finite"),
        ("32", "16", "0", "above 0 and finite"),
        ("32", "0", None, "crop and step are 1 or more"),
    ],
)
def test_scales_that_cannot_be_are_refused(
    crop: str | None, step: str | None, factor: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_scales(crop, step, factor, [])


def test_references_of_chunked_folders_are_packed_when_asked_for(pile: Path, tmp_path: Path) -> None:
    tiles, packed = tmp_path / "tiles", tmp_path / "packed"
    mill.tile(pile, tiles, scales=SCALES, min_side=40, workers=0)
    mill.pack(tiles, packed, references=True, workers=0)
    samples = mill.open(packed, "train", returns="sample")
    for sample in samples:
        assert sample.values["reference"].data == (tiles / Path(sample.key).parent / "ref.jpg").read_bytes()
        assert sample.origins["reference"] == f"{Path(sample.key).parent}/ref.jpg"
    options = {"mode": "single_image_extensible", "target_size": 32, "scale": 2, "need_ref": True, "strict": True}
    from_folders, from_packed = (create_dataset({**options, "paths": [str(place)]}) for place in (tiles, packed))
    assert len(from_folders) == len(from_packed) == len(samples)
    for name in ("hq", "gt_fullsize_ref", "gt_center"):
        assert torch.equal(from_folders[1][name], from_packed[1][name])
    (next(tiles.glob("*/ref.jpg"))).unlink()
    result = mill.pack(tiles, tmp_path / "without", references=True, workers=0)
    assert set(result.reasons) == {"unreadable"}


def test_pixels_of_packed_tiles_on_the_command_line(pile: Path, tmp_path: Path) -> None:
    options = ("--crop", "32", "--step", "32", "--min-side", "40", "--workers", "0", "--max-rejects", "100%")
    command = [sys.executable, "-m", "imagemill", "tile", str(pile)]
    raw = [*command, str(tmp_path / "raw"), *options, "--format", "memmap", "--pixels", "raw"]
    assert subprocess.run(raw, capture_output=True).returncode == 0
    assert mill.open(tmp_path / "raw", "train", returns="dict")[0]["image"].size == (32, 32)
    chunked = [*command, str(tmp_path / "chunked"), *options, "--pixels", "raw"]
    done = subprocess.run(chunked, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pixels is for packed tiles: give a packed format, too, as --format arrow" in done.stderr


@pytest.mark.parametrize("format", ["chunked", "arrow"])
def test_partners_and_masks_are_not_lost_without_a_word(format: str, tmp_path: Path) -> None:
    for name in ("a_before.jpg", "a_after.jpg"):
        save_photo(tmp_path / "pairs" / name, 64, 64, 1)
    with pytest.raises(ConfigError, match="before, after"):
        mill.tile(tmp_path / "pairs", tmp_path / "tiles", format=format, workers=0)
    result = mill.tile(tmp_path / "pairs", tmp_path / "all", kind="folder", scales=SCALES, min_side=40, workers=0)
    assert result.kept == 2


@pytest.mark.parametrize("packed", [False, True])
def test_with_whole_the_sides_of_an_image_are_cut_too(tmp_path: Path, packed: bool) -> None:
    save_photo(tmp_path / "in" / "wide.jpg", 64, 200, 3)
    out = tmp_path / "out"
    options = ("--crop", "64", "--step", "32", "--min-side", "64", "--threshold", "0", "--whole", "--reference")
    done = imagemill("tile", tmp_path / "in", out, *options, *(("--format", "arrow") if packed else ()))
    assert done.returncode == 0, done.stderr
    if packed:
        samples = [sample.values for sample in mill.open(out, "train", returns="sample")]
        boxes = [values["box"].tolist() for values in samples]
        assert Image.open(io.BytesIO(samples[0]["reference"].data)).size == (64, 64)
    else:
        about = json.loads(next(out.glob("*/tiles.json")).read_bytes())
        assert about["region"] == [0, 0, 64, 200]
        boxes = [tile["box"] for tile in about["tiles"].values()]
        with Image.open(next(out.glob("*/ref.jpg"))) as reference:
            assert reference.size == (64, 64)
    assert sorted(boxes) == [[0, left, 64, 64] for left in (0, 32, 64, 96, 128, 136)]
