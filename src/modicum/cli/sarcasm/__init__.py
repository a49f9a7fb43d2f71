"""``modicum sarcasm``: what was meant otherwise than it was said, in English and Arabic."""

from __future__ import annotations

import typer

from modicum.cli.sarcasm.predict import audit, export, predict
from modicum.cli.sarcasm.score import score, submit
from modicum.cli.sarcasm.train import train

app = typer.Typer(help="Detect, categorise and rank sarcasm in English and Arabic.", no_args_is_help=True)
for _command in (train, predict, audit, score, submit, export):
    app.command()(_command)
