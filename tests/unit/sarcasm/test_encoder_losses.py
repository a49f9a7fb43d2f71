"""The joint loss against sums written out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from modicum.sarcasm import functional
from modicum.sarcasm.data.examples import Example
from modicum.sarcasm.encoder.modeling import SarcasmOutput
from modicum.sarcasm.encoder.training import Targets, Weights, joint_loss

NAN = math.nan
# Three texts (sarcastic, not, unknown), then the rephrase of the first.
OUTPUTS = SarcasmOutput(
    sarcastic=torch.tensor([0.5, -1.0, 2.0, 9.0]),
    categories=torch.arange(24.0).view(4, 6) / 10,
    rank=torch.tensor([0.3, 5.0, 5.0, -0.2]),
)
TARGETS = Targets(
    sarcastic=torch.tensor([1.0, 0.0, NAN]),
    language=torch.tensor([0, 1, 0]),
    categories=torch.tensor([[1.0, 0, 0, 0, 1, 0], [NAN] * 6, [NAN] * 6]),
    parents=torch.tensor([0]),
)
WEIGHTS = Weights(sarcastic=torch.tensor([3.0, 2.0]), categories=torch.full((6,), 4.0))


NOTHING = Targets(
    sarcastic=torch.full((3,), NAN),
    language=TARGETS.language,
    categories=torch.full((3, 6), NAN),
    parents=torch.zeros(0, dtype=torch.int64),
)


def loss(**known: Tensor) -> float:
    """Give the loss of some targets alone."""
    return float(joint_loss(OUTPUTS, replace(NOTHING, **known), WEIGHTS))


def test_the_first_task_weighs_the_sarcastic_of_each_language_and_leaves_out_what_is_unknown() -> None:
    wanted = -(3 * logsigmoid(torch.tensor(0.5)) + logsigmoid(torch.tensor(1.0))) / 2
    assert loss(sarcastic=TARGETS.sarcastic) == pytest.approx(float(wanted), rel=1e-6)


def test_categories_are_learnt_from_the_sarcastic_alone() -> None:
    logits, labels = OUTPUTS.categories[0], TARGETS.categories[0]
    wanted = functional.binary_loss(logits, labels, 4.0)
    assert loss(categories=TARGETS.categories) == pytest.approx(float(wanted), rel=1e-6)


def test_a_text_is_ranked_above_its_own_rephrase() -> None:
    assert loss(parents=TARGETS.parents) == pytest.approx(math.log1p(math.exp(-0.5)), rel=1e-6)


def test_the_losses_of_the_three_tasks_add_up() -> None:
    parts = [loss(**{name: getattr(TARGETS, name)}) for name in ("sarcastic", "categories", "parents")]
    assert float(joint_loss(OUTPUTS, TARGETS, WEIGHTS)) == pytest.approx(sum(parts), rel=1e-6)


def test_a_batch_with_nothing_to_learn_costs_nothing_and_has_a_gradient() -> None:
    outputs = SarcasmOutput(
        sarcastic=torch.ones(1, requires_grad=True), categories=torch.ones(1, 6), rank=torch.ones(1)
    )
    targets = Targets(
        sarcastic=torch.tensor([NAN]),
        language=torch.tensor([0]),
        categories=torch.full((1, 6), NAN),
        parents=torch.zeros(0, dtype=torch.int64),
    )
    found = joint_loss(outputs, targets, WEIGHTS)
    found.backward()
    assert float(found.detach()) == 0


def examples(english: tuple[int, int], arabic: tuple[int, int]) -> list[Example]:
    """So many (not sarcastic, sarcastic) in each language."""
    return [
        Example(text="x", language=language, sarcastic=label)  # type: ignore[arg-type]
        for language, counts in (("en", english), ("ar", arabic))
        for label, count in enumerate(counts)
        for _ in range(count)
    ]


def test_weights_are_counted_over_the_split_by_language() -> None:
    # The shared task's counts: 2600 / 867 and 2357 / 745.
    found = Weights.of(examples((2600, 867), (2357, 745)))
    assert found.sarcastic.tolist() == pytest.approx([2600 / 867, 2357 / 745], rel=1e-6)


def test_a_language_with_one_label_takes_the_weight_of_all() -> None:
    assert Weights.of(examples((6, 2), (4, 0))).sarcastic.tolist() == pytest.approx([3.0, 5.0])


def test_category_weights_are_those_among_the_sarcastic_within_the_cap() -> None:
    kinds = [(1, 0, 0, 1, 0, 0)] * 24 + [(1, 1, 0, 0, 0, 0)]
    split = [Example(text="x", language="en", sarcastic=1, categories=kind) for kind in kinds]
    split += [Example(text="x", language="en", sarcastic=0, categories=(0,) * 6)] * 50
    assert Weights.of(split).categories.tolist() == pytest.approx([0.05, 20.0, 20.0, 0.05, 20.0, 20.0])
    assert Weights.of(examples((1, 1), (0, 0))).categories.tolist() == [1.0] * 6
