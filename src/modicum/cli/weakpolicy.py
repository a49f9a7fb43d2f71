"""``modicum weakpolicy``: train agents under noisy rewards, and clone imperfect demonstrators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modicum.cli.common import Device, Json, check_least, out, print_json, progress_bar, say, stoppable
from modicum.core.devices import check_device
from modicum.core.files import check_picture, check_target
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.weakpolicy.noise import ConfusionNoise

app = typer.Typer(help="Learn policies from noisy rewards and imperfect demonstrations.", no_args_is_help=True)

Plot = Annotated[Path | None, typer.Option(help="Picture to draw: .png, .svg or .pdf.")]


@app.command()
def train(  # noqa: PLR0913 - one argument an option
    environment: Annotated[str, typer.Argument(help="Id of gymnasium, such as CartPole-v1.")],
    *,
    noise: Annotated[float, typer.Option(help="Chance that a reward is another level than the true one, 0 to 1.")],
    kind: Annotated[
        Literal["flip", "uniform", "anti_identity", "norm_all", "norm_one", "two_extremes"],
        typer.Option(help="flip: the highest level is seen as the lowest one. Else the published kinds of noise."),
    ] = "flip",
    levels: Annotated[
        str, typer.Option(help="Levels of the reward, rising; a reward that is none is refused.")
    ] = "-1,1",
    discretise: Annotated[
        bool, typer.Option("--discretise", help="Round rewards up to the next level, as published for Pendulum.")
    ] = False,
    learner: Annotated[
        list[str] | None,
        typer.Option(help="noisy, two updates, target, difference, surrogate or true; repeatable, all if none."),
    ] = None,
    agent: Annotated[Literal["dqn", "ppo"], typer.Option(help="Of Stable-Baselines3.")] = "dqn",
    xi: Annotated[float, typer.Option(help="Weight of the peer.")] = 0.2,
    steps: Annotated[int, typer.Option(help="In the environment, of each training.")] = 10_000,
    seeds: Annotated[int, typer.Option(help="Trainings of each learner.")] = 3,
    engine: Annotated[str, typer.Option(help="local, inline, dask or dask://host:port.")] = "local",
    folder: Annotated[Path | None, typer.Option("--out", help="Folder for the agents and a journal.")] = None,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Train an agent on noisy rewards, with and without peer rewards, and with what would explain a difference.

    Returns are true ones. With --out the same command goes on where it stopped.
    """
    from modicum.weakpolicy.agents import LEARNERS

    names = learner or [name for name in LEARNERS if agent == "dqn" or name != "difference"]
    if unknown := [name for name in names if name not in LEARNERS or (name == "difference" and agent == "ppo")]:
        raise ConfigError(
            f"--learner {unknown[0]} is none that {agent} has.",
            hint=f"Use some of: {', '.join(LEARNERS)} (difference with dqn alone).",
        )
    check_least(1, steps=steps, seeds=seeds)
    if plot is not None:
        check_picture(plot)
        check_target(plot, option="--plot")
    if folder is not None:
        check_target(folder, option="--out", folder=True)
    from modicum.core.engine import open_engine
    from modicum.weakpolicy.agents import Training, train_all
    from modicum.weakpolicy.functional import is_class_independent
    from modicum.weakpolicy.losses import checked_xi
    from modicum.weakpolicy.play import make_environments

    checked_xi(xi, below_one="difference" in names)
    made = _noise(kind, noise, levels, discretise=discretise)
    make_environments(environment, 1, discrete=agent == "dqn").close()
    if not is_class_independent(made.matrix):
        say("Wrong levels are not as likely whatever the true one is: peer rewards are not affine in the true ones.")
    trainings = [
        Training(environment, agent, name, made, xi, steps, seed, folder and folder.absolute())
        for seed in range(seeds)
        for name in names
    ]
    kept = "What is finished is kept; the same command goes on." if folder else "Nothing was written."
    with stoppable(kept), open_engine(engine) as running, progress_bar("train") as progress:
        found = train_all(trainings, running, folder, progress)
    if plot is not None:
        from modicum.weakpolicy.plots import draw, learning_curves

        curves = {name: [(each["returns"], each["lengths"]) for each in runs] for name, runs in found.items()}
        draw(plot, learning_curves(curves, steps), across="steps", up="true return, last 20 episodes")
        say(f"Picture: {plot}")
    _show_trained(found, json=json)


