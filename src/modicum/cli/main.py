"""The program ``modicum``: its commands, and what happens to errors."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from modicum.cli.common import STOPPED, Json, out, print_json, say
from modicum.cli.compare import WithMethod, compare, report
from modicum.cli.data import app as data
from modicum.cli.doctor import doctor
from modicum.cli.fusion import app as fusion
from modicum.cli.liveness import app as liveness
from modicum.cli.molecules import app as molecules
from modicum.cli.quantize import app as quantize
from modicum.cli.sarcasm import app as sarcasm
from modicum.cli.textdiffusion import app as textdiffusion
from modicum.cli.weakpolicy import app as weakpolicy
from modicum.cli.zeroshot import app as zeroshot
from modicum.errors import ModicumError

app = typer.Typer(
    name="modicum",
    help="Learn more from less: published methods, each with an honest comparison on your own data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list")
def list_methods(*, json: Json = False) -> None:
    """List the methods and what each of them saves."""
    from modicum.core import registry

    if json:
        print_json([dataclasses.asdict(row) for row in registry.rows()])
        return
    from rich.table import Table

    table = Table("name", "method", "saves", "import from", box=None, pad_edge=False)
    for row in registry.rows():
        table.add_row(row.name, row.title, row.saves, row.package)
    out().print(table)


app.command("compare", cls=WithMethod)(compare)
app.command("report")(report)
app.add_typer(data, name="data")
app.add_typer(fusion, name="fusion")
app.add_typer(liveness, name="liveness")
app.add_typer(molecules, name="molecules")
app.add_typer(quantize, name="quantize")
app.add_typer(sarcasm, name="sarcasm")
app.add_typer(textdiffusion, name="textdiffusion")
app.add_typer(weakpolicy, name="weakpolicy")
app.add_typer(zeroshot, name="zeroshot")
app.command("doctor")(doctor)


@app.callback(invoke_without_command=True)
def main(*, version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    """Learn more from less: published methods, each with an honest comparison on your own data."""
    if version:
        from modicum import __version__

        typer.echo(__version__)
        raise typer.Exit


_PACKAGE = Path(__file__).parents[1]
_default = warnings.showwarning


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    # A user reads what our warnings say; the line of code that said it is for those who write code. Ours are those
    # that our code raises, whatever its stacklevel (that of a method may point into typer), or that point at our code.
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") in (__name__, "warnings", "_py_warnings"):
        frame = frame.f_back
    files = (filename, "" if frame is None else frame.f_code.co_filename)
    if any(_PACKAGE in Path(path).parents for path in files):
        say(f"modicum: {message}")
    else:
        _default(message, category, filename, lineno, file, line)


def run() -> None:
    """Run the program."""
    with warnings.catch_warnings():
        warnings.showwarning = _show
        try:
            app()
        except ModicumError as error:
            say(f"modicum: {error.what}\n  {error.hint}")
            sys.exit(error.exit_status)
        except KeyboardInterrupt:
            say("Stopped.")
            sys.exit(STOPPED)
        except SystemExit as left:
            if left.code == STOPPED and not left.__suppress_context__:  # by typer, which says nothing
                say("Stopped.")
            raise
