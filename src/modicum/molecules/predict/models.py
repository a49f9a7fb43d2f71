"""The predictors behind one door: load what a folder holds, predict a table, count what it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from modicum.errors import ConfigError
from modicum.molecules.configuration import DMPNN_FILE, GP_FILE

if TYPE_CHECKING:
    from modicum.molecules.data.table import Property, PropertyTable
    from modicum.molecules.predict.dmpnn import DMPNN
    from modicum.molecules.predict.gp import GaussianProcess


def find_model(folder: Path) -> str:
    """Give the file of the one model that a folder holds."""
    found = [name for name in (GP_FILE, DMPNN_FILE) if (folder / name).is_file()]
    if len(found) > 1:
        raise ConfigError(f"{folder} holds two models, {' and '.join(found)}.", hint="Move one of them elsewhere.")
    if not found:
        raise ConfigError(f"There is no model in {folder}.", hint="Name a folder that modicum molecules train wrote.")
    return found[0]


def load_model(folder: Path) -> tuple[GaussianProcess | DMPNN, Property]:
    """Load the one model that a folder holds, and what it predicts."""
    if find_model(folder) == DMPNN_FILE:
        from modicum.molecules.predict.dmpnn import DMPNN

        model: GaussianProcess | DMPNN = DMPNN.load(folder)
    else:
        from modicum.molecules.kernel.marginalized import MarginalizedGraphKernel
        from modicum.molecules.predict.gp import GaussianProcess

        model = GaussianProcess.load(folder, MarginalizedGraphKernel.from_json)
    return model, cast("Property", model.property)


def predict_table(model: GaussianProcess | DMPNN, asked: PropertyTable) -> PropertyTable:
    """Put the predictions of a model in the place of values; only a Gaussian process has errors, too."""
    from modicum.molecules.predict.gp import GaussianProcess

    if isinstance(model, GaussianProcess):
        value, error = model.predict(asked.smiles, asked.temperature, return_std=True)
        return replace(asked, value=value, error=error)
    return replace(asked, value=model.predict(asked.smiles, asked.temperature), error=None)


def count_trained_on(model: GaussianProcess | DMPNN, smiles: Sequence[str]) -> int | None:
    """Count the molecules that a model was trained on; a network does not know."""
    from modicum.molecules.predict.gp import GaussianProcess

    return len(model.trained_on(smiles)) if isinstance(model, GaussianProcess) else None