def _noise(kind: Any, weight: float, levels: str, *, discretise: bool) -> ConfusionNoise:
    from modicum.weakpolicy.noise import ConfusionNoise

    try:
        numbers = [float(part) for part in levels.split(",")]
    except ValueError as error:
        raise ConfigError(f"--levels takes numbers, got {levels!r}.", hint="Write --levels=-1,1.") from error
    if not 0 <= weight <= 1:
        raise ConfigError(f"--noise is a chance from 0 to 1, got {weight}.", hint="Write --noise 0.3.")
    if kind != "flip":
        return ConfusionNoise.of_kind(kind, numbers, weight, discretise=discretise)
    matrix = [[float(row == column) for column in range(len(numbers))] for row in range(len(numbers))]
    matrix[-1][0], matrix[-1][-1] = weight, 1 - weight
    return ConfusionNoise(numbers, matrix, discretise=discretise)


def _show_trained(found: dict[str, list[Any]], *, json: bool) -> None:
    import numpy as np

    from modicum.weakpolicy.agents import LEARNERS

    rows: list[dict[str, Any]] = []
    for name, runs in found.items():
        returns: list[list[float]] = [run["returns"] for run in runs]
        if not all(returns):
            raise ConfigError(f"No episode of {name} ended.", hint="Give more --steps.")
        training = [float(np.mean(each)) for each in returns]
        last = [float(np.mean(each[-10:])) for each in returns]
        agents = [run["agent"] for run in runs]
        rows.append({"learner": name, "training": training, "last_ten_episodes": last, "agents": agents})
    if json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table("learner", "return while training", "last ten episodes", "", box=None, pad_edge=False)
    for row in rows:
        means = [f"{np.mean(row[part]):.1f} ± {np.std(row[part]):.1f}" for part in ("training", "last_ten_episodes")]
        table.add_row(row["learner"], *means, LEARNERS[row["learner"]])
    out().print(table)
    say("True returns, mean ± std over the seeds. Whether a difference is more than chance: modicum compare peerpl.")


@app.command()
def clone(
    demonstrations: Annotated[
        str,
        typer.Argument(help=".npz of Stable-Baselines or imitation, or overcooked-train, overcooked-test, cartpole."),
    ],
    *,
    environment: Annotated[
        str | None, typer.Option("--env", help="Id of gymnasium to play in, or cramped_room; none: no returns.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Demonstrations to judge by; a fifth of the episodes is held out if none.")
    ] = None,
    xi: Annotated[
        list[float] | None, typer.Option(help="Weights of the peer; repeatable. 0.1, 0.2, 0.5 and 0.8 if none.")
    ] = None,
    updates: Annotated[int, typer.Option(help="Optimiser steps of a network.")] = 1500,
    episodes: Annotated[int, typer.Option(help="Played by each policy.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the training and the episodes.")] = 0,
    device: Device = "cpu",
    file: Annotated[Path | None, typer.Option("--out", help="ONNX file of the policy that is chosen.")] = None,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Clone a demonstrator, compare the policies that one fit gives, and say which one to ship.

    The choice is by return, and the chosen policy and plain cloning then play again; without --env it is by balanced
    accuracy, which is no return.
    """
    check_least(1, updates=updates, episodes=episodes)
    check_device(device)
    for path, option in ((file, "--out"), (plot, "--plot")):
        if path is not None:
            check_target(path, option=option, inputs=(demonstrations, test))
    if plot is not None:
        check_picture(plot)
    if file is not None and file.suffix != ".onnx":
        raise ConfigError(f"--out is an .onnx file, got {file}.", hint="Rename it.")
    from modicum.weakpolicy.choosing import clone_and_compare, open_demonstrations

    shown = open_demonstrations(demonstrations)
    held_out = None if test is None else open_demonstrations(test)
    xis = tuple(dict.fromkeys(xi or (0.1, 0.2, 0.5, 0.8)))
    settings: dict[str, Any] = {"updates": updates, "episodes": episodes, "seed": seed, "device": device}
    with stoppable("Nothing was written."), progress_bar("clone") as progress:
        found = clone_and_compare(shown, held_out, xis, environment, **settings, progress=progress)
        if file is not None:
            found.write_onnx(file)
            say(f"{found.chosen}: {file}")
    if plot is not None:
        from modicum.weakpolicy.plots import draw

        lines, levels = found.path()
        draw(plot, lines, across="xi", up="return" if environment else "balanced accuracy", levels=levels)
        say(f"Picture: {plot}")
    if json:
        print_json(found.to_dict())
        return
    from rich.table import Table

    columns = list(found.rows["BC"])
    table = Table("policy", *columns, box=None, pad_edge=False)
    for name, row in found.rows.items():
        table.add_row(name, *(f"{row[column]:.{1 if 'return' in column else 3}f}" for column in columns))
    out().print(table)
    typer.echo(found.sentence())
