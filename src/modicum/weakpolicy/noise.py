"""Noise on rewards by confusion matrices, and what is known of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError
from modicum.weakpolicy.functional import NoiseKind, confusion_matrix, majority_confusion, surrogate_levels

_ROUNDING = 1e-6
# Inner edges of the published bins of CartPole, by observation: position, velocity, angle, angular velocity.
CARTPOLE_EDGES = tuple(
    np.linspace(-half, half, bins + 1)[1:-1] for half, bins in ((2.4, 8), (2.0, 10), (1.0, 8), (3.5, 10))
)


class ConfusionNoise:
    """Noise that turns one level of reward into another, whatever the state and the action.

    Args:
        levels: of reward, rising, at least 2.
        matrix: probability of the observed level (column) given the true one (row), shape (M, M).
        discretise: count a true reward between the levels as the smallest level that is not below it, as published for
            Pendulum; else it is refused.

    Raises:
        ConfigError: if the levels do not rise, the shape is another one, or a row is no distribution.

    Example:
        >>> noise = ConfusionNoise.binary(to_low=0.3)
        >>> noise.matrix.tolist()
        [[1.0, 0.0], [0.3, 0.7]]
    """

    def __init__(self, levels: Sequence[float], matrix: ArrayLike, *, discretise: bool = False) -> None:
        self.levels, self.discretise = checked_levels(levels), discretise
        self.matrix = np.array(matrix, dtype=np.float64)
        count = len(self.levels)
        if self.matrix.shape != (count, count):
            raise ConfigError(
                f"A confusion matrix of {count} levels has the shape ({count}, {count}), got {self.matrix.shape}.",
                hint="Give one row and one column for each level.",
            )
        if (self.matrix < 0).any() or (self.matrix > 1 + _ROUNDING).any():
            raise ConfigError(
                f"Entries of a confusion matrix are from 0 to 1, got {self.matrix.min():g} to {self.matrix.max():g}.",
                hint="Give chances such as 0.3.",
            )
        sums = self.matrix.sum(axis=1)
        if not np.abs(sums - 1).max() <= _ROUNDING:
            raise ConfigError(
                f"Rows of a confusion matrix are probabilities that sum to 1, got sums {sums.round(6).tolist()}.",
                hint="Divide each row by its sum.",
            )
        self._cumulative = self.matrix.cumsum(axis=1)

    @classmethod
    def binary(cls, to_low: float, to_high: float = 0.0, levels: tuple[float, float] = (-1.0, 1.0)) -> ConfusionNoise:
        """Make noise on two levels.

        Args:
            to_low: probability with which the high level is seen as the low one (e_+).
            to_high: probability with which the low level is seen as the high one (e_-).
            levels: low and high.
        """
        return cls(levels, [[1 - to_high, to_high], [to_low, 1 - to_low]])

    @classmethod
    def of_kind(
        cls, kind: NoiseKind, levels: Sequence[float], weight: float, seed: int = 0, *, discretise: bool = False
    ) -> ConfusionNoise:
        """Make noise of a published kind, see `confusion_matrix`, with a weight in [0, 1]; seed is of random kinds."""
        if kind not in get_args(NoiseKind) or not 0 <= weight <= 1:
            raise ConfigError(
                f"Noise is {', '.join(get_args(NoiseKind))} with a weight from 0 to 1, got {kind!r} with {weight}.",
                hint='Use ConfusionNoise.of_kind("uniform", levels, 0.2).',
            )
        count = len(checked_levels(levels))
        matrix = confusion_matrix(kind, count, weight, torch_generator(seed, "noise")).numpy()
        return cls(levels, matrix, discretise=discretise)

    def level_of(self, rewards: ArrayLike) -> NDArray[np.int64]:
        """Give the index of the level of each reward; none may be between them (but to be rounded) or above them."""
        values = np.asarray(rewards, dtype=np.float64)
        if not self.discretise:
            index = np.abs(values[..., None] - self.levels).argmin(axis=-1)
            wrong = ~np.isclose(values, self.levels[index], rtol=_ROUNDING, atol=_ROUNDING)
            if wrong.any():
                raise ConfigError(
                    f"A reward must be one of the levels {self.levels.tolist()}, got {values[wrong][0]}.",
                    hint="Give all rewards of the environment as levels; ConfusionNoise(..., discretise=True), in the "
                    "command --discretise, rounds others up.",
                )
            return index
        index = np.searchsorted(self.levels, values - _ROUNDING)
        if not np.isfinite(values).all() or (index == len(self.levels)).any():
            raise ConfigError(
                f"A true reward must be finite and at most {self.levels[-1]}, the highest level, got {values.max()}.",
                hint="Give levels that cover the rewards of the environment.",
            )
        return index

    def corrupt(self, rewards: ArrayLike, generator: np.random.Generator) -> NDArray[np.float64]:
        """Draw the observed rewards, levels in the shape of the true ones."""
        cumulative = self._cumulative[self.level_of(rewards)]
        drawn = (generator.random(cumulative.shape[:-1])[..., None] >= cumulative[..., :-1]).sum(axis=-1)
        return self.levels[drawn]

    def surrogate(self) -> NDArray[np.float64]:
        """Give the reward to learn from for each observed level, without bias under the noise."""
        if np.linalg.cond(self.matrix) > 1e10:
            raise ConfigError(
                "The confusion matrix is singular: the observed levels do not tell the true ones apart.",
                hint="Use a peer reward, which needs no inverse.",
            )
        return surrogate_levels(torch.from_numpy(self.matrix), torch.from_numpy(self.levels)).numpy()


class ConfusionEstimator:
    """Estimate a confusion matrix from noisy rewards alone, by majority in each cell of observations and actions."""

    def __init__(self, levels: Sequence[float], edges: Sequence[ArrayLike] = CARTPOLE_EDGES) -> None:
        self.levels = checked_levels(levels)
        self.edges = [np.asarray(each, dtype=np.float64) for each in edges]
        self.count = 0
        self._cells: dict[tuple[int, ...], NDArray[np.int64]] = {}

    def add(self, observation: ArrayLike, action: int, noisy: float) -> None:
        """Count a noisy reward, and what was observed and done before it."""
        values = np.ravel(np.asarray(observation, dtype=np.float64))
        level = int(np.abs(self.levels - noisy).argmin())
        if len(values) != len(self.edges) or abs(self.levels[level] - noisy) > _ROUNDING:
            raise ConfigError(
                f"An observation of {len(self.edges)} numbers and one of {self.levels.tolist()} were expected, "
                f"got {len(values)} numbers and {noisy}.",
                hint="Give edges for each column, and all levels that are observed.",
            )
        bins = (int(np.digitize(value, edges)) for value, edges in zip(values, self.edges, strict=True))
        cell = self._cells.setdefault((*bins, int(action)), np.zeros(len(self.levels), dtype=np.int64))
        cell[level] += 1
        self.count += 1

    def matrix(self) -> NDArray[np.float64]:
        """Give the estimate, shape (M, M); the identity where nothing is known."""
        counts = np.array(list(self._cells.values())).reshape(-1, len(self.levels))
        return majority_confusion(torch.from_numpy(counts)).numpy()


def checked_levels(levels: Sequence[float]) -> NDArray[np.float64]:
    """Refuse levels of reward that do not rise."""
    values = np.asarray(levels, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
        raise ConfigError(f"Levels must be two or more rising numbers, got {levels}.", hint="Use (-1, 1).")
    return values
