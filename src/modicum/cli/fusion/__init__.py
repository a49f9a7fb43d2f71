"""``modicum fusion``: several modalities, one prediction."""

from __future__ import annotations

import typer

from modicum.cli.fusion.conversion import convert
from modicum.cli.fusion.degrading import degrade
from modicum.cli.fusion.prediction import predict
from modicum.cli.fusion.training import train

app = typer.Typer(help="Predict from text, audio, video and other streams together.", no_args_is_help=True)
app.command()(convert)
app.command()(train)
app.command()(predict)
app.command()(degrade)
