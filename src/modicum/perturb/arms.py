"""The arms of the comparison: one fine-tuning, and what each arm changes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from modicum.core.extras import require
from modicum.core.method import Job, Measurement
from modicum.core.seeding import derive, torch_generator
from modicum.perturb.configuration import ComparisonSettings, comparison_settings
from modicum.perturb.digits import digits_problem
from modicum.perturb.dropout import DropoutSwitch
from modicum.perturb.glue import find_task
from modicum.perturb.metrics import MetricName, constant_answer, constant_loss, main_score, second_score
from modicum.perturb.siblings import noisy_tune_, r3f_loss, r_drop_loss
from modicum.perturb.texts import text_problem
from modicum.perturb.training import Change, Problem, Recipe, Result, fine_tune

# Ours, of the sizes that the papers use as far as we know them; none of them was tuned here.
# The noise of NEFTune is alpha / sqrt(length times width): 5, the smallest of its paper, is 0.016 for 128 tokens of 768
# numbers, and 0.36 is the same for the 16 patches of 32 numbers of the demo.
NEFTUNE_ALPHA = {"demo": 0.36, "full": 5.0}
R_DROP_ALPHA = 1.0
R3F_WEIGHT = 1.0
NOISY_TUNE_INTENSITY = 0.15

Alter: TypeAlias = Callable[[Job, ComparisonSettings, Problem], Change]


def vanilla(job: Job) -> Measurement:
    """Fine-tune with the model's own dropout."""
    return _measure(job, lambda *_: Change())


def hype_normal(job: Job) -> Measurement:
    """Fine-tune with normal noise on the input of every layer, without dropout."""
    return _measure(job, lambda job, plan, _: _hype(job, plan, "normal"))


def hype_uniform(job: Job) -> Measurement:
    """Fine-tune with uniform noise on the input of every layer, without dropout."""
    return _measure(job, lambda job, plan, _: _hype(job, plan, "uniform"))


def dropout_off(job: Job) -> Measurement:
    """Fine-tune without dropout and without noise: what HyPe does apart from its noise, and nothing else."""
    return _measure(job, _dropout_off)


def neftune(job: Job) -> Measurement:
    """Fine-tune with dropout and with uniform noise on the embeddings alone, by Trainer's own option."""
    return _measure(job, lambda job, *_: Change(neftune=NEFTUNE_ALPHA[job.budget]))


def r_drop(job: Job) -> Measurement:
    """Fine-tune with two passes of different dropout that must answer alike."""
    return _measure(
        job,
        lambda *_: Change(loss=lambda model, inputs: r_drop_loss(model, inputs, alpha=R_DROP_ALPHA), passes=2),
    )


def r3f(job: Job) -> Measurement:
    """Fine-tune with a second pass, on noisy embeddings, that must answer as the first."""
    return _measure(job, _r3f)


def noisy_tune(job: Job) -> Measurement:
    """Fine-tune from pre-trained weights that got uniform noise once."""
    return _measure(job, _noisy_tune)


def _hype(job: Job, plan: ComparisonSettings, noise: Literal["normal", "uniform"]) -> Change:
    from modicum.perturb import HyPeCallback, HyPeConfig

    return Change(callbacks=[HyPeCallback(HyPeConfig(noise=noise, sigma=plan.sigma, seed=derive(job.seed, "noise")))])


def _dropout_off(_: Job, __: ComparisonSettings, problem: Problem) -> Change:
    DropoutSwitch(problem.model)  # the very one that HyPe uses, so that the arms differ in the noise alone
    return Change()


def _r3f(job: Job, plan: ComparisonSettings, _: Problem) -> Change:
    generator = torch_generator(job.seed, "noise", job.device)
    return Change(
        loss=lambda model, inputs: r3f_loss(model, inputs, weight=R3F_WEIGHT, sigma=plan.sigma, generator=generator),
        passes=2,
    )


def _noisy_tune(job: Job, _: ComparisonSettings, problem: Problem) -> Change:
    noisy_tune_(problem.model.base_model, intensity=NOISY_TUNE_INTENSITY, generator=torch_generator(job.seed, "noise"))
    return Change()


def _measure(job: Job, alter: Alter) -> Measurement:
    plan = comparison_settings(job)
    require("transformers", extra="text", purpose="Fine-tuning")
    problem, metric = _problem(job, plan)
    change = alter(job, plan, problem)
    recipe = Recipe(epochs=plan.epochs, batch=plan.batch, rate=plan.rate)
    result = fine_tune(problem, recipe, seed=job.seed, device=job.device, change=change)
    train_labels, labels = (
        np.array([example["labels"] for example in part]) for part in (problem.train, problem.held_out)
    )
    return judge(result, metric, train_labels, labels, passes=change.passes)


def _problem(job: Job, plan: ComparisonSettings) -> tuple[Problem, MetricName]:
    if job.budget == "demo":
        return digits_problem(job.seed, train_size=plan.train_size), "accuracy"
    task = find_task(plan.task)
    problem = text_problem(
        task, job.data, model=plan.model, seed=job.seed, train_size=plan.train_size, max_length=plan.max_length
    )
    return problem, task.metric


def judge(
    result: Result, metric: MetricName, train_labels: np.ndarray, labels: np.ndarray, *, passes: int
) -> Measurement:
    """Score a result; one that is not finite scores as the constant prediction does."""
    constant = constant_answer(metric, train_labels)
    finite = bool(np.isfinite(result.outputs).all()) and math.isfinite(result.training_loss)
    if not finite:
        predictions = np.full(len(labels), constant)
    elif metric == "pearson":
        predictions = result.outputs[:, 0]
    else:
        predictions = result.outputs.argmax(axis=1)
    score = main_score(metric, predictions, labels)
    chance = main_score(metric, np.full(len(labels), constant), labels)
    return Measurement(
        value=score,
        beside={
            "accuracy (STS-B: Spearman)": second_score(metric, predictions, labels),
            "training loss": result.training_loss if finite else constant_loss(metric, train_labels),
            "diverged": float(not finite or score <= chance),
        },
        costs={"forward passes an update": float(passes), "fine-tuning": result.seconds},
    )
