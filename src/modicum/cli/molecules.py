"""``modicum molecules``: explore a chemical space, label its molecules, and predict the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from modicum.cli.common import Device, Json, check_least, check_new_folder, print_json, progress_bar, say, stoppable
from modicum.cli.compare import resumed
from modicum.core.devices import check_device
from modicum.core.files import check_picture, check_target, new_folder
from modicum.errors import ConfigError, RunError

if TYPE_CHECKING:
    from modicum.core.measure import Cost
    from modicum.molecules import MarginalizedGraphKernel, Pool, PropertyTable, Selection

app = typer.Typer(help="Explore a chemical space with the fewest simulations.", no_args_is_help=True)

SkipInvalid = Annotated[bool, typer.Option("--skip-invalid", help="Leave out rows that are no molecule; list them.")]
SmilesColumn = Annotated[
    str | None, typer.Option("--smiles-col", help="Column of the SMILES in CSV files; smiles, in any case.")
]
StripSalts = Annotated[
    bool, typer.Option("--strip-salts", help="Leave out fragments that RDKit knows as salts or solvents.")
]


@app.command("enumerate")
def enumerate_molecules(
    *,
    smallest: Annotated[int, typer.Option("--from", help="Carbon atoms of the smallest molecules.")] = 4,
    largest: Annotated[int, typer.Option("--to", help="Carbon atoms of the largest molecules.")] = 19,
    file: Annotated[Path | None, typer.Option("--out", help="File of SMILES (.smi); stdout if not given.")] = None,
    json: Json = False,
) -> None:
    """List all alkanes of some sizes as SMILES, one a line; with --json their counts instead."""
    from modicum.molecules.data.alkanes import count_alkanes, enumerate_alkanes

    if file is not None:
        check_target(file, option="--out")
    molecules = enumerate_alkanes(smallest, largest)
    if file is not None:
        from modicum.molecules.data.pool import write_smiles

        say(f"{write_smiles(file, molecules):,} molecules: {file}")
    elif not json:
        with _printing():
            sys.stdout.writelines(f"{smiles}\n" for smiles in molecules)
    if json:
        counts = {carbons: count_alkanes(carbons) for carbons in range(smallest, largest + 1)}
        print_json({"counts": counts, "molecules": sum(counts.values())})


@app.command()
def select(  # noqa: PLR0913 - one argument an option
    pool: Annotated[Path | None, typer.Argument(help="Molecules, .smi or .csv; all alkanes if not given.")] = None,
    *,
    smallest: Annotated[int | None, typer.Option("--from", help="Carbon atoms of the smallest alkanes; 4.")] = None,
    largest: Annotated[int | None, typer.Option("--to", help="Carbon atoms of the largest alkanes; 19.")] = None,
    uncertainty: Annotated[float, typer.Option(help="Select until each posterior std is below this, in (0, 1].")] = 0.5,
    noise: Annotated[float, typer.Option(help="Variance of a label's error, in units of the prior's.")] = 0.01,
    start: Annotated[
        Literal["random", "maxvar"],
        typer.Option(help="Two random molecules, or the rule itself from the first one on."),
    ] = "random",
    seed: Annotated[int, typer.Option(help="Of the random start.")] = 0,
    most: Annotated[int | None, typer.Option("--max-picks", help="End with so many molecules at the latest.")] = None,
    failed: Annotated[
        Path | None, typer.Option(help="Molecules to leave out, .smi or .csv, as label --failed writes them.")
    ] = None,
    kernel: Annotated[Path | None, typer.Option(help="JSON of mgktools; the published values if not given.")] = None,
    skip_invalid: SkipInvalid = False,
    smiles_column: SmilesColumn = None,
    strip_salts: StripSalts = False,
    device: Device = "cpu",
    file: Annotated[Path | None, typer.Option("--out", help="CSV file of the selection; stdout if not given.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture of the space: .png, .svg or .pdf.")] = None,
    json: Json = False,
) -> None:
    """Select the fewest molecules that leave no molecule of the pool uncertain.

    Each next one is that of which a Gaussian process with the graph kernel knows least; no label is needed. Ids and
    other columns of the pool are kept.
    """
    reading: dict[str, Any] = {"skip_invalid": skip_invalid, "smiles_column": smiles_column, "strip_salts": strip_salts}
    from modicum.molecules.select.posterior import check_noise, check_threshold

    check_threshold(uncertainty)
    check_noise(noise)
    check_least(1, max_picks=most)
    if start == "random" and most == 1:  # before the features of a large pool
        raise ConfigError("--start random selects two molecules, but --max-picks is 1.", hint="Add --start maxvar.")
    if pool is None and any(reading.values()):
        raise ConfigError("--skip-invalid, --smiles-col and --strip-salts are for a file.", hint="Name a pool.")
    if pool is not None and (smallest is not None or largest is not None):
        raise ConfigError("--from and --to are sizes of alkanes, but a pool was given.", hint="Leave them out.")
    if plot is not None:
        check_picture(plot)  # not after minutes of selection
    _check_outputs({"--out": file, "--plot": plot}, [pool, failed, kernel])
    check_device(device)
    left_out = {} if failed is None else _failed(failed, smiles_column)
    if pool is None:
        from modicum.molecules.data.pool import Pool

        space = Pool.alkanes(4 if smallest is None else smallest, 19 if largest is None else largest)
    else:
        space = _open_pool(pool, **reading)
    graph_kernel = _open_kernel(kernel, device)
    from modicum.core.measure import measured
    from modicum.molecules.select.learner import ActiveLearner

    def run() -> Selection:
        with progress_bar("select") as progress:
            progress(0, 0, f"features of {len(space):,} molecules")
            learner = ActiveLearner(graph_kernel, space, noise=noise, start=start, seed=seed)
            for smiles, row in left_out.items():
                try:
                    learner.fail(smiles)
                except ConfigError as error:
                    raise ConfigError(
                        f"{failed}, row {row}: {smiles!r} is no molecule of the pool of {len(space):,}.",
                        hint="Remove that row, or give the pool that it is from.",
                    ) from error
            return learner.run(uncertainty, max_picks=most, progress=progress)

    selection, cost = measured(run)
    _show(selection, space, cost, file=file, json=json)
    if plot is not None:
        from modicum.molecules.plots import draw_space

        draw_space(plot, graph_kernel, space.smiles, selection.smiles)


@app.command()
def label(  # noqa: PLR0913 - one argument an option
    molecules: Annotated[Path, typer.Argument(help="Molecules, .smi or .csv, such as select wrote.")],
    *,
    file: Annotated[Path, typer.Option("--out", help="CSV file of the labels.")],
    labeller: Annotated[
        Literal["openmm", "table"], typer.Option(help="Simulate (openmm), or look up published values (table).")
    ] = "openmm",
    tables: Annotated[list[Path] | None, typer.Option("--table", help="CSV of published values; repeatable.")] = None,
    quantity: Annotated[
        str | None, typer.Option("--property", help="Column of the tables, such as your own; density, hvap and cp.")
    ] = None,
    failed: Annotated[
        Path | None, typer.Option(help="CSV file of the molecules without a label, and why; for select --failed.")
    ] = None,
    temperature: Annotated[
        list[float] | None,
        typer.Option(
            "--temperature", "-t", help="K, repeatable; if none, 16 from 0.4 to 0.9 Tc (openmm) or all (table)."
        ),
    ] = None,
    nanoseconds: Annotated[float | None, typer.Option("--ns", help="Simulated at each temperature; 0.5.")] = None,
    count: Annotated[int | None, typer.Option("--molecules", help="In the simulated box; 250.")] = None,
    platform: Annotated[str | None, typer.Option(help="Of OpenMM: CPU (default), CUDA, OpenCL.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the simulations; 0.")] = None,
    engine: Annotated[str, typer.Option(help="local, inline, dask or dask://host:port.")] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Processes of local and dask; as many as cores by default.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--journal", help="Folder of finished jobs; OUT.journal.")] = None,
    retry: Annotated[bool, typer.Option("--retry-failed", help="Try once more what failed before.")] = False,
    skip_invalid: SkipInvalid = False,
    smiles_column: SmilesColumn = None,
    strip_salts: StripSalts = False,
    json: Json = False,
) -> None:
    """Label molecules, one job each; a killed campaign goes on where it stopped.

    A molecule that cannot be labelled is listed with its reason, and the others go on. Ids and other columns of the
    molecules are kept.
    """
    from modicum.molecules.data.smiles import smiles_columns
    from modicum.molecules.data.table import check_temperatures, write_table

    check_temperatures(temperature or ())
    simulation: dict[str, Any] = {"ns": nanoseconds, "molecules": count, "platform": platform, "seed": seed}
    simulation = {name: value for name, value in simulation.items() if value is not None}
    looked_up, paths = labeller == "table", tables or []
    _check_options(simulation, paths, quantity, looked_up=looked_up)
    _check_outputs({"--out": file, "--failed": failed}, [molecules, *paths])
    named = smiles_columns([molecules, *paths], smiles_column)
    if smiles_column is not None and not any(named.values()):
        raise ConfigError(f"No file has a column {smiles_column!r}.", hint="Name a column of one by --smiles-col.")
    pool = _open_pool(molecules, skip_invalid=skip_invalid, smiles_column=named[molecules], strip_salts=strip_salts)
    if looked_up:
        from modicum.molecules.data.labels import TableLabeller

        columns = {path: named[path] for path in paths}
        chosen = TableLabeller.read(columns, quantity, temperatures=temperature or None, strip_salts=strip_salts)
    else:
        from modicum.molecules.liquid.labeller import OpenMMLabeller

        chosen = OpenMMLabeller(temperatures=temperature or None, **simulation)
    from modicum.core.engine import open_engine
    from modicum.molecules.campaign import label_molecules

    journal = folder or file.with_name(f"{file.name}.journal")
    with (
        stoppable(resumed(journal)),
        open_engine("inline" if looked_up else engine, workers=workers) as running,
        progress_bar("label") as progress,
    ):
        campaign = label_molecules(
            pool.smiles, chosen, engine=running, folder=journal, progress=progress, retry_failed=retry
        )
    for line in campaign.missing():
        say(line)
    if failed is not None:
        campaign.write_failures(failed, pool)
    found = campaign.tables(pool)
    if found:
        write_table(file, *found.values())
    if json:
        rows = {name: len(table) for name, table in found.items()}
        counts = {"labelled": len(campaign.labels), "failed": dict(campaign.failures), "rows": rows}
        print_json({"labeller": chosen.name, **counts})
    say(f"{len(campaign.labels)} of {len(pool)} molecules labelled by {chosen.name}" + (f": {file}" if found else "."))
    if not found:
        raise typer.Exit(1)


@app.command()
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
    check_new_folder(folder)
    if predictor == "dmpnn" and (kernel is not None or held_out is not None):
        raise ConfigError("--kernel and --calibrate are options of --predictor gp.", hint="Leave them out.")
    if predictor == "gp" and epochs is not None:
        raise ConfigError("--epochs is an option of --predictor dmpnn.", hint="Leave it out.")
    check_least(1, epochs=epochs)
    check_device(device)
    reading: dict[str, Any] = {"smiles_column": smiles_column, "strip_salts": strip_salts}
    reading |= {"unit": unit, "without_temperature": without_temperature}
    table = _open_labels(labels, quantity, **reading)
    others = None if held_out is None else _open_labels(held_out, quantity, **reading)
    if others is not None:
        _check_apart(table, others, held_out)
    factor = None
    if predictor == "dmpnn":
        from modicum.molecules.predict.dmpnn import DMPNN

        with progress_bar("train") as progress:
            network = DMPNN().fit(table, epochs=epochs or 100, seed=seed, device=device, progress=progress)
        with new_folder(folder) as part:
            network.save(part)
    else:
        from modicum.molecules.predict.gp import GaussianProcess

        graph_kernel = _open_kernel(kernel, device)
        process = GaussianProcess(graph_kernel).fit(table, seed=seed)
        if others is not None:
            factor = process.calibrate(others)
            say(f"Intervals are multiplied by {factor:.3f}.")
        with new_folder(folder) as part:
            process.save(part, hyperparameters=graph_kernel.to_json())
    molecules, rows = len(table.molecules), len(table)
    if json:
        summary = {"predictor": predictor, "quantity": quantity, "unit": table.property.unit}
        print_json(summary | {"molecules": molecules, "rows": rows, "factor": factor, "folder": str(folder)})
    say(f"{predictor} of {quantity}, {molecules:,} molecules, {rows:,} rows: {folder}")


@app.command()
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
    from modicum.molecules.data.table import check_temperatures, read_table, write_table
    from modicum.molecules.predict.models import count_trained_on, find_model, load_model, predict_table

    if (pool is None) == (labels is None):
        raise ConfigError("Give either a pool or --labels.", hint="Name the molecules to predict once.")
    if labels is not None and (temperature or skip_invalid):
        raise ConfigError("-t and --skip-invalid are for a pool, not for --labels.", hint="Leave them out.")
    for picture in filter(None, (parity, calibration)):
        check_picture(picture)
    if labels is None and (parity or calibration):
        raise ConfigError("A picture of errors needs labels.", hint="Give --labels FILE instead of the pool.")
    check_temperatures(temperature or ())
    _check_outputs({"--out": file, "--parity": parity, "--calibration": calibration}, [pool, labels, model])
    reading: dict[str, Any] = {"smiles_column": smiles_column, "strip_salts": strip_salts}
    find_model(model)  # before the pool is read, and the pool before torch is imported
    space = None if pool is None else _open_pool(pool, skip_invalid=skip_invalid, **reading)
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


def _check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[Path | None]) -> None:
    """See whether files can be written, before the work: each, and none of them is another or is read."""
    read, taken = tuple(inputs), dict[Path, str]()
    for option, path in outputs.items():
        if path is None:
            continue
        check_target(path, option=option, inputs=read)
        if (other := taken.setdefault(path.resolve(), option)) != option:
            raise ConfigError(f"{option} {path} is the file of {other}, too.", hint="Name another file.")


def _open_pool(path: Path, *, skip_invalid: bool = False, **reading: Any) -> Pool:
    """Read a pool; say which rows were left out."""
    from modicum.molecules.data.pool import read_pool

    pool = read_pool(path, skip_invalid=skip_invalid, **reading)
    for entry in pool.rejected:
        say(f"{path}, row {entry.row}: {entry.text!r} {entry.reason}; left out.")
    return pool


def _open_labels(
    path: Path, name: str, *, unit: str | None = None, without_temperature: bool = False, **reading: Any
) -> PropertyTable:
    """Read the labels of a property; one of the user's own has a temperature if the file has a column T."""
    from modicum.molecules.data.table import PROPERTIES, Property, read_table

    asked: Property | str = name
    if name in PROPERTIES:
        asked = Property(name, unit or PROPERTIES[name].unit, not without_temperature)
    elif without_temperature:
        asked = Property(name, unit or "", temperature=False)
    table = read_table(path, asked, **reading)
    if name in PROPERTIES:
        return table
    if not table.property.temperature and not without_temperature:
        say(f"{path} has no column T: {name} is a property without temperature.")
    return replace(table, unit=unit or "")


