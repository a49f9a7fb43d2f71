"""``modicum fusion predict``: recordings in, estimates or probabilities of classes out."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json, say
from modicum.cli.fusion.sources import (
    ClipLabels,
    FormatOption,
    Gigabytes,
    Model,
    Source,
    Split,
    check_model,
    known_to,
    opened,
    split_of,
)
from modicum.core.devices import check_device
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.fusion.ensemble import FusionEnsemble
    from modicum.fusion.recordings import Recordings


def predict(
    source: Source,
    *,
    model: Model,
    file: Annotated[Path | None, typer.Option("--out", help="CSV file; standard output.")] = None,
    split: Split = None,
    without: Annotated[list[str] | None, typer.Option(help="A stream to leave out; may be repeated.")] = None,
    format: FormatOption = "auto",  # noqa: A002 - the name of the option
    gigabytes: Gigabytes = 1.0,
    clip_labels: ClipLabels = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Json = False,
) -> None:
    """Give the mean of the systems for each sample; a stream that a sample lacks is absent, not zero."""
    from modicum.core.files import check_target
    from modicum.core.tables import write_rows

    if file is not None:
        check_target(file, option="--out", inputs=(source, model))
    check_model(model)
    check_device(device)
    chosen = split_of(opened(source, format, gigabytes, clip=clip_labels), split)
    from modicum.fusion.ensemble import FusionEnsemble  # torch takes seconds to import

    ensemble = FusionEnsemble.load(model, device=device)
    recordings = known_to(ensemble, chosen)
    rows = _rows(ensemble, recordings, without or [])
    columns = list(rows[0]) if rows else ["id"]
    if file is not None:
        write_rows(file, columns, rows, form="csv")
        say(f"{len(rows):,} rows: {file}")
        if json:
            typer.echo(json_format.dumps({"file": str(file), "rows": len(rows)}, indent=2))
    elif json:
        typer.echo("\n".join(json_format.dumps(row, ensure_ascii=False) for row in rows))
    else:
        write_rows("-", columns, rows)


def _rows(ensemble: FusionEnsemble, recordings: Recordings, without: list[str]) -> list[dict[str, Any]]:
    import numpy as np

    system = next(iter(ensemble.systems.values()))
    names = [stream.name for stream in system.config.modalities]
    if unknown := [name for name in without if name not in names]:
        raise ConfigError(f"The model has no stream {unknown[0]!r}.", hint=f"It has: {', '.join(names)}.")
    present = np.tile([name not in without for name in names], (len(recordings), 1))
    found = ensemble.predict(recordings, present=present)
    columns = found.reshape(len(recordings), -1)
    count = columns.shape[1]
    # Classes that have no names are integers from 0 on.
    classes = list(system.classes) or (list(map(str, range(count))) if system.task == "classes" else [])
    heads = classes or ["estimate", *(f"estimate {number}" for number in range(2, count + 1))]
    rows: list[dict[str, Any]] = []
    for name, numbers in zip(recordings.ids, columns.tolist(), strict=True):
        chosen = {"predicted": heads[int(np.argmax(numbers))]} if classes else {}
        rows.append({"id": name, **chosen, **{head: round(it, 6) for head, it in zip(heads, numbers, strict=True)}})
    return rows
