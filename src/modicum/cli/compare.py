"""``modicum compare``, the main job, and ``modicum report``, which shows again what it found."""

from __future__ import annotations

import json as json_format
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from modicum.cli.common import Json, out, print_json, progress_bar, say, stoppable
from modicum.core.devices import check_device
from modicum.core.method import Budget
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    from modicum.core.method import Comparison
    from modicum.core.report import Report


def compare(
    method: Annotated[
        str, typer.Argument(help="Short name of a method (see: modicum list), or all. With --help: its own options.")
    ],
    *,
    budget: Annotated[
        Budget, typer.Option(help="demo: a minute or a few, no network. full: the published data sets.")
    ] = "demo",
    data: Annotated[Path | None, typer.Option(help="Your own data; compare METHOD --help says in which form.")] = None,
    seeds: Annotated[str, typer.Option(help="How many paired seeds (3), or which (0,1,5).")] = "3",
    engine: Annotated[str, typer.Option(help="local, inline, dask or dask://host:port.")] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Processes of local and dask; as many as cores by default.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of torch in each process; part of what makes a result.")] = 1,
    device: Annotated[str, typer.Option(help="Torch device of the jobs: cpu, cuda, cuda:1.")] = "cpu",
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the journal and the report; runs/BUDGET/METHOD if not given."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="name=value, repeatable; compare METHOD --help lists them."),
    ] = None,
    json: Json = False,
) -> None:
    """Compare a method with its baseline and its controls on paired seeds.

    A run can be killed at any time: the same command goes on where it stopped.
    """
    from modicum.core import registry
    from modicum.core.settings import change

    everything, options = method == "all", _options(option or [])
    names = registry.names() if everything else [method]
    for name in names:  # before torch is imported
        change(registry.settings(name)[budget], options, owner=f"The comparison {name}")
    from modicum.core.compare import compare as run_comparison
    from modicum.core.engine import open_engine
    from modicum.core.report import write

    if "://" not in engine:  # the workers of a cluster have devices of their own
        check_device(device)
    chosen = [registry.load(name) for name in names]
    base = folder or Path("runs") / budget / ("" if everything else method)
    given: dict[str, Any] = {
        "seeds": _seeds(seeds),
        "budget": budget,
        "device": device,
        "data": data,
        "options": options,
        "command": shlex.join(["modicum", *sys.argv[1:]]),
    }
    reports: list[Report] = []
    with stoppable(resumed(base)), open_engine(engine, workers=workers, threads=threads) as running:
        for entry in chosen:
            own = base / entry.name if everything else base
            with progress_bar(entry.name) as progress:
                reports.append(run_comparison(entry, engine=running, out=own, progress=progress, **given))
    # One comparison wrote its page already.
    show(reports, write(reports, base) if everything else base / "report.html", json=json)


def report(
    folder: Annotated[Path, typer.Argument(help="Folder that modicum compare wrote.")], *, json: Json = False
) -> None:
    """Show the report of a finished run, and write its Markdown and HTML again."""
    from modicum.core.report import load, write

    if folder.is_file():
        raise ConfigError(f"{folder} is a file.", hint=f"Give the folder of report.json: {folder.parent}.")
    try:
        reports = load(folder / "report.json")
    except DataError as error:
        hint = None if (folder / "report.json").exists() else _how_to_finish(folder)
        if hint is None:
            raise
        raise DataError(f"The comparison in {folder} is not finished.", hint=hint) from error
    try:
        written = write(reports, folder)
    except ConfigError as error:  # of somebody else, perhaps: it can be shown all the same
        say(f"Markdown and HTML were not written: {error.what}")
        written = folder / "report.json"
    show(reports, written, json=json)


class WithMethod(TyperCommand):
    """The command ``compare``, whose help of a named method shows the options of its comparison."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep what was typed: help is shown before arguments are read."""
        ctx.meta[__name__] = tuple(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help of the command, then that of the comparison."""
        from modicum.core import registry

        super().format_help(ctx, formatter)
        for name in registry.names():
            if name in ctx.meta[__name__]:
                typer.echo("\n".join(_settings_help(registry.load(name).comparison)))


def _settings_help(comparison: Comparison) -> Iterator[str]:
    from modicum.core.settings import entries

    lines = [f"--data: {comparison.own_data or 'it takes no data of your own.'}"]
    for demo, full in zip(*(entries(comparison.settings_for(budget)) for budget in get_args(Budget)), strict=True):
        default = demo.default if demo == full else f"{demo.default} (demo), {full.default} (full)"
        lines.append(f"--option {demo.name}=VALUE: {demo.help}; {demo.allowed}; default {default}")
    width = shutil.get_terminal_size().columns - 2
    yield f"The comparison {comparison.method}: {comparison.question}\n"
    for line in lines:
        yield from textwrap.wrap(line, width, subsequent_indent="    ", break_on_hyphens=False)


def resumed(folder: Path) -> str:
    """Say where finished jobs are after Ctrl-C."""
    return f"What is finished is kept in {folder}; the same command goes on from there."


def _seeds(text: str) -> int | Sequence[int]:
    try:
        return [int(part) for part in text.removesuffix(",").split(",")] if "," in text else int(text)
    except ValueError as error:
        raise ConfigError(
            f"--seeds takes a number or a list, got {text!r}.", hint="Write --seeds 5 or --seeds 0,1,2."
        ) from error


def _options(pairs: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--option takes name=value, got {pair!r}.", hint="Write --option epochs=10.")
        options[name] = value
    return options


def show(reports: Sequence[Report], page: Path, *, json: bool) -> None:
    """Print reports, and where their page is."""
    from modicum.core.report import dump, table

    if json:
        print_json(json_format.loads(dump(reports)))
    else:
        for entry in reports:
            out().print(table(entry))
    say(f"Report: {page}")


def _how_to_finish(folder: Path) -> str | None:
    """Give the command that goes on where a comparison without a report stopped; None if none has begun."""
    from modicum.core.journal import FILE_NAME, Journal
    from modicum.core.settings import as_text

    begun = next((path.parent for path in (folder / FILE_NAME, *folder.glob(f"*/{FILE_NAME}")) if path.is_file()), None)
    if begun is None:
        return None
    with Journal(begun) as journal:
        jobs = journal.descriptions()
    if not jobs or not {"arm", "budget", "settings"} <= jobs[0].keys():
        return None
    job = jobs[0]
    command = ["modicum", "compare", job["method"] if begun == folder else "all", "--budget", job["budget"]]
    command += ["--threads", str(job["threads"]), "--device", job["device"]]
    settings: dict[str, object] = (begun == folder and job["settings"]) or {}
    for name, value in settings.items():
        command += ["-o", f"{name}={as_text(value)}"]
    given = " and --data" if job["data"] else ""
    return f"Run it again, with the --seeds{given} that it had: {shlex.join([*command, '--out', str(folder)])}"