def _open_kernel(path: Path | None, device: str) -> MarginalizedGraphKernel:
    """Make the published kernel, or the one of a file."""
    from modicum.molecules.kernel.hyperparameters import read_hyperparameters

    if path is not None:
        read_hyperparameters(path)  # a wrong file is refused before the heavy imports
    from modicum.molecules.kernel.marginalized import MarginalizedGraphKernel

    # Residuals of 1e-7 move a std by about 1e-8.
    settings: dict[str, Any] = {"tolerance": 1e-7, "backend": "numba" if device == "cpu" else "torch", "device": device}
    if path is None:
        return MarginalizedGraphKernel.published(**settings)
    return MarginalizedGraphKernel.from_json(path, **settings)


def _failed(path: Path, smiles_column: str | None) -> dict[str, int]:
    """Read molecules that have no label and their rows, as `label --failed` or the user writes them."""
    from modicum.molecules.data.pool import molecule_rows
    from modicum.molecules.data.smiles import smiles_columns

    # `label` names the column smiles, whatever that of the pool is.
    named = smiles_columns([path], smiles_column)[path]
    _, rows = molecule_rows(path, named)
    numbers = {text: row for row, text, _ in rows}
    return {smiles: numbers[smiles] for smiles in _open_pool(path, smiles_column=named).smiles} if rows else {}


