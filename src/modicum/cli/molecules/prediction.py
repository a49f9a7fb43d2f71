"""``modicum molecules train`` and ``predict``: from labels to the whole space."""

from __future__ import annotations

import json as json_format
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json, progress_bar, say
from modicum.cli.molecules.selection import Device, SkipInvalid, open_kernel, open_pool
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.molecules.dmpnn import DMPNN
    from modicum.molecules.gp import GaussianProcess
    from modicum.molecules.table import PropertyTable, Quantity

__all__ = ["predict", "train"]


class PredictorName(StrEnum):
    """The predictors, as typer wants them."""

    gp = "gp"
    dmpnn = "dmpnn"


class QuantityName(StrEnum):
    """The quantities, as typer wants them."""

    density = "density"
    hvap = "hvap"
    cp = "cp"


def train(
    labels: Annotated[Path, typer.Argument(help="CSV with the columns smiles, T and the quantity.")],
    *,
    folder: Annotated[Path, typer.Option("--out", help="Folder of the model.")],
    quantity: Annotated[QuantityName, typer.Option(help="Which column to learn.")] = QuantityName.density,
    predictor: Annotated[PredictorName, typer.Option(help="Gaussian process, or network of the paper.")] = (
        PredictorName.gp
    ),
    kernel: Annotated[Path | None, typer.Option(help="JSON of mgktools, for gp; the published numbers.")] = None,
    epochs: Annotated[int, typer.Option(help="Of the network.")] = 100,
    held_out: Annotated[
        Path | None, typer.Option("--calibrate", help="Labels of other molecules, to set the width of intervals (gp).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of first weights and order, or of the rows that a search sees.")] = 0,
    device: Device = "cpu",
) -> None:
    """Train a predictor on labels."""
    from modicum.molecules.table import read_table

    table = read_table(labels, quantity.value)
    if predictor is PredictorName.dmpnn:
        from modicum.molecules.dmpnn import DMPNN

        with progress_bar("train") as progress:
            network = DMPNN().fit(
                table,
                epochs=epochs,
                seed=seed,
                device=device,
                progress=lambda epoch, loss: progress(epoch, epochs, f"loss {loss:.5f}"),
            )
        network.save(folder)
    else:
        from modicum.molecules.gp import GaussianProcess

        graph_kernel = open_kernel(kernel, device)
        process = GaussianProcess(graph_kernel).fit(table, seed=seed)
        if held_out is not None:
            factor = process.calibrate(read_table(held_out, quantity.value))
            say(f"Intervals are multiplied by {factor:.3f}.")
        process.save(folder, hyperparameters=graph_kernel.to_json())
    say(f"{predictor.value} of {quantity.value}, {len(table.molecules):,} molecules, {len(table):,} rows: {folder}")


def predict(
    model: Annotated[Path, typer.Argument(help="Folder that train wrote.")],
    pool: Annotated[Path | None, typer.Argument(help="Molecules, .smi or .csv.")] = None,
    *,
    file: Annotated[Path, typer.Option("--out", help="CSV file of the predictions.")],
    temperature: Annotated[list[float] | None, typer.Option("--temperature", "-t", help="K; 298.15.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels to judge by, in place of a pool: its molecules and temperatures.")
    ] = None,
    parity: Annotated[Path | None, typer.Option(help="Picture of predictions against labels.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Picture of intervals against their promise (gp).")] = None,
    skip_invalid: SkipInvalid = False,
    json: Json = False,
) -> None:
    """Predict molecules at temperatures; with labels, also say how well.

    Raises:
        ConfigError: if there is nothing to predict, or nothing to judge by.
    """
    from modicum.core.files import check_picture
    from modicum.molecules.table import read_table, write_table

    if (pool is None) == (labels is None):
        raise ConfigError("Give either a pool or --labels.", hint="Name the molecules to predict once.")
    if labels is None and (parity or calibration):
        raise ConfigError("A picture of errors needs labels.", hint="Give --labels FILE in place of the pool.")
    for picture in (parity, calibration):
        if picture is not None:
            check_picture(picture)
    predictor, quantity = _load(model)
    if labels is not None:
        known: PropertyTable | None = read_table(labels, quantity)
        asked = (known.smiles, known.temperature)
    else:
        known = None
        asked = _grid(open_pool(pool, 0, 0, skip_invalid=skip_invalid).smiles, temperature or [298.15])
    predicted = _predict(predictor, quantity, asked)
    write_table(file, predicted)
    summary: dict[str, Any] = {"quantity": quantity, "rows": len(predicted), "file": str(file)}
    if known is not None:
        summary |= _judge(predicted, known, parity, calibration)
    if json:
        typer.echo(json_format.dumps(summary, indent=2))
    else:
        for name in ("R2", "mean absolute error", "largest error", "calibration error"):
            if name in summary:
                typer.echo(f"{name}: {summary[name]:.5g}")
    say(f"{len(predicted):,} rows: {file}")


