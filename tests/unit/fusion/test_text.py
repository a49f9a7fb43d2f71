"""The text encoder: what is frozen stays, its states can be kept, and padding is not read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    PreTrainedConfig,
    RobertaConfig,
    T5Config,
    XLMRobertaConfig,
)

from modicum.core.seeding import seeded_globally, torch_generator
from modicum.errors import ModelError
from modicum.fusion.encoders import TextEncoder

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
}
BERT = BertConfig(**SIZES)
LAYERED = [BERT, RobertaConfig(**SIZES), XLMRobertaConfig(**SIZES)]
MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [0] * 7])


def encoder(config: PreTrainedConfig = BERT, **settings: Any) -> TextEncoder:
    with seeded_globally(0, "initialisation"):
        return TextEncoder(AutoModel.from_config(config), **settings).double().eval()


def ids() -> torch.Tensor:
    return torch.randint(3, 40, MASK.shape, generator=torch_generator(0, "ids"))


@pytest.mark.parametrize("config", LAYERED, ids=lambda config: config.model_type)
@pytest.mark.parametrize("frozen", [1, 2, 3, -1])
def test_kept_states_give_what_the_whole_encoder_gives(config: PreTrainedConfig, frozen: int) -> None:
    text = encoder(config, frozen_layers=frozen)
    padded = torch.where(MASK.bool(), ids(), config.pad_token_id)
    wanted = text.encoder(input_ids=padded[:2], attention_mask=MASK[:2]).last_hidden_state
    states = text.text_states(ids(), MASK)
    assert not states.requires_grad
    found = text.from_states(states, MASK)
    seen = MASK[:2].bool()
    assert torch.allclose(found[:2][seen], wanted[seen], rtol=0, atol=1e-12)
    assert torch.equal(text(ids(), MASK), found)
    assert found.isfinite().all()  # a sample without tokens too


def test_kept_states_are_the_same_in_training() -> None:
    text = encoder(frozen_layers=2).train()
    assert torch.equal(text.text_states(ids(), MASK), text.text_states(ids(), MASK))
    assert not torch.equal(text(ids(), MASK), text(ids(), MASK))  # the third layer has dropout
    whole = encoder(frozen_layers=-1).train()
    assert torch.equal(whole(ids(), MASK), whole(ids(), MASK))


@pytest.mark.parametrize("frozen", [0, 1, -1])
def test_masked_tokens_change_nothing(frozen: int) -> None:
    text = encoder(RobertaConfig(**SIZES), frozen_layers=frozen)
    other = torch.where(MASK.bool(), ids(), 39)
    seen = MASK.bool()
    assert torch.equal(text(other, MASK)[seen], text(ids(), MASK)[seen])
    alone = text(ids()[1:2, :4], MASK[1:2, :4])
    assert torch.allclose(alone[0], text(ids(), MASK)[1, :4], rtol=0, atol=1e-12)


def trained(text: TextEncoder) -> set[str]:
    text(ids(), MASK).sum().backward()
    return {name.split(".")[1] for name, value in text.named_parameters() if value.grad is not None} | {
        f"layer {name.split('.')[3]}"
        for name, value in text.named_parameters()
        if ".layer." in name and value.grad is not None
    }


def test_what_is_frozen_gets_no_gradient() -> None:
    layers = {"layer 0", "layer 1", "layer 2"}
    assert trained(encoder()) == {"embeddings", "encoder", *layers}
    assert trained(encoder(frozen_layers=2)) == {"encoder", "layer 2"}
    assert trained(encoder(frozen_layers=2, freeze_embeddings=False)) == {"embeddings", "encoder", "layer 2"}
    assert trained(encoder(frozen_layers=-1, freeze_embeddings=False)) == {"embeddings"}


def test_an_encoder_of_another_build_is_frozen_whole_or_not_at_all() -> None:
    config = DistilBertConfig(vocab_size=40, dim=8, n_layers=2, n_heads=2, hidden_dim=16, max_position_embeddings=20)
    whole = encoder(config, frozen_layers=-1)
    assert not any(value.requires_grad for value in whole.parameters())
    assert whole.from_states(whole.text_states(ids(), MASK), MASK).shape == (3, 7, 8)
    with pytest.raises(ModelError, match="kind 'distilbert' cannot be frozen in part"):
        encoder(config, frozen_layers=1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="frozen_layers is 4, but the encoder has 3 layers"):
        encoder(frozen_layers=4)
    with pytest.raises(ModelError, match="T5Model is not an encoder"):
        encoder(T5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    for text in (encoder(), encoder(frozen_layers=1, freeze_embeddings=False)):
        with pytest.raises(ModelError, match="No states of this text encoder stay the same"):
            text.text_states(ids(), MASK)
        with pytest.raises(ModelError, match="do not belong to this text encoder"):
            text.from_states(torch.zeros(3, 7, 8), MASK)
    with pytest.raises(ModelError, match=r"States of shape \(3, 7, 9\) do not belong"):
        encoder(frozen_layers=1).from_states(torch.zeros(3, 7, 9), MASK)
