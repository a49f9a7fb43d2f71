"""Several trainings that differ in their seed alone: one is an anecdote."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modicum.core.files import new_folder
from modicum.errors import ConfigError
from modicum.fusion.configuration import CubeMLPConfig
from modicum.fusion.fitting import fit
from modicum.fusion.recordings import FloatArray, Recordings
from modicum.fusion.system import FusionSystem

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """One score over seeds."""

    mean: float  # over the seeds
    std: float  # of the sample, with n - 1; 0 for one seed
    values: tuple[float, ...]  # of each seed


@dataclass(frozen=True, slots=True)
class FusionEnsemble:
    """Systems of the same configuration and other seeds; what it predicts is their mean.

    Args:
        systems: by seed, at least one.
    """

    systems: Mapping[int, FusionSystem]

    def predict(self, recordings: Recordings, *, present: npt.ArrayLike | None = None) -> FloatArray:
        """Give the mean of what the systems predict; see `FusionSystem.predict`."""
        return np.mean([system.predict(recordings, present=present) for system in self.systems.values()], axis=0)

    def score(self, recordings: Recordings) -> dict[str, Spread]:
        """Score each system on its own.

        Args:
            recordings: with labels.

        Returns:
            By score, how it spreads over the seeds. Of the mean of the systems nothing is said.

        Raises:
            ConfigError: if the streams or classes are others than in training.
            DataError: if a sample cannot be read, or there are no labels.
        """
        scores = [system.score(recordings) for system in self.systems.values()]
        return {name: _spread([score[name] for score in scores]) for name in scores[0]}

    def save(self, folder: Path) -> None:
        """Write a new folder with one of a system for each seed.

        Args:
            folder: not there yet, or empty.

        Raises:
            ConfigError: if the folder has something in it, or cannot be written.
        """
        with new_folder(folder) as part:
            for seed, system in self.systems.items():
                system.save(part / f"seed-{seed}")

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> FusionEnsemble:
        """Read what `save` wrote, or a single system.

        Args:
            folder: of the ensemble or of a system.
            device: where the models shall run.

        Raises:
            ConfigError: if there is no such folder, or no system in it.
            DataError: if a system is damaged.
            ModelError: if weights are damaged, incomplete or of other sizes.
        """
        parts = {int(part.name[5:]): part for part in folder.glob("seed-*") if part.name[5:].isdecimal()}
        if not parts:
            return cls({0: FusionSystem.load(folder, device=device)})
        return cls({seed: FusionSystem.load(parts[seed], device=device) for seed in sorted(parts)})


def fit_seeds(
    training: Recordings,
    validation: Recordings | None,
    *,
    config: CubeMLPConfig,
    seeds: Sequence[int],
    **settings: Any,
) -> FusionEnsemble:
    """Train once for each seed; each is logged (`logging`, level INFO).

    Args:
        training: with labels.
        validation: with labels; None splits a part off, another one for each seed.
        config: of each model.
        seeds: at least one, from 0 on, each once.
        **settings: of `fit`.

    Returns:
        All of them; none is better than another by chance, so none is picked.

    Raises:
        ConfigError: if there is no seed, or one twice or below 0, or the streams do not fit the configuration.
        DataError: if a sample cannot be read, or no part can be split off.
        RunError: if a training diverges.
    """
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"The seeds are {list(seeds)}.", hint="Give one or more from 0 on, each once.")
    systems: dict[int, FusionSystem] = {}
    for seed in seeds:
        systems[seed] = fit(training, validation, config=config, seed=seed, **settings)
        if (took := systems[seed].training) is not None:
            _LOGGER.info(
                "Seed %d: epoch %d of %d, validation loss %.4f, %.0f s",
                *(seed, took.epoch, len(took.losses), min(took.losses), took.seconds),
            )
    return FusionEnsemble(systems)


def _spread(values: Sequence[float]) -> Spread:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Spread(mean=float(np.mean(values)), std=std, values=tuple(values))