def _show(selection: Selection, space: Pool, cost: Cost, *, file: Path | None, json: bool) -> None:
    from modicum.core.environment import library_versions
    from modicum.core.tables import write_rows

    kept = {name: cells for name, cells in space.columns.items() if name not in ("smiles", "deviation")}
    each = zip(selection.picks, selection.smiles, selection.deviations.tolist(), strict=True)
    rows = (
        {"smiles": smiles, "deviation": f"{deviation:.6f}"} | {name: cells[pick] for name, cells in kept.items()}
        for pick, smiles, deviation in each
    )
    if file is not None or not json:
        with _printing():
            write_rows(file or "-", ["smiles", "deviation", *kept], rows, form="csv")
    if json:
        costs = {"seconds": cost.seconds, "memory_mib": cost.memory}
        print_json({**selection.to_json(), **costs, "libraries": library_versions()})
    say(str(selection))


@contextmanager
def _printing() -> Generator[None]:
    """Print many lines without flushing each, and leave nothing for the interpreter to flush if that fails."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(0) from None
        raise RunError(
            f"The molecules cannot be written to stdout ({error.strerror}).", hint="Make room, or give --out FILE."
        ) from error


def _check_options(simulation: dict[str, Any], tables: list[Path], quantity: str | None, *, looked_up: bool) -> None:
    if looked_up and simulation:
        raise ConfigError(f"--{next(iter(simulation))} is an option of --labeller openmm.", hint="Leave it out.")
    if not looked_up and (tables or quantity):
        raise ConfigError("--table and --property are options of --labeller table.", hint="Add --labeller table.")
    if looked_up and not tables:
        raise ConfigError("--labeller table needs published values.", hint="Name a CSV file with --table.")


def _check_apart(labels: PropertyTable, others: PropertyTable, path: Path | None) -> None:
    from modicum.molecules.predict.scores import shared_molecules

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
    from modicum.molecules.data.smiles import canonical
    from modicum.molecules.plots import draw_calibration, draw_parity
    from modicum.molecules.predict.scores import reliability, score_molecules, score_rows

    score = score_rows(predicted, known)
    found: dict[str, Any] = {"R2": score.r2, "mean absolute error": score.mae, "largest error": score.worst}
    if len(known.molecules) > 1:
        found["R2 of molecules"] = score_molecules(predicted, known).r2
    if parity is not None:
        draw_parity(parity, predicted.value, known.value, quantity=known.property, note=f"R2 = {score.r2:.4f}")
    if predicted.error is not None:
        molecules = tuple(map(canonical, known.smiles))
        intervals = reliability(known.value - predicted.value, predicted.error, molecules)
        found["calibration error"] = intervals.error
        if calibration is not None:
            draw_calibration(calibration, intervals.levels, intervals.coverage)
    elif calibration is not None:
        raise ConfigError("A network gives no intervals.", hint="Train a gp for calibrated intervals.")
    return found
