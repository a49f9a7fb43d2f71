from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, BartConfig, BartModel, BertConfig, BertForSequenceClassification

from modicum.perturb import HyPe, HyPeConfig
from modicum.perturb.sites import DropoutSwitch


@pytest.fixture
def bart() -> BartModel:
    sizes: dict[str, Any] = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "vocab_size": 64}
    heads: dict[str, Any] = {
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_layers": 2,
        "decoder_layers": 2,
    }
    rates: dict[str, Any] = {
        "dropout": 0.3,
        "attention_dropout": 0.2,
        "activation_dropout": 0.1,
        "encoder_layerdrop": 0.5,
    }
    return BartModel(BartConfig(**sizes, **heads, **rates)).train()


def test_rates_that_are_handed_to_functions_are_off_too(bart: BartModel) -> None:
    tokens = torch.arange(3, 12).view(1, 9)
    evaluated = bart.eval()(tokens).last_hidden_state
    assert not torch.equal(bart.train()(tokens).last_hidden_state, evaluated)
    with HyPe(bart, HyPeConfig(sigma=0.0)):
        assert torch.equal(bart.train()(tokens).last_hidden_state, evaluated)


def test_rates_come_back_exactly_and_the_configuration_keeps_them(bart: BartModel) -> None:
    before = [dict(vars(module)) for module in bart.modules()]
    saved = bart.config.to_dict()
    switch = DropoutSwitch(bart)
    layer = bart.encoder.layers[0]
    assert (layer.dropout, layer.activation_dropout, bart.encoder.layerdrop) == (0.0, 0.0, 0.0)
    assert bart.config.to_dict() == saved
    switch.restore()
    assert [dict(vars(module)) for module in bart.modules()] == before
    switch.restore()


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_every_dropout_of_torch_is_off(kind: type[nn.Dropout]) -> None:
    module, values = kind(0.5).train(), torch.ones(4, 8, 8, 8)
    switch = DropoutSwitch(module)
    assert torch.equal(module(values), values)
    switch.restore()
    assert module.p == 0.5


def test_a_rate_that_a_model_inside_the_model_reads_from_its_config_is_off() -> None:
    heads = {f"num_{stack}_{part}": 2 for stack in ("encoder", "decoder") for part in ("layers", "attention_heads")}
    sizes = {"hidden_size": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "vocab_size": 64}
    model = AutoModel.from_config(AutoConfig.for_model("prophetnet", **heads, **sizes, dropout=0.3)).train()
    tokens = torch.arange(3, 12).view(1, 9)
    output = lambda: model(input_ids=tokens, decoder_input_ids=tokens).last_hidden_state
    with HyPe(model, HyPeConfig(sigma=0.0)):
        assert torch.equal(output(), output())
        assert model.config.dropout == 0.3
        assert copy.deepcopy(model).encoder.config.dropout == 0.3
    assert model.encoder.config.dropout == 0.3


def test_dropout_inside_attention_and_recurrent_layers_is_off() -> None:
    model = nn.ModuleList([nn.MultiheadAttention(8, 2, dropout=0.4), nn.LSTM(8, 8, 2, dropout=0.4)])
    switch = DropoutSwitch(model)
    assert [module.dropout for module in model] == [0.0, 0.0]
    switch.restore()
    assert [module.dropout for module in model] == [0.4, 0.4]


def test_attention_dropout_of_a_decoder_is_off() -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = AutoConfig.for_model("llama", **sizes, num_key_value_heads=2, vocab_size=64, attention_dropout=0.5)
    model, tokens = AutoModel.from_config(config).train(), torch.arange(3, 12).view(1, 9)
    with HyPe(model, HyPeConfig(sigma=0.0)):
        assert torch.equal(model(tokens).last_hidden_state, model(tokens).last_hidden_state)


@pytest.mark.parametrize("kind", ["falcon", "persimmon"])
def test_a_rate_that_is_read_from_the_config_in_forward_is_off_and_comes_back(kind: str) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
    config = AutoConfig.for_model(kind, **sizes, intermediate_size=64, hidden_dropout=0.3, attention_dropout=0.3)
    model, tokens = AutoModel.from_config(config).train(), torch.arange(3, 12).view(1, 9)
    before = [vars(module).get("config") for module in model.modules()]
    with HyPe(model, HyPeConfig(sigma=0.0)):
        assert torch.equal(model(tokens).last_hidden_state, model(tokens).last_hidden_state)
        assert model.config.hidden_dropout == 0.3
    after = [vars(module).get("config") for module in model.modules()]
    assert all(mine is yours for mine, yours in zip(before, after, strict=True))
    assert not torch.equal(model(tokens).last_hidden_state, model(tokens).last_hidden_state)


def test_a_head_and_its_base_model_keep_one_config_that_can_be_saved(tmp_path: Path) -> None:
    model = BertForSequenceClassification(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    )
    with HyPe(model, HyPeConfig(sigma=0.1)):
        assert model.bert.config is model.config
        model.bert.save_pretrained(tmp_path)
    assert BertConfig.from_pretrained(tmp_path).hidden_dropout_prob == 0.1
