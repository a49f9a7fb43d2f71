"""``modicum sarcasm``: what was meant otherwise than it was said, in English and Arabic."""

from __future__ import annotations

import typer

from modicum.cli.sarcasm.auditing import audit
from modicum.cli.sarcasm.exporting import export
from modicum.cli.sarcasm.prediction import predict
from modicum.cli.sarcasm.submitting import score, submit
from modicum.cli.sarcasm.training import train

app = typer.Typer(help="Detect, categorise and rank sarcasm in English and Arabic.", no_args_is_help=True)
app.command()(train)
app.command()(predict)
app.command()(audit)
app.command()(score)
app.command()(submit)
app.command()(export)
