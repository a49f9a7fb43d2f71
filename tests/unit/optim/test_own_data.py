"""NSGD's comparison on a table of the user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine

import modicum
from modicum.core import registry
from modicum.errors import DataError
from modicum.optim.data import own_data


def test_the_control_with_standardised_inputs_does_not_see_the_unit_of_a_column(tmp_path: Path) -> None:
    inputs, labels = load_wine(return_X_y=True)
    inputs = np.column_stack([inputs[:, :4], np.full(len(inputs), 0.1)])  # and a constant says nothing
    comparison = registry.load("nsgd").comparison
    kept = [arm for arm in comparison.arms if arm.name in {"SGD", "NSGD l2", "standardised inputs"}]
    found = []
    for name, unit in (("metres", 1.0), ("kilometres", 1 / 1024)):
        np.savez(tmp_path / f"{name}.npz", x=inputs * [1, 1, unit, 1, 1], y=labels)
        options = {"trials": "3", "scales": "1", "gains": "1", "epochs": "20"}
        report = modicum.compare(
            replace(comparison, arms=tuple(kept)),
            seeds=1,
            engine="inline",
            data=str(tmp_path / f"{name}.npz"),
            options=options,
        )
        arm = next(arm for arm in report.arms if arm.name == "standardised inputs")
        found.append((arm.values, arm.secondary))
    assert found[0] == found[1]
    assert found[0][1]["test accuracy, tuned"] > 0.6  # the largest class is two fifths: it learns


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,label\n", "no rows"),
        ("label\nx\ny\n", "numeric ones; its columns are label"),
        ("a,label,label\n1,x,y\n", "column 'label' twice"),
        ("a,label\nhello,x\n", "not a finite number"),
        ("a,label\n1,x\n2, \n", "line 3 has no label"),
        ("a,label\n" + "1,x\n2, x\n" * 3, "has 1 class, the smallest with 6 rows: 'x'"),
        ("", "is empty"),
    ],
)
def test_a_table_that_cannot_be_learnt_from_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        own_data(path, 0)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((0, 3)), "empty"),
        (np.zeros((4, 0)), "empty"),
        (np.array([["a"]] * 4), "not numeric"),
        (np.zeros((4, 2), "datetime64[s]"), "not numeric"),
        (np.zeros((4, 2), complex), "not numeric"),
    ],
)
def test_arrays_that_cannot_be_learnt_from_are_refused(x: np.ndarray, words: str, tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez(path, x=x, y=np.zeros(len(x), int))
    with pytest.raises(DataError, match=words):
        own_data(path, 0)
