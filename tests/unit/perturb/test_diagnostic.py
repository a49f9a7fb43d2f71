from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError, ModelError, StateError
from modicum.perturb import HyPe, HyPeConfig, gradient_change

Batch = dict[str, Tensor]


# HYPE-C7
@pytest.mark.slow
def test_gradient_change_of_minilm_is_linear_and_that_of_the_specification(
    minilm: BertForSequenceClassification,
) -> None:
    tokens = torch.randint(1000, 20000, (8, 32), generator=torch_generator(0, "tokens"))
    batch = {"input_ids": tokens, "labels": torch.tensor([0, 1] * 4)}
    # Below 1e-4 the rounding of float32 (1e-7 of the gradient, against a change of 3e-5) is no longer small beside 2 %.
    sigmas = [1e-5, 1e-4, 1e-3, 1e-2]
    slopes = {}
    for noise in ("normal", "uniform"):
        rows = gradient_change(minilm, batch, sigmas, config=HyPeConfig(noise=noise))
        slopes[noise] = [row.change / row.sigma for row in rows]
        assert max(slopes[noise]) / min(slopes[noise]) < 1.02
    print(slopes)
    assert slopes["uniform"][1] / slopes["normal"][1] == pytest.approx(3**-0.5, rel=0.1)


def test_the_table_is_that_of_two_gradients_by_hand(bert: BertForSequenceClassification, batch: Batch) -> None:
    rows = gradient_change(bert, batch, [0.1, 0.01])
    assert [row.sigma for row in rows] == [0.1, 0.01]
    gradients = []
    for sigma in (0.0, 0.1):
        with HyPe(bert, HyPeConfig(sigma=sigma)):
            bert(**batch).loss.backward()
        flat = [parameter.grad.flatten() for parameter in bert.parameters() if parameter.grad is not None]
        gradients.append(torch.cat(flat).double())
        bert.zero_grad()
    change = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
    assert rows[0].change == pytest.approx(change.item(), rel=1e-6)


def test_everything_is_as_it_was_afterwards(bert: BertForSequenceClassification, batch: Batch) -> None:
    bert.eval()
    bert.bert.encoder.layer[1].train()
    bert.register_buffer("count", torch.zeros(()))
    bert.register_forward_hook(lambda module, args, output: module.get_buffer("count").add_(1) and None)
    bert.classifier.weight.grad = torch.ones_like(bert.classifier.weight)
    modes, state = [module.training for module in bert.modules()], torch.get_rng_state()
    gradient_change(bert, batch, [0.1])
    assert [module.training for module in bert.modules()] == modes
    assert bert.get_buffer("count") == 0
    assert torch.equal(bert.classifier.weight.grad, torch.ones_like(bert.classifier.weight))
    assert bert.bert.pooler.dense.weight.grad is None
    assert torch.equal(state, torch.get_rng_state())
    assert bert.bert.embeddings.dropout.p == 0.1


def test_a_batch_without_labels_is_refused(bert: BertForSequenceClassification, batch: Batch) -> None:
    with pytest.raises(ModelError, match=r"The output of the model has no loss\. Put labels into the batch"):
        gradient_change(bert, {"input_ids": batch["input_ids"]}, [0.1])


def test_no_sigma_is_refused(bert: BertForSequenceClassification, batch: Batch) -> None:
    with pytest.raises(ConfigError, match=r"at least one sigma, but sigmas is empty\. Try \[1e-5, 1e-3\]"):
        gradient_change(bert, batch, [])


def test_a_model_that_is_perturbed_already_is_refused(bert: BertForSequenceClassification, batch: Batch) -> None:
    with HyPe(bert), pytest.raises(StateError, match="attached to this model already"):
        gradient_change(bert, batch, [0.1])


def test_a_gradient_of_zero_is_refused(bert: BertForSequenceClassification, batch: Batch) -> None:
    with torch.no_grad():
        for parameter in bert.classifier.parameters():
            parameter.zero_()
    bert.classifier.requires_grad_(False)
    with pytest.raises(ModelError, match=r"The gradient of this batch is 0\. Give it a batch that the model can learn"):
        gradient_change(bert, batch, [0.1])
