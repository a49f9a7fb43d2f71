from __future__ import annotations

import numpy as np
import pytest

from modicum.errors import ConfigError
from modicum.molecules.data.published import alkanes, experimental_labels, recorded, split_density
from modicum.molecules.data.table import Quantity


# GPRMGK-G15: 111 densities, 153 and 59 enthalpies (57 at the boiling point), 34 heat capacities.
@pytest.mark.parametrize(("quantity", "values", "liquids"), [("density", 111, 108), ("hvap", 153, 149), ("cp", 34, 33)])
def test_the_counts_are_those_of_the_specification_and_gases_and_solids_are_left_out(
    quantity: Quantity, values: int, liquids: int
) -> None:
    everything, table = recorded(quantity), experimental_labels(quantity)
    smiles = {alkanes()[row.number] for row in everything}
    assert len(everything) == len(smiles) == values
    assert len(table) == liquids
    assert set(table.smiles) <= smiles
    assert all(set(text) <= set("C()") and 4 <= text.count("C") <= 19 for text in smiles)


def test_the_second_source_of_enthalpies_has_the_counts_of_the_specification() -> None:
    from chemicals.phase_change import Hvap_data_CRC

    counts = {
        name: len({str(number) for number in Hvap_data_CRC[name].dropna().index} & set(alkanes()))
        for name in ("Hvap298", "HvapTb")
    }
    assert counts == {"Hvap298": 59, "HvapTb": 57}


def test_what_is_left_out_is_no_liquid() -> None:
    def missing(quantity: Quantity) -> set[str]:
        return {alkanes()[row.number] for row in recorded(quantity)} - set(experimental_labels(quantity).smiles)

    hexamethylethane, heptadecane, nonadecane = "CC(C)(C)C(C)(C)C", "C" * 17, "C" * 19
    assert missing("density") == {hexamethylethane, heptadecane, nonadecane}
    assert missing("cp") == {"CCCC"}


@pytest.mark.parametrize(
    ("name", "smiles", "temperature", "value"),
    [
        # CRC Handbook: n-octane 0.6986 at 25 C; its heat capacity 254.6 J/mol/K.
        ("density", "CCCCCCCC", 298.15, 698.6),
        ("density", "CCCCC", 293.15, 626.2),
        ("cp", "CCCCCCCC", 298.15, 254.6),
    ],
)
def test_values_are_in_the_units_of_the_tables(name: Quantity, smiles: str, temperature: float, value: float) -> None:
    table = experimental_labels(name)
    row = table.smiles.index(smiles)
    assert table.temperature[row] == pytest.approx(temperature, abs=1e-9)
    assert table.value[row] == pytest.approx(value, abs=1e-9)


def test_temperatures_split_from_densities_agree_with_an_independent_source() -> None:
    """The VDI Heat Atlas' curves meet the densities at the temperatures split off, and not at 298.15 K."""
    from chemicals.identifiers import pubchem_db
    from chemicals.volume import rho_data_VDI_PPDS_2 as atlas
    from rdkit.Chem import MolFromSmiles, MolToSmiles

    def curve(row, temperature: float) -> float:
        tau = 1 - temperature / row["Tc"]
        powers = {"A": 0.35, "B": 2 / 3, "C": 1, "D": 4 / 3}
        return row["rhoc"] + sum(row[name] * tau**power for name, power in powers.items())

    table = experimental_labels("density")
    deviations: list[tuple[float, float]] = []
    for number in atlas.index:
        entry = pubchem_db.search_CAS(number)
        smiles = MolToSmiles(MolFromSmiles(entry.smiles)) if entry and not set(entry.smiles) - set("C()") else ""
        if smiles in table.smiles:
            temperature, density = ((table.temperature, table.value)[i][table.smiles.index(smiles)] for i in (0, 1))
            if temperature != 298.15:
                deviations.append(tuple(curve(atlas.loc[number], t) / density - 1 for t in (temperature, 298.15)))
    split, room = np.median(np.abs(np.array(deviations)), axis=0)
    assert len(deviations) >= 9
    assert split < 0.002
    assert room > 0.004


@pytest.mark.parametrize(
    ("number", "density", "celsius"),
    [(660.625, 660.6, 25), (620.12, 620.1, 20), (650.25, 650.0, 25), (711.2, 711.0, 20)],
)
def test_a_density_is_taken_apart(number: float, density: float, celsius: float) -> None:
    assert split_density(number) == pytest.approx((density, celsius + 273.15), abs=1e-9)


def test_a_density_without_temperature_is_named() -> None:
    with pytest.raises(ConfigError, match=r"density 700\.077 has no temperature"):
        split_density(700.077)
