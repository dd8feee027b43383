"""What a run comes to, as far as it is arithmetic."""

from __future__ import annotations

from imagemill.prepare.totals import Drift, largest_drift, unasked


def test_the_class_that_is_furthest_off_is_named_by_samples() -> None:
    classes = {"train": {"cat": 90, "rare": 0}, "val": {"cat": 10, "rare": 3}, "test": {}}
    shares = {"train": 0.7, "val": 0.2, "test": 0.1}
    assert largest_drift(classes, shares) == Drift("train", "cat", 0.9, 0.7)


def test_what_whole_samples_do_not_allow_is_no_drift() -> None:
    assert largest_drift({"train": {"cat": 1}, "val": {"dog": 1}}, {"train": 0.8, "val": 0.2}) is None
    assert largest_drift({}, {"train": 0.8, "val": 0.2}) is None
    assert largest_drift({"train": {"cat": 7}}, {}) is None


def test_splits_given_by_a_list_have_no_share_and_do_not_count() -> None:
    classes = {"train": {"cat": 80}, "val": {"cat": 20}, "test": {"cat": 900}}
    assert largest_drift(classes, {"train": 0.8, "val": 0.2}) is None


def test_what_was_asked_for_is_no_reject_of_the_pile() -> None:
    reasons = {"corrupt": 2, "excluded-dark": 5, "leak": 1, "bridges-splits": 3, "excluded-near-duplicate": 9}
    assert unasked(reasons) == 5
