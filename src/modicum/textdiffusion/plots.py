# pyright: reportUnknownMemberType=false
"""Pictures: the learned noise schedule by position, and quality against network calls."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modicum.core.files import aside
from modicum.textdiffusion.functional import sqrt_alphas_cumprod

if TYPE_CHECKING:
    from modicum.textdiffusion.schedule import TokenNoiseSchedule

_LINES = 8  # positions that are drawn


def draw_schedule(path: Path, schedule: TokenNoiseSchedule) -> None:
    """Draw the share of the signal that is left over time, a line for each of some positions."""
    from matplotlib import colormaps

    table = schedule.alphas_cumprod.cpu().numpy()
    time = np.arange(len(table)) / len(table)
    positions = sorted({round(each) for each in np.linspace(0, table.shape[1] - 1, _LINES)})
    with _axes(path, across="time, as a share of the steps", up="abar: share of the signal that is left") as axes:
        for place, position in enumerate(positions):
            colour = colormaps["viridis"](place / max(1, len(positions) - 1))
            axes.plot(time, table[:, position], color=colour, label=f"position {position}")
        initial = sqrt_alphas_cumprod(len(table)).numpy()
        axes.plot(time, initial, color="0.35", linestyle="--", label="before the training")


def draw_quality(path: Path, calls: Sequence[int], errors: Mapping[str, Sequence[float]], copied: float) -> None:
    """Draw error rates over network calls, and that of the copied source as a level."""
    with _axes(path, across="network calls", up="error rate") as axes:
        for name, values in errors.items():
            axes.plot(calls, values, marker="o", label=name)
        axes.axhline(copied, color="0.35", linestyle="--", label="copy the source")
        axes.set_xscale("log")
        axes.set_xticks(calls, [str(each) for each in calls], minor=False)
        axes.minorticks_off()
        axes.set_ylim(bottom=0)


@contextmanager
def _axes(path: Path, *, across: str, up: str) -> Generator[Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    yield axes
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    with aside(path) as part:
        figure.savefig(part, dpi=150)
