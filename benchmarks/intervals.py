"""How often intervals of a mean difference hold, and how often a report without effects has a verdict: by simulation.

Run: python benchmarks/intervals.py [--part seeds|items|splits] [--draws N] [--json]

``coverage``: share of samples of n paired differences whose 95 % interval contains their true mean, by the way to get
one: the bootstrap (BCa), Student's t, and what reports have (`core.intervals.mean_interval`). ``escape`` is the share
of samples without a single failed run, where one in ten fails: no interval can know of it.
``reports``: share of reports of eight arms without any difference between them (a baseline, two methods, five controls)
that have some "better" or "worse": by the interval alone, as reports had it, and by p-values that Holm's method
adjusts. ``peeking``: the same where seeds are added, from six on, until there is one or there are twenty.
With ``--part items``: coverage where all seeds score the same drawn test items, of the interval over seeds and of that
over seeds and items, which reports have where an arm gives its items. With ``--part splits``: coverage where each seed
splits the same few examples anew, of the interval over seeds and of the corrected resampled t-test (Nadeau and Bengio
2003), for two ridge classifiers whose true difference in accuracy is that over other examples and training sets.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from modicum.core.compare import paired_differences
from modicum.core.environment import this_run
from modicum.core.intervals import bootstrap_interval, crossed_interval, mean_interval
from modicum.core.method import Metric
from modicum.core.results import ArmResult, Role

Values = npt.NDArray[np.float64]
COUNTS = (3, 4, 5, 6, 8, 10, 15, 20)
BCA_DRAWS = 250  # it takes ten times as long as the others
FAILS = 0.1
SPLITS = {  # examples in all, to train on and to test on
    "digits, as RAPQ and NSGD split them": (1797, 898, 449),
    "digits of five classes, as HyPe splits them": (900, 50, 850),
    "recordings, as CubeMLP splits them": (80, 16, 48),
    "molecules, as GPR-MGK splits them": (67, 15, 22),
}
WAYS = ("seeds", "seeds and items", "corrected")
CLASSES, FEATURES = 5, 20
PENALTIES = ((1.0, 10.0), (1.0, 1000.0))  # of the two classifiers: alike, and of another bias


def one_fails(draw: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Draw small differences, of which one in ten is a failed run."""
    return draw.normal(0, 0.1, shape) - (draw.random(shape) < FAILS) + FAILS


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Values]] = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "heavy tails (t, 3 degrees)": lambda draw, shape: draw.standard_t(3, shape),
    "skewed (exponential)": lambda draw, shape: draw.exponential(size=shape) - 1,
    "very skewed (log-normal)": lambda draw, shape: draw.lognormal(size=shape) - np.exp(0.5),
    "tied (-1, 0, 0, 0, 1)": lambda draw, shape: draw.choice([-1.0, 0.0, 0.0, 0.0, 1.0], shape),
    "one run in ten fails": one_fails,
}


def student(values: Values) -> tuple[float, float]:
    """Give Student's interval of a mean."""
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), values.std(ddof=1) / np.sqrt(len(values)))
    return float(low), float(high)


def coverage(draws: int) -> list[dict[str, Any]]:
    """Count how often each interval contains zero, the true mean."""
    found: list[dict[str, Any]] = []
    for kind, sample in KINDS.items():
        for count in COUNTS:
            values = sample(np.random.default_rng(count), (draws, count))
            ways: dict[str, list[tuple[float, ...]]] = {
                "bootstrap (BCa)": [bootstrap_interval(each, np.mean) for each in values[:BCA_DRAWS] if np.ptp(each)],
                "Student's t": [student(each) for each in values if np.ptp(each)],
                "of reports": [mean_interval(each) for each in values],
            }
            shares = {name: float(np.mean([low <= 0 <= high for low, high, *_ in each])) for name, each in ways.items()}
            escape = {"escape": (1 - FAILS) ** count} if kind == "one run in ten fails" else {}
            found.append({"differences": kind, "seeds": count, "coverage": shares, **escape})
            print(found[-1], file=sys.stderr, flush=True)
    return found


def report_of(values: Values) -> tuple[bool, bool]:
    """Say whether a report of arms (a row each) has a verdict: by intervals alone, and by adjusted p-values."""
    controls: list[Role] = ["control"] * 5
    roles: list[Role] = ["baseline", "method", "method", *controls]
    empty: dict[str, Any] = {"summary": "", "mean": 0.0, "std": None, "seconds": 0.0, "memory": 0.0}
    arms = [
        ArmResult(name=str(row), role=role, values=tuple(each), secondary={}, costs={}, **empty)
        for row, (role, each) in enumerate(zip(roles, values.tolist(), strict=True))
    ]
    pairs = [(arm, arms[0]) for arm in arms[1:]] + [(method, control) for method in arms[1:3] for control in arms[3:]]
    found = paired_differences(pairs, Metric(name="accuracy"))
    alone = any(not (each.low or 0) <= 0 <= (each.high or 0) for each in found)
    return alone, any(each.verdict in {"better", "worse"} for each in found)


def reports(draws: int) -> list[dict[str, Any]]:
    """Count reports with a verdict where there is no difference."""
    found: list[dict[str, Any]] = []
    for kind, sample in KINDS.items():
        for count in (6, 10, 20):
            draw = np.random.default_rng(count)
            alone, adjusted = np.mean([report_of(sample(draw, (8, count))) for _ in range(draws)], axis=0)
            found.append({"arms": kind, "seeds": count, "interval alone": float(alone), "adjusted": float(adjusted)})
            print(found[-1], file=sys.stderr, flush=True)
    return found


