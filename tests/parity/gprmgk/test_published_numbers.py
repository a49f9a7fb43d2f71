"""GPRMGK-G13: the table of the specification, recomputed from the files that the authors published.

The numbers are those of the specification's section 4, computed there from the authors' prediction files
(Xiangyan93/ALMS at 8db99ca, MIT). Each must agree in all printed digits.
"""

from __future__ import annotations

import functools

import pytest
from tests.parity.gprmgk.published import LABELLED, folder, published_predictions, published_selection

from modicum.molecules.data.published import published_labels
from modicum.molecules.data.table import Quantity
from modicum.molecules.predict.scores import apart, score_molecules, score_rows, shared_molecules

pytestmark = [pytest.mark.data("alkanes"), pytest.mark.slow]

labels_of = functools.cache(published_labels)  # a second or two for each of the large ones

TABLE = [
    ("0.5_0", 313, "density", "0.99615 / 4.523 / 38.8"),
    ("0.5_0", 313, "hvap", "0.99272 / 0.742 / 4.69"),
    ("0.4_0", 599, "density", "0.99705 / 3.844 / 39.5"),
    ("0.4_0", 599, "hvap", "0.99414 / 0.656 / 4.01"),
    ("0.3_0", 1679, "density", "0.99866 / 2.528 / 34.7"),
    ("0.3_0", 1679, "hvap", "0.99802 / 0.382 / 3.71"),
]


@pytest.mark.parametrize(("name", "molecules", "quantity", "printed"), TABLE)
def test_the_printed_scores_are_recomputed_to_all_digits(
    name: str, molecules: int, quantity: Quantity, printed: str
) -> None:
    labels, predicted = labels_of("test", quantity), published_predictions(name, quantity)
    found = score_rows(predicted, labels)
    digits = 1 if quantity == "density" else 2
    assert f"{found.r2:.5f} / {found.mae:.3f} / {found.worst:.{digits}f}" == printed
    assert found.count == len(predicted) == len(labels) == {"density": 47_664, "hvap": 47_630}[quantity]
    assert len(labels_of(name, quantity).molecules) == molecules
    assert score_molecules(predicted, labels).count == 2988


def test_the_random_draws_lie_in_the_test_set_and_the_selections_do_not() -> None:
    """A model trained on a random draw must be judged on the rest of the test set alone."""
    test = labels_of("test", "density")
    sets = {name: labels_of(name, "density") for name in LABELLED if name != "test"}
    shared = {name: len(shared_molecules(labels, test)) for name, labels in sets.items()}
    selected = {name: count for name, count in shared.items() if name[-2] == "_"}
    assert set(selected.values()) == {0}
    assert {name: count for name, count in shared.items() if name not in selected} == {
        **{"0.5_random0": 313, "0.5_random1": 301, "0.5_random2": 308},
        **{"0.5_nheavy0": 2, "0.5_nheavy1": 2, "0.5_nheavy2": 4},
    }
    rest = apart(test, *sets.values())
    assert len(rest.molecules) == 2061
    assert not any(shared_molecules(labels, rest) for labels in sets.values())


def test_every_set_has_its_quantities() -> None:
    for name in LABELLED:
        for quantity in ("density", "hvap") if name == "test" else ("density", "hvap", "cp"):
            table = labels_of(name, quantity)
            assert table.quantity == quantity
            assert len(table.molecules) >= 301
            assert table.error is None
    assert (folder() / "tMGR.json").is_file()


def test_whole_lists_hold_more_than_their_labels() -> None:
    for name, count in (("0.5_1", 304), ("0.5_2", 311)):
        selection = published_selection(name)
        assert len(set(selection)) == len(selection) == count
        assert set(labels_of(name, "density").molecules) < set(selection)
    assert len(published_selection("0.5_0")) == 313
