"""The joint loss against sums written out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import logsigmoid

from modicum.errors import ConfigError, DataError
from modicum.sarcasm import functional
from modicum.sarcasm.encoder.losses import Counts, Objective, Targets, divergence, joint_loss
from modicum.sarcasm.encoder.modeling import SarcasmOutput
from modicum.sarcasm.examples import Example

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
COUNTS = Counts(negatives_per_positive=torch.tensor([3.0, 2.0]), pooled=2.5, categories=torch.full((6,), 4.0))


def loss(**settings: object) -> float:
    return float(joint_loss(OUTPUTS, TARGETS, COUNTS, Objective(**settings)))  # type: ignore[arg-type]


def test_the_first_task_weighs_the_sarcastic_of_each_language_and_leaves_out_what_is_unknown() -> None:
    wanted = -(3 * logsigmoid(torch.tensor(0.5)) + logsigmoid(torch.tensor(1.0))) / 2
    assert loss(weights=(1, 0, 0)) == pytest.approx(float(wanted), rel=1e-6)


def test_the_other_losses_of_the_first_task() -> None:
    logits, labels = OUTPUTS.sarcastic[:2], torch.tensor([1.0, 0.0])
    focal = functional.focal_loss(logits, labels, alpha=2.5 / 3.5)
    assert loss(weights=(1, 0, 0), sarcastic="focal") == pytest.approx(float(focal), rel=1e-6)
    asymmetric = functional.asymmetric_loss(logits, labels)
    assert loss(weights=(1, 0, 0), sarcastic="asymmetric") == pytest.approx(float(asymmetric), rel=1e-6)
    # The log odds of a quarter and of a third: -log 3 and -log 2.
    adjusted = -(logsigmoid(torch.tensor(0.5 - math.log(3))) + logsigmoid(torch.tensor(1 + math.log(2)))) / 2
    assert loss(weights=(1, 0, 0), sarcastic="logit_adjusted") == pytest.approx(float(adjusted), rel=1e-6)


def test_categories_are_learnt_from_the_sarcastic_alone() -> None:
    logits, labels = OUTPUTS.categories[0], TARGETS.categories[0]
    wanted = functional.binary_loss(logits, labels, 4.0)
    assert loss(weights=(0, 1, 0)) == pytest.approx(float(wanted), rel=1e-6)
    wanted = functional.asymmetric_loss(logits, labels)
    assert loss(weights=(0, 1, 0), categories="asymmetric") == pytest.approx(float(wanted), rel=1e-6)


def test_a_text_is_ranked_above_its_own_rephrase() -> None:
    assert loss(weights=(0, 0, 1)) == pytest.approx(math.log1p(math.exp(-0.5)), rel=1e-6)


def test_a_cross_encoder_learns_both_orders() -> None:
    pairs = torch.tensor([-0.4, 0.7])  # (text, rephrase), (rephrase, text): the second is it in the latter
    objective = Objective(weights=(0, 0, 1))
    found = joint_loss(OUTPUTS, TARGETS, COUNTS, objective, pairs=pairs)
    wanted = (math.log1p(math.exp(-0.4)) + math.log1p(math.exp(-0.7))) / 2
    assert float(found) == pytest.approx(wanted, rel=1e-6)


def test_losses_add_up_by_their_weights() -> None:
    parts = [loss(weights=weights) for weights in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert loss(weights=(0.5, 2, 3)) == pytest.approx(0.5 * parts[0] + 2 * parts[1] + 3 * parts[2], rel=1e-6)


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
    found = joint_loss(outputs, targets, COUNTS, Objective())
    found.backward()
    assert float(found.detach()) == 0


def test_divergence_is_that_of_the_texts_without_the_rephrases() -> None:
    other = SarcasmOutput(sarcastic=OUTPUTS.sarcastic + torch.tensor([0.1, -0.2, 0.3, 99.0]))
    wanted = functional.symmetric_divergence(OUTPUTS.sarcastic[:3], other.sarcastic[:3])
    assert float(divergence(OUTPUTS, other, TARGETS)) == pytest.approx(float(wanted), rel=1e-6)


def examples(english: tuple[int, int], arabic: tuple[int, int]) -> list[Example]:
    """So many (not sarcastic, sarcastic) in each language."""
    return [
        Example(text="x", language=language, sarcastic=label)  # type: ignore[arg-type]
        for language, counts in (("en", english), ("ar", arabic))
        for label, count in enumerate(counts)
        for _ in range(count)
    ]


def test_weights_are_counted_over_the_split_by_language_or_pooled() -> None:
    # The shared task's counts: 2600 / 867 and 2357 / 745.
    split = examples((2600, 867), (2357, 745))
    each = Counts.of(split, Objective())
    assert each.negatives_per_positive.tolist() == pytest.approx([2600 / 867, 2357 / 745], rel=1e-6)
    assert each.pooled == pytest.approx(4957 / 1612)
    both = Counts.of(split, Objective(by_language=False))
    assert both.negatives_per_positive.tolist() == pytest.approx([4957 / 1612] * 2, rel=1e-6)


def test_class_balanced_weights_are_ratios_of_effective_numbers() -> None:
    split = examples((2600, 867), (2357, 745))
    number = lambda count: (1 - 0.999**count) / (1 - 0.999)
    objective = Objective(sarcastic="class_balanced")
    each = Counts.of(split, objective).negatives_per_positive.tolist()
    assert each == pytest.approx([number(2600) / number(867), number(2357) / number(745)], rel=1e-6)
    both = Counts.of(split, replace(objective, by_language=False)).negatives_per_positive.tolist()
    assert both == pytest.approx([number(4957) / number(1612)] * 2, rel=1e-6)


@pytest.mark.parametrize(("balance", "wanted"), [(0.0, [1.0, 1.0]), (1 - 1e-9, [2600 / 867, 2357 / 745])])
def test_class_balanced_weights_go_from_none_to_those_of_the_counts(balance: float, wanted: list[float]) -> None:
    objective = Objective(sarcastic="class_balanced", balance=balance)
    found = Counts.of(examples((2600, 867), (2357, 745)), objective).negatives_per_positive
    assert found.tolist() == pytest.approx(wanted, rel=1e-5)


def test_the_class_balanced_loss_is_the_weighted_cross_entropy() -> None:
    assert loss(weights=(1, 0, 0), sarcastic="class_balanced") == loss(weights=(1, 0, 0))  # COUNTS has the weights


def test_a_language_with_one_label_takes_the_weight_of_all() -> None:
    found = Counts.of(examples((6, 2), (4, 0)), Objective())
    assert found.negatives_per_positive.tolist() == pytest.approx([3.0, 5.0])
    balanced = Counts.of(examples((6, 2), (4, 0)), Objective(sarcastic="class_balanced", balance=0.5))
    assert balanced.negatives_per_positive.tolist() == pytest.approx([(1 - 2**-6) / 0.75, (1 - 2**-10) / 0.75])


def test_category_weights_are_those_among_the_sarcastic_within_the_cap() -> None:
    kinds = [(1, 0, 0, 1, 0, 0)] * 3 + [(1, 1, 0, 0, 0, 0)]
    split = [Example(text="x", language="en", sarcastic=1, categories=kind) for kind in kinds]
    split += [Example(text="x", language="en", sarcastic=0, categories=(0,) * 6)] * 50
    found = Counts.of(split, Objective(category_cap=10)).categories
    assert found.tolist() == pytest.approx([0.1, 3.0, 10.0, 1 / 3, 10.0, 10.0])
    assert Counts.of(examples((1, 1), (0, 0)), Objective()).categories.tolist() == [1.0] * 6


def test_one_label_alone_is_refused_where_the_first_task_is_learnt() -> None:
    with pytest.raises(DataError, match=r"Of 3 labelled examples all have the same label. Give sarcastic and other"):
        Counts.of(examples((0, 3), (0, 0)), Objective())
    assert Counts.of(examples((0, 3), (0, 0)), Objective(weights=(0, 0, 1))).pooled == 1


@pytest.mark.parametrize(
    "settings", [{"weights": (-1, 1, 1)}, {"weights": (0, 0, 0)}, {"r_drop": -1}, {"fgm": -1}, {"category_cap": 0}]
)
def test_numbers_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"The weights of the losses are .* Give none below 0"):
        Objective(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("balance", [-0.1, 1.0, NAN])
def test_a_balance_out_of_range_is_refused(balance: float) -> None:
    with pytest.raises(ConfigError, match=r"balance is .* Give a number from 0 to below 1."):
        Objective(balance=balance)


def test_a_loss_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"There is no loss 'class-balanced'. Use one of: cross_entropy, focal"):
        Objective(sarcastic="class-balanced")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"There is no loss 'focal'. Use one of: cross_entropy, asymmetric."):
        Objective(categories="focal")  # type: ignore[arg-type]
