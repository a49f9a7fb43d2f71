"""Draw NSGD's comparison: accuracy against learning rate, a panel an arm, a curve for each scale of the inputs.

Run: python benchmarks/nsgd_curves.py [--seeds N] [--json] [--plot FILE]

The arms, the data and the rates are those of ``modicum compare nsgd`` with its budget demo; accuracies are means over
the seeds, on the test part.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure

from modicum.core.environment import this_run
from modicum.core.method import Job
from modicum.optim.comparison import METHOD, TOLERANCE, rates, scaled, setup, train


def curves(seeds: int) -> dict[str, Any]:
    """Train every arm at every rate and scale: accuracies of shape (scales, rates) by arm."""
    settings: Any = METHOD.comparison.settings_for("demo")
    found: dict[str, Any] = {}
    for seed in range(seeds):
        job = Job(seed=seed, budget="demo", settings=settings)
        split = setup(job)
        for arm in METHOD.comparison.arms:
            given: dict[str, Any] = arm.run.keywords  # type: ignore[attr-defined]
            grid = rates(given["top"], settings.trials)
            inputs = [
                scaled(split, scale, job.device, standardise=given.get("standardise", False))
                for scale in settings.scales
            ]
            scores = [[train(each, given["make"], rate=rate, job=job)["test"] for rate in grid] for each in inputs]
            entry = found.setdefault(arm.name, {"rates": grid, "accuracy": torch.zeros(len(inputs), len(grid))})
            entry["accuracy"] += torch.tensor(scores) / seeds
    arms = {name: {**entry, "accuracy": entry["accuracy"].tolist()} for name, entry in found.items()}
    return {"scales": list(settings.scales), "seeds": seeds, "arms": arms}


def draw(result: dict[str, Any], file: Path) -> None:
    """Draw a panel an arm."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    panels = figure.subplots(2, 4, sharey=True).ravel()
    styles = (
        {"color": "#0b57a4", "marker": "o"},
        {"color": "#94420a", "marker": "s"},
        {"color": "#5a5750", "marker": "^"},
    )
    for panel, (name, entry) in zip(panels, result["arms"].items(), strict=True):
        best = max(entry["accuracy"][0])
        panel.axhspan(best - TOLERANCE, best, color="#d9d6cf", lw=0)
        for scale, accuracy, style in zip(result["scales"], entry["accuracy"], styles, strict=True):
            panel.plot(entry["rates"], accuracy, ms=4, label=f"inputs x {scale:g}", **style)
        panel.set(title=name, xscale="log", ylim=(0, 1))
    for panel in panels[4:]:
        panel.set_xlabel("learning rate")
    for panel in panels[::4]:
        panel.set_ylabel("test accuracy")
    panels[0].legend(frameon=False, fontsize=9)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nsgd"}):
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def main() -> None:
    """Train, and print or draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.add_argument("--plot", type=Path, help="picture of the curves: .svg, .png")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = curves(options.seeds)
    if options.plot:
        draw(result, options.plot)
    if options.json:
        print(json.dumps({**result, "environment": this_run()}))
        return
    for name, entry in result["arms"].items():
        print(name, " ".join(f"{rate:9.2g}" for rate in entry["rates"]))
        for scale, row in zip(result["scales"], entry["accuracy"], strict=True):
            print(f"  x {scale:<6g}", " ".join(f"{value:9.3f}" for value in row))


if __name__ == "__main__":
    main()
