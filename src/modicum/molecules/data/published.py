"""What others published: the simulated labels of the authors, and measured alkanes of the package ``chemicals``."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from modicum.core import catalogue
from modicum.core.extras import require
from modicum.errors import ConfigError, DataError
from modicum.molecules.data.smiles import read_molecule
from modicum.molecules.data.table import PropertyTable, Quantity, read_table

TEST = "test"
LABELLED = (
    *("0.3_0", "0.4_0", "0.5_0", "0.5_1", "0.5_2"),
    *(f"0.5_{rule}{draw}" for rule in ("random", "nheavy") for draw in range(3)),
    TEST,
)
PREDICTED = ("0.3_0", "0.4_0", "0.5_0")
_WHOLE_LISTS = ("0.5_1", "0.5_2")  # of the others only the molecules whose simulation gave labels are known
_TEST_FOLDER = "data_test3000"


def published_labels(name: str, quantity: Quantity) -> PropertyTable:
    """Read a published set of labels."""
    # They come from molecular dynamics, not from experiment, and a quadratic in T was fitted through the temperatures
    # (about 16) of each molecule: what is here are values of that curve, smoother than the simulations. Errors were not
    # published. ``cp`` is the sum of the intermolecular part, the intramolecular one of quantum chemistry and PV.
    _check(name, LABELLED, "labels")
    if name == TEST and quantity == "cp":
        raise ConfigError("The labels of cp of the test set were not published.", hint="Use density or hvap.")
    return read_table(_folder(name) / f"{_known(quantity)}.csv", quantity)


def published_predictions(name: str, quantity: Quantity) -> PropertyTable:
    """Read the authors' own predictions on the test set."""
    _check(name, PREDICTED, "predictions")
    if quantity == "cp":
        raise ConfigError("Predictions of cp were not published.", hint="Use density or hvap.")
    return read_table(_folder(TEST) / f"{_known(quantity)}-{name}-pred.csv", quantity)


def published_selection(name: str) -> tuple[str, ...]:
    """Read which molecules a set has."""
    if name not in _WHOLE_LISTS:
        return published_labels(name, "density").molecules
    path = _folder(name) / f"al_{name}.csv"
    header, *molecules = path.read_text(encoding="utf-8").split()
    if header != "smiles" or not molecules:
        raise DataError(f"{path} must be a column 'smiles', got {header!r}.", hint="Fetch the data set again.")
    return tuple(molecules)


def hyperparameters() -> Path:
    """Give the path of the published hyper-parameters of the kernel, ``tMGR.json``."""
    return catalogue.fetch("alkanes") / "data" / "tMGR.json"


def _check(name: str, names: tuple[str, ...], what: str) -> None:
    if name not in names:
        raise ConfigError(f"There are no published {what} {name!r}.", hint=f"Use one of: {', '.join(names)}.")


def _known(quantity: Quantity) -> Quantity:
    if quantity not in get_args(Quantity):
        raise ConfigError(f"There is no quantity {quantity!r}.", hint=f"Use one of: {', '.join(get_args(Quantity))}.")
    return quantity


def _folder(name: str) -> Path:
    return catalogue.fetch("alkanes") / "data" / (_TEST_FOLDER if name == TEST else f"data_{name}")


ROOM = 298.15  # K
CELSIUS = 273.15
_SMALLEST, _LARGEST = 4, 19
# Ours: both tables round temperatures, and octadecane's density is given 0.17 K below its melting point.
_MELTING_SLACK = 0.5
_BOILING_SLACK = 2.0  # ours: the boiling points of the two CRC tables differ by up to 2 K


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """A table of measured or evaluated values of acyclic C4-C19 alkanes."""

    quantity: Quantity  # what it holds
    source: str  # where ``chemicals`` has it from
    kind: str  # "evaluated" by the editors of a handbook from measurements
    recorded: int  # alkanes in the source
    liquid: int  # those of them that are liquids at the row's temperature; the rest is left out


EXPERIMENTS = {
    "density": Experiment(
        quantity="density",
        source="CRC Handbook, Physical Constants of Organic Compounds",
        kind="evaluated",
        recorded=111,
        liquid=108,
    ),
    "hvap": Experiment(
        quantity="hvap",
        source="Gharagheizi et al. 2013, enthalpies of vaporisation at 298 K",
        kind="collected",
        recorded=153,
        liquid=149,
    ),
    "hvap-crc": Experiment(
        quantity="hvap",
        source="CRC Handbook, enthalpies of vaporisation at 298 K",
        kind="evaluated",
        recorded=59,
        liquid=53,
    ),
    "hvap-boiling": Experiment(
        quantity="hvap",
        source="CRC Handbook, enthalpies of vaporisation at the boiling point",
        kind="evaluated",
        recorded=57,
        liquid=57,
    ),
    "cp": Experiment(
        quantity="cp",
        source="CRC Handbook, Standard Thermodynamic Properties of Chemical Substances, liquids at 298 K",
        kind="evaluated",
        recorded=34,
        liquid=33,
    ),
}


