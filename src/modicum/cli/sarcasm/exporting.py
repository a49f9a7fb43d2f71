"""``modicum sarcasm export``: an encoder for onnxruntime."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from modicum.cli.console import Json
from modicum.cli.sarcasm.columns import LanguageOption, System, TextColumn, check_model, read_table
from modicum.core.files import check_target
from modicum.errors import ConfigError


def export(
    texts: Annotated[
        str, typer.Argument(help="File of texts like those it will read: the result is compared on them.")
    ],
    *,
    model: System,
    folder: Annotated[Path, typer.Option("--out", help="New folder.")],
    member: Annotated[int, typer.Option(help="Which model of an ensemble, from 0.")] = 0,
    int8: Annotated[bool, typer.Option("--int8", help="Also 8 bits, if 99 % of the labels stay the same.")] = False,
    text: TextColumn = None,
    language: LanguageOption = None,
    json: Json = False,
) -> None:
    """Write an encoder as ONNX, compared with PyTorch on your texts."""
    check_target(folder, option="--out", folder=True, inputs=(texts, model))
    check_model(model)
    table = read_table(texts, text=text, language=language)
    from modicum.sarcasm.system import SarcasmSystem

    system = SarcasmSystem.load(model)
    from modicum.sarcasm.encoder.export import export_onnx
    from modicum.sarcasm.encoder.model import EnsembleModel
    from modicum.sarcasm.stacked import StackedModel

    if isinstance(system.model, StackedModel):
        raise ConfigError(
            f"{model} joins n-grams and an encoder; ONNX holds an encoder alone.", hint="Train with --model ENCODER."
        )
    if not isinstance(system.model, EnsembleModel):
        raise ConfigError(f"{model} holds n-grams, no encoder.", hint="Train with --model and the name of an encoder.")
    if not 0 <= member < len(system.model.members):
        raise ConfigError(
            f"There is no model {member}: the ensemble has {len(system.model.members)}.", hint="Count from 0."
        )
    asked = [system.preparation.text(it) for it in table.examples]
    report = export_onnx(system.model.members[member], folder, asked, int8=int8)
    typer.echo(json_format.dumps(asdict(report), indent=2) if json else str(report))
    if int8 and not report.int8_written:
        raise typer.Exit(1)
