"""The network: pooling, heads, saving, and any encoder of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.unit.sarcasm.tiny_encoder import write_encoder
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    ModernBertConfig,
    PreTrainedConfig,
    T5Config,
    XLMRobertaConfig,
)

from modicum.core.seeding import seeded_globally, torch_generator
from modicum.errors import ConfigError, ModelError
from modicum.sarcasm.encoder.modeling import SarcasmConfig, SarcasmModel, SarcasmOutput

SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SIZES["initializer_range"] = 0.3  # else the outputs are so small that any two are alike
ENCODERS: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(vocab_size=40, **SIZES),
    "xlm-roberta": XLMRobertaConfig(vocab_size=40, type_vocab_size=1, pad_token_id=1, **SIZES),
    "deberta-v2": DebertaV2Config(
        vocab_size=40, type_vocab_size=0, relative_attention=True, pos_att_type=["p2c", "c2p"], **SIZES
    ),
    "modernbert": ModernBertConfig(vocab_size=40, pad_token_id=0, cls_token_id=2, sep_token_id=3, **SIZES),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


def drawn(config: PreTrainedConfig, **settings: str) -> SarcasmModel:
    with seeded_globally(0, "model"):
        return SarcasmModel(SarcasmConfig(encoder=config, **settings)).eval()  # type: ignore[arg-type]


def tokens(rows: int, length: int) -> Tensor:
    return torch.randint(5, 40, (rows, length), generator=torch_generator(0, "tokens"))


def largest_difference(one: SarcasmOutput, other: SarcasmOutput) -> float:
    pairs = zip((one.sarcastic, one.categories, one.rank), (other.sarcastic, other.categories, other.rank), strict=True)
    return max(float((mine - yours).abs().max()) for mine, yours in pairs)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", ENCODERS)
@torch.no_grad()
def test_padding_changes_nothing(kind: str, pooling: str) -> None:  # XPUDU-C6
    model = drawn(ENCODERS[kind], pooling=pooling)
    ids = tokens(3, 7)
    padding = ENCODERS[kind].pad_token_id
    padded = torch.nn.functional.pad(ids, (0, 5), value=padding)
    mask = torch.nn.functional.pad(torch.ones_like(ids), (0, 5))
    alone = model(ids, torch.ones_like(ids))
    assert alone.sarcastic.shape == alone.rank.shape == (3,)
    assert alone.categories.shape == (3, 6)
    assert largest_difference(alone, model(padded, mask)) < 1e-6
    assert largest_difference(alone, model(ids)) < 1e-6


@torch.no_grad()
def test_the_first_token_is_pooled_whichever_side_is_padded() -> None:
    # DeBERTa without absolute positions counts from token to token, and so takes padding on the left.
    config = DebertaV2Config(
        vocab_size=40,
        type_vocab_size=0,
        relative_attention=True,
        position_biased_input=False,
        pos_att_type=["p2c"],
        **SIZES,
    )
    model, ids = drawn(config), tokens(2, 6)
    left = model(torch.nn.functional.pad(ids, (3, 0)), torch.nn.functional.pad(torch.ones_like(ids), (3, 0)))
    assert largest_difference(model(ids), left) < 1e-6


@torch.no_grad()
def test_a_head_is_dense_tanh_linear_of_the_pooled_state(place: str) -> None:
    model = SarcasmModel.from_encoder(place, pooling="mean").eval()
    ids, mask = tokens(2, 6) % 20, torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    hidden = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    pooled = torch.stack([hidden[0].mean(0), hidden[1, :4].mean(0)])
    head = dict(model.rank.named_parameters())
    wanted = torch.tanh(pooled @ head["dense.weight"].T + head["dense.bias"]) @ head["out_proj.weight"].T
    torch.testing.assert_close(model(ids, mask).rank, (wanted + head["out_proj.bias"]).squeeze(1))


def test_the_three_heads_share_the_encoder_and_nothing_else(place: str) -> None:
    model = SarcasmModel.from_encoder(place)
    model(tokens(2, 6) % 20).rank.sum().backward()
    moved = {name.partition(".")[0] for name, it in model.named_parameters() if it.grad is not None and it.grad.any()}
    assert moved == {"encoder", "rank"}


def test_the_weights_of_the_encoder_are_kept_and_the_heads_are_those_of_the_seed(place: str) -> None:
    saved = load_file(Path(place, "model.safetensors"))
    one, again, other = (SarcasmModel.from_encoder(place, seed=seed) for seed in (0, 0, 1))
    kept = one.encoder.state_dict()
    assert all(torch.equal(saved[name], kept[name]) for name in kept)
    assert {name for name in saved if name not in kept} == {"pooler.dense.weight", "pooler.dense.bias"}
    assert torch.equal(one.sarcastic.dense.weight, again.sarcastic.dense.weight)
    assert not torch.equal(one.sarcastic.dense.weight, other.sarcastic.dense.weight)


@pytest.mark.parametrize("kind", ENCODERS)
@torch.no_grad()
def test_saving_and_loading_changes_no_bit_of_a_weight(kind: str, tmp_path: Path) -> None:
    model = drawn(ENCODERS[kind], pooling="mean")
    model.save_pretrained(tmp_path)
    back = SarcasmModel.from_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    assert back.config.pooling == "mean"
    assert type(back.encoder) is type(model.encoder)
    mine, yours = model.state_dict(), back.state_dict()
    assert mine.keys() == yours.keys()
    assert all(torch.equal(mine[name], yours[name]) for name in mine)
    assert largest_difference(model(tokens(2, 6)), back(tokens(2, 6))) < 1e-6


def test_an_encoder_in_half_precision_is_trained_in_single(place: str, tmp_path: Path) -> None:
    BertModel.from_pretrained(place).half().save_pretrained(tmp_path)
    model = SarcasmModel.from_encoder(str(tmp_path))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_unknown_choices_and_models_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pooling is 'max'. Use one of: cls, mean."):
        SarcasmConfig(pooling="max")  # type: ignore[arg-type]
    for former in ({"pair_head": "cross"}, {"category_head": "powerset"}):
        with pytest.raises(ConfigError, match=r"which this modicum no longer reads. Train it again"):
            SarcasmConfig(**former)  # type: ignore[arg-type]
    assert not hasattr(SarcasmConfig(pair_head="rank", combinations=[]), "pair_head")  # as written before
    config = T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    with pytest.raises(ModelError, match=r"T5Model is not an encoder with one hidden state a token. Use one such as"):
        SarcasmModel(SarcasmConfig(encoder=config))


def test_a_first_token_that_sees_no_other_is_not_pooled(place: str, tmp_path: Path) -> None:
    config = BertConfig.from_pretrained(place)
    config.is_decoder = True
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"BertModel reads from left to right.* Write --set pooling=mean"):
        SarcasmModel.from_encoder(str(tmp_path))
    assert SarcasmModel.from_encoder(str(tmp_path), pooling="mean").config.pooling == "mean"
