from __future__ import annotations

import pytest

from modicum.molecules.data.published import published_labels


@pytest.mark.data("alkanes")
def test_heat_capacity_is_the_sum_of_its_parts() -> None:
    # The first row of the file: 69.453135 between molecules, 338.777055 within, 0.016062 of PV.
    table = published_labels("0.5_0", "cp")
    assert table.value[0] == pytest.approx(69.453135 + 338.777055 + 0.016062, abs=1e-5)
