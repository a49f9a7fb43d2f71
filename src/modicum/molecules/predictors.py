"""The predictors behind one door: load what a folder holds, predict a table, count what it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modicum.errors import ConfigError
from modicum.molecules.storage import DMPNN_FILE, find_model

if TYPE_CHECKING:
    from modicum.molecules.dmpnn import DMPNN
    from modicum.molecules.gp import GaussianProcess
    from modicum.molecules.table import Property, PropertyTable


def load_model(folder: Path) -> tuple[GaussianProcess | DMPNN, Property]:
    """Load the one model that a folder holds, and what it predicts."""
    if find_model(folder) == DMPNN_FILE:
        from modicum.molecules.dmpnn import DMPNN

        model: GaussianProcess | DMPNN = DMPNN.load(folder)
    else:
        from modicum.molecules.gp import GaussianProcess
        from modicum.molecules.kernel import MarginalizedGraphKernel

        model = GaussianProcess.load(folder, MarginalizedGraphKernel.from_json)
    if model.property is None:
        raise ConfigError(f"There is no model in {folder}.", hint="Name a folder that modicum molecules train wrote.")
    return model, model.property


def predict_table(model: GaussianProcess | DMPNN, asked: PropertyTable) -> PropertyTable:
    """Put the predictions of a model in the place of values; only a Gaussian process has errors, too."""
    from modicum.molecules.gp import GaussianProcess

    if isinstance(model, GaussianProcess):
        value, error = model.predict(asked.smiles, asked.temperature, return_std=True)
        return replace(asked, value=value, error=error)
    return replace(asked, value=model.predict(asked.smiles, asked.temperature), error=None)


def count_trained_on(model: GaussianProcess | DMPNN, smiles: Sequence[str]) -> int | None:
    """Count the molecules that a model was trained on; a network does not know."""
    from modicum.molecules.gp import GaussianProcess

    return len(model.trained_on(smiles)) if isinstance(model, GaussianProcess) else None