def _load(folder: Path) -> tuple[GaussianProcess | DMPNN, Quantity]:
    from modicum.molecules.dmpnn import DMPNN, DMPNN_FILE
    from modicum.molecules.gp import GP_FILE, GaussianProcess
    from modicum.molecules.kernel import MarginalizedGraphKernel

    model: GaussianProcess | DMPNN | None = None
    if (folder / DMPNN_FILE).is_file():
        model = DMPNN.load(folder)
    elif (folder / GP_FILE).is_file():
        model = GaussianProcess.load(folder, MarginalizedGraphKernel.from_json)
    if model is None or model.quantity is None:
        raise ConfigError(f"There is no model in {folder}.", hint="Name a folder that modicum molecules train wrote.")
    return model, model.quantity


def _grid(smiles: tuple[str, ...], temperatures: list[float]) -> tuple[tuple[str, ...], Any]:
    import numpy as np

    if min(temperatures) <= 0:
        raise ConfigError(f"Temperatures must be > 0 K, got {min(temperatures):g}.", hint="Give them in kelvin.")
    rows = [(name, temperature) for name in smiles for temperature in temperatures]
    return tuple(name for name, _ in rows), np.array([temperature for _, temperature in rows])


def _predict(
    predictor: GaussianProcess | DMPNN, quantity: Quantity, asked: tuple[tuple[str, ...], Any]
) -> PropertyTable:
    from modicum.molecules.dmpnn import DMPNN
    from modicum.molecules.table import PropertyTable

    smiles, temperature = asked
    if isinstance(predictor, DMPNN):
        value, error = predictor.predict(smiles, temperature), None
    else:
        value, error = predictor.predict(smiles, temperature, return_std=True)
    return PropertyTable(quantity=quantity, smiles=smiles, temperature=temperature, value=value, error=error)


def _judge(
    predicted: PropertyTable, known: PropertyTable, parity: Path | None, calibration: Path | None
) -> dict[str, Any]:
    from modicum.molecules.calibration import reliability
    from modicum.molecules.plots import draw_calibration, draw_parity
    from modicum.molecules.scores import score_molecules, score_rows

    score = score_rows(predicted, known)
    found: dict[str, Any] = {"R2": score.r2, "mean absolute error": score.mae, "largest error": score.worst}
    if len(known.molecules) > 1:
        found["R2 of molecules"] = score_molecules(predicted, known).r2
    if parity is not None:
        draw_parity(parity, predicted.value, known.value, quantity=known.quantity, note=f"R2 = {score.r2:.4f}")
    if predicted.error is not None:
        intervals = reliability(known.value - predicted.value, predicted.error, known.smiles)
        found["calibration error"] = intervals.error
        if calibration is not None:
            draw_calibration(calibration, intervals.levels, intervals.coverage)
    elif calibration is not None:
        raise ConfigError("A network gives no intervals.", hint="Train a gp for calibrated intervals.")
    return found
