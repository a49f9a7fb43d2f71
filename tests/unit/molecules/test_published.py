from __future__ import annotations

import pytest

from modicum.errors import ConfigError
from modicum.molecules.data.published import published_labels, published_predictions, published_selection


@pytest.mark.parametrize("reader", [published_labels, published_predictions])
def test_unknown_names_are_answered_with_the_known_ones(reader) -> None:
    with pytest.raises(ConfigError, match=r"There are no published \w+ '0\.6_0'.*0\.3_0, 0\.4_0, 0\.5_0"):
        reader("0.6_0", "density")
    with pytest.raises(ConfigError, match="There is no quantity 'colour'"):
        reader("0.5_0", "colour")


def test_a_selection_without_labels_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"no published labels 'mine'"):
        published_selection("mine")


def test_what_was_not_published_is_said() -> None:
    with pytest.raises(ConfigError, match="labels of cp of the test set were not published"):
        published_labels("test", "cp")
    with pytest.raises(ConfigError, match="Predictions of cp were not published"):
        published_predictions("0.5_0", "cp")


@pytest.mark.data("alkanes")
def test_heat_capacity_is_the_sum_of_its_parts() -> None:
    # The first row of the file: 69.453135 between molecules, 338.777055 within, 0.016062 of PV.
    table = published_labels("0.5_0", "cp")
    assert table.value[0] == pytest.approx(69.453135 + 338.777055 + 0.016062, abs=1e-5)
