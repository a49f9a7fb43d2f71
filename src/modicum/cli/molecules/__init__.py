"""``modicum molecules``: explore a chemical space."""

from __future__ import annotations

import typer

from modicum.cli.molecules.label import label
from modicum.cli.molecules.predict import predict, train
from modicum.cli.molecules.select import enumerate_molecules, select

app = typer.Typer(help="Explore a chemical space with the fewest simulations.", no_args_is_help=True)
app.command("enumerate")(enumerate_molecules)
for _command in (select, label, train, predict):
    app.command()(_command)
