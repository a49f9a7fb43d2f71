"""Splits that a seed decides: folds, a part that is held out, and so many of a number, on scikit-learn."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.core.seeding import legacy_seed, numpy_generator

Indices: TypeAlias = npt.NDArray[np.int64]
Folds: TypeAlias = list[tuple[Indices, Indices]]
Among: TypeAlias = tuple[Indices, int]  # some rows, and of how many


def shuffled(total: int, seed: int, stream: str, *, count: int | None = None) -> Indices:
    """Give the numbers below a total in a drawn order, or the first of them: a draw without repetition."""
    return numpy_generator(seed, stream).permutation(total)[:count]


def at_rows(scores: npt.ArrayLike, among: Among | None) -> list[float]:
    """Give the items of a measurement: scores at the rows that a seed tests, NaN elsewhere; None if it tests all."""
    if among is None:
        return np.asarray(scores, float).tolist()
    rows, total = among
    items = np.full(total, np.nan)
    items[rows] = scores
    return items.tolist()


def folds(
    labels: npt.ArrayLike, count: int, seed: int, stream: str = "folds", *, groups: npt.ArrayLike | None = None
) -> Folds:
    """Give the training and the held-out rows of each fold, labels in like shares and each group in one fold."""
    import sklearn.model_selection as kinds  # pyright: ignore[reportMissingTypeStubs]

    splitter: Any = kinds.StratifiedKFold if groups is None else kinds.StratifiedGroupKFold
    labels = np.asarray(labels)
    return list(splitter(count, shuffle=True, random_state=legacy_seed(seed, stream)).split(labels, labels, groups))


def hold_out(
    total: int,
    size: float,
    seed: int,
    stream: str = "split",
    *,
    labels: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
) -> tuple[Indices, Indices]:
    """Split rows into those that stay and a share, or a number of them, that is held out; both in a drawn order."""
    # With labels each keeps its share, with groups none is on both sides; with both, that share of the groups of each
    # label is held out, at least one and not all; then rows are not drawn, but rise.
    import sklearn.model_selection as kinds  # pyright: ignore[reportMissingTypeStubs]

    if labels is not None and groups is not None:
        held = np.isin(groups, _held_groups(np.asarray(labels), np.asarray(groups), size, seed, stream))
        return np.flatnonzero(~held), np.flatnonzero(held)
    kind: Any = kinds.ShuffleSplit if labels is None else kinds.StratifiedShuffleSplit
    kind = kind if groups is None else kinds.GroupShuffleSplit
    splitter = kind(1, test_size=size, random_state=legacy_seed(seed, stream))
    return next(splitter.split(np.zeros(total), labels, groups))


def _held_groups(labels: Indices, groups: Indices, share: float, seed: int, stream: str) -> Indices:
    generator = numpy_generator(seed, stream)
    names, first = np.unique(groups, return_index=True)
    label_of = labels[first]  # a group of several labels counts where its first row does
    each = (names[label_of == label] for label in np.unique(labels))
    return np.concatenate(
        [
            generator.permutation(part)[: np.clip(round(share * len(part)), 1, max(len(part) - 1, 1))]
            for part in each
            if len(part)
        ]
    )
