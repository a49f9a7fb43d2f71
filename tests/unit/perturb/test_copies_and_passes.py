"""Copies of a model that is being perturbed, passes that are computed again, and layers that are skipped at random."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    FalconConfig,
    FalconForSequenceClassification,
    Wav2Vec2Config,
    Wav2Vec2ForSequenceClassification,
)

from modicum.errors import ConfigError
from modicum.perturb import HyPe, HyPeConfig


class Checkpointed(nn.Module):
    """Layers of one's own, computed again in the backward pass one by one or in segments of two."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.default_generator.manual_seed(0)
            kind = {"d_model": 16, "nhead": 2, "dim_feedforward": 32, "dropout": 0.0, "batch_first": True}
            self.layers = nn.ModuleList([nn.TransformerEncoderLayer(**kind) for _ in range(4)])
        self.segment = 0
        self.reentrant = False

    def forward(self, hidden: Tensor) -> Tensor:
        if not self.segment:
            return nn.Sequential(*self.layers)(hidden).mean(1)
        for first in range(0, len(self.layers), self.segment):
            part = nn.Sequential(*self.layers[first : first + self.segment])
            hidden = checkpoint(part, hidden, use_reentrant=self.reentrant)
        return hidden.mean(1)


def gradients(inputs: list[Tensor], *, segment: int, reentrant: bool) -> list[Tensor]:
    model = Checkpointed().train()
    model.segment, model.reentrant = segment, reentrant
    with HyPe(model, HyPeConfig(sigma=0.5)):
        first, *others = [model(it) for it in inputs]
        sum(((first - it) ** 2).sum() for it in others or [0 * first]).backward()  # pyright: ignore
    return [it.grad for it in model.parameters() if it.grad is not None]


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("segment", [1, 2])
@pytest.mark.parametrize("passes", [1, 2, 3])
def test_a_pass_that_is_computed_again_has_its_own_noise(passes: int, segment: int, reentrant: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(4, 5, 16, generator=generator).requires_grad_() for _ in range(passes)]
    inputs[-1] = inputs[0]  # R-Drop: the same tensor again
    wanted = gradients(inputs, segment=0, reentrant=False)
    found = gradients(inputs, segment=segment, reentrant=reentrant)
    for one, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


class Siamese(nn.Module):
    """Runs one stack three times in its own forward pass."""

    def __init__(self, encoder: Checkpointed) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.stack([self.encoder(2 * hidden) for _ in range(3)])


def test_a_layer_that_runs_again_in_one_pass_gets_new_noise() -> None:
    hidden = torch.randn(4, 5, 16, generator=torch.Generator().manual_seed(1))
    with HyPe(encoder := Checkpointed().train(), HyPeConfig(sigma=0.5)):
        alone = encoder(2 * hidden)
    with HyPe(model := Siamese(Checkpointed()).train(), HyPeConfig(sigma=0.5)) as hype:
        first, second, third = model(hidden)
        hype.step(0)
        assert torch.equal(model(hidden)[2], third)
    assert torch.equal(first, alone)
    assert not any(torch.allclose(one, other, atol=0.1) for one, other in [(first, second), (first, third)])
    assert not torch.allclose(second, third, atol=0.1)


@pytest.mark.parametrize("segment", [1, 2])
def test_a_layer_that_runs_again_is_computed_again_with_its_own_noise(segment: int) -> None:
    hidden = torch.randn(4, 5, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    found = []
    for length in (0, segment):
        model = Siamese(Checkpointed()).train()
        model.encoder.segment = length
        with HyPe(model, HyPeConfig(sigma=0.5)):
            (model(hidden) * torch.tensor([1.0, -2.0, 3.0]).view(3, 1, 1)).square().sum().backward()
        found.append([it.grad for it in model.parameters()])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("segment", [0, 1])
def test_checkpoints_around_layers_and_around_those_have_the_noise_of_the_pass(segment: int) -> None:
    hidden = torch.randn(4, 5, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    wanted = gradients([2 * hidden], segment=0, reentrant=False)
    model = Checkpointed().train()
    model.segment = segment
    whole = lambda it: model(2 * it)
    outer = nn.Module()
    outer.model, outer.forward = model, lambda it: checkpoint(whole, it, use_reentrant=False)
    with HyPe(outer, HyPeConfig(sigma=0.5)):
        outer(hidden).square().sum().backward()
    torch.testing.assert_close([it.grad for it in model.parameters()], wanted, rtol=1e-4, atol=1e-5)


def test_a_copy_is_a_plain_model() -> None:
    config = FalconConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=64, hidden_dropout=0.1, pad_token_id=0
    )
    model = FalconForSequenceClassification(config).train()
    before = {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    hype = HyPe(model, HyPeConfig(sigma=0.5)).attach()
    model(torch.arange(3, 12).view(1, 9))
    file = io.BytesIO()
    torch.save(model, file)
    assert b"modicum" not in file.getvalue()
    file.seek(0)
    copies = [
        torch.load(file, weights_only=False),
        copy.deepcopy(model),
        torch.optim.swa_utils.AveragedModel(model).module,
        copy.deepcopy([model])[0],
    ]
    hype.step(3)
    hype.remove()
    for it in [model, *copies]:
        assert not any(module._forward_pre_hooks or module._forward_hooks for module in it.modules())
        assert before == {name: module.p for name, module in it.named_modules() if isinstance(module, nn.Dropout)}
        assert not {"__deepcopy__", "__reduce_ex__"} & set(vars(it))
        configs = [
            module.config for module in it.modules() if isinstance(getattr(module, "config", None), FalconConfig)
        ]
        assert configs
        assert {config.hidden_dropout for config in configs} == {0.1}
    tokens = torch.arange(3, 12).view(1, 9)
    assert torch.equal(copies[0].eval()(tokens).logits, model.eval()(tokens).logits)
    with HyPe(copies[0], HyPeConfig()):  # a second stage of training
        pass


def test_layers_that_are_skipped_at_random_are_skipped_no_more() -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 6,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": (8, 8),
        "conv_stride": (5, 4),
        "conv_kernel": (10, 8),
        "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "classifier_proj_size": 8,
        "apply_spec_augment": False,
    }
    model = Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**sizes, layerdrop=0.9)).train()
    sound = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0))
    with HyPe(model, HyPeConfig(sigma=0.0)):
        first, second = model(sound).logits, model(sound).logits
    assert torch.equal(first, second)
    assert model.wav2vec2.encoder.config.layerdrop == 0.9


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sigma": "1e-5"}, "sigma must be a number, but it is '1e-5'. YAML reads 1e-5 as text"),
        ({"sigma": True}, "sigma must be a number"),
        ({"seed": 1.5}, "seed must be an integer"),
        ({"disable_dropout": "no"}, "disable_dropout must be True or False"),
    ],
)
def test_a_value_of_another_type_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HyPeConfig(**values)


def test_a_dict_in_place_of_a_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match="config must be a HyPeConfig"):
        HyPe(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]), {"sigma": 1e-5})  # type: ignore[arg-type]
