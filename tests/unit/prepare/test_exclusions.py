"""A table of checks against a listing: what fits, what is left out, what stays in its place."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from unit.prepare.split_inputs import listing, write_checks

from imagemill.curate.table import FLAGS
from imagemill.errors import ConfigError
from imagemill.prepare.exclusions import checks_path, match_checks, parse_flags
from imagemill.prepare.units import NO_CLUSTER


def flags_of(path: Path, table: pa.Table, *exclude: str) -> dict[int, str]:
    return {row: flag for row, (flag, _) in match_checks(path, table, exclude).left_out.items()}


def test_clusters_come_in_the_order_of_the_listing(tmp_path: Path) -> None:
    path = write_checks(tmp_path, [{"key": "a", "cluster": 7}, {"key": "b"}, {"key": "c", "cluster": 7}])
    table, _ = listing(["c", "b", "a"])
    found = match_checks(path, table, ())
    assert found.clusters.tolist() == [7, NO_CLUSTER, 7]
    assert found.left_out == {}
    assert found.remarks == ()


def test_a_table_without_some_samples_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = write_checks(tmp_path, [{"key": "a"}])
    with pytest.raises(ConfigError, match=r"1 of 2 samples are not in it, the first is 'new'.*imagemill check SRC"):
        match_checks(path, listing(["a", "new"])[0], ())


def test_a_table_of_other_content_is_refused(tmp_path: Path) -> None:
    path = write_checks(tmp_path, [{"key": "a", "size": 2}, {"key": "b"}])
    with pytest.raises(ConfigError, match=r"1 samples have changed since they were checked, the first is 'a'"):
        match_checks(path, listing(["b", "a"])[0], ())


def test_samples_that_are_gone_are_told(tmp_path: Path) -> None:
    path = write_checks(tmp_path, [{"key": "a"}, {"key": "gone"}])
    assert "1 samples of" in match_checks(path, listing(["a"])[0], ()).remarks[0]


def test_the_first_flag_asked_for_is_the_reason(tmp_path: Path) -> None:
    rows = [{"key": "a", "flags": ["blurred", "dark"]}, {"key": "b", "flags": ["bright"]}, {"key": "c"}]
    path = write_checks(tmp_path, rows)
    table, _ = listing(["c", "a", "b"])
    assert flags_of(path, table, "dark", "blurred") == {1: "dark"}
    assert flags_of(path, table, "bright", "blurred") == {1: "blurred", 2: "bright"}


def test_one_of_a_kind_stays_even_where_its_original_is_left_out(tmp_path: Path) -> None:
    near = {"flags": ["near-duplicate"], "duplicate_of": "a", "similarity": "near", "cluster": 0}
    rows = [{"key": "a", "cluster": 0, "flags": ["blurred"]}, {"key": "b", **near}, {"key": "c", **near}]
    path = write_checks(tmp_path, rows)
    table, _ = listing(["a", "b", "c"])
    assert match_checks(path, table, ("near-duplicate",)).left_out == {
        1: ("near-duplicate", "a stays"),
        2: ("near-duplicate", "a stays"),
    }
    found = match_checks(path, table, ("near-duplicate", "blurred")).left_out
    assert found == {0: ("blurred", FLAGS["blurred"]), 2: ("near-duplicate", "b stays")}


def test_unknown_flags_are_refused_with_the_nearest() -> None:
    assert parse_flags(("dark", "near-duplicate")) == parse_flags(" dark, near-duplicate,dark,")
    with pytest.raises(ConfigError, match="did you mean 'near-duplicate'"):
        parse_flags(("near-duplicates",))


def test_no_table_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="imagemill check SRC --out"):
        checks_path(tmp_path)
