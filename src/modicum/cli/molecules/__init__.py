"""``modicum molecules``: explore a chemical space."""

from __future__ import annotations

import typer

from modicum.cli.molecules.enumeration import enumerate_molecules
from modicum.cli.molecules.labelling import label
from modicum.cli.molecules.prediction import predict, train
from modicum.cli.molecules.selection import select

app = typer.Typer(help="Explore a chemical space with the fewest simulations.", no_args_is_help=True)
app.command("enumerate")(enumerate_molecules)
app.command()(select)
app.command()(label)
app.command()(train)
app.command()(predict)
