"""GPR-MGK against chance: one predictor, trained on the same number of molecules that each rule has picked."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Literal, TypeAlias, cast, get_args

import numpy as np

from modicum.core.extras import require
from modicum.core.method import Arm, Comparison, Job, Measurement, Method, Metric, Source
from modicum.core.seeding import derive, numpy_generator
from modicum.core.settings import refuse_idle
from modicum.core.splits import shuffled
from modicum.errors import ConfigError
from modicum.molecules.configuration import COMPARISON, ComparisonSettings
from modicum.molecules.data.pool import Pool
from modicum.molecules.data.published import experimental_labels, published_labels
from modicum.molecules.data.smiles import canonical
from modicum.molecules.data.table import PROPERTIES, PropertyTable, Quantity, read_table
from modicum.molecules.functional import IntArray
from modicum.molecules.kernel.marginalized import MarginalizedGraphKernel
from modicum.molecules.predict.dmpnn import DMPNN
from modicum.molecules.predict.gp import GaussianProcess
from modicum.molecules.predict.scores import apart, mae_over_sizes, score_molecules, score_rows
from modicum.molecules.select.learner import ActiveLearner
from modicum.molecules.select.posterior import posterior_deviation

Rule: TypeAlias = Literal["active", "random", "per size"]

_SMALLEST, _LARGEST = 4, 9
_PUBLISHED_DRAWS = (0, 1, 2)
_FEWEST = 12  # molecules of which a third can be held out
_FEWEST_LABELS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Which molecules each rule may label, and which are predicted."""

    candidates: Mapping[Rule, PropertyTable]  # all are labelled where the settings name no number
    test: PropertyTable


def pick_random(pool: Pool, n: int, *, seed: int) -> IntArray:
    """Pick molecules at random, each subset with equal chance."""
    return shuffled(len(pool), seed, "random pick", count=n)


def pick_per_size(pool: Pool, n: int, *, seed: int) -> IntArray:
    """Pick equally many molecules of each heavy-atom count, at random within each."""
    sizes, counts = np.unique(pool.sizes, return_counts=True)
    random = numpy_generator(seed, "pick per size")
    shares = zip(sizes, equal_shares(counts, n), strict=True)
    return np.concatenate([random.permutation(np.flatnonzero(pool.sizes == size))[:share] for size, share in shares])


def equal_shares(counts: IntArray, n: int) -> IntArray:
    """Deal n picks over groups as evenly as their sizes let."""
    # All groups get the same share, a group that is smaller gives the rest of it to the others, and what is left after
    # that, fewer than there are groups, goes one each to the last groups that still have some.
    level = bisect_right(range(n + 1), n, key=lambda share: int(np.minimum(counts, share).sum())) - 1
    shares = np.minimum(counts, level)
    unfilled = np.flatnonzero(counts > level)
    shares[unfilled[len(unfilled) - (n - shares.sum()) :]] += 1
    return shares


def setup(job: Job) -> Problem:
    """Hold a third of the molecules out; the full budget has published sets instead."""
    require("rdkit", extra="molecules", purpose="Comparing selections")
    settings: ComparisonSettings = job.settings
    defaults = COMPARISON[job.budget]
    if settings.predictor == "gp":
        refuse_idle(settings, defaults, ["networks", "epochs"], where="with predictor=gp, which has no network")
    if job.data is not None:
        refuse_idle(settings, defaults, ["test"], where="with --data, of which a third of the molecules is the test")
    if job.data is None and settings.quantity not in PROPERTIES:
        raise ConfigError(
            f"quantity must be one of {', '.join(PROPERTIES)}, got {settings.quantity!r}.",
            hint=f"Write --option quantity={next(iter(PROPERTIES))}, or give labels of your own with --data.",
        )
    if job.budget == "full" and job.data is None:
        return _published(job.seed, settings)
    if settings.labels < _FEWEST_LABELS or (settings.test != "experiment" and not job.data):
        raise ConfigError(
            f"The demo labels at least {_FEWEST_LABELS} molecules by experiment, got {settings.labels} by "
            f"{settings.test}.",
            hint="Give --option labels=15, or --budget full for simulations.",
        )
    return _split(job, settings)