def peeking(draws: int) -> dict[str, float]:
    """Count single comparisons of equal arms that have a verdict at twenty seeds, and after any number from six on."""
    draw = np.random.default_rng(0)
    values = draw.normal(size=(draws, 20))
    significant = [[mean_interval(each[:count])[2] <= 0.05 for count in range(6, 21)] for each in values]
    return {
        "at twenty": float(np.mean([each[-1] for each in significant])),
        "at any": float(np.mean([any(each) for each in significant])),
    }


def items(draws: int) -> list[dict[str, Any]]:
    """Count how often intervals contain zero, where a difference is of the seed, the item and both."""
    found: list[dict[str, Any]] = []
    for seeds in (6, 20):
        for number in (80, 300, 2000):
            for spread in (0.0, 0.02):
                draw = np.random.default_rng(seeds)
                inside: list[list[bool]] = []
                for _ in range(draws):
                    effects = draw.normal(0, spread, (seeds, 1)) + draw.normal(0, 0.3, number)
                    scores = effects + draw.normal(0, 0.3, (seeds, number))
                    ways = (
                        mean_interval(scores.mean(1)),
                        crossed_interval(scores.mean(1), scores.mean(0)),
                    )
                    inside.append([low <= 0 <= high for low, high, _ in ways])
                alone, crossed = np.mean(inside, axis=0)
                row = {"seeds": seeds, "items": number, "spread of seeds": spread}
                found.append({**row, "seeds alone": float(alone), "seeds and items": float(crossed)})
                print(found[-1], file=sys.stderr, flush=True)
    return found


def splits(draws: int) -> list[dict[str, Any]]:
    """Count how often intervals contain the true difference, where all seeds split the same examples."""
    found: list[dict[str, Any]] = []
    for name, (examples, training, test) in SPLITS.items():
        for penalties in PENALTIES:
            draw = np.random.default_rng(0)
            centres = draw.normal(0, 0.45, (CLASSES, FEATURES))
            many = drawn(draw, centres, 40_000)
            true = np.mean([gains(drawn(draw, centres, training), many, penalties).mean() for _ in range(500)])
            inside: list[list[bool]] = []
            widths: list[list[float]] = []
            for _ in range(draws):
                x, y = drawn(draw, centres, examples)
                orders = (draw.permutation(examples) for _ in range(20))
                parts = [(order[:training], order[training : training + test]) for order in orders]
                scores = np.full((len(parts), examples), np.nan)
                for row, (own, held) in zip(scores, parts, strict=True):
                    row[held] = gains((x[own], y[own]), (x[held], y[held]), penalties)
                values = np.nanmean(scores, axis=1)
                error = values.std(ddof=1) * np.sqrt(1 / len(values) + test / training)
                half = stats.t.ppf(0.975, len(values) - 1) * error
                tested = scores[:, ~np.isnan(scores).all(axis=0)]
                crossed = crossed_interval(values, np.nanmean(tested, axis=0))
                ways = mean_interval(values)[:2], crossed[:2], (values.mean() - half, values.mean() + half)
                inside.append([bool(low <= true <= high) for low, high in ways])
                widths.append([high - low for low, high in ways])
            row = {"examples": name, "penalties": penalties, "true difference": float(true)}
            for way, share, width in zip(WAYS, np.mean(inside, axis=0), np.mean(widths, axis=0), strict=True):
                row[way] = {"coverage": float(share), "times as wide": float(width / np.mean(widths, axis=0)[0])}
            found.append(row)
            print(found[-1], file=sys.stderr, flush=True)
    return found


def drawn(draw: np.random.Generator, centres: Values, count: int) -> tuple[Values, npt.NDArray[np.int64]]:
    """Draw examples of overlapping classes."""
    classes = draw.integers(len(centres), size=count)
    return centres[classes] + draw.normal(size=(count, FEATURES)), classes


def gains(training: Any, test: Any, penalties: tuple[float, ...]) -> Values:
    """Give for each test example whether the first classifier is right, less whether the second is."""
    x, y = training
    mean, targets = x.mean(0), np.eye(CLASSES)[y]
    centred = x - mean
    right: list[Values] = []
    for penalty in penalties:
        moments = centred.T @ centred + penalty * np.eye(FEATURES)
        scores = (test[0] - mean) @ np.linalg.solve(moments, centred.T @ targets) + targets.mean(0)
        right.append((scores.argmax(1) == test[1]).astype(float))
    return right[0] - right[1]


def main() -> None:
    """Run the simulations and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000, help="samples of each kind and number of seeds")
    parser.add_argument("--part", choices=("seeds", "items", "splits"), default="seeds")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    draws = arguments.draws
    result: dict[str, Any] = {"environment": this_run(), "draws": draws}
    if arguments.part == "items":
        result["items"] = items(draws)
    elif arguments.part == "splits":
        result["splits"] = splits(draws)
    else:
        result["draws of BCa"] = min(draws, BCA_DRAWS)
        result |= {"coverage": coverage(draws), "reports": reports(draws // 4), "peeking": peeking(draws // 4)}
    print(json.dumps(result, indent=1) if arguments.json else result)


if __name__ == "__main__":
    main()
