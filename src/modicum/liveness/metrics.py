"""Error rates of presentation attack detection in the words of ISO/IEC 30107-3, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from modicum.core.intervals import LEVEL, bootstrap_interval
from modicum.errors import DataError

Array = npt.NDArray[Any]
Interval = tuple[float, float]
_FEWEST = 6  # people; resampling fewer gives intervals that are far too narrow


@dataclass(frozen=True, kw_only=True, slots=True)
class PADMetrics:
    """What a detector gets wrong, as shares from 0 to 1.

    Those that need a threshold are None without one. A photo without a score (NaN: no face was found) is refused, and
    the share of such photos is given.

    Args:
        threshold: bona fide from this score on.
        apcer: share of the attacks of each species that pass.
        apcer_max: that of the worst species: the one to report.
        bpcer: share of the bona fide photos that are refused.
        acer: mean of ``apcer_max`` and ``bpcer``.
        hter: mean of the share of all attacks that pass and of ``bpcer``.
        hter_oracle: the same at the threshold where both are equal on these very photos, as much of the literature has
            it: no threshold that anybody could have known.
        eer: error where both are equal, all species together.
        auc: chance that a bona fide photo scores higher than an attack.
        bpcer10: share of bona fide photos refused where at most 10 % of the attacks of any species pass.
        bpcer20: the same for 5 %.
        bpcer100: the same for 1 %.
        apnrr: share of attacks without a score.
        bpnrr: share of bona fide photos without a score.
        counts: photos by species, those of "bona_fide" among them.
        intervals: 95 %, of apcer (by species: "apcer print"), apcer_max, bpcer, acer, hter and auc: by resampling
            subjects where they are known, and none below six of them; else exact ones of the first three.
    """

    threshold: float | None
    apcer: dict[str, float] | None
    apcer_max: float | None
    bpcer: float | None
    acer: float | None
    hter: float | None
    hter_oracle: float
    eer: float
    auc: float
    bpcer10: float
    bpcer20: float
    bpcer100: float
    apnrr: float
    bpnrr: float
    counts: dict[str, int]
    intervals: dict[str, Interval] = field(default_factory=dict)


def eer_threshold(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Find the threshold at which as large a share of attacks passes as of bona fide photos is refused.

    Args:
        scores: one a photo, shape [n]; higher is more bona fide, of any range; NaN for none.
        labels: 1 for bona fide and 0 for an attack, shape [n].

    Returns:
        The threshold, halfway between two scores.

    Raises:
        DataError: if a class is missing, or scores and labels do not fit.
    """
    found, truth, _ = _checked(scores, labels, None)
    return _equal_errors(found, truth)[0]


