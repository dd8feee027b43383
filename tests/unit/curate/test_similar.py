"""Near-duplicates by embedding: exact pairs, and clusters together with those that hashes find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import imagemill as mill
from imagemill.curate import similar
from imagemill.curate.similar import normalised, similar_pairs
from imagemill.errors import ConfigError
from imagemill.testing.piles import imagemill, save_photo


def planted(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    """Random vectors; of every five the last two resemble the first."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, dimension)).astype(np.float32)
    for group in range(0, count - 4, 5):
        for copy in (3, 4):
            vectors[group + copy] = 3 * vectors[group] + 0.05 * rng.standard_normal(dimension)
    return vectors


def test_every_pair_is_found_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = planted(203, 12)
    vectors[7] = 0
    vectors[8, 3] = np.nan
    unit = normalised(vectors)
    wanted = np.argwhere(np.triu(unit.astype(np.float64) @ unit.astype(np.float64).T >= 0.9, 1))
    first, second, exact = similar_pairs(unit, 0.9)
    assert exact
    assert np.array_equal(np.stack([first, second], 1), wanted)
    assert {(0, 3), (0, 4), (3, 4)} <= set(map(tuple, wanted.tolist()))
    assert not np.isin([7, 8], wanted).any()
    monkeypatch.setattr(similar, "_BLOCK_BYTES", 4000)
    again = similar_pairs(unit, 0.9)
    assert all(np.array_equal(one, other) for one, other in zip(again[:2], (first, second), strict=True))
    assert [len(part) for part in similar_pairs(np.empty((0, 4), np.float32), 0.9)[:2]] == [0, 0]


def test_faiss_finds_nearly_all_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    unit = normalised(planted(6000, 16, 1))
    first, second, _ = similar_pairs(unit, 0.95)
    monkeypatch.setattr(similar, "EXACT_UP_TO", 1000)
    some, others, exact = similar_pairs(unit, 0.95)
    assert not exact
    found, all_there = set(zip(some, others, strict=True)), set(zip(first, second, strict=True))
    assert found <= all_there
    assert len(found) > 0.98 * len(all_there) > 3000


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures with vectors; by these b and e show the same, by hashes c and f, and g and h resemble f."""
    folder = tmp_path_factory.mktemp("similar")
    seeds = dict(zip("abcdefghij", (0, 1, 2, 3, 4, 2, 6, 7, 8, 9), strict=True))
    vectors = np.eye(10, 12, dtype=np.float32)
    vectors[4] = vectors[1] + 0.1 * vectors[9]
    vectors[6] = vectors[5] + 0.1 * vectors[9]
    vectors[7] = vectors[6] + 0.3 * vectors[8]
    vectors[9] = 0
    for name, seed in seeds.items():
        save_photo(folder / "pile" / f"{name}.{'jpg' if name == 'f' else 'png'}", 96, 96, seed)
    lines = [
        f'{{"file_name": "pile/{name}.{"jpg" if name == "f" else "png"}", "numbers": {vectors[row].tolist()}}}'
        for row, name in enumerate(seeds)
    ]
    (folder / "pile.jsonl").write_text("\n".join(lines))
    mill.pack(folder / "pile.jsonl", folder / "d", path_column="file_name", vector_column="numbers", workers=0)
    return folder


def test_clusters_of_hashes_and_embeddings_are_joined(embedded: Path, tmp_path: Path) -> None:
    plain = mill.check(embedded / "d", workers=0, cache=False)
    assert (plain.clusters, plain.clustered) == (1, 2)
    result = mill.check(embedded / "d", tmp_path / "c", embedding="vector", workers=0, cache=False)
    assert (result.clusters, result.clustered, result.flags["near-duplicate"]) == (2, 6, 4)
    assert any("pairs of embeddings with a cosine of 0.95 or more" in remark for remark in result.remarks)
    table = pq.read_table(tmp_path / "c" / "checks.parquet")
    names = [Path(key).stem for key in table["key"].to_pylist()]
    clusters = dict(zip(names, table["cluster"].to_pylist(), strict=True))
    assert clusters["b"] == clusters["e"]
    assert clusters["c"] == clusters["f"] == clusters["g"] == clusters["h"]
    assert len({clusters["b"], clusters["c"]}) == 2
    assert [name for name in names if clusters[name] is None] == ["a", "d", "i", "j"]
    kept = dict(zip(names, table["duplicate_of"].to_pylist(), strict=True))
    assert all(kept[Path(other).stem] is None for other in kept.values() if other is not None)


def test_splits_keep_together_what_embeddings_find(embedded: Path, tmp_path: Path) -> None:
    mill.check(embedded / "d", tmp_path / "c", embedding="vector", thresholds={"cosine": 0.9}, workers=0)
    mill.pack(embedded / "d", tmp_path / "s", checks=tmp_path / "c", split="50/50", seed=3, workers=0)
    places = {}
    for split in ("train", "val"):
        places |= {Path(sample.key).stem: split for sample in mill.open(tmp_path / "s", split, returns="sample")}
    assert places["b"] == places["e"]
    assert len({places[name] for name in "cfgh"}) == 1


def test_what_cannot_be_compared_is_told(embedded: Path, tmp_path: Path) -> None:
    done = imagemill("check", embedded / "d", "--embedding", "embedding")
    assert (done.returncode, "the vector fields are vector" in done.stderr) == (2, True)
    with pytest.raises(ConfigError, match="threshold cosine is above 0 and at most 1"):
        mill.check(embedded / "d", embedding="vector", thresholds={"cosine": 1.5}, workers=0)
    (tmp_path / "ragged.jsonl").write_text(
        f'{{"file_name": "{embedded}/pile/a.png", "v": [1, 2]}}\n{{"file_name": "{embedded}/pile/b.png", "v": [1]}}'
    )
    with pytest.raises(ConfigError, match="these have 2 lengths"):
        mill.check(tmp_path / "ragged.jsonl", path_column="file_name", vector_column="v", embedding="vector", workers=0)
