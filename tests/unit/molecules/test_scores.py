from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modicum.errors import ConfigError, DataError
from modicum.molecules.data.table import PropertyTable, Quantity
from modicum.molecules.predict.scores import (
    align,
    apart,
    mae_over_sizes,
    score,
    score_molecules,
    score_rows,
    shared_molecules,
)


def table(*rows: tuple[str, float, float], quantity: Quantity = "density") -> PropertyTable:
    smiles, temperature, value = zip(*rows, strict=True)
    return PropertyTable(quantity=quantity, smiles=smiles, temperature=np.array(temperature), value=np.array(value))


LABELS = table(("CCCC", 300.0, 1.0), ("CCCC", 310.0, 3.0), ("CCCCC", 300.0, 5.0))


def test_a_score_by_hand() -> None:
    found = score(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    assert (found.r2, found.mae, found.worst, found.count) == pytest.approx((0.5, 1 / 3, 1.0, 3))


def test_the_mean_label_scores_zero() -> None:
    label = np.array([1.0, 2.0, 6.0])
    assert score(np.full(3, label.mean()), label).r2 == pytest.approx(0.0)


def test_rows_are_joined_whatever_their_order() -> None:
    shuffled = table(("CCCCC", 300.0, 50.0), ("CCC", 300.0, 9.0), ("CCCC", 310.0, 30.0), ("CCCC", 300.0, 10.0))
    np.testing.assert_array_equal(align(shuffled, LABELS), [10.0, 30.0, 50.0])
    assert score_rows(shuffled, LABELS).worst == 45.0


def test_molecules_are_averaged_before_they_are_scored() -> None:
    predicted = table(("CCCC", 300.0, 0.0), ("CCCC", 310.0, 4.0), ("CCCCC", 300.0, 6.0))
    found = score_molecules(predicted, LABELS)
    # Means 2 and 6 against 2 and 5: the two errors of butane cancel.
    assert (found.mae, found.worst, found.count) == (0.5, 1.0, 2)
    assert found.r2 == pytest.approx(1 - 1 / 4.5)
    spelt = ("CCCC", "C(CC)C", "CCCCC")  # butane twice
    assert score_molecules(replace(predicted, smiles=spelt), replace(LABELS, smiles=spelt)) == found


def test_errors_are_averaged_over_sizes() -> None:
    labels = table(("CCCC", 300.0, 1.0), ("CC(C)C", 300.0, 2.0), ("CCCC", 310.0, 3.0), ("CCCCC", 300.0, 5.0))
    predicted = table(("CCCC", 300.0, 2.0), ("CC(C)C", 300.0, 0.0), ("CCCC", 310.0, 6.0), ("CCCCC", 300.0, 9.0))
    # C4: errors 1, 2 and 3, mean 2; C5: 4. The mean over rows is 2.5.
    assert mae_over_sizes(predicted, labels) == 3.0
    assert score_rows(predicted, labels).mae == 2.5


def test_a_lost_or_doubled_row_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no prediction for CCCC at 310 K, and for 2 rows"):
        align(table(("CCCC", 300.0, 1.0)), LABELS)
    with pytest.raises(DataError, match="two predictions for CCCC at 300 K"):
        align(table(("CCCC", 300.0, 1.0), ("CCCC", 300.0, 2.0)), LABELS)
    with pytest.raises(ConfigError, match="Predictions of hvap cannot be scored with labels of density"):
        align(table(("CCCC", 300.0, 1.0), quantity="hvap"), LABELS)


def test_one_number_has_no_score() -> None:
    with pytest.raises(ConfigError, match="two at least"):
        score(np.zeros(1), np.zeros(1))
    with pytest.raises(ConfigError, match="two at least"):
        score(np.zeros(2), np.zeros(3))


def test_shared_molecules_are_found_in_any_spelling() -> None:
    other = table(("C(C)CC", 300.0, 1.0), ("CC(C)C", 300.0, 1.0))
    assert shared_molecules(LABELS, other) == ("CCCC",)
    assert apart(LABELS, other).smiles == ("CCCCC",)
    assert apart(LABELS, other, LABELS).smiles == ()
