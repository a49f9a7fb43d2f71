"""``modicum molecules enumerate`` and ``select``: a chemical space, and the fewest molecules that cover it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modicum.cli.common import Device, Json, print_json, progress_bar, say
from modicum.cli.molecules.files import SkipInvalid, SmilesColumn, StripSalts, check_outputs, open_kernel, open_pool
from modicum.core.devices import check_device
from modicum.core.files import check_picture, check_target, replacing
from modicum.errors import ConfigError, RunError

if TYPE_CHECKING:
    from modicum.core.measure import Cost
    from modicum.molecules import Pool, Selection


def enumerate_molecules(
    *,
    smallest: Annotated[int, typer.Option("--from", help="Carbon atoms of the smallest molecules.")] = 4,
    largest: Annotated[int, typer.Option("--to", help="Carbon atoms of the largest molecules.")] = 19,
    file: Annotated[Path | None, typer.Option("--out", help="File of SMILES (.smi); stdout if not given.")] = None,
    json: Json = False,
) -> None:
    """List all alkanes of some sizes as SMILES, one a line; with --json their counts instead."""
    from modicum.molecules.alkanes import count_alkanes, enumerate_alkanes

    if file is not None:
        check_target(file, option="--out")
    molecules = enumerate_alkanes(smallest, largest)
    if file is not None:
        from modicum.molecules.pool import write_smiles

        say(f"{write_smiles(file, molecules):,} molecules: {file}")
    elif not json:
        _print_lines(molecules)
    if json:
        counts = {carbons: count_alkanes(carbons) for carbons in range(smallest, largest + 1)}
        print_json({"counts": counts, "molecules": sum(counts.values())})


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
    _check_numbers(uncertainty, noise, most)
    if pool is None and any(reading.values()):
        raise ConfigError("--skip-invalid, --smiles-col and --strip-salts are for a file.", hint="Name a pool.")
    if pool is not None and (smallest is not None or largest is not None):
        raise ConfigError("--from and --to are sizes of alkanes, but a pool was given.", hint="Leave them out.")
    if plot is not None:
        check_picture(plot)  # not after minutes of selection
    check_outputs({"--out": file, "--plot": plot}, [pool, failed, kernel])
    check_device(device)
    left_out = {} if failed is None else _failed(failed, smiles_column)
    if pool is None:
        from modicum.molecules.pool import Pool

        space = Pool.alkanes(4 if smallest is None else smallest, 19 if largest is None else largest)
    else:
        space = open_pool(pool, **reading)
    graph_kernel = open_kernel(kernel, device)
    from modicum.core.measure import measured
    from modicum.molecules.selection import ActiveLearner

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
    _show(selection, _table(selection, space), cost, file=file, json=json)
    if plot is not None:
        from modicum.molecules.plots import draw_space

        draw_space(plot, graph_kernel, space.smiles, selection.smiles)


def _check_numbers(uncertainty: float, noise: float, most: int | None) -> None:
    from modicum.molecules.covariance import check_noise, check_threshold

    check_threshold(uncertainty)
    check_noise(noise)
    if most is not None and most < 1:
        raise ConfigError(f"--max-picks must be at least 1, got {most}.", hint="Leave it out for no limit.")


def _show(selection: Selection, text: str, cost: Cost, *, file: Path | None, json: bool) -> None:
    if file is not None:
        with replacing(file) as out:
            out.write(text)
    if json:
        from modicum.core.environment import library_versions

        costs = {"seconds": cost.seconds, "memory_mib": cost.memory}
        print_json({**selection.to_json(), **costs, "libraries": library_versions()})
    elif file is None:
        _print_lines(text.splitlines())
    say(str(selection))


def _failed(path: Path, smiles_column: str | None) -> dict[str, int]:
    """Read molecules that have no label and their rows, as `label --failed` or the user writes them."""
    from modicum.molecules.pool import molecule_rows
    from modicum.molecules.reading import smiles_columns

    # `label` names the column smiles, whatever that of the pool is.
    named = smiles_columns([path], smiles_column)[path]
    _, rows = molecule_rows(path, named)
    numbers = {text: row for row, text, _ in rows}
    return {smiles: numbers[smiles] for smiles in open_pool(path, smiles_column=named).smiles} if rows else {}


def _table(selection: Selection, space: Pool) -> str:
    from modicum.core.tables import write_rows

    text = io.StringIO()
    kept = {name: cells for name, cells in space.columns.items() if name not in ("smiles", "deviation")}
    each = zip(selection.picks, selection.smiles, selection.deviations.tolist(), strict=True)
    rows = (
        {"smiles": smiles, "deviation": f"{deviation:.6f}"} | {name: cells[pick] for name, cells in kept.items()}
        for pick, smiles, deviation in each
    )
    write_rows(text, ["smiles", "deviation", *kept], rows)
    return text.getvalue()


def _print_lines(lines: Iterable[str]) -> None:
    """Print many lines without flushing each, and leave nothing for the interpreter to flush if that fails."""
    try:
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(0) from None
        raise RunError(
            f"The molecules cannot be written to stdout ({error.strerror}).", hint="Make room, or give --out FILE."
        ) from error
