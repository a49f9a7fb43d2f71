from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from modicum.perturb.comparison import disagreement, noisy_tune_, r3f_loss, r_drop_loss, symmetric_kl

# A few float32 roundings of numbers near 1.
assert_close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)


class Classifier(nn.Module):
    """Embeds tokens, drops out, averages and classifies: the outputs of transformers, and a loss by hand."""

    def __init__(self, classes: int, rate: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.embedding = nn.Embedding(10, 4)
        self.dropout = nn.Dropout(rate)
        self.head = nn.Linear(4, classes)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, tokens: Tensor, labels: Tensor) -> SimpleNamespace:
        logits = self.head(self.dropout(self.embedding(tokens)).mean(dim=1))
        loss = F.mse_loss(logits[:, 0], labels) if logits.shape[1] == 1 else F.cross_entropy(logits, labels)
        return SimpleNamespace(loss=loss, logits=logits)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    return {"tokens": torch.tensor([[1, 2, 3], [4, 5, 6]]), "labels": torch.tensor([0, 2])}


@pytest.fixture
def two_passes() -> Callable[[nn.Module, dict[str, Tensor]], list[SimpleNamespace]]:
    """The two passes that start from one state of the global generator, which is put back."""

    def run(model: nn.Module, batch: dict[str, Tensor]) -> list[SimpleNamespace]:
        with torch.random.fork_rng():
            return [model(**batch), model(**batch)]

    return run


def test_symmetric_kl_is_the_sum_of_both_divergences_by_hand() -> None:
    p, q = torch.tensor([[0.25, 0.75], [0.5, 0.5]]), torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    there = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    back = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    expected = torch.tensor((there + back) / 2)  # the second example agrees with itself
    assert_close(symmetric_kl(p.log(), q.log()), expected)
    assert_close(symmetric_kl(q.log(), p.log()), expected)


def test_disagreement_of_a_regression_is_twice_the_squared_difference() -> None:
    first, second = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [5.0]])
    assert disagreement(first, second) == 2 * (1 + 9) / 2


def test_r_drop_is_the_mean_loss_and_half_of_alpha_times_the_divergence(
    batch: dict[str, Tensor], two_passes: Callable[..., list[SimpleNamespace]]
) -> None:
    model = Classifier(classes=3, rate=0.5)
    first, second = two_passes(model, batch)
    assert not torch.equal(first.logits, second.logits)
    expected = (first.loss + second.loss) / 2 + 3.0 / 2 * symmetric_kl(first.logits, second.logits)
    assert_close(r_drop_loss(model, batch, alpha=3.0), expected)


def test_r_drop_without_dropout_is_the_plain_loss(batch: dict[str, Tensor]) -> None:
    model = Classifier(classes=3, rate=0.0)
    assert_close(r_drop_loss(model, batch, alpha=3.0), model(**batch).loss)


def test_r_drop_of_a_regression_uses_the_squared_difference(
    batch: dict[str, Tensor], two_passes: Callable[..., list[SimpleNamespace]]
) -> None:
    model, batch = Classifier(classes=1, rate=0.5), {**batch, "labels": torch.tensor([1.0, 3.0])}
    first, second = two_passes(model, batch)
    expected = (first.loss + second.loss) / 2 + F.mse_loss(first.logits, second.logits)
    assert_close(r_drop_loss(model, batch, alpha=1.0), expected)


def test_r3f_compares_the_clean_pass_with_one_on_embeddings_that_carry_the_generators_noise(
    batch: dict[str, Tensor],
) -> None:
    model = Classifier(classes=3, rate=0.0)
    noise = torch.empty(2, 3, 4).normal_(std=0.5, generator=torch.Generator().manual_seed(1))
    noisy = model.head((model.embedding(batch["tokens"]) + noise).mean(dim=1))
    clean = model(**batch)
    expected = clean.loss + 2.0 * symmetric_kl(clean.logits, noisy)
    loss = r3f_loss(model, batch, weight=2.0, sigma=0.5, generator=torch.Generator().manual_seed(1))
    assert_close(loss, expected)
    assert torch.equal(model(**batch).logits, clean.logits), "the hook stayed on the model"


def test_noisy_tune_adds_uniform_noise_of_the_deviation_of_each_parameter() -> None:
    before, after = Classifier(classes=3, rate=0.0), Classifier(classes=3, rate=0.0)
    noisy_tune_(after, intensity=0.3, generator=torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(2)
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        uniform = torch.rand(old.shape, generator=generator) - 0.5
        assert_close(new, old + uniform * 0.3 * old.std())
        assert not torch.equal(new, old)


def test_noisy_tune_leaves_a_parameter_of_one_element() -> None:
    model = nn.Linear(1, 1)
    before = [parameter.clone() for parameter in model.parameters()]
    noisy_tune_(model, intensity=0.3, generator=torch.Generator().manual_seed(2))
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
