"""The network: the released one's names and values, and what a training pass leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.textdiffusion.ranks import batch, build, draws
from torch import nn
from torch.nn.functional import cross_entropy

from modicum.errors import ConfigError
from modicum.textdiffusion import SeqDiffuSeqConfig, SeqDiffuSeqForConditionalGeneration


def linears(name: str, *kinds: str) -> list[str]:
    return [f"{name}{kind}.{part}" for kind in kinds for part in ("weight", "bias")]


def layer(stack: str, number: int) -> list[str]:
    at = f"input_transformers.{stack}.layers.{number}."
    attention = ("k_proj", "v_proj", "q_proj", "out_proj")
    names = linears(f"{at}self_attn.", *attention) + linears(at, "self_attn_layer_norm")
    if stack == "decoder":
        names += linears(f"{at}encoder_attn.", *attention) + linears(at, "encoder_attn_layer_norm")
    return names + linears(at, "fc1", "fc2", "final_layer_norm")


RELEASED = [
    *linears("time_embed.", "0", "2"),
    "input_transformers.shared.weight",
    "input_transformers.encoder.embed_positions.weight",
    *layer("encoder", 0),
    *layer("encoder", 1),
    *linears("input_transformers.encoder.", "layernorm_embedding"),
    "input_transformers.decoder.embed_positions.weight",
    *layer("decoder", 0),
    *layer("decoder", 1),
    *linears("input_transformers.decoder.", "layernorm_embedding"),
    *linears("input_up_proj_dec.", "0", "2"),
    *linears("input_up_proj_enc.", "0", "2"),
    *linears("output_down_proj.", "0", "2"),
    "lm_head.bias",
    *linears("", "LayerNorm"),
]


@torch.no_grad()
def fingerprinted() -> SeqDiffuSeqForConditionalGeneration:
    """Fill a small network with the values of the check."""
    sizes: dict[str, Any] = {"d_model": 32, "ffn_dim": 64, "attention_heads": 4}
    config = SeqDiffuSeqConfig(vocab_size=50, encoder_layers=2, decoder_layers=2, target_length=5, **sizes)
    model = SeqDiffuSeqForConditionalGeneration(config).eval()
    parameters = dict(model.named_parameters())
    for k, name in enumerate(RELEASED):
        weight = parameters.pop(name)
        values = 0.2 * torch.sin(0.7 * torch.arange(weight.numel(), dtype=torch.float64) + k)
        weight.copy_(values.float().view_as(weight))
        if "norm" in name.lower() and name.endswith("weight"):
            weight += 1
    assert not parameters
    return model


IDS = torch.tensor([[0, 5, 6, 7, 2, 1, 1], [0, 8, 9, 10, 11, 12, 2]])
SAMPLE = torch.cos(0.13 * torch.arange(1280)).view(2, 5, 128)
TIMES = torch.tensor([3.5, 499.5])


@torch.no_grad()
def test_a_forward_pass_has_the_fingerprint_of_the_released_network() -> None:
    model = fingerprinted()  # SD-3
    assert len(RELEASED) == 110
    assert sum(weight.numel() for weight in model.parameters()) == 136_914
    memory = model.encode(IDS, IDS != 1)
    out = model.denoise(SAMPLE, 0.5 * SAMPLE.flip(1), TIMES, memory)
    assert out.sum().item() == pytest.approx(0.060852, abs=2e-4)
    assert out.abs().sum().item() == pytest.approx(197.386024, abs=2e-3)
    assert out[0, 0, :4].tolist() == pytest.approx([-0.0576247, -0.0430460, 0.0599680, 0.3050844], abs=5e-6)
    assert out[1, 4, -2:].tolist() == pytest.approx([-0.2130089, 0.1791623], abs=5e-6)
    again = model.denoise(SAMPLE, 0.5 * SAMPLE.flip(1), TIMES, memory)
    assert torch.equal(out, again), "a cached source gives another result"


@torch.no_grad()
def test_candidates_share_the_keys_of_their_source() -> None:
    model = fingerprinted()
    samples = torch.randn(6, 5, 128, generator=torch.Generator().manual_seed(0))
    times = torch.full((6,), 250.0)
    shared = model.denoise(samples, samples, times, model.encode(IDS, IDS != 1))
    ids = IDS.repeat_interleave(3, dim=0)
    alone = model.denoise(samples, samples, times, model.encode(ids, ids != 1))
    assert torch.allclose(shared, alone, atol=1e-5)
    padded = torch.cat([IDS, torch.full((2, 4), 1)], dim=1)
    wider = model.denoise(samples, samples, times, model.encode(padded))  # without a mask padding is none of it
    assert torch.allclose(shared, wider, atol=1e-5), "padding of the source changes the prediction"


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ({}, 48_059_413),
        ({"vocab_size": 30_522, "d_model": 768, "attention_heads": 12, "ffn_dim": 3072}, 108_103_610),
    ],
)
def test_the_published_sizes_have_the_published_number_of_parameters(sizes: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        model = SeqDiffuSeqForConditionalGeneration(SeqDiffuSeqConfig(**sizes))  # SD-4
    assert sum(weight.numel() for weight in model.parameters()) == count


def test_weights_begin_as_those_of_the_released_code_do() -> None:
    model = SeqDiffuSeqForConditionalGeneration(SeqDiffuSeqConfig(encoder_layers=1, decoder_layers=1))
    embedding = model.input_transformers.shared.weight
    assert model.lm_head.weight is embedding
    assert embedding[1].abs().sum() == 0
    assert embedding.std().item() == pytest.approx(0.02, rel=0.01)
    (block,) = model.input_transformers.encoder.layers
    assert isinstance(block, nn.Module)
    assert dict(block.named_parameters())["fc1.weight"].std().item() == pytest.approx(0.02, rel=0.01)
    up = dict(model.input_up_proj_dec.named_parameters())["0.weight"]
    assert up.std().item() == pytest.approx(1 / (3 * 256) ** 0.5, rel=0.01)


def test_the_loss_is_the_sum_of_its_published_terms() -> None:
    model, given = build().eval(), batch()
    embedded = model.input_transformers.shared(given["labels"])
    generator = draws(0, 0)
    times = torch.randint(40, (8,), generator=generator)
    coin = torch.rand((), generator=generator).item()
    first, second = torch.randn(2, *embedded.shape, generator=generator)
    table = model.schedule.alphas_cumprod.float()
    noisy = embedded + (1 - table[0, :, None]).sqrt() * first
    sample = table[times][..., None].sqrt() * noisy + (1 - table[times][..., None]).sqrt() * second
    memory, zeros = model.encode(given["input_ids"]), torch.zeros_like(sample)
    prediction = model.denoise(sample, zeros, times * 25.0, memory)
    if coin < 0.5:
        prediction = model.denoise(sample, prediction.detach(), times * 25.0, memory)
    target = torch.where((times == 0)[:, None, None], embedded, noisy)
    rounding = cross_entropy(model.lm_head(noisy).transpose(1, 2), given["labels"])
    expected = (target - prediction).square().mean() + rounding + (table[-1, :, None] * noisy.square()).mean()
    found = model(**given, generator=draws(0, 0))
    assert torch.allclose(found.loss, expected)
    more = model(**given, generator=draws(0, 0), prediction_loss=True)
    added = cross_entropy(model.lm_head(prediction).transpose(1, 2), given["labels"])
    assert torch.allclose(more.loss - found.loss, added, atol=1e-5)
    always, never = (model(**given, generator=draws(0, 0), self_conditioning=chance) for chance in (1.0, 0.0))
    assert not torch.equal(always.prediction, never.prediction)
    found.loss.backward()
    assert embedded.grad_fn is not None
    assert model.input_transformers.shared.weight.grad is not None


def test_training_passes_are_recorded_and_evaluations_are_not() -> None:
    model, given = build(), batch()
    seen = lambda: int(model.schedule.loss_count.sum() - 50)
    with torch.no_grad():
        model(**given)  # as the released code evaluates, with the network left in training mode
    model.eval()(**given)
    assert seen() == 0
    model.train()(**given)
    assert seen() == int((given["labels"] != 1).sum())
    before = model.schedule.loss_count.sum(dim=0)
    model(given["input_ids"], labels=given["labels"][:, :2])  # a shorter canvas
    assert (model.schedule.loss_count.sum(dim=0) - before).tolist() == [8, 8, 0, 0, 0]


def test_what_a_pass_and_a_configuration_refuse() -> None:
    model, given = build(), batch()
    with pytest.raises(ConfigError, match="needs labels"):
        model(given["input_ids"])
    with pytest.raises(ConfigError, match="has 5 positions, got a sequence of 6"):
        model(given["input_ids"], labels=given["input_ids"])
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"d_model": 30, "attention_heads": 4}, "multiple of 4 attention_heads, got 30"),
        ({"vocab_size": 0}, "vocab_size must be at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"target_length": 2000}, "targets 2000"),
        ({"pad_token_id": 2}, "three of 10005 tokens, got"),
        ({"vocab_size": 2}, "three of 2 tokens"),
    )
    for options, words in refused:
        with pytest.raises(ConfigError, match=words):
            SeqDiffuSeqConfig(**options)
