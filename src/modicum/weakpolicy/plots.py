# pyright: reportUnknownMemberType=false
"""Lines with bands: learning curves, and scores against xi."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modicum.core.files import aside

_POINTS, _EPISODES = 100, 20

# Across, middle, low and high: as four arrays, or as four rows of one.
Line: TypeAlias = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]] | NDArray[Any]


def learning_curves(
    found: Mapping[str, Sequence[tuple[Sequence[float], Sequence[int]]]], steps: int
) -> dict[str, Line]:
    """Turn returns and lengths of the episodes of each seed into lines: mean of the last 20 episodes, and its std."""
    at = np.linspace(0, steps, _POINTS + 1)[1:]
    lines: dict[str, Line] = {}
    for name, seeds in found.items():
        curves: list[list[Any]] = []
        for returns, lengths in seeds:
            ends = np.searchsorted(np.cumsum(lengths), at, side="right")  # episodes that are over
            curves.append([np.mean(returns[max(0, end - _EPISODES) : end]) if end else np.nan for end in ends])
        mean, std = np.mean(curves, axis=0), np.std(curves, axis=0)  # from where each seed has an episode
        lines[name] = at, mean, mean - std, mean + std
    return lines


def draw(
    path: Path, lines: Mapping[str, Line], *, across: str, up: str, levels: Mapping[str, float] | None = None
) -> None:
    """Draw lines with their bands, and levels as dashed lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, (x, middle, low, high) in lines.items():
        (line,) = axes.plot(x, middle, label=name)
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, lw=0)
    for index, (name, level) in enumerate((levels or {}).items()):
        style = [(0, (6, 2)), ":", "-.", (0, (2, 2)), (0, (8, 2, 1, 2, 1, 2))][index % 5]
        axes.axhline(level, color="0.35", linestyle=style, label=name)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    with aside(path) as part:
        figure.savefig(part, dpi=150)