def pad_metrics(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    species: Sequence[str] | None = None,
    threshold: float | None = None,
    subjects: Sequence[str | None] | None = None,
) -> PADMetrics:
    """Score a detector.

    Args:
        scores: one a photo, shape [n]; higher is more bona fide, of any range; NaN where there is none.
        labels: 1 for bona fide and 0 for an attack, shape [n].
        species: kind of attack of each photo, shape [n]; what it says of bona fide photos does not count.
        threshold: bona fide from this score on. It has to come from other photos (`eer_threshold` of the source):
            chosen on the photos that are scored, it would be flattering.
        subjects: who is shown on each photo, shape [n]; photos of one person err together, so that intervals draw
            persons. None: each photo is another person's.

    Returns:
        The error rates.

    Raises:
        DataError: if a class is missing, or the arguments are of different lengths.
    """
    found, truth, silent = _checked(scores, labels, threshold)
    kinds = np.array(["attack"] * len(truth) if species is None else [str(kind) for kind in species], dtype=object)
    for name, given in (("species", kinds), ("subjects", kinds if subjects is None else subjects)):
        if len(given) != len(truth):
            raise DataError(f"There are {len(truth)} scores and {len(given)} {name}.", hint="Give one of each a photo.")
    kinds[truth] = "bona_fide"
    names = sorted(set(kinds[~truth]))
    equal, eer = _equal_errors(found, truth)
    rates: dict[str, Any] = dict.fromkeys(("apcer", "apcer_max", "bpcer", "acer", "hter"))
    wrong = None
    if threshold is not None:
        wrong = (found >= threshold) != truth
        apcer = {name: float(wrong[kinds == name].mean()) for name in names}
        worst, bpcer = max(apcer.values()), float(wrong[truth].mean())
        hter = (float(wrong[~truth].mean()) + bpcer) / 2
        rates = {"apcer": apcer, "apcer_max": worst, "bpcer": bpcer, "acer": (worst + bpcer) / 2, "hter": hter}
    passed = (found >= equal) != truth
    metrics = PADMetrics(
        threshold=threshold,
        **rates,
        hter_oracle=float(passed[~truth].mean() + passed[truth].mean()) / 2,
        eer=eer,
        auc=float(roc_auc_score(truth, found)),
        bpcer10=_bpcer_at(0.1, found, truth, kinds, names),
        bpcer20=_bpcer_at(0.05, found, truth, kinds, names),
        bpcer100=_bpcer_at(0.01, found, truth, kinds, names),
        apnrr=float(silent[~truth].mean()),
        bpnrr=float(silent[truth].mean()),
        counts={name: int((kinds == name).sum()) for name in ("bona_fide", *names)},
    )
    groups = {"bpcer": truth, "hter": ~truth, **{f"apcer {name}": kinds == name for name in names}}
    if subjects is not None:
        metrics.intervals.update(_by_subject(metrics, wrong, found, groups, subjects))
    elif wrong is not None:
        exact = {key: _exact(wrong[rows].sum(), rows.sum()) for key, rows in groups.items() if key != "hter"}
        worst = max(names, key=lambda name: wrong[kinds == name].mean())
        metrics.intervals.update(exact, apcer_max=exact[f"apcer {worst}"])
    return metrics


def _checked(scores: npt.ArrayLike, labels: npt.ArrayLike, threshold: float | None) -> tuple[Array, Array, Array]:
    """Give scores, those without one below all others; whether each photo is bona fide; and whether it has no score."""
    found, given = np.asarray(scores, np.float64), np.asarray(labels)
    if found.ndim != 1 or found.shape != given.shape or not np.isin(given, (0, 1)).all() or len(np.unique(given)) < 2:
        raise DataError(
            f"Error rates need a score and a label 0 or 1 a photo, and both labels; got scores of shape "
            f"{list(found.shape)} and labels {np.unique(given)[:5].tolist()} of shape {list(given.shape)}.",
            hint="1 is bona fide, 0 an attack.",
        )
    silent = np.isnan(found)
    if silent.all() or np.isinf(found).any() or (threshold is not None and not np.isfinite(threshold)):
        raise DataError("Scores and threshold must be finite numbers.", hint="NaN is a photo without a score.")
    lowest = min(found[~silent].min(), np.inf if threshold is None else threshold)
    return np.where(silent, lowest - 1 - abs(lowest), found), given == 1, silent


def _equal_errors(found: Array, truth: Array) -> tuple[float, float]:
    """Give the threshold of equal errors, and the error there: the mean of both, since steps may pass each other."""
    accepted, kept, steps = roc_curve(truth, found, drop_intermediate=False)
    gap, total = np.abs(accepted - (1 - kept)), accepted + (1 - kept)
    at = int(np.lexsort((total, np.round(gap, 12)))[0])
    below = steps[at + 1] if at + 1 < len(steps) else steps[at] - 1
    above = steps[at] if np.isfinite(steps[at]) else below + 1
    return float(below + (above - below) / 2), float(total[at] / 2)


