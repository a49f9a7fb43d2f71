"""``modicum molecules train`` and ``predict``: from labels to the whole space."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from modicum.cli.console import Json, progress_bar, say
from modicum.cli.molecules.shared import (
    Device,
    PropertyName,
    SkipInvalid,
    SmilesColumn,
    StripSalts,
    check_outputs,
    open_kernel,
    open_labels,
    open_pool,
)
from modicum.core.devices import check_device
from modicum.core.files import check_target, new_folder
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.molecules import DMPNN, GaussianProcess, Pool, Property, PropertyTable


class PredictorName(StrEnum):
    """The predictors, as typer wants them."""

    gp = "gp"
    dmpnn = "dmpnn"


def train(  # noqa: PLR0913 - one argument an option
    labels: Annotated[Path, typer.Argument(help="CSV with the columns smiles, T (K) and the property.")],
    *,
    folder: Annotated[Path, typer.Option("--out", help="Folder of the model, a new one.")],
    quantity: PropertyName = "density",
    unit: Annotated[str | None, typer.Option(help="Of a property of your own, for pictures and messages.")] = None,
    without_temperature: Annotated[
        bool,
        typer.Option("--no-temperature", help="The property has none, even if there is a column T. Without T: always."),
    ] = False,
    predictor: Annotated[PredictorName, typer.Option(help="Gaussian process, or network of the paper.")] = (
        PredictorName.gp
    ),
    kernel: Annotated[Path | None, typer.Option(help="JSON of mgktools, for gp; the published values.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Of the network; 100.")] = None,
    held_out: Annotated[
        Path | None, typer.Option("--calibrate", help="Labels of other molecules, to set the width of intervals (gp).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of first weights and order, or of the rows that a search sees.")] = 0,
    smiles_column: SmilesColumn = None,
    strip_salts: StripSalts = False,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train a predictor on labels: of density, hvap, cp, or of any property of your own."""
    _check_training(folder, predictor, epochs, gp_alone=kernel is not None or held_out is not None)
    rounds = 100 if epochs is None else epochs
    check_device(device)
    reading: dict[str, Any] = {"smiles_column": smiles_column, "strip_salts": strip_salts}
    reading |= {"unit": unit, "without_temperature": without_temperature}
    table = open_labels(labels, quantity, **reading)
    factor = None
    others = None if held_out is None else open_labels(held_out, quantity, **reading)
    if others is not None:
        _check_apart(table, others, held_out)
    if predictor is PredictorName.dmpnn:
        from modicum.molecules.dmpnn import DMPNN

        with progress_bar("train") as progress:
            network = DMPNN().fit(
                table,
                epochs=rounds,
                seed=seed,
                device=device,
                progress=lambda epoch, loss: progress(epoch, rounds, f"loss {loss:.5f}"),
            )
        with new_folder(folder) as place:
            network.save(place)
    else:
        from modicum.molecules.gp import GaussianProcess

        graph_kernel = open_kernel(kernel, device)
        process = GaussianProcess(graph_kernel).fit(table, seed=seed)
        if others is not None:
            factor = process.calibrate(others)
            say(f"Intervals are multiplied by {factor:.3f}.")
        with new_folder(folder) as place:
            process.save(place, hyperparameters=graph_kernel.to_json())
    if json:
        summary = {"predictor": predictor.value, "quantity": quantity, "unit": table.property.unit}
        summary |= {"molecules": len(table.molecules), "rows": len(table), "factor": factor, "folder": str(folder)}
        typer.echo(json_format.dumps(summary, indent=2))
    say(f"{predictor.value} of {quantity}, {len(table.molecules):,} molecules, {len(table):,} rows: {folder}")


def _check_training(folder: Path, predictor: PredictorName, epochs: int | None, *, gp_alone: bool) -> None:
    check_target(folder, option="--out", folder=True)
    if folder.exists() and any(folder.iterdir()):  # the model of another training would be taken for this one
        raise ConfigError(f"--out {folder} has files in it.", hint="Name a new folder.")
    if predictor is PredictorName.dmpnn and gp_alone:
        raise ConfigError("--kernel and --calibrate are options of --predictor gp.", hint="Leave them out.")
    if predictor is PredictorName.gp and epochs is not None:
        raise ConfigError("--epochs is an option of --predictor dmpnn.", hint="Leave it out.")
    if epochs is not None and epochs < 1:
        raise ConfigError(f"--epochs must be at least 1, got {epochs}.", hint="The published number is 100.")


