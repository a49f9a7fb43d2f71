# pyright: reportUnknownMemberType=false
"""Three pictures: the space with what was selected, predictions against labels, and intervals against their promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modicum.core.files import aside, check_picture
from modicum.core.splits import shuffled
from modicum.errors import ConfigError
from modicum.molecules.data.table import Property
from modicum.molecules.functional import FloatArray
from modicum.molecules.kernel.marginalized import MarginalizedGraphKernel

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_SHOWN = 4000  # molecules of the pool in the picture, a random part of a larger pool
_INK, _MARK, _PALE = "#1a1a1a", "#c2410c", "#94a3b8"


def project(kernel: MarginalizedGraphKernel, selected: Sequence[str], shown: Sequence[str]) -> FloatArray:
    """Place molecules in the plane in which the selected ones spread most."""
    # Kernel principal components of the selected molecules (centred), and every other one projected onto them; the
    # kernel is evaluated against the selected ones alone.
    if len(selected) < 3:
        raise ConfigError(f"A plane needs 3 selected molecules, got {len(selected)}.", hint="Select more.")
    ours = kernel.prepare(selected)
    gram, cross = kernel(ours), kernel(kernel.prepare(shown), ours)
    means = gram.mean(axis=0)
    centred = gram - means - means[:, None] + gram.mean()
    values, vectors = np.linalg.eigh(centred)
    scaled = vectors[:, :-3:-1] / np.sqrt(values[:-3:-1].clip(min=1e-12))
    return (cross - cross.mean(axis=1, keepdims=True) - means + gram.mean()) @ scaled


def draw_space(path: Path, kernel: MarginalizedGraphKernel, pool: Sequence[str], selected: Sequence[str]) -> None:
    """Draw the pool and, on top of it, what was selected."""
    places = shuffled(len(pool), 0, "picture", count=_SHOWN)
    shown = [str(pool[place]) for place in places]
    points, marks = np.split(project(kernel, selected, [*shown, *selected]), [len(shown)])

    def draw(axes: Axes) -> None:
        part = f"{len(shown):,} of " if len(shown) < len(pool) else ""
        axes.plot(*points.T, "o", color=_PALE, markersize=2.5, alpha=0.6, label=f"{part}{len(pool):,} in the pool")
        axes.plot(*marks.T, "o", color=_MARK, markersize=4, label=f"{len(selected):,} selected")
        axes.set(xlabel="first kernel principal component", ylabel="second")
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2)

    _save(path, draw)


def draw_parity(path: Path, predicted: FloatArray, label: FloatArray, *, quantity: Property, note: str = "") -> None:
    """Draw predictions against labels, with the line on which both are the same."""
    unit = f", {quantity.unit}" if quantity.unit else ""
    ends = [float(min(predicted.min(), label.min())), float(max(predicted.max(), label.max()))]

    def draw(axes: Axes) -> None:
        axes.plot(label, predicted, "o", color=_MARK, markersize=2.5, alpha=max(0.05, min(0.6, 2000 / len(label))))
        axes.plot(ends, ends, color=_INK, linewidth=1)
        axes.set(xlabel=f"label{unit}", ylabel=f"prediction{unit}", aspect="equal")
        axes.set_title(f"{quantity.name} {note}".strip(), fontsize=11)

    _save(path, draw)


def draw_calibration(path: Path, levels: FloatArray, observed: FloatArray) -> None:
    """Draw how many labels lie within intervals of each level, and how many should."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=1, label="as promised")
        axes.plot(levels, observed, "o-", color=_MARK, markersize=4, label="observed")
        axes.set(
            xlabel="level of the interval", ylabel="share of labels within", aspect="equal", xlim=(0, 1), ylim=(0, 1)
        )
        axes.legend(frameon=False)

    _save(path, draw)


def _save(path: Path, draw: Callable[[Axes], None]) -> None:
    from matplotlib.figure import Figure

    check_picture(path)
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    with aside(path) as part:
        figure.savefig(part, dpi=160)
