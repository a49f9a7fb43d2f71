from __future__ import annotations

import json

import numpy as np

from modicum.molecules.data.labels import Label, StatePoint, tabulate


def label(*points: StatePoint) -> Label:
    return Label(points=points, missing={"cp": "not asked for"}, seconds=1 / 3)


def test_a_label_survives_json_to_the_last_bit() -> None:
    before = label(
        StatePoint(temperature=298.15, density=1 / 3, density_error=1e-17, hvap=31.5),
        StatePoint(temperature=310.0, cp=2e300),
    )
    assert Label.from_json(json.loads(json.dumps(before.to_json(), allow_nan=False))) == before


def test_labels_become_one_table_a_quantity() -> None:
    tables = tabulate(
        {
            "CCCC": label(
                StatePoint(temperature=280.0, density=600.0, density_error=1.0, hvap=22.0, hvap_error=0.1),
                StatePoint(temperature=300.0, density=580.0, density_error=2.0),
            ),
            "CCCCC": label(StatePoint(temperature=300.0, hvap=26.0)),
        }
    )
    assert sorted(tables) == ["density", "hvap"]
    density, hvap = tables["density"], tables["hvap"]
    assert (density.smiles, hvap.smiles) == (("CCCC", "CCCC"), ("CCCC", "CCCCC"))
    np.testing.assert_array_equal(density.temperature, [280.0, 300.0])
    np.testing.assert_array_equal(density.error, [1.0, 2.0])
    np.testing.assert_array_equal(hvap.value, [22.0, 26.0])
    assert hvap.error is None  # one of its rows has none


def test_no_labels_give_no_tables() -> None:
    assert tabulate({}) == {}
