"""``modicum molecules select``: the fewest molecules that cover a pool."""

from __future__ import annotations

import io
import json as json_format
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modicum.cli.console import Json, progress_bar, say
from modicum.cli.molecules.enumeration import print_lines
from modicum.cli.molecules.shared import (
    Device,
    SkipInvalid,
    SmilesColumn,
    StripSalts,
    check_outputs,
    open_failed,
    open_kernel,
    open_pool,
)
from modicum.core.devices import check_device
from modicum.core.files import check_picture, replacing
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.molecules import Pool, Selection


class StartName(StrEnum):
    """How a selection begins, as typer wants it."""

    random = "random"
    maxvar = "maxvar"


def select(  # noqa: PLR0913 - one argument an option
    pool: Annotated[Path | None, typer.Argument(help="Molecules, .smi or .csv; all alkanes if not given.")] = None,
    *,
    smallest: Annotated[int | None, typer.Option("--from", help="Carbon atoms of the smallest alkanes; 4.")] = None,
    largest: Annotated[int | None, typer.Option("--to", help="Carbon atoms of the largest alkanes; 19.")] = None,
    uncertainty: Annotated[float, typer.Option(help="Select until each posterior std is below this, in (0, 1].")] = 0.5,
    noise: Annotated[float, typer.Option(help="Variance of a label's error, in units of the prior's.")] = 0.01,
    start: Annotated[
        StartName, typer.Option(help="Two random molecules, or the rule itself from the first one on.")
    ] = (StartName.random),
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
    _check_numbers(uncertainty, noise, most)
    _check_pool(pool, sizes=(smallest, largest), reading=(skip_invalid, smiles_column, strip_salts))
    if plot is not None:
        check_picture(plot)  # not after minutes of selection
    check_outputs({"--out": file, "--plot": plot}, [pool, failed, kernel])
    check_device(device)
    left_out = open_failed(failed, smiles_column)
    if pool is None:
        from modicum.molecules.pool import Pool

        space = Pool.alkanes(4 if smallest is None else smallest, 19 if largest is None else largest)
    else:
        space = open_pool(pool, skip_invalid=skip_invalid, smiles_column=smiles_column, strip_salts=strip_salts)
    graph_kernel = open_kernel(kernel, device)
    from modicum.molecules.selection import ActiveLearner

    with progress_bar("select") as progress:

        def run() -> Selection:
            progress(0, 0, f"features of {len(space):,} molecules")
            learner = ActiveLearner(graph_kernel, space, noise=noise, start=start.value, seed=seed)
            for smiles, row in left_out.items():
                try:
                    learner.fail(smiles)
                except ConfigError as error:
                    raise ConfigError(
                        f"{failed}, row {row}: {smiles!r} is no molecule of the pool of {len(space):,}.",
                        hint="Remove that row, or give the pool that it is from.",
                    ) from error
            return learner.run(
                uncertainty,
                max_picks=most,
                progress=lambda count, deviation: progress(count, 0, f"largest std {deviation:.3f}"),
            )

        from modicum.core.measure import measured

        selection, cost = measured(run)
    text = _table(selection, space)
    if file is not None:
        with replacing(file) as out:
            out.write(text)
    if json:
        from modicum.core.environment import library_versions

        summary = {**_summary(selection), "seconds": cost.seconds, "memory_mib": cost.memory}
        typer.echo(json_format.dumps({**summary, "libraries": library_versions()}, indent=2))
    elif file is None:
        print_lines(text.splitlines())
    say(_sentence(selection))
    if plot is not None:
        from modicum.molecules.plots import draw_space

        draw_space(plot, graph_kernel, space.smiles, selection.smiles)


def _check_numbers(uncertainty: float, noise: float, most: int | None) -> None:
    from modicum.molecules.covariance import check_noise, check_threshold

    check_threshold(uncertainty)
    check_noise(noise)
    if most is not None and most < 1:
        raise ConfigError(f"--max-picks must be at least 1, got {most}.", hint="Leave it out for no limit.")


def _check_pool(pool: Path | None, *, sizes: Sequence[int | None], reading: Sequence[object]) -> None:
    if pool is None and any(reading):
        raise ConfigError("--skip-invalid, --smiles-col and --strip-salts are for a file.", hint="Name a pool.")
    if pool is not None and any(size is not None for size in sizes):
        raise ConfigError("--from and --to are sizes of alkanes, but a pool was given.", hint="Leave them out.")


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


def _summary(selection: Selection) -> dict[str, object]:
    certificate = selection.certificate
    return {
        "pool": selection.pool_size,
        "selected": len(selection.picks),
        "kernel_evaluations": selection.evaluations,
        "certificate": {
            "largest_deviation": certificate.largest,
            "at": certificate.at,
            "threshold": certificate.threshold,
            "holds": certificate.holds,
            "failed": [{"smiles": smiles, "deviation": deviation} for smiles, deviation in certificate.failed],
        },
        "molecules": [
            {"smiles": smiles, "deviation": deviation}
            for smiles, deviation in zip(selection.smiles, selection.deviations.tolist(), strict=True)
        ],
    }


def _sentence(selection: Selection) -> str:
    certificate = selection.certificate
    which = "molecule that did not fail" if certificate.failed else "molecule"
    held = f"{'every' if certificate.holds else 'not every'} {which} is below"
    above = [deviation for _, deviation in certificate.failed if deviation >= certificate.threshold]
    stay = "molecule stays" if len(above) == 1 else "molecules stay"
    failed = f" {len(above):,} failed {stay} above it, up to {max(above):.4f}." if above else ""
    return (
        f"{len(selection.picks):,} of {selection.pool_size:,} molecules; {held} {certificate.threshold:g}, the largest "
        f"posterior std is {certificate.largest:.4f} at {certificate.at}.{failed}"
    )
