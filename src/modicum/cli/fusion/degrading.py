"""``modicum fusion degrade``: how a prediction gets worse as streams go missing."""

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

if TYPE_CHECKING:
    from modicum.fusion.degradation import SubsetScore


_RATES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def degrade(
    source: Source,
    *,
    model: Model,
    file: Annotated[Path, typer.Option("--out", help="Picture of the curve: .png, .svg or .pdf.")],
    metric: Annotated[str | None, typer.Option(help="Score that is drawn; the first, if not given.")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="A stream that may be missing; all, if not given.")] = None,
    draws: Annotated[int, typer.Option(help="Draws of what is missing, at each rate.")] = 5,
    split: Split = None,
    format: FormatOption = "auto",  # noqa: A002 - the name of the option
    gigabytes: Gigabytes = 1.0,
    clip_labels: ClipLabels = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Json = False,
) -> None:
    """Score with streams taken away at random, from none to nine in ten, and with each subset of the streams alone."""
    import numpy as np

    from modicum.core.files import check_picture, check_target

    check_picture(file)
    check_target(file, option="--out", inputs=(source, model))
    check_model(model)
    check_device(device)
    chosen = split_of(opened(source, format, gigabytes, clip=clip_labels), split)
    from modicum.fusion.degradation import all_subsets, degradation_curve, draw_degradation
    from modicum.fusion.ensemble import FusionEnsemble  # torch takes seconds to import

    ensemble = FusionEnsemble.load(model, device=device)
    recordings = known_to(ensemble, chosen)
    curves = {
        f"seed {seed}": degradation_curve(system, recordings, _RATES, range(draws), modalities=stream)
        for seed, system in ensemble.systems.items()
    }
    drawn = metric or next(iter(next(iter(curves.values())).scores))
    draw_degradation(file, curves, metric=drawn)
    say(f"{drawn} over the probability that a stream is missing: {file}")
    by_rate = np.mean([curve.scores[drawn].mean(axis=1) for curve in curves.values()], axis=0)
    summary = {
        "metric": drawn,
        "missing": [{"probability": rate, "score": float(it)} for rate, it in zip(_RATES, by_rate, strict=True)],
        "alone": _alone([all_subsets(system, recordings) for system in ensemble.systems.values()], drawn),
    }
    typer.echo(json_format.dumps(summary, indent=2) if json else _words(summary))


def _alone(subsets: list[list[SubsetScore]], metric: str) -> list[dict[str, Any]]:
    return [
        {
            "streams": list(same[0].modalities),
            "samples": same[0].samples,
            "score": sum(it.scores[metric] for it in same) / len(same),
        }
        for same in zip(*subsets, strict=True)
        if all(metric in it.scores for it in same)
    ]


def _words(summary: dict[str, Any]) -> str:
    lines = [f"{summary['metric']}, mean of the systems", "Each stream missing with probability"]
    lines += [f"  {it['probability']:.1f}: {it['score']:.4f}" for it in summary["missing"]]
    lines.append("With these streams alone")
    lines += [f"  {', '.join(it['streams'])}: {it['score']:.4f} of {it['samples']:,}" for it in summary["alone"]]
    return "\n".join(lines)