def _published(seed: int, settings: ComparisonSettings) -> Problem:
    if settings.labels or seed not in _PUBLISHED_DRAWS:
        raise ConfigError(
            f"There are three published sets of about 310 molecules for each rule, not seed {seed} with "
            f"{settings.labels or 'as many'} labels.",
            hint="Use --seeds 0,1,2 and leave labels out, or give labels of your own with --data.",
        )
    quantity = cast("Quantity", settings.quantity)
    if quantity == "cp" and settings.test == "simulation":
        raise ConfigError(
            "The published test set has no heat capacities.",
            hint="Use density or hvap, or --option test=experiment.",
        )
    files: dict[Rule, str] = {"active": f"0.5_{seed}", "random": f"0.5_random{seed}", "per size": f"0.5_nheavy{seed}"}
    sets: dict[Rule, PropertyTable] = {rule: published_labels(name, quantity) for rule, name in files.items()}
    if settings.test == "experiment":
        return Problem(candidates=sets, test=experimental_labels(quantity))
    return Problem(candidates=sets, test=apart(published_labels("test", quantity), *sets.values()))


def _split(job: Job, settings: ComparisonSettings) -> Problem:
    if job.data is None:
        labels = experimental_labels(cast("Quantity", settings.quantity))
        sizes = Pool.of(labels.molecules).sizes
        within = (sizes >= _SMALLEST) & (sizes <= _LARGEST)
        labels = labels.of(frozenset(np.array(labels.molecules)[within].tolist()))
    else:
        labels = read_table(job.data, settings.quantity)
        # Merged sources spell a molecule in several ways, and it would be in both parts.
        labels = replace(labels, smiles=tuple(map(canonical, labels.smiles)))
    molecules = labels.molecules
    count = len(molecules)
    if count < _FEWEST:
        raise ConfigError(
            f"There are {count} molecules, but at least {_FEWEST} are needed to hold a third of them out.",
            hint="Give more molecules: several temperatures of one do not count.",
        )
    if settings.labels > count - count // 3:
        raise ConfigError(
            f"A third of {count} molecules is held out, which leaves {count - count // 3} to label, not "
            f"{settings.labels}.",
            hint=f"Write --option labels={count - count // 3}, or fewer.",
        )
    test = frozenset(molecules[index] for index in shuffled(count, job.seed, "split", count=count // 3).tolist())
    candidates = labels.of(frozenset(molecules) - test)
    return Problem(candidates=dict.fromkeys(get_args(Rule), candidates), test=labels.of(test))


def pick(rule: Rule, candidates: PropertyTable, count: int, *, seed: int) -> PropertyTable:
    """Label some of the candidates by a rule; which ones depends on no label."""
    pool = Pool.of(candidates.molecules)
    if rule == "active":
        learner = ActiveLearner(_kernel(), pool, seed=seed)
        picked = list(learner.picks[:count])
        picked += learner.propose(count - len(picked)) if count > len(picked) else ()
    else:
        draw = pick_random if rule == "random" else pick_per_size
        picked = draw(pool, count, seed=seed).tolist()
    return candidates.of(frozenset(pool.smiles[index] for index in picked))


def _measure(job: Job, problem: Problem, *, rule: Rule) -> Measurement:
    settings: ComparisonSettings = job.settings
    training, test = problem.candidates[rule], problem.test
    if settings.labels:
        training = pick(rule, training, settings.labels, seed=job.seed)
    measured = None  # a user's own labels may be experiments themselves
    if job.data is None:
        measured = test if settings.test == "experiment" else experimental_labels(cast("Quantity", settings.quantity))
    scores = [_score(predictor, test, measured) for predictor in _predictors(job, settings, training)]
    means = {name: fmean(score[name] for score in scores) for name in scores[0]}
    errors = [score[_METRIC.name] for score in scores]
    secondary = {
        "spread over networks": max(errors) - min(errors),
        "largest deviation": float(posterior_deviation(_kernel(), training.molecules, test.molecules).max()),
    }
    return Measurement(
        value=means.pop(_METRIC.name),
        secondary=means | secondary,
        costs={"labelled molecules": float(len(training.molecules))},
    )


def _predictors(job: Job, settings: ComparisonSettings, training: PropertyTable) -> Iterator[DMPNN | GaussianProcess]:
    if settings.predictor == "gp":
        yield GaussianProcess(_kernel()).fit(training, seed=job.seed)
        return
    for network in range(settings.networks):  # of one draw of molecules, and the same seeds for every rule
        seed = derive(job.seed, f"network {network}")
        yield DMPNN().fit(training, epochs=settings.epochs, seed=seed, device=job.device)


def _score(predictor: DMPNN | GaussianProcess, test: PropertyTable, measured: PropertyTable | None) -> dict[str, float]:
    predicted = _predicted(predictor, test)
    rows = score_rows(predicted, test)
    found = {
        _METRIC.name: mae_over_sizes(predicted, test),
        "R2 of rows": rows.r2,
        "R2 of molecules": score_molecules(predicted, test).r2,
        "mean absolute error of rows": rows.mae,
    }
    if measured is not None:
        predicted = _predicted(predictor, measured)
        found["R2 by experiment"] = score_rows(predicted, measured).r2
        found["RMSE by experiment"] = float(np.sqrt(np.mean((predicted.value - measured.value) ** 2)))
    return found


def _predicted(predictor: DMPNN | GaussianProcess, asked: PropertyTable) -> PropertyTable:
    value = predictor.predict(asked.smiles, asked.temperature)
    return replace(asked, value=value, error=None)


def _kernel() -> MarginalizedGraphKernel:
    return MarginalizedGraphKernel.published(tolerance=1e-7)


# In the unit of the property. Most of the published test molecules are of the largest size, which would decide alone.
_METRIC = Metric(name="mean absolute error over sizes", higher_is_better=False)

_COMPARISON = Comparison(
    method="gprmgk",
    question="Does active learning with the graph kernel pick better molecules to label than chance?",
    metric=_METRIC,
    arms=(
        Arm(name="random", role="baseline", run=partial(_measure, rule="random"), summary="molecules at random"),
        Arm(
            name="active learning",
            role="method",
            run=partial(_measure, rule="active"),
            summary="greedily the molecule of largest posterior std under the graph kernel",
        ),
        Arm(
            name="uniform per size",
            role="control",
            run=partial(_measure, rule="per size"),
            summary="equally many of each number of atoms: is it only that small molecules are seen, too?",
        ),
    ),
    secondary=(
        Metric(name="R2 of rows", digits=4),
        Metric(name="R2 of molecules", digits=4),
        Metric(name="mean absolute error of rows", higher_is_better=False),
        Metric(name="R2 by experiment", digits=4),
        Metric(name="RMSE by experiment", higher_is_better=False),
        Metric(name="spread over networks", higher_is_better=False),
        Metric(name="largest deviation", higher_is_better=False),
    ),
    costs=(Metric(name="labelled molecules", higher_is_better=False, digits=0),),
    settings=COMPARISON,
    setup=setup,
    data={
        "demo": "measured liquid densities of 67 alkanes up to C9 (package chemicals); a third is held out by the seed",
        "full": "alkanes: published simulations of about 310 molecules for each rule and draw; seeds 0, 1 and 2",
    },
    own_data="A CSV table with the columns smiles, T (K, if the quantity has one) and the quantity; a third of its "
    "molecules is held out.",
)

METHOD = Method(
    name="gprmgk",
    title="GPR-MGK: active learning over molecules with a marginalized graph kernel",
    saves="simulations",
    sources=(
        Source(
            authors="Xiang, Tang, Gong, Liu, Wu, Lin and Sun",
            year=2024,
            title="Efficient Exploration of Chemical Compound Space Using Active Learning for Prediction of "
            "Thermodynamic Properties of Alkane Molecules",
            address="https://arxiv.org/abs/2209.00514",
        ),
        Source(
            authors="Tang and de Jong",
            year=2019,
            title="Prediction of atomization energy using graph kernel and active learning",
            address="https://doi.org/10.1063/1.5078640",
        ),
        Source(
            authors="Xiang and others",
            year=2023,
            title="ALMS, commit 8db99ca: code, labels, predictions and hyper-parameters",
            address="https://github.com/Xiangyan93/ALMS",
        ),
    ),
    comparison=_COMPARISON,
)
