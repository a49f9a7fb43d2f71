"""The arms of the comparison: one predictor, trained on the same number of molecules that each rule has picked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modicum.core.extras import require
from modicum.core.method import Job, Measurement
from modicum.molecules.baselines import pick_per_size, pick_random
from modicum.molecules.dmpnn import DMPNN
from modicum.molecules.experiment import experimental_labels
from modicum.molecules.gp import GaussianProcess
from modicum.molecules.kernel import MarginalizedGraphKernel
from modicum.molecules.pool import Pool
from modicum.molecules.posterior import posterior_deviation
from modicum.molecules.problem import Plan, Rule, candidates_and_test, published_sets
from modicum.molecules.scores import Score, score_molecules, score_rows
from modicum.molecules.selection import ActiveLearner
from modicum.molecules.table import PropertyTable


def random(job: Job) -> Measurement:
    """Label molecules at random."""
    return _measure(job, "random")


def active_learning(job: Job) -> Measurement:
    """Label the molecules of which the kernel knows least, one after another."""
    return _measure(job, "active")


def per_size(job: Job) -> Measurement:
    """Label equally many molecules of each size."""
    return _measure(job, "per size")


def pick(rule: Rule, candidates: PropertyTable, count: int, *, seed: int) -> PropertyTable:
    """Label some of the candidates by a rule; which ones depends on no label."""
    pool = Pool.of(candidates.molecules)
    if rule == "active":
        learner = ActiveLearner(_kernel(), pool, seed=seed)
        places = list(learner.picks[:count])
        places += learner.propose(count - len(places)) if count > len(places) else ()
    else:
        draw = pick_random if rule == "random" else pick_per_size
        places = draw(pool, count, seed=seed).tolist()
    return candidates.of(frozenset(pool.smiles[place] for place in places))


def _measure(job: Job, rule: Rule) -> Measurement:
    plan = Plan.of(job)
    require("rdkit", extra="molecules", purpose="Comparing selections")
    if job.budget == "full" and job.data is None:
        sets, test = published_sets(job.seed, plan)
        training = sets[rule]
    else:
        candidates, test = candidates_and_test(job, plan)
        training = pick(rule, candidates, plan.labels, seed=job.seed)
    predictor = _fit(job, plan, training)
    predicted = _predicted(predictor, test)
    rows, molecules = score_rows(predicted, test), score_molecules(predicted, test)
    deviation = posterior_deviation(_kernel(), training.molecules, test.molecules)
    beside = {
        "mean absolute error": rows.mae,
        "R2 of molecules": _floored(molecules),
        "largest deviation": float(deviation.max()),
    }
    if job.data is None:  # a user's own labels may be experiments themselves
        measured = test if plan.test == "experiment" else experimental_labels(plan.quantity)
        beside["R2 by experiment"] = _floored(score_rows(_predicted(predictor, measured), measured))
    return Measurement(
        value=_floored(rows), beside=beside, costs={"labelled molecules": float(len(training.molecules))}
    )


def _fit(job: Job, plan: Plan, training: PropertyTable) -> DMPNN | GaussianProcess:
    if plan.predictor == "dmpnn":
        return DMPNN().fit(training, epochs=plan.epochs, seed=job.seed, device=job.device)
    return GaussianProcess(_kernel()).fit(training, seed=job.seed)


def _predicted(predictor: DMPNN | GaussianProcess, asked: PropertyTable) -> PropertyTable:
    value = predictor.predict(asked.smiles, asked.temperature)
    return replace(asked, value=value, error=None)


def _kernel() -> MarginalizedGraphKernel:
    return MarginalizedGraphKernel.published(tolerance=1e-7)


def _floored(score: Score) -> float:
    # A run that is no better than the mean of the test labels has 0: how much worse it is would rule every mean.
    return float(np.clip(score.r2, 0.0, 1.0))
