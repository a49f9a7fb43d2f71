"""How good predictions and their intervals are, over rows and over molecules, whose rows are not independent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.metrics import max_error, mean_absolute_error, r2_score

from modicum.errors import ConfigError, DataError
from modicum.molecules.data.pool import Pool
from modicum.molecules.data.smiles import canonical
from modicum.molecules.data.table import PropertyTable
from modicum.molecules.functional import FloatArray


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
    spelt = [canonical(smiles) for smiles in labels.smiles]
    places = {molecule: place for place, molecule in enumerate(dict.fromkeys(spelt))}
    index = np.array([places[molecule] for molecule in spelt], dtype=int)
    count = np.bincount(index)
    aligned = align(predicted, labels)
    return score(np.bincount(index, aligned) / count, np.bincount(index, labels.value) / count)


def mae_over_sizes(predicted: PropertyTable, labels: PropertyTable) -> float:
    """Average the mean absolute errors of the rows of each heavy-atom count: every size weighs the same."""
    error = np.abs(align(predicted, labels) - labels.value)
    atoms = dict(zip(labels.molecules, Pool.of(labels.molecules).sizes.tolist(), strict=True))
    sizes = np.array([atoms[smiles] for smiles in labels.smiles])
    return float(np.mean([error[sizes == size].mean() for size in np.unique(sizes)]))


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


LEVELS = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """A reliability curve."""

    levels: FloatArray  # nominal probabilities of central intervals, shape (k,)
    coverage: FloatArray  # share of labels that lie in them, shape (k,)
    error: float  # mean absolute difference of the two; 0 is perfect, 0.5 the worst


def reliability(residual: FloatArray, deviation: FloatArray, groups: tuple[str, ...]) -> Reliability:
    """Compare the coverage of central normal intervals with their nominal levels."""
    standardised, weights = _standardise(residual, deviation, groups)
    bounds = norm.ppf((1 + LEVELS) / 2)
    coverage = np.array([weights[standardised <= bound].sum() for bound in bounds])
    return Reliability(levels=LEVELS.copy(), coverage=coverage, error=float(np.abs(coverage - LEVELS).mean()))


def calibrate(residual: FloatArray, deviation: FloatArray, groups: tuple[str, ...]) -> float:
    """Learn the factor that makes intervals as wide as they should be."""
    # The residuals must be of molecules that were left out of training, all rows of one together: a model that has seen
    # a molecule at one temperature knows it at the next. The factor is the root of the mean square of residual /
    # deviation, the most likely one if the residuals are normal. Molecules that active learning has chosen are far from
    # each other, so those left out say more of the deviation far from the labels than of that near by.
    standardised, weights = _standardise(residual, deviation, groups)
    return float(np.sqrt(weights @ standardised**2))


def _standardise(residual: FloatArray, deviation: FloatArray, groups: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
    if residual.shape != deviation.shape or residual.shape != (len(groups),) or not groups:
        raise ConfigError(
            f"There must be as many std and molecules as residuals, one at least, got {residual.shape}, "
            f"{deviation.shape} and {len(groups)}.",
            hint="Give one of each a row.",
        )
    if not (deviation > 0).all():
        raise ConfigError(f"Each std must be > 0, got {deviation.min()}.", hint="Leave rows without noise out.")
    _, group, count = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    return np.abs(residual) / deviation, 1 / (len(count) * count[group])
