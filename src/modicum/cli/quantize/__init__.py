"""``modicum quantize``: networks of shifts and integers."""

from __future__ import annotations

import typer

from modicum.cli.quantize.exporting import export
from modicum.cli.quantize.running import run
from modicum.cli.quantize.verification import verify

app = typer.Typer(help="Quantize image classifiers to powers of two, and prove it.", no_args_is_help=True)
app.command()(run)
app.command()(verify)
app.command()(export)
