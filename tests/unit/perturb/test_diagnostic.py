from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, BertForSequenceClassification

from modicum.errors import ConfigError, ModelError, StateError
from modicum.perturb import HyPe, HyPeConfig, gradient_change

Batch = dict[str, Tensor]


PAIRS = (
    ("A cat sleeps on the warm roof.", "An animal is resting."),
    ("The train to the coast leaves at noon.", "The train leaves in the evening."),
    ("She bought three books and a map.", "She bought a map."),
    ("It rained all night in the valley.", "The valley stayed dry."),
    ("The bakery opens before sunrise.", "The bakery is open early."),
    ("He repaired the old radio by himself.", "Nobody could mend the radio."),
    ("Two boats crossed the lake together.", "There was more than one boat."),
    ("The museum is closed on Mondays.", "One can visit the museum on every day."),
)


# HYPE-C7
@pytest.mark.slow
def test_gradient_change_of_minilm_is_linear_in_sigma(minilm: BertForSequenceClassification) -> None:
    tokenizer = AutoTokenizer.from_pretrained(minilm.config.name_or_path)
    batch = {
        **tokenizer([one for one, _ in PAIRS], [two for _, two in PAIRS], padding=True, return_tensors="pt"),
        "labels": torch.tensor([0, 1] * 4),
    }
    slopes = {}
    for noise in ("normal", "uniform"):
        rows = gradient_change(minilm, batch, [1e-5, 1e-4, 1e-3, 1e-2], config=HyPeConfig(noise=noise))
        slopes[noise] = [row.change / row.sigma for row in rows]
        assert max(slopes[noise]) / min(slopes[noise]) < 1.02
    # The specification has 3.0 on 16 pairs of RTE, with another new classifier; ours has other texts.
    assert 1.5 < slopes["normal"][0] < 9
    # Over eight seeds a slope spread by 2 % (normal) and 4 % (uniform): three joint deviations are 13 %.
    assert slopes["uniform"][0] / slopes["normal"][0] == pytest.approx(3**-0.5, rel=0.13)


def test_activation_checkpointing_changes_nothing(bert: BertForSequenceClassification, batch: Batch) -> None:
    (plain,) = gradient_change(bert, batch, [0.1])
    bert.activation_checkpointing_enable()
    (again,) = gradient_change(bert, batch, [0.1])
    assert again.change == pytest.approx(plain.change, rel=1e-5)


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
    assert bert.get_parameter("bert.pooler.dense.weight").grad is None
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
