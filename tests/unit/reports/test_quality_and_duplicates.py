"""What a table of checks says of quality, duplicates and leakage."""

from __future__ import annotations

from typing import Any

from unit.reports.pages import checks_of

from imagemill.reports.duplicates import SHOWN_CLUSTERS, SHOWN_MEMBERS, clustered, duplicates_of, leakage_of
from imagemill.reports.quality import SHOWN_WORST, flags_of


def test_flags_are_counted_and_the_worst_come_first() -> None:
    rows: list[dict[str, Any]] = [
        {"key": f"{n}", "flags": ["dark"], "brightness.image": 0.1 - n / 100} for n in range(9)
    ]
    rows.append({"key": "x", "flags": ["grey-in-rgb", "odd-size"], "height.image": 4, "width.image": 5})
    rows.append({"key": "y", "flags": ["near-duplicate", "odd-size"], "height.image": 9000, "width.image": 9000})
    rows += [{"key": f"z{n}", "height.image": 100, "width.image": 100} for n in range(9)]
    flags = {flag.name: flag for flag in flags_of(checks_of(rows), ["image"])}
    assert list(flags) == ["dark", "odd-size", "grey-in-rgb", "near-duplicate"]
    assert (flags["dark"].samples, flags["dark"].share) == (9, 9 / 20)
    assert [key for key, _ in flags["dark"].worst] == ["8", "7", "6", "5", "4", "3"][:SHOWN_WORST]
    assert flags["dark"].worst[0][1] == "brightness 0.02"
    assert flags["odd-size"].worst == (("y", "9000x9000"), ("x", "5x4"))
    assert flags["grey-in-rgb"].worst == (("x", ""),)
    assert flags["near-duplicate"].worst == ()
    assert flags_of(checks_of([]), ["image"]) == ()


def test_of_a_pair_the_worse_picture_counts() -> None:
    rows = [
        {"key": "a", "flags": ["blurred"], "sharpness.before": 9.0, "sharpness.after": 2.0},
        {"key": "b", "flags": ["blurred"], "sharpness.before": 1.0, "sharpness.after": 8.0},
        {"key": "c", "flags": ["blurred"], "sharpness.before": None, "sharpness.after": 5.0},
    ]
    (flag,) = flags_of(checks_of(rows, images=("before", "after")), ["before", "after"])
    assert flag.worst == (("b", "sharpness 1"), ("a", "sharpness 2"), ("c", "sharpness 5"))


def rows_of(*clusters: tuple[str, str]) -> list[dict[str, Any]]:
    """Rows from (splits, labels), a letter a sample, one cluster each; `t`, `v` and `-` are splits."""
    names = {"t": "train", "v": "val", "-": None}
    return [
        {
            "key": f"{number:02d}/{place:02d}",
            "cluster": number,
            "split": names[split],
            "label": None if label == "-" else label,
            "similarity": None if place == 0 else "near" if place % 2 else "bytes",
        }
        for number, (splits, labels) in enumerate(clusters)
        for place, (split, label) in enumerate(zip(splits, labels, strict=True))
    ]


def test_duplicates_are_added_up_and_mixed_classes_come_first() -> None:
    rows = [*rows_of(("tt", "aa"), ("tttt", "aaaa"), ("tt", "ab"), ("tt", "a-")), {"key": "alone"}]
    found = duplicates_of(clustered(checks_of(rows)))
    assert (found.clusters, found.samples, found.spare, found.mixed) == (4, 10, 6, 1)
    assert found.similarities == (("bytes", 1), ("near", 5))
    assert [cluster.number for cluster in found.shown] == [2, 1, 0, 3]
    assert found.shown[0].labels == ("a", "b")
    assert [member.key for member in found.shown[1].members] == ["01/00", "01/01", "01/02", "01/03"]
    assert [member.similarity for member in found.shown[1].members] == [None, "near", "bytes", "near"]


def test_leakage_is_counted_for_each_two_splits() -> None:
    rows = rows_of(("tt", "--"), ("tv", "--"), ("tvv", "---"), ("t-", "--"), ("vv", "--"))
    found = leakage_of(clustered(checks_of(rows)))
    assert found.clusters == 2
    assert found.pairs == (("train", "val", 2, 3),)
    assert [cluster.number for cluster in found.shown] == [2, 1]
    assert found.shown[0].splits == ("train", "val")


def test_large_clusters_are_shown_in_part_with_every_split() -> None:
    rows = rows_of(("t" * 40 + "v", "-" * 41))
    (leaking,) = leakage_of(clustered(checks_of(rows))).shown
    assert (leaking.size, len(leaking.members)) == (41, SHOWN_MEMBERS)
    assert {member.split for member in leaking.members} == {"train", "val"}
    many = duplicates_of(clustered(checks_of(rows_of(*[("tt", "--")] * 50))))
    assert (many.clusters, len(many.shown)) == (50, SHOWN_CLUSTERS)


def test_a_pile_without_clusters() -> None:
    members = clustered(checks_of([{"key": "a"}]))
    assert duplicates_of(members).clusters == 0
    assert leakage_of(members).pairs == ()
