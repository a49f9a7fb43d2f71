"""``modicum molecules select``: the fewest molecules that cover a pool."""

from __future__ import annotations

import csv
import io
import json as json_format
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json, progress_bar, say
from modicum.cli.molecules.enumeration import print_lines

if TYPE_CHECKING:
    from modicum.molecules import MarginalizedGraphKernel, Pool, Selection

__all__ = ["Device", "SkipInvalid", "open_kernel", "open_pool", "select"]

SkipInvalid = Annotated[bool, typer.Option("--skip-invalid", help="Keep out rows that are no molecule, and say which.")]
Device = Annotated[str, typer.Option(help="cpu, or a GPU as torch knows it: cuda.")]


class StartName(StrEnum):
    """How a selection begins, as typer wants it."""

    random = "random"
    maxvar = "maxvar"


def select(  # noqa: PLR0913 - one argument an option
    pool: Annotated[Path | None, typer.Argument(help="Molecules, .smi or .csv; all alkanes if not given.")] = None,
    *,
    smallest: Annotated[int, typer.Option("--from", help="Carbon atoms of the smallest alkanes.")] = 4,
    largest: Annotated[int, typer.Option("--to", help="Carbon atoms of the largest alkanes.")] = 19,
    uncertainty: Annotated[float, typer.Option(help="Select until each deviation is below this, in (0, 1].")] = 0.5,
    noise: Annotated[float, typer.Option(help="Variance of a label's error, in units of the prior's.")] = 0.01,
    start: Annotated[
        StartName, typer.Option(help="Two random molecules, or the rule itself from the first one on.")
    ] = (StartName.random),
    seed: Annotated[int, typer.Option(help="Of the random start.")] = 0,
    most: Annotated[int | None, typer.Option("--max-picks", help="End with so many molecules at the latest.")] = None,
    failed: Annotated[Path | None, typer.Option(help="Molecules to leave out, .smi or .csv.")] = None,
    kernel: Annotated[Path | None, typer.Option(help="JSON of mgktools; the published numbers if not given.")] = None,
    skip_invalid: SkipInvalid = False,
    device: Device = "cpu",
    file: Annotated[Path | None, typer.Option("--out", help="CSV file of the selection; stdout if not given.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture of the space: .png, .svg or .pdf.")] = None,
    json: Json = False,
) -> None:
    """Select the fewest molecules that leave no molecule of the pool uncertain.

    Each next one is that of which a Gaussian process with the graph kernel knows least; no label is needed.
    """
    from modicum.core.environment import library_versions
    from modicum.core.files import check_picture, replacing
    from modicum.core.measure import measured
    from modicum.molecules.selection import ActiveLearner

    if plot is not None:
        check_picture(plot)  # not after minutes of selection
    space = open_pool(pool, smallest, largest, skip_invalid=skip_invalid)
    graph_kernel = open_kernel(kernel, device)
    left_out = open_pool(failed, 0, 0, skip_invalid=False).smiles if failed else ()
    with progress_bar("select") as progress:

        def run() -> Selection:
            progress(0, 0, f"features of {len(space):,} molecules")
            learner = ActiveLearner(graph_kernel, space, noise=noise, start=start.value, seed=seed)
            for smiles in left_out:
                learner.fail(smiles)
            return learner.run(
                uncertainty,
                max_picks=most,
                progress=lambda count, deviation: progress(count, 0, f"largest deviation {deviation:.3f}"),
            )

        selection, cost = measured(run)
    text = _table(selection)
    if file is not None:
        with replacing(file) as out:
            out.write(text)
    if json:
        summary = {**_summary(selection), "seconds": cost.seconds, "memory_mib": cost.memory}
        typer.echo(json_format.dumps({**summary, "libraries": library_versions()}, indent=2))
    elif file is None:
        print_lines(text.splitlines())
    say(_sentence(selection))
    if plot is not None:
        from modicum.molecules.plots import draw_space

        draw_space(plot, graph_kernel, space.smiles, selection.smiles)


def open_pool(path: Path | None, smallest: int, largest: int, *, skip_invalid: bool) -> Pool:
    """Read a pool, or make that of all alkanes of some sizes; say which rows were kept out."""
    from modicum.molecules.pool import Pool, read_pool

    if path is None:
        return Pool.alkanes(smallest, largest)
    pool = read_pool(path, skip_invalid=skip_invalid)
    for entry in pool.rejected:
        say(f"{path}, row {entry.row}: {entry.text!r} {entry.reason}; kept out.")
    return pool


def open_kernel(path: Path | None, device: str) -> MarginalizedGraphKernel:
    """Make the published kernel, or the one of a file."""
    from modicum.molecules.kernel import MarginalizedGraphKernel

    # Residuals of 1e-7 move a deviation by about 1e-8.
    settings: dict[str, Any] = {"tolerance": 1e-7, "backend": "numba" if device == "cpu" else "torch", "device": device}
    if path is None:
        return MarginalizedGraphKernel.published(**settings)
    return MarginalizedGraphKernel.from_json(path, **settings)


def _table(selection: Selection) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["smiles", "deviation"])
    writer.writerows(
        (smiles, f"{deviation:.6f}")
        for smiles, deviation in zip(selection.smiles, selection.deviations.tolist(), strict=True)
    )
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
    held = "every molecule is below" if certificate.holds else "not every molecule is below"
    return (
        f"{len(selection.picks):,} of {selection.pool_size:,} molecules; {held} {certificate.threshold:g}, the largest "
        f"deviation is {certificate.largest:.4f} at {certificate.at}."
    )
