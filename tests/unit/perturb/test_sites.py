from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from modicum.errors import ConfigError, ModelError
from modicum.perturb import HyPe, HyPeConfig
from modicum.perturb.sites import find_sites, select_layers

pytestmark = pytest.mark.filterwarnings("ignore:.*is falling back to its reference")

_BERT = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 64}
_LLAMA = _BERT | {"num_key_value_heads": 2, "head_dim": 8}
_BART = {
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "vocab_size": 64,
}
_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 2, "vocab_size": 64}
_MARKS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
_OPT = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "ffn_dim": 32, "word_embed_proj_dim": 16}
# Type of the configuration, its sizes, and how many layers a forward pass goes through.
ARCHITECTURES: dict[str, tuple[dict[str, Any], int]] = {
    "albert": (_BERT | {"embedding_size": 16}, 3),
    "bart": (_BART, 5),
    "bert": (_BERT, 3),
    "ctrl": ({"n_embd": 16, "dff": 32, "n_layer": 3, "n_head": 2, "n_positions": 32, "vocab_size": 64}, 3),
    "deberta-v2": (_BERT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}, 3),
    "distilbert": ({"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, "vocab_size": 64}, 3),
    "electra": (_BERT | {"embedding_size": 16}, 3),
    "gemma3_text": (_LLAMA, 3),
    "gpt2": ({"n_embd": 16, "n_layer": 3, "n_head": 2, "vocab_size": 64}, 3),
    "gpt_neox": (_BERT, 3),
    "gpt_neox_japanese": (_BERT | {"intermediate_multiple_size": 2}, 3),
    "ibert": (_BERT, 3),
    "llama": (_LLAMA, 3),
    "mamba": ({"hidden_size": 16, "num_hidden_layers": 3, "state_size": 4, "vocab_size": 64}, 3),
    "mistral": (_LLAMA, 3),
    "modernbert": (_BERT | _MARKS, 3),
    "mpnet": (_BERT, 3),
    "openai-gpt": ({"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32, "vocab_size": 64}, 3),
    "opt": (_OPT | {"vocab_size": 64}, 3),
    "qwen3": (_LLAMA, 3),
    "roberta": (_BERT, 3),
    "t5": (_T5 | {"decoder_start_token_id": 0}, 5),
    "vit": (_BERT | {"image_size": 8, "patch_size": 4}, 3),
    "xlnet": ({"d_model": 16, "n_layer": 3, "n_head": 2, "d_inner": 32, "vocab_size": 64}, 3),
}


def make(name: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    settings = dict(ARCHITECTURES[name][0])
    if name == "vit":
        del settings["vocab_size"]
    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(name, **settings)).train()
    if name == "vit":
        return model, {"pixel_values": torch.rand(2, 3, 8, 8)}
    tokens = torch.randint(3, 64, (2, 7))
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    return model, inputs | ({"decoder_input_ids": tokens} if name == "t5" else {})


# HYPE-C11, HYPE-C3
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_layer_of_every_architecture_is_perturbed_once(name: str) -> None:
    model, inputs = make(name)
    depth = ARCHITECTURES[name][1]
    entered: list[tuple[nn.Module, torch.Tensor]] = []
    with HyPe(model, HyPeConfig(sigma=0.5, noise="uniform")) as hype:
        sites = find_sites(model)
        assert hype.sites == tuple(site.name for site in sites)
        hooks = []
        for site in sites:
            # Before and after the hook of HyPe: what the caller gave, and what the layer gets.
            record = lambda module, args: entered.append((module, args[0].detach()))
            hooks.append(site.module.register_forward_pre_hook(record, prepend=True))
            hooks.append(site.module.register_forward_pre_hook(record))
        model(**inputs)
    given, got = entered[::2], entered[1::2]
    assert len(given) == depth
    assert Counter(module for module, _ in given) == {site.module: len(site.layers) for site in sites}
    differences = [after - before for (_, before), (_, after) in zip(given, got, strict=True)]
    for difference in differences:
        assert 0.1 < difference.abs().max() <= 0.5 * (1 + 1e-5)  # uniform, and then float32 rounds the sum
        assert (difference != 0).float().mean() > 0.99
    shapes = [difference.shape for difference in differences]
    for one in range(depth):
        for other in range(one):
            assert shapes[one] != shapes[other] or not torch.allclose(differences[one], differences[other], atol=1e-3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_dry_run_is_possible_and_leaves_model_and_generator_alone(name: str) -> None:
    model, _ = make(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    entered = []
    hook = find_sites(model)[-1].module.register_forward_pre_hook(lambda module, args: entered.append(module.training))
    with HyPe(model, HyPeConfig()):
        assert entered
        assert not any(entered)
    hook.remove()
    assert torch.equal(state, torch.get_rng_state())
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# HYPE-C4
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_evaluation_is_bitwise_that_of_the_model_without_hooks(name: str) -> None:
    model, inputs = make(name)
    with torch.no_grad():
        plain = model.eval()(**inputs)[0]
        with HyPe(model, HyPeConfig(sigma=0.5)):
            assert torch.equal(plain, model(**inputs)[0])


# HYPE-C11
@pytest.mark.parametrize("name", ["bart", "t5"])
def test_memory_of_cross_attention_is_the_clean_output_of_the_encoder(name: str) -> None:
    model, inputs = make(name)
    seen: dict[str, torch.Tensor] = {}
    encoder, decoder = model.get_submodule("encoder"), model.get_submodule("decoder")
    encoder.register_forward_hook(lambda module, args, output: seen.update(memory=output[0]))
    layer = find_sites(decoder)[0].module

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen["used"] = next(
            value
            for value in (*args[1:], *kwargs.values())
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.shape[-1] == 16
        )

    layer.register_forward_pre_hook(record, with_kwargs=True)
    with HyPe(model, HyPeConfig(sigma=0.5)):
        model(**inputs)
    assert torch.equal(seen["memory"], seen["used"])


# HYPE-C11
def test_both_streams_of_xlnet_get_their_own_noise_and_the_memory_stays_clean() -> None:
    model, inputs = make("xlnet")
    seen: list[tuple[Any, ...]] = []
    first = find_sites(model)[0].module
    record = lambda module, args: seen.append(args)
    first.register_forward_pre_hook(record, prepend=True)
    mapping = torch.eye(7).expand(2, 7, 7)
    with HyPe(model, HyPeConfig(sigma=0.5)):
        first.register_forward_pre_hook(record, prepend=True)
        first.register_forward_pre_hook(record)
        output = model(**inputs, target_mapping=mapping, use_mems=True)
    before, after = seen[-2], seen[-1]
    content, query = after[0] - before[0], after[1] - before[1]
    assert content.std().item() == pytest.approx(0.5, rel=0.2)  # 224 values each
    assert query.std().item() == pytest.approx(0.5, rel=0.2)
    assert not torch.allclose(content, query, atol=0.1)
    assert torch.equal(output.mems[0], before[0])


def test_samples_of_xlnet_are_on_its_second_axis() -> None:
    model, inputs = make("xlnet")
    received = []
    with HyPe(model, HyPeConfig(sigma=0.5)) as hype:
        find_sites(model)[0].module.register_forward_pre_hook(lambda module, args: received.append(args[0].detach()))
        model(**inputs)
        hype.step(0)
        model(**{name: value[:1] for name, value in inputs.items()})
    torch.testing.assert_close(received[0][:, :1], received[1])


def test_shared_layers_of_albert_are_numbered_in_the_order_of_their_calls() -> None:
    settings = ARCHITECTURES["albert"][0] | {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}
    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model("albert", **settings))
    assert [site.layers for site in find_sites(model)] == [(0, 2), (1, 3), (4, 6), (5, 7)]
    assert select_layers(find_sites(model), "top:3") == {5, 6, 7}
    numbers = {site.module: iter(site.layers) for site in find_sites(model)}
    order: list[int] = []
    for layer in numbers:
        layer.register_forward_pre_hook(lambda module, args: order.append(next(numbers[module])))
    model(input_ids=torch.ones(1, 2, dtype=torch.long))
    assert order == list(range(8))


@pytest.mark.parametrize(
    ("layers", "chosen"),
    [("all", {0, 1, 2, 3, 4}), ("top:1", {2, 4}), ("low:2", {0, 1, 3, 4}), ([4, 0], {0, 4})],
)
def test_layers_are_chosen_in_each_stack(layers: str | list[int], chosen: set[int]) -> None:
    assert select_layers(find_sites(make("bart")[0]), layers) == chosen


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ("top:3", r"layers='top:3' needs 3 layers, but decoder.layers has 2\. Use a smaller number"),
        ([1, 5], r"The model has layers 0 to 4, but layers names 5\. HyPe\(model\)\.sites lists them"),
    ],
)
def test_layers_that_the_model_does_not_have_are_refused(layers: str | list[int], words: str) -> None:
    model, _ = make("bart")
    with pytest.raises(ConfigError, match=words):
        HyPe(model, HyPeConfig(layers=layers)).attach()


def test_a_list_of_layers_of_one_class_is_found_without_transformers() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 3)
    assert HyPe(encoder).sites == ("layers.0", "layers.1", "layers.2")


@pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")  # of torch, for time before samples
def test_both_stacks_of_torch_s_own_transformer_are_perturbed_and_samples_are_on_their_axis() -> None:
    generator = torch.Generator().manual_seed(1)
    source, target = (torch.randn(length, 2, 16, generator=generator) for length in (5, 4))
    model = nn.Transformer(16, 2, 3, 2, 32).train()
    received = []
    with HyPe(model, HyPeConfig(sigma=0.5)) as hype:
        assert hype.sites == (*(f"encoder.layers.{i}" for i in range(3)), "decoder.layers.0", "decoder.layers.1")
        model.encoder.layers[0].register_forward_pre_hook(lambda module, args: received.append(args[0] - source))
        model.decoder.layers[0].register_forward_pre_hook(lambda module, args: received.append(args[0] - target))
        model(source, target)
        hype.step(0)
        source, target = source[:, :1], target[:, :1]
        model(source, target)
    for whole, one in zip(received[:2], received[2:], strict=True):
        torch.testing.assert_close(whole[:, :1], one)


def test_the_longest_list_is_taken_and_no_heads_of_its_class() -> None:
    stack = lambda kind, depth: nn.ModuleList([kind() for _ in range(depth)])
    model = nn.ModuleDict({"one": stack(nn.Tanh, 3), "heads": stack(nn.ReLU, 2), "two": stack(nn.Tanh, 2)})
    assert HyPe(model).sites == ("one.0", "one.1", "one.2")


# HYPE-C11
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("xlm", {"emb_dim": 16, "n_layers": 2, "n_heads": 2, "n_words": 64, "max_position_embeddings": 32}),
        ("lxmert", _BERT | {"l_layers": 2, "x_layers": 1, "r_layers": 1}),
        ("squeezebert", _BERT | {"embedding_size": 16} | {f"{part}_groups": 1 for part in "qkv"}),
    ],
)
def test_a_model_of_transformers_whose_layers_are_not_known_is_refused(name: str, settings: dict[str, Any]) -> None:
    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(name, **settings))
    with pytest.raises(
        ModelError, match=f"HyPe does not know the layers of {type(model).__name__}. Take a model whose"
    ):
        HyPe(nn.Sequential(model))


# HYPE-C11
@pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.ModuleList([nn.Linear(2, 2), nn.ReLU()]), nn.ModuleList()])
def test_a_model_without_layers_is_refused(model: nn.Module) -> None:
    with pytest.raises(ModelError, match=f"stack of layers, but {type(model).__name__} has none. Give it a Trans"):
        HyPe(model)
