from __future__ import annotations

import json

import numpy as np
import pytest

from modicum.errors import ConfigError, DataError, SimulationError
from modicum.molecules.data.labels import Label, StatePoint, TableLabeller, tabulate
from modicum.molecules.data.table import PropertyTable, Quantity


def table(quantity: Quantity, *rows: tuple[str, float, float], error: float | None = None) -> PropertyTable:
    smiles, temperature, value = zip(*rows, strict=True)
    return PropertyTable(
        quantity=quantity,
        smiles=smiles,
        temperature=np.array(temperature),
        value=np.array(value),
        error=None if error is None else np.full(len(rows), error),
    )


DENSITY = table("density", ("C(C)CC", 300.0, 580.0), ("CCCC", 280.0, 600.0), ("CC(C)C", 280.0, 590.0), error=0.5)
HVAP = table("hvap", ("CCCC", 300.0, 21.0))


def test_rows_of_a_molecule_are_joined_in_any_spelling() -> None:
    label = TableLabeller([DENSITY, HVAP], source="here").label("C(CC)C")
    assert label.points == (
        StatePoint(temperature=280.0, density=600.0, density_error=0.5),
        StatePoint(temperature=300.0, density=580.0, density_error=0.5, hvap=21.0),
    )
    assert label.missing == {"cp": "not in the table"}


def test_temperatures_that_are_asked_for_are_the_only_ones() -> None:
    labeller = TableLabeller([DENSITY], source="here", temperatures=[300.0, 310.0])
    label = labeller.label("CCCC")
    assert [point.temperature for point in label.points] == [300.0]
    assert label.missing["310 K"] == "not in the table"
    assert labeller.settings() != TableLabeller([DENSITY], source="here").settings()
    with pytest.raises(SimulationError, match="at 280 K alone, not at 300, 310 K"):
        labeller.label("CC(C)C")
    with pytest.raises(ConfigError, match="at most 5000 K, got inf"):
        TableLabeller([DENSITY], source="here", temperatures=[np.inf])


def test_a_property_of_ones_own_is_looked_up_too() -> None:
    boiling = PropertyTable(quantity="tb", smiles=("CCCC",), value=np.array([272.7]), unit="K")
    label = TableLabeller([DENSITY, boiling], source="here").label("CCCC")
    assert label.points[0] == StatePoint(others={"tb": (272.7, None)})
    assert Label.from_json(json.loads(json.dumps(label.to_json()))) == label
    tables = tabulate({"CCCC": label})
    assert (tables["tb"].value.tolist(), tables["tb"].property.temperature) == ([272.7], False)
    assert tables["density"].temperature.tolist() == [280.0, 300.0]


def test_its_name_says_that_nothing_was_simulated() -> None:
    labeller = TableLabeller([DENSITY], source="ALMS")
    assert labeller.name == "published table (ALMS), not simulated"
    assert labeller.settings()["source"] == "ALMS"


def test_another_value_is_another_setting() -> None:
    one, same, other = (
        TableLabeller([table("hvap", ("CCCC", 300.0, value))], source="x").settings() for value in (21.0, 21.0, 21.5)
    )
    assert one == same
    assert one != other


def test_a_molecule_that_is_not_there_fails_with_the_reason() -> None:
    with pytest.raises(SimulationError, match=r"CCCCC is not in the published table \(ALMS\)"):
        TableLabeller([DENSITY], source="ALMS").label("CCCCC")


def test_two_values_for_one_state_are_refused() -> None:
    twice = table("density", ("CCCC", 280.0, 600.0), ("C(C)CC", 280.0, 601.0))
    with pytest.raises(ConfigError, match=r"give density of C\(C\)CC at 280 K twice"):
        TableLabeller([twice], source="x")


def test_no_table_and_no_smiles_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one table, got none"):
        TableLabeller([], source="x")
    with pytest.raises(DataError, match="RDKit cannot read the SMILES 'butane'"):
        TableLabeller([table("density", ("butane", 280.0, 600.0))], source="x")