def _check_apart(labels: PropertyTable, others: PropertyTable, path: Path | None) -> None:
    from modicum.molecules.smiles import canonical

    known = set(map(canonical, labels.molecules))
    shared = [smiles for smiles in others.molecules if canonical(smiles) in known]
    if shared:
        raise ConfigError(
            f"{len(shared):,} of the {len(others.molecules):,} molecules of --calibrate {path} are in the training "
            f"labels, the first is {shared[0]}; they would make intervals too narrow.",
            hint="Give labels of other molecules.",
        )


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
    smiles_column: SmilesColumn = None,
    strip_salts: StripSalts = False,
    json: Json = False,
) -> None:
    """Predict molecules, at temperatures if the property has one; with labels, also say how well.

    Ids and other columns of the molecules are kept.
    """
    from modicum.molecules.storage import find_model
    from modicum.molecules.table import read_table, write_table

    if (pool is None) == (labels is None):
        raise ConfigError("Give either a pool or --labels.", hint="Name the molecules to predict once.")
    _check_request(labels, (parity, calibration), temperature or [], skip_invalid=skip_invalid)
    check_outputs({"--out": file, "--parity": parity, "--calibration": calibration}, [pool, labels, model])
    reading: dict[str, Any] = {"smiles_column": smiles_column, "strip_salts": strip_salts}
    find_model(model)  # before the pool is read, and the pool before torch is imported
    space = None if pool is None else open_pool(pool, skip_invalid=skip_invalid, **reading)
    predictor, known = _load(model)
    if space is not None:
        asked = _grid(space, known, temperature)
    else:
        asked = read_table(cast("Path", labels), known, **reading)
    predicted = _predict(predictor, asked)
    write_table(file, predicted if labels is None else _beside(predicted, asked))
    summary: dict[str, Any] = {"quantity": known.name, "unit": known.unit, "rows": len(predicted), "file": str(file)}
    if labels is not None:
        summary |= _judge(predicted, asked, parity, calibration)
        trained = _trained_on(predictor, asked)
        summary |= {"molecules": len(asked.molecules), "trained on": trained}
        if trained is None:
            say("A network does not know the molecules that it was trained on: see that none of them judges it.")
        elif trained:
            say(f"The model was trained on {trained:,} of the {len(asked.molecules):,} molecules that judge it.")
    if json:
        typer.echo(json_format.dumps(summary, indent=2))
    else:
        for name in ("R2", "mean absolute error", "largest error", "calibration error"):
            if name in summary:
                typer.echo(f"{name}: {summary[name]:.5g}")
    say(f"{len(predicted):,} rows: {file}")


def _check_request(
    labels: Path | None, pictures: Sequence[Path | None], temperatures: Sequence[float], *, skip_invalid: bool
) -> None:
    from modicum.core.files import check_picture
    from modicum.molecules.table import check_temperatures

    if labels is not None and (temperatures or skip_invalid):
        raise ConfigError("-t and --skip-invalid are for a pool, not for --labels.", hint="Leave them out.")
    for picture in pictures:
        if picture is not None:
            check_picture(picture)
            if labels is None:
                raise ConfigError("A picture of errors needs labels.", hint="Give --labels FILE in place of the pool.")
    check_temperatures(temperatures)


def _load(folder: Path) -> tuple[GaussianProcess | DMPNN, Property]:
    from modicum.molecules.storage import DMPNN_FILE, find_model

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


def _grid(space: Pool, known: Property, temperatures: list[float] | None) -> PropertyTable:
    import numpy as np

    from modicum.molecules.table import PropertyTable

    if not known.temperature and temperatures:
        raise ConfigError(f"{known.name} was learnt without temperature.", hint="Leave -t out.")
    temperatures = temperatures or [298.15]
    times = len(temperatures) if known.temperature else 1
    return PropertyTable(
        quantity=known.name,
        unit=known.unit,
        smiles=tuple(smiles for smiles in space.smiles for _ in range(times)),
        temperature=np.tile(np.array(temperatures, dtype=float), len(space)) if known.temperature else np.empty(0),
        value=np.zeros(times * len(space)),
        columns={
            column: tuple(text for text in texts for _ in range(times)) for column, texts in space.columns.items()
        },
    )


def _predict(predictor: GaussianProcess | DMPNN, asked: PropertyTable) -> PropertyTable:
    from dataclasses import replace

    from modicum.molecules.gp import GaussianProcess

    if isinstance(predictor, GaussianProcess):
        value, error = predictor.predict(asked.smiles, asked.temperature, return_std=True)
        return replace(asked, value=value, error=error)
    return replace(asked, value=predictor.predict(asked.smiles, asked.temperature), error=None)


def _trained_on(predictor: GaussianProcess | DMPNN, labels: PropertyTable) -> int | None:
    from modicum.molecules.gp import GaussianProcess

    return len(predictor.trained_on(labels.molecules)) if isinstance(predictor, GaussianProcess) else None


def _beside(predicted: PropertyTable, labels: PropertyTable) -> PropertyTable:
    """Put the labels beside the predictions, as a column that reads back to the last bit."""
    from dataclasses import replace

    truth = {f"{labels.quantity}_label": tuple(map(repr, labels.value.tolist()))}
    return replace(predicted, columns={**predicted.columns, **truth})


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
        draw_parity(parity, predicted.value, known.value, quantity=known.property, note=f"R2 = {score.r2:.4f}")
    if predicted.error is not None:
        intervals = reliability(known.value - predicted.value, predicted.error, known.smiles)
        found["calibration error"] = intervals.error
        if calibration is not None:
            draw_calibration(calibration, intervals.levels, intervals.coverage)
    elif calibration is not None:
        raise ConfigError("A network gives no intervals.", hint="Train a gp for calibrated intervals.")
    return found
