"""What others published: the simulated labels of the authors, and measured alkanes of the package ``chemicals``."""

from __future__ import annotations

import functools
import math
import re
from typing import Any, NamedTuple

import numpy as np

from modicum.core import catalogue
from modicum.core.extras import require
from modicum.errors import ConfigError
from modicum.molecules.data.smiles import read_molecule
from modicum.molecules.data.table import PropertyTable, Quantity, read_table

ROOM = 298.15  # K
_SMALLEST, _LARGEST = 4, 19
# Ours: both tables round temperatures, and octadecane's density is given 0.17 K below its melting point.
_MELTING_SLACK = 0.5
_BOILING_SLACK = 2.0  # ours: the boiling points of the two CRC tables differ by up to 2 K


def published_labels(name: str, quantity: Quantity) -> PropertyTable:
    """Read a set of labels of the authors: "0.5_0" and others by threshold and draw, or "test"."""
    # They come from molecular dynamics, not from experiment, and a quadratic in T was fitted through the temperatures
    # (about 16) of each molecule: what is here are values of that curve, smoother than the simulations. Errors were not
    # published. ``cp`` is the sum of the intermolecular part, the intramolecular one of quantum chemistry and PV.
    folder = "data_test3000" if name == "test" else f"data_{name}"
    return read_table(catalogue.fetch("alkanes") / "data" / folder / f"{quantity}.csv", quantity)


class Recorded(NamedTuple):
    """A value of ``chemicals``, with the CAS registry number and the temperature (K)."""

    number: str
    temperature: float
    value: float


def experimental_labels(quantity: Quantity) -> PropertyTable:
    """Collect measured values, each at its own temperature, to judge models that were trained on computed ones."""
    # A row is left out where the molecule boils below its temperature or melts above it, by the boiling and melting
    # points of the CRC table; a point that is not given there excludes nothing. Hexane's density in that table is 0.9 %
    # above those of other sources.
    rows = sorted(filter(_is_liquid, recorded(quantity)), key=lambda row: alkanes()[row.number])
    return PropertyTable(
        quantity=quantity,
        smiles=tuple(alkanes()[row.number] for row in rows),
        temperature=np.array([row.temperature for row in rows]),
        value=np.array([row.value for row in rows]),
    )


def recorded(quantity: Quantity) -> list[Recorded]:
    """Give what ``chemicals`` has of acyclic C4 to C19 alkanes, gases and solids too."""
    require("chemicals", extra="molecules", purpose="Measured values")
    from chemicals import heat_capacity, phase_change

    match quantity:
        case "density":  # CRC Handbook, Physical Constants of Organic Compounds, at 288 to 301 K
            found = ((number, *split_density(glued)) for number, glued in _physical_constants("rho").items())
            return [Recorded(number, temperature, density) for number, density, temperature in found]
        case "hvap":  # Gharagheizi et al. 2013, enthalpies of vaporisation at 298 K
            joules = _column(phase_change.Hvap_data_Gharagheizi, "Hvap298")
            return [Recorded(number, ROOM, joule / 1000) for number, joule in joules.items()]
        case "cp":  # CRC Handbook, Standard Thermodynamic Properties of Chemical Substances, liquids at 298 K
            column = _column(heat_capacity.CRC_standard_data, "Cpl")
            return [Recorded(number, ROOM, value) for number, value in column.items()]


def split_density(number: float) -> tuple[float, float]:
    """Take apart a density of the CRC table and the temperature that is glued to it."""
    # The handbook prints 0.6606 with a superscript 25: 0.6606 g/cm3 at 25 degrees Celsius. ``chemicals`` has 660.625.
    # Densities have four decimals or, fewer times, three.
    for decimals in (4, 3):
        digits = number * 10 ** (decimals - 1)
        density, celsius = divmod(round(digits), 100)
        if 10 <= celsius <= 35 and math.isclose(digits, round(digits)):
            return density / 10 ** (decimals - 3), celsius + 273.15
    raise ConfigError(
        f"The density {number} has no temperature in its last digits.", hint="Use a version of chemicals that has."
    )


@functools.cache
def alkanes() -> dict[str, str]:
    """Give the SMILES of each acyclic alkane by CAS number: a connected CnH2n+2 has no ring."""
    from chemicals.identifiers import pubchem_db
    from rdkit.Chem import MolToSmiles

    pubchem_db.autoload_main_db()
    found: dict[str, str] = {}
    for entry in pubchem_db:
        formula = re.fullmatch(r"C(\d+)H(\d+)", entry.formula or "")
        if formula is None or "." in entry.smiles:
            continue
        carbon, hydrogen = int(formula[1]), int(formula[2])
        if _SMALLEST <= carbon <= _LARGEST and hydrogen == 2 * carbon + 2:
            found[entry.CASs] = MolToSmiles(read_molecule(entry.smiles), isomericSmiles=False)
    return found


def _is_liquid(row: Recorded) -> bool:
    melting = _physical_constants("Tm").get(row.number, 0.0)
    boiling = _physical_constants("Tb").get(row.number, math.inf)
    return melting - _MELTING_SLACK <= row.temperature <= boiling + _BOILING_SLACK


@functools.cache
def _physical_constants(name: str) -> dict[str, float]:
    from chemicals import miscdata

    return _column(miscdata.CRC_organic_data, name)


def _column(table: Any, name: str) -> dict[str, float]:
    # Of alkanes alone: of other substances the temperatures in densities may be any.
    return {str(number): float(value) for number, value in table[name].dropna().items() if str(number) in alkanes()}
