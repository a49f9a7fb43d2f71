"""Splits are those of scikit-learn with the seed of a named stream, and keep what belongs together together."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from modicum.core.seeding import legacy_seed
from modicum.core.splits import folds, hold_out, shuffled

LABELS = np.array([0] * 20 + [1] * 40)
GROUPS = np.arange(60) // 3


def test_a_draw_is_the_start_of_the_shuffled_order() -> None:
    order = shuffled(50, 3, "split")
    assert sorted(order) == list(range(50))
    assert shuffled(50, 3, "split", count=7).tolist() == order[:7].tolist()
    assert shuffled(50, 3, "other").tolist() != order.tolist() != shuffled(50, 4, "split").tolist()


@pytest.mark.parametrize("size", [0.25, 12])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_a_part_is_held_out_as_scikit_learn_does(labels: np.ndarray | None, size: float) -> None:
    for found, wanted in zip(
        hold_out(60, size, 5, labels=labels),
        train_test_split(np.arange(60), test_size=size, stratify=labels, random_state=legacy_seed(5, "split")),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)


def test_groups_are_held_out_entire() -> None:
    for labels in (None, LABELS):
        rest, held = hold_out(60, 0.3, 1, labels=labels, groups=GROUPS)
        assert sorted([*rest, *held]) == list(range(60))
        assert not set(GROUPS[rest]) & set(GROUPS[held])
        assert len(set(GROUPS[held])) == 6


def test_with_labels_and_groups_each_label_has_some_on_both_sides() -> None:
    for share in (0.001, 0.999):
        rest, held = hold_out(60, share, 1, labels=LABELS, groups=np.arange(60))
        assert set(LABELS[rest]) == set(LABELS[held]) == {0, 1}


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_folds_hold_each_row_out_once_and_share_the_labels(groups: np.ndarray | None) -> None:
    parts = folds(LABELS, 4, 2, groups=groups)
    assert sorted(np.concatenate([held for _, held in parts])) == list(range(60))
    for train, held in parts:
        assert 3 <= np.count_nonzero(LABELS[held] == 0) <= 7
        assert groups is None or not set(groups[train]) & set(groups[held])
    assert parts[0][1].tolist() != folds(LABELS, 4, 3, groups=groups)[0][1].tolist()
