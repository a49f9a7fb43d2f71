"""``modicum molecules train`` and ``predict``: from labels to the whole space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from modicum.cli.common import Device, Json, print_json, progress_bar, say
from modicum.cli.molecules.files import (
    SkipInvalid,
    SmilesColumn,
    StripSalts,
    check_outputs,
    open_kernel,
    open_labels,
    open_pool,
)
from modicum.core.devices import check_device
from modicum.core.files import check_picture, check_target, new_folder
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.molecules import Pool, PropertyTable


def train(  # noqa: PLR0913 - one argument an option
    labels: Annotated[Path, typer.Argument(help="CSV with the columns smiles, T (K) and the property.")],
    *,
    folder: Annotated[Path, typer.Option("--out", help="Folder of the model, a new one.")],
    quantity: Annotated[
        str, typer.Option("--property", "--quantity", help="Column of the property: density, hvap, cp or your own.")
    ] = "density",
    unit: Annotated[str | None, typer.Option(help="Of a property of your own, for pictures and messages.")] = None,
    without_temperature: Annotated[
        bool,
        typer.Option("--no-temperature", help="The property has none, even if there is a column T. Without T: always."),
    ] = False,
    predictor: Annotated[
        Literal["gp", "dmpnn"], typer.Option(help="Gaussian process, or network of the paper.")
    ] = "gp",
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
    check_target(folder, option="--out", folder=True)
    if folder.exists() and any(folder.iterdir()):  # the model of another training would be taken for this one
        raise ConfigError(f"--out {folder} has files in it.", hint="Name a new folder.")
    if predictor == "dmpnn" and (kernel is not None or held_out is not None):
        raise ConfigError("--kernel and --calibrate are options of --predictor gp.", hint="Leave them out.")
    if predictor == "gp" and epochs is not None:
        raise ConfigError("--epochs is an option of --predictor dmpnn.", hint="Leave it out.")
    if epochs is not None and epochs < 1:
        raise ConfigError(f"--epochs must be at least 1, got {epochs}.", hint="The published number is 100.")
    check_device(device)
    reading: dict[str, Any] = {"smiles_column": smiles_column, "strip_salts": strip_salts}
    reading |= {"unit": unit, "without_temperature": without_temperature}
    table = open_labels(labels, quantity, **reading)
    others = None if held_out is None else open_labels(held_out, quantity, **reading)
    if others is not None:
        _check_apart(table, others, held_out)
    factor = None
    if predictor == "dmpnn":
        from modicum.molecules.dmpnn import DMPNN

        with progress_bar("train") as progress:
            network = DMPNN().fit(table, epochs=epochs or 100, seed=seed, device=device, progress=progress)
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
    molecules, rows = len(table.molecules), len(table)
    if json:
        summary = {"predictor": predictor, "quantity": quantity, "unit": table.property.unit}
        print_json(summary | {"molecules": molecules, "rows": rows, "factor": factor, "folder": str(folder)})
    say(f"{predictor} of {quantity}, {molecules:,} molecules, {rows:,} rows: {folder}")


def predict(
    model: Annotated[Path, typer.Argument(help="Folder that train wrote.")],
    pool: Annotated[Path | None, typer.Argument(help="Molecules, .smi or .csv.")] = None,
    *,
    file: Annotated[Path, typer.Option("--out", help="CSV file of the predictions.")],
    temperature: Annotated[list[float] | None, typer.Option("--temperature", "-t", help="K; 298.15.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels to judge by, instead of a pool: its molecules and temperatures.")
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
    from modicum.molecules.predictors import count_trained_on, load_model, predict_table
    from modicum.molecules.storage import find_model
    from modicum.molecules.table import check_temperatures, read_table, write_table

    if (pool is None) == (labels is None):
        raise ConfigError("Give either a pool or --labels.", hint="Name the molecules to predict once.")
    if labels is not None and (temperature or skip_invalid):
        raise ConfigError("-t and --skip-invalid are for a pool, not for --labels.", hint="Leave them out.")
    for picture in filter(None, (parity, calibration)):
        check_picture(picture)
    if labels is None and (parity or calibration):
        raise ConfigError("A picture of errors needs labels.", hint="Give --labels FILE instead of the pool.")
    check_temperatures(temperature or ())
    check_outputs({"--out": file, "--parity": parity, "--calibration": calibration}, [pool, labels, model])
    reading: dict[str, Any] = {"smiles_column": smiles_column, "strip_salts": strip_salts}
    find_model(model)  # before the pool is read, and the pool before torch is imported
    space = None if pool is None else open_pool(pool, skip_invalid=skip_invalid, **reading)
    predictor, known = load_model(model)
    judges = None if labels is None else read_table(labels, known, **reading)
    asked = judges if judges is not None else cast("Pool", space).table(known, temperature)
    predicted = predict_table(predictor, asked)
    # The labels stand after the predictions, as a column that reads back to the last bit.
    truth = {} if judges is None else {f"{known.name}_label": tuple(map(repr, judges.value.tolist()))}
    write_table(file, replace(predicted, columns={**predicted.columns, **truth}))
    summary: dict[str, Any] = {"quantity": known.name, "unit": known.unit, "rows": len(predicted), "file": str(file)}
    if judges is not None:
        summary |= _judge(predicted, judges, parity, calibration)
        trained = count_trained_on(predictor, asked.molecules)
        summary |= {"molecules": len(asked.molecules), "trained on": trained}
        if trained is None:
            say("A network does not know the molecules that it was trained on: see that none of them judges it.")
        if trained:
            say(f"The model was trained on {trained:,} of the {len(asked.molecules):,} molecules that judge it.")
    if json:
        print_json(summary)
    else:
        shown = [
            name for name in ("R2", "mean absolute error", "largest error", "calibration error") if name in summary
        ]
        typer.echo("".join(f"{name}: {summary[name]:.5g}\n" for name in shown), nl=False)
    say(f"{len(predicted):,} rows: {file}")


def _check_apart(labels: PropertyTable, others: PropertyTable, path: Path | None) -> None:
    from modicum.molecules.scores import shared_molecules

    shared = shared_molecules(others, labels)
    if shared:
        raise ConfigError(
            f"{len(shared):,} of the {len(others.molecules):,} molecules of --calibrate {path} are in the training "
            f"labels, the first is {shared[0]}; they would make intervals too narrow.",
            hint="Give labels of other molecules.",
        )


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
