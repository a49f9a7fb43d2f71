from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from modicum.core.method import Job
from modicum.perturb import arms, digits
from modicum.perturb.arms import judge
from modicum.perturb.comparison import METHOD
from modicum.perturb.digits import digits_problem
from modicum.perturb.training import Problem, Recipe, Result, fine_tune

BESIDE = "accuracy (STS-B: Spearman)"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "PRE_TRAINING", Recipe(epochs=1, batch=64, rate=5e-3))


def job(**options: str) -> Job:
    given = {"train_size": "20", "epochs": "3", **options}
    return Job(seed=0, budget="demo", settings=METHOD.comparison.settings_for("demo", given))


@pytest.mark.slow
def test_each_arm_changes_the_training(quick: None) -> None:
    # At the paper's sigma the rounding of float32 could hide the noise; at this one it cannot.
    losses = [arm.run(job(sigma="0.1")).beside["training loss"] for arm in METHOD.comparison.arms]
    assert len(set(losses)) == len(losses)


def test_hype_without_noise_is_dropout_off_in_every_bit(quick: None) -> None:  # HYPE-C6
    off = arms.dropout_off(job())
    for silent in (arms.hype_normal(job(sigma="0")), arms.hype_uniform(job(sigma="0"))):
        assert (silent.value, silent.beside) == (off.value, off.beside)


def test_dropout_off_is_a_model_whose_configuration_has_no_dropout(quick: None) -> None:
    problem = digits_problem(0, train_size=20)
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    with torch.random.fork_rng():
        model = ViTForImageClassification(ViTConfig(**{**problem.model.config.to_dict(), **rates}))
    model.load_state_dict(problem.model.state_dict())
    plain = Problem(model, problem.train, problem.held_out)
    expected = fine_tune(plain, Recipe(epochs=3, batch=16, rate=2e-3), seed=0, device="cpu")
    assert arms.dropout_off(job(rate="2e-3")).beside["training loss"] == expected.training_loss


def test_a_result_is_scored_by_its_largest_output() -> None:
    outputs = np.array([[2.0, 1.0], [0.0, 1.0], [0.0, 3.0], [5.0, 1.0]])
    scored = judge(Result(outputs, 0.5, 2.0), "accuracy", np.array([0, 0, 1]), np.array([0, 1, 1, 1]), passes=2)
    assert scored.value == 3 / 4
    assert scored.beside == {BESIDE: 3 / 4, "training loss": 0.5, "diverged": 0}
    assert scored.costs == {"forward passes an update": 2, "fine-tuning": 2.0}


def test_a_run_that_does_no_better_than_the_commonest_class_has_diverged() -> None:
    outputs = np.array([[2.0, 1.0]] * 4)
    scored = judge(Result(outputs, 0.5, 2.0), "accuracy", np.array([0, 0, 1]), np.array([0, 0, 1, 1]), passes=1)
    assert scored.value == 0.5
    assert scored.beside["diverged"] == 1


@pytest.mark.parametrize(("output", "loss"), [(math.nan, 0.5), (math.inf, 0.5), (1.0, math.nan)])
def test_a_run_that_left_the_finite_numbers_scores_as_the_constant_answer(output: float, loss: float) -> None:
    outputs = np.array([[1.0, output]] * 4)
    scored = judge(Result(outputs, loss, 2.0), "accuracy", np.array([0, 0, 1, 1, 1]), np.array([0, 0, 0, 1]), passes=1)
    assert scored.value == 0.25
    assert scored.beside["diverged"] == 1
    assert scored.beside["training loss"] == pytest.approx(-0.4 * math.log(0.4) - 0.6 * math.log(0.6))


def test_a_regression_that_is_constant_has_diverged() -> None:
    scored = judge(Result(np.full((3, 1), 2.5), 1.0, 2.0), "pearson", np.array([1.0, 4.0]), np.arange(3.0), passes=1)
    assert (scored.value, scored.beside["diverged"]) == (0, 1)


def test_a_rate_that_explodes_is_reported_and_not_raised(quick: None) -> None:
    measurement = arms.vanilla(job(rate="1e30"))
    assert measurement.beside["diverged"] == 1
