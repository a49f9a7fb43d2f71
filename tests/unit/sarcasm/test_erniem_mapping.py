"""ERNIE-M's weights go one to one into XLM-RoBERTa's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.unit.sarcasm.erniem_folder import HIDDEN, LABELS, LAYERS, WIDE, in_paddle, random_weights, vocabulary
from torch import Tensor
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

from modicum.errors import ModelError
from modicum.sarcasm.erniem import positions
from modicum.sarcasm.erniem.mapping import Sizes, to_xlm_roberta, xlm_roberta_name

SIZES = Sizes(vocabulary=len(vocabulary()), positions=514, hidden=HIDDEN, intermediate=WIDE, layers=LAYERS)
TYPES = "roberta.embeddings.token_type_embeddings.weight"


def bare(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("ernie_m."): tensor for name, tensor in weights.items()}


def test_the_names_are_a_bijection_onto_xlm_roberta_but_for_the_types() -> None:  # XPUDU-C3
    source = random_weights()
    assert len(source) == 16 * LAYERS + 8 == 56
    config = XLMRobertaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=HIDDEN,
        intermediate_size=WIDE,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        max_position_embeddings=514,
        type_vocab_size=1,
        id2label={number: str(number) for number in range(LABELS)},
    )
    wanted = {name: it.shape for name, it in XLMRobertaForSequenceClassification(config).state_dict().items()}
    assert {xlm_roberta_name(name) for name in source} == wanted.keys() - {TYPES}
    mapped = to_xlm_roberta(source, SIZES, place="here")
    assert {name: it.shape for name, it in mapped.items()} == wanted
    assert not mapped[TYPES].any()
    for name, tensor in source.items():
        torch.testing.assert_close(mapped[str(xlm_roberta_name(name))], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("spelt", [bare, in_paddle, lambda weights: bare(in_paddle(weights))])
def test_every_spelling_gives_the_same(spelt: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    wanted = to_xlm_roberta(random_weights(), SIZES, place="here")
    found = to_xlm_roberta(spelt(random_weights()), SIZES, place="here")
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].is_contiguous()
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_an_encoder_without_classifier_keeps_its_pooler() -> None:
    source = random_weights(head=False)
    mapped = to_xlm_roberta(source, SIZES, place="here")
    assert len(source) == 16 * LAYERS + 6
    assert len(mapped) == len(source) + 1
    assert not any("out_proj" in name for name in mapped)
    assert mapped["classifier.dense.weight"] is source["ernie_m.pooler.dense.weight"]


@pytest.mark.parametrize("spelt", [bare, in_paddle])
def test_half_precision_stays(spelt: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    halves = {name: tensor.half() for name, tensor in spelt(random_weights()).items()}
    assert {it.dtype for it in to_xlm_roberta(halves, SIZES, place="here").values()} == {torch.float16}


def test_missing_and_surplus_weights_are_named() -> None:
    weights = random_weights()
    weights["cls.predictions.bias"] = weights.pop("ernie_m.encoder.layers.1.norm2.bias")
    with pytest.raises(ModelError, match=r"model.bin is a checkpoint of another architecture") as raised:
        to_xlm_roberta(weights, SIZES, place="model.bin")
    assert "lacks roberta.encoder.layer.1.output.LayerNorm.bias and has cls.predictions.bias." in raised.value.what


def test_only_some_of_many_names_are_told() -> None:
    other = {name.replace("encoder", "decoder"): tensor for name, tensor in random_weights().items()}
    with pytest.raises(ModelError, match=r"lacks \S+, \S+, \S+ and 45 more and has \S+, \S+, \S+ and 45 more"):
        to_xlm_roberta(other, SIZES, place="model.bin")


@pytest.mark.parametrize(
    "extra",
    [
        "embeddings.layer_norm.bias",  # beside the one with a prefix
        "encoder.layers.3.norm1.bias",
        "encoder.layers.01.norm1.bias",
        "encoder.layers.0.norm1.running_mean",
        "embeddings.word_embeddings.bias",
        "encoder.layers.0.self_attn.distance_embedding.weight",
        "",
    ],
)
def test_no_name_is_taken_for_another(extra: str) -> None:
    with pytest.raises(ModelError, match="another architecture: it has"):
        to_xlm_roberta(random_weights() | {extra: torch.zeros(HIDDEN)}, SIZES, place="model.bin")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ernie_m.embeddings.position_embeddings.weight", (512, HIDDEN)),
        ("ernie_m.encoder.layers.0.linear1.weight", (HIDDEN, WIDE)),  # Paddle's layout under the others' names
        ("ernie_m.encoder.layers.2.norm1.bias", (1,)),
        ("classifier.weight", (LABELS + 1, HIDDEN)),
    ],
)
def test_shapes_are_checked(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="should have the shape") as raised:
        to_xlm_roberta(random_weights() | {name: torch.zeros(shape)}, SIZES, place="model.bin")
    assert str(xlm_roberta_name(name)) in raised.value.what
    assert str(shape) in raised.value.what


def test_torch_layout_under_paddles_names_is_refused() -> None:
    renamed = {name.replace("self_attn.self_attn", "self_attn"): it for name, it in random_weights().items()}
    with pytest.raises(ModelError, match=r"intermediate.dense.weight should have the shape"):
        to_xlm_roberta(renamed, SIZES, place="model.bin")


def test_whole_numbers_are_no_weights() -> None:
    weights = random_weights() | {"classifier.bias": torch.zeros(LABELS, dtype=torch.int64)}
    with pytest.raises(ModelError, match=r"classifier.out_proj.bias as int64, not in floating point"):
        to_xlm_roberta(weights, SIZES, place="model.bin")


def test_positions_count_every_slot_from_two_and_leave_the_input_alone() -> None:
    ids = torch.tensor([[1, 1, 0, 7, 2], [0, 5, 1, 9, 2]])
    before = ids.clone()
    found = positions(ids)
    assert found.tolist() == [[2, 3, 4, 5, 6]] * 2
    found += 2  # as the reference did to its caller's tensor
    assert torch.equal(ids, before)
    assert positions(ids).tolist() == [[2, 3, 4, 5, 6]] * 2
