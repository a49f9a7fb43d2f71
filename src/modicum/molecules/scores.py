"""How good predictions are: over rows, and over molecules, since the rows of one molecule are not independent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import max_error, mean_absolute_error, r2_score

from modicum.errors import ConfigError, DataError
from modicum.molecules.smiles import canonical
from modicum.molecules.table import FloatArray, PropertyTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Agreement of predictions with labels."""

    r2: float  # coefficient of determination, 1 minus squared residuals over squared deviations from the mean label
    mae: float  # mean absolute error, in the unit of the labels
    worst: float  # the largest absolute error, likewise
    count: int  # rows, or molecules


def score(predicted: FloatArray, label: FloatArray) -> Score:
    """Score numbers against numbers."""
    if predicted.shape != label.shape or label.ndim != 1 or len(label) < 2:
        raise ConfigError(
            f"A score needs as many predictions as labels, two at least, got {predicted.shape} and {label.shape}.",
            hint="Predict each row of a table with several rows.",
        )
    return Score(
        r2=float(r2_score(label, predicted)),
        mae=float(mean_absolute_error(label, predicted)),
        worst=float(max_error(label, predicted)),
        count=len(label),
    )


def score_rows(predicted: PropertyTable, labels: PropertyTable) -> Score:
    """Score each molecule at each of its temperatures, as the paper does."""
    return score(align(predicted, labels), labels.value)


def score_molecules(predicted: PropertyTable, labels: PropertyTable) -> Score:
    """Score each molecule once: the mean of its predictions against the mean of its labels."""
    places = {smiles: place for place, smiles in enumerate(labels.molecules)}
    index = np.array([places[smiles] for smiles in labels.smiles], dtype=int)
    count = np.bincount(index)
    aligned = align(predicted, labels)
    return score(np.bincount(index, aligned) / count, np.bincount(index, labels.value) / count)


def align(predicted: PropertyTable, labels: PropertyTable) -> FloatArray:
    """Give the predictions in the order of the labels, joined by SMILES string and temperature."""
    if predicted.quantity != labels.quantity:
        raise ConfigError(
            f"Predictions of {predicted.quantity} cannot be scored with labels of {labels.quantity}.",
            hint="Give two tables of one quantity.",
        )
    if _keys(predicted) == _keys(labels):  # a molecule may have several labels at one temperature
        return predicted.value
    found: dict[tuple[str, str], float] = {}
    for key, value in zip(_keys(predicted), predicted.value.tolist(), strict=True):
        if key in found:
            raise DataError(f"There are two predictions for {key[0]}{key[1]}.", hint="Keep one of them.")
        found[key] = value
    missing = [key for key in _keys(labels) if key not in found]
    if missing:
        raise DataError(
            f"There is no prediction for {missing[0][0]}{missing[0][1]}, and for {len(missing)} rows in all.",
            hint="Predict each row of the labels, with the same SMILES strings.",
        )
    return np.array([found[key] for key in _keys(labels)])


def shared_molecules(first: PropertyTable, second: PropertyTable) -> tuple[str, ...]:
    """Find the molecules that two sets have in common, however they are spelt: training and test should have none."""
    ours, others = ({canonical(smiles) for smiles in table.molecules} for table in (first, second))
    return tuple(sorted(ours & others))


def apart(labels: PropertyTable, *others: PropertyTable) -> PropertyTable:
    """Keep the molecules that none of the other tables has, however they are spelt."""
    # The published random draws were taken from the test set: models trained on them must be judged on what is left.
    known = {canonical(smiles) for table in others for smiles in table.molecules}
    return labels.of(frozenset(smiles for smiles in labels.molecules if canonical(smiles) not in known))


def _keys(table: PropertyTable) -> list[tuple[str, str]]:
    at = ["" if np.isnan(kelvin) else f" at {kelvin:.12g} K" for kelvin in table.temperature.tolist()]
    return list(zip(table.smiles, at, strict=True))
