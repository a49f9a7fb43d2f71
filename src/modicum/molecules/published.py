"""What the authors of the method published: labels, predictions, selections and the kernel's hyper-parameters."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from modicum.core import catalogue
from modicum.errors import ConfigError, DataError
from modicum.molecules.table import PropertyTable, Quantity, read_table

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
