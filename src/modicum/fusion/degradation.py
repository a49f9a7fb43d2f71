# pyright: reportUnknownMemberType=false
"""What is left of a score when modalities are missing: at random, or all but some."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt

from modicum.core.files import aside, check_picture
from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError, DataError
from modicum.fusion.batches import BoolArray
from modicum.fusion.metrics import task_scores
from modicum.fusion.recordings import Recordings
from modicum.fusion.system import FusionSystem

_COLOURS = ("#c2410c", "#1d4ed8", "#15803d", "#7e22ce", "#475569")


@dataclass(frozen=True, kw_only=True, slots=True)
class Degradation:
    """Scores at several rates of what is missing."""

    rates: tuple[float, ...]  # probability that a modality of a sample is taken away
    seeds: tuple[int, ...]  # of the draws
    scores: Mapping[str, npt.NDArray[np.float64]]  # by name, shape (rates, seeds)
    missing: npt.NDArray[np.float64]  # share of the modalities that there were which was taken in fact, shape


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetScore:
    """The scores with some modalities alone."""

    modalities: tuple[str, ...]  # that were left
    samples: int  # that have one of them; the others cannot be scored
    scores: Mapping[str, float]  # over those samples


def degradation_curve(
    system: FusionSystem,
    recordings: Recordings,
    rates: Sequence[float],
    seeds: Sequence[int],
    *,
    modalities: Collection[str] | None = None,
) -> Degradation:
    """Score while more and more modalities are missing.

    Each modality of each sample is taken away with probability r, independently; of a sample that would lose all, the
    one whose number is the highest is kept. A seed draws one number for each modality of each sample, whatever the
    rate, so that what is missing at a rate is missing at all higher ones.

    Args:
        system: trained.
        recordings: with labels.
        rates: from 0 to 1.
        seeds: of the draws.
        modalities: that may be missing; None is all.

    Returns:
        The scores; those that are not defined on all draws are left out.

    Raises:
        ConfigError: if a rate is out of range, there is none, or no seed, or a modality is unknown.
    """
    names = [stream.name for stream in system.config.modalities]
    if not rates or not seeds:
        raise ConfigError("There are no rates, or no seeds.", hint="Give one of each.")
    if wrong := [rate for rate in rates if not 0 <= rate <= 1]:
        raise ConfigError(f"A rate is {wrong[0]}.", hint="Give probabilities.")
    if unknown := sorted(set(modalities or ()) - set(names)):
        raise ConfigError(f"There is no modality {unknown[0]!r}.", hint=f"Use some of: {', '.join(names)}.")
    losable = np.array([modalities is None or name in modalities for name in names])
    items = system.items(recordings)
    scores: list[dict[str, float]] = []
    missing: list[float] = []
    for rate in rates:
        for seed in seeds:
            present = draw_present(items.present, rate, seed=seed, losable=losable)
            scores.append(system.score_items(items.with_present(present)))
            missing.append(1 - float(present.sum() / items.present.sum()))
    common = [name for name in scores[0] if all(name in score for score in scores)]
    shape = (len(rates), len(seeds))
    return Degradation(
        rates=tuple(rates),
        seeds=tuple(seeds),
        scores={name: np.array([score[name] for score in scores]).reshape(shape) for name in common},
        missing=np.array(missing).reshape(shape),
    )


def draw_present(
    there: BoolArray, rate: float, *, seed: int, losable: Sequence[bool] | BoolArray | None = None
) -> BoolArray:
    """Draw which modalities are left, as `degradation_curve` says."""
    numbers = numpy_generator(seed, "missing modalities").random(there.shape)
    if losable is not None:
        numbers = np.where(losable, numbers, 1.0)  # below no rate, as the drawn ones are below 1
    kept = np.zeros_like(there)
    kept[np.arange(len(there)), np.where(there, numbers, -1.0).argmax(axis=1)] = True
    return there & ((numbers >= rate) | kept)


def all_subsets(system: FusionSystem, recordings: Recordings) -> list[SubsetScore]:
    """Score with every non-empty subset of the modalities, single ones first.

    Args:
        system: trained.
        recordings: with labels.

    Returns:
        The scores of each subset that a sample has; compare them only where ``samples`` is the same.

    Raises:
        DataError: if the recordings cannot be scored.
    """
    names = tuple(stream.name for stream in system.config.modalities)
    items = system.items(recordings)
    if items.labels is None:
        raise DataError("The recordings have no labels to score by.", hint="Give one for each sample.")
    found: list[SubsetScore] = []
    for chosen in (chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size)):
        left = items.present & np.isin(names, chosen)
        has: BoolArray = np.any(left, axis=1)
        if has.any():
            # A sample of which nothing is left would be refused: it is predicted whole, and not counted.
            predicted = system.predict_items(items.with_present(np.where(has[:, None], left, items.present)))
            scores = task_scores(system.task, items.labels[has], predicted[has])
            found.append(SubsetScore(modalities=chosen, samples=int(has.sum()), scores=scores))
    return found


def draw_degradation(path: Path, curves: Mapping[str, Degradation], *, metric: str) -> None:
    """Draw the mean score over the rates, with the range of the seeds around it."""
    from matplotlib.figure import Figure

    check_picture(path)
    for name, curve in curves.items():
        if metric not in curve.scores:
            raise ConfigError(f"{name} has no score {metric!r}.", hint=f"Use one of: {', '.join(curve.scores)}.")
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    for (name, curve), colour in zip(curves.items(), cycle(_COLOURS)):
        values = curve.scores[metric]
        axes.fill_between(curve.rates, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15, linewidth=0)
        axes.plot(curve.rates, values.mean(axis=1), "o-", color=colour, markersize=4, label=name)
    axes.set(xlabel="probability that a modality of a sample is missing", ylabel=metric)
    axes.legend(frameon=False)
    with aside(path) as part:
        figure.savefig(part, dpi=160)