@dataclass(frozen=True, slots=True)
class _Row:
    number: str  # CAS registry number
    temperature: float
    value: float


def experimental_labels(name: str, *, only_liquids: bool = True) -> PropertyTable:
    """Collect measured values, each at its own temperature, to judge models that were trained on computed ones."""
    # A row is left out where the molecule boils below its temperature or melts above it, by the boiling and melting
    # points of the CRC table; a point that is not given there excludes nothing. Densities are at 288 to 301 K: the
    # source prints the temperature in degrees Celsius as a superscript, and ``chemicals`` runs it together with the
    # density, see `split_density`. Hexane's density in that table is 0.9 % above those of other sources.
    if name not in EXPERIMENTS:
        raise ConfigError(f"There is no experiment {name!r}.", hint=f"Use one of: {', '.join(EXPERIMENTS)}.")
    require("chemicals", extra="molecules", purpose="Measured values")
    alkanes = _alkanes()
    rows = [row for row in _READERS[name]() if row.number in alkanes]
    if only_liquids:
        rows = [row for row in rows if _is_liquid(row)]
    rows.sort(key=lambda row: alkanes[row.number])
    return PropertyTable(
        quantity=EXPERIMENTS[name].quantity,
        smiles=tuple(alkanes[row.number] for row in rows),
        temperature=np.array([row.temperature for row in rows]),
        value=np.array([row.value for row in rows]),
    )


def split_density(number: float) -> tuple[float, float]:
    """Take apart a density of the CRC table and the temperature that is glued to it."""
    # The handbook prints 0.6606 with a superscript 25: 0.6606 g/cm3 at 25 degrees Celsius. ``chemicals`` has 660.625.
    # Densities have four decimals or, fewer times, three.
    for decimals in (4, 3):
        digits = number * 10 ** (decimals - 1)
        density, celsius = divmod(round(digits), 100)
        if 10 <= celsius <= 35 and math.isclose(digits, round(digits)):
            return density / 10 ** (decimals - 3), celsius + CELSIUS
    raise ConfigError(
        f"The density {number} has no temperature in its last digits.", hint="Use a version of chemicals that has."
    )


@functools.cache
def _alkanes() -> dict[str, str]:
    """SMILES of each acyclic alkane by CAS number: a connected CnH2n+2 has no ring."""
    from chemicals.identifiers import pubchem_db

    pubchem_db.autoload_main_db()
    found: dict[str, str] = {}
    for entry in pubchem_db:
        formula = re.fullmatch(r"C(\d+)H(\d+)", entry.formula or "")
        if formula is None or "." in entry.smiles:
            continue
        carbon, hydrogen = int(formula[1]), int(formula[2])
        if _SMALLEST <= carbon <= _LARGEST and hydrogen == 2 * carbon + 2:
            found[entry.CASs] = _flat(entry.smiles)
    return found


def _flat(smiles: str) -> str:
    molecule = read_molecule(smiles)
    from rdkit.Chem import MolToSmiles

    return MolToSmiles(molecule, isomericSmiles=False)


def _is_liquid(row: _Row) -> bool:
    melting = _physical_constants("Tm").get(row.number, 0.0)
    boiling = _physical_constants("Tb").get(row.number, math.inf)
    return melting - _MELTING_SLACK <= row.temperature <= boiling + _BOILING_SLACK


@functools.cache
def _physical_constants(name: str) -> dict[str, float]:
    from chemicals import miscdata

    return _column(miscdata.CRC_organic_data, name)


def _densities() -> list[_Row]:
    rows: list[_Row] = []
    for number, glued in _physical_constants("rho").items():
        if number in _alkanes():  # of other substances the temperatures may be any
            density, temperature = split_density(glued)
            rows.append(_Row(number, temperature, density))
    return rows


def _collected() -> list[_Row]:
    from chemicals import phase_change

    return [
        _Row(it, ROOM, joule / 1000) for it, joule in _column(phase_change.Hvap_data_Gharagheizi, "Hvap298").items()
    ]


def _evaluated() -> list[_Row]:
    from chemicals import phase_change

    return [_Row(it, ROOM, joule / 1000) for it, joule in _column(phase_change.Hvap_data_CRC, "Hvap298").items()]


def _boiling() -> list[_Row]:
    from chemicals import phase_change

    boiling = _column(phase_change.Hvap_data_CRC, "Tb")
    return [_Row(it, boiling[it], joule / 1000) for it, joule in _column(phase_change.Hvap_data_CRC, "HvapTb").items()]


def _heat_capacities() -> list[_Row]:
    from chemicals import heat_capacity

    return [_Row(it, ROOM, value) for it, value in _column(heat_capacity.CRC_standard_data, "Cpl").items()]


def _column(table: Any, name: str) -> dict[str, float]:
    return {str(number): float(value) for number, value in table[name].dropna().items()}


_READERS: dict[str, Callable[[], list[_Row]]] = {
    "density": _densities,
    "hvap": _collected,
    "hvap-crc": _evaluated,
    "hvap-boiling": _boiling,
    "cp": _heat_capacities,
}