def _bpcer_at(share: float, found: Array, truth: Array, kinds: Array, names: Sequence[str]) -> float:
    """Give the share of bona fide photos that is refused where at most so many attacks of each species pass."""
    limits: list[float] = []
    for name in names:
        ranked = np.sort(found[kinds == name])[::-1]
        limits.append(float(ranked[int(share * len(ranked) + 1e-9)]))  # this one, and what ties with it, must not pass
    return float((found[truth] <= max(limits)).mean())


def _exact(errors: float, trials: float) -> Interval:
    low, high = stats.binomtest(round(errors), round(trials)).proportion_ci(LEVEL, method="exact")
    return float(low), float(high)


def _by_subject(
    metrics: PADMetrics,
    wrong: Array | None,
    found: Array,
    groups: dict[str, Array],
    subjects: Sequence[str | None],
) -> dict[str, Interval]:
    """Draw persons again and again; a photo of nobody known is of a person of its own."""
    who = [f"{row}?" if subject is None else f"={subject}" for row, subject in enumerate(subjects)]
    persons, person = np.unique(who, return_inverse=True)
    if len(persons) < _FEWEST:
        return {}
    totals = {key: np.bincount(person[rows], minlength=len(persons)) for key, rows in groups.items()}
    pairs = _pairs(found, groups["bpcer"], person, len(persons))
    intervals: dict[str, Interval] = {}

    def interval(key: str, estimate: float, statistic: Callable[..., Array], persons: int) -> None:
        # Where nobody errs, drawing persons shows no error either: then each person counts as one trial.
        data = np.arange(len(totals["bpcer"]))
        sure = estimate in {0.0, 1.0}
        intervals[key] = _exact(estimate * persons, persons) if sure else bootstrap_interval(data, statistic, batch=500)

    def share(part: Array, whole: Array, estimate: float) -> Array:
        return np.where(whole > 0, part / np.maximum(whole, 1), estimate)  # a draw without such photos says nothing

    def auc(drawn: Array, axis: int = -1) -> Array:
        counts = np.apply_along_axis(np.bincount, axis, drawn, minlength=len(persons)).astype(float)
        whole = (counts @ totals["bpcer"]) * (counts @ totals["hter"])
        return share(((counts @ pairs) * counts).sum(axis=-1), whole, metrics.auc)

    interval("auc", metrics.auc, auc, len(persons))
    if wrong is None:
        return intervals
    errors = {key: np.bincount(person[rows & wrong], minlength=len(persons)) for key, rows in groups.items()}

    def rate(key: str, drawn: Array, axis: int = -1) -> Array:
        part, whole = (each[key][drawn].sum(axis=axis) for each in (errors, totals))
        return share(part, whole, float(wrong[groups[key]].mean()))

    species = [key for key in groups if key.startswith("apcer ")]
    worst = lambda drawn, axis=-1: np.max([rate(key, drawn, axis) for key in species], axis=0)
    for key in ("bpcer", *species):
        here = int((totals[key] > 0).sum())
        interval(key, float(wrong[groups[key]].mean()), partial(rate, key), here)
    interval("apcer_max", metrics.apcer_max or 0.0, worst, int((totals["hter"] > 0).sum()))
    halves = {"acer": worst, "hter": partial(rate, "hter")}
    for key, attacks in halves.items():
        mean = lambda drawn, axis=-1, attacks=attacks: (attacks(drawn, axis=axis) + rate("bpcer", drawn, axis)) / 2
        interval(key, getattr(metrics, key), mean, len(persons))
    return intervals


def _pairs(found: Array, truth: Array, person: Array, count: int) -> Array:
    """Count for each pair of persons how often a bona fide photo of one scores above an attack on the other."""
    pairs = np.zeros((count, count))
    attacks = [np.sort(found[~truth & (person == one)]) for one in range(count)]
    for other, ranked in enumerate(attacks):
        below = np.searchsorted(ranked, found[truth], "left") + np.searchsorted(ranked, found[truth], "right")
        np.add.at(pairs[:, other], person[truth], below / 2)
    return pairs
