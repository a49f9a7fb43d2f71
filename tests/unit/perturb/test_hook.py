from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import BertForSequenceClassification

from modicum.errors import ConfigError, ModelError, StateError
from modicum.perturb import HyPe, HyPeConfig
from modicum.perturb.configuration import Noise

MakeBert = Callable[..., BertForSequenceClassification]
Batch = dict[str, Tensor]


def rates(model: nn.Module) -> dict[str, float]:
    return {
        f"{name}.{key}": value
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, float)
    }


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules())


def train(model: nn.Module, batch: Batch, steps: int, hype: HyPe | None = None, start: int = 0) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for step in range(start, start + steps):
        if hype is not None:
            hype.step(step)
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(mine, yours) for mine, yours in pairs)


# HYPE-C2
@pytest.mark.parametrize(
    ("noise", "mean", "variance"), [("normal", 0, 1), ("uniform", 0, 1 / 3), ("uniform_positive", 1 / 2, 1 / 12)]
)
@pytest.mark.parametrize("backend", ["hash", "torch"])
def test_layers_that_do_nothing_give_the_sum_of_the_noise(
    noise: Noise, mean: float, variance: float, backend: Any, make_stack: type[nn.Module]
) -> None:
    depth, sigma = 4, 0.5
    with HyPe(make_stack(depth), HyPeConfig(noise=noise, sigma=sigma, backend=backend)) as hype:
        total = hype._model(torch.zeros(32, 64, 96)).double().flatten()
    # 196 608 values: standard errors are 0.23 % of a standard deviation and 0.32 % of a variance; four are allowed.
    assert total.mean().item() == pytest.approx(depth * sigma * mean, abs=0.009 * sigma * (depth * variance) ** 0.5)
    assert total.var().item() == pytest.approx(depth * sigma**2 * variance, rel=0.013)
    if noise == "normal":
        assert stats.kstest(total.numpy(), stats.norm(scale=sigma * depth**0.5).cdf).pvalue > 1e-6
    else:
        parts = ((total / sigma - depth * mean) / (1 if noise == "uniform_positive" else 2) + depth / 2).numpy()[
            :2000
        ]  # scipy is slow here
        assert stats.kstest(parts, stats.irwinhall(depth).cdf).pvalue > 1e-6


# HYPE-C3
def test_the_first_input_is_perturbed_and_the_last_output_is_not(
    bert: BertForSequenceClassification, batch: Batch
) -> None:
    layers = bert.bert.encoder.layer
    seen: dict[str, Any] = {}
    bert.bert.embeddings.register_forward_hook(lambda module, args, output: seen.update(embedded=output))
    layers[-1].register_forward_hook(lambda module, args, output: seen.update(last=output))
    with HyPe(bert, HyPeConfig(sigma=0.1)):
        layers[0].register_forward_pre_hook(lambda module, args: seen.update(first=args[0]))
        output = bert(**batch, output_hidden_states=True)
    assert (seen["first"] - seen["embedded"]).std().item() == pytest.approx(0.1, rel=0.1)
    assert torch.equal(output.hidden_states[-1], seen["last"])
    assert len(output.hidden_states) == 1 + len(layers)


def test_layers_that_were_not_chosen_get_no_noise(make_stack: type[nn.Module]) -> None:
    model, entered = make_stack(4), []
    with HyPe(model, HyPeConfig(sigma=1.0, layers=[1, 3])):
        for layer in model.get_submodule("layers").children():
            layer.register_forward_pre_hook(lambda module, args: entered.append(args[0]))
        model(torch.zeros(2, 3, 4))
    changed = [
        bool((after != before).any()) for before, after in zip([torch.zeros(2, 3, 4), *entered], entered, strict=False)
    ]
    assert changed == [False, True, False, True]


# HYPE-C4
def test_with_dropout_off_and_no_noise_training_mode_is_evaluation_mode(
    bert: BertForSequenceClassification, batch: Batch
) -> None:
    evaluated = bert.eval()(**batch).logits
    with HyPe(bert, HyPeConfig(sigma=0.0)):
        assert torch.equal(bert.train()(**batch).logits, evaluated)


def test_a_frozen_part_in_evaluation_mode_gets_no_noise(bert: BertForSequenceClassification, batch: Batch) -> None:
    evaluated = bert.eval()(**batch).logits
    with HyPe(bert, HyPeConfig(sigma=0.1)):
        bert.train()
        for layer in bert.bert.encoder.layer:
            layer.eval()
        assert torch.equal(bert(**batch).logits, evaluated)


# HYPE-C5
def test_after_removal_the_model_is_what_it_was(bert: BertForSequenceClassification, batch: Batch) -> None:
    keys, before, attached = list(bert.state_dict()), rates(bert), hooks(bert)
    with HyPe(bert, HyPeConfig(sigma=0.1)):
        bert(**batch)
        assert list(bert.state_dict()) == keys
        assert hooks(bert) > attached
        assert rates(bert) != before
    assert list(bert.state_dict()) == keys
    assert hooks(bert) == attached
    assert rates(bert) == before
    loaded = pickle.loads(pickle.dumps(bert))
    assert equal(bert, loaded)
    assert torch.equal(bert.eval()(**batch).logits, loaded.eval()(**batch).logits)


def test_removal_after_an_error_in_the_block(bert: BertForSequenceClassification) -> None:
    before = rates(bert)
    with pytest.raises(KeyError), HyPe(bert):
        raise KeyError
    assert hooks(bert) == 0
    assert rates(bert) == before


def test_a_model_saves_and_copies_while_it_is_attached(bert: BertForSequenceClassification, batch: Batch) -> None:
    with HyPe(bert, HyPeConfig(sigma=0.1)):
        copied = copy.deepcopy(bert)
        torch.save(bert, io.BytesIO())
    assert torch.equal(copied.eval()(**batch).logits, bert.eval()(**batch).logits)


# HYPE-C6
def test_sigma_zero_trains_bitwise_like_dropout_off(make_bert: MakeBert, batch: Batch) -> None:
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    plain, perturbed = make_bert(**off), make_bert()
    with HyPe(perturbed, HyPeConfig(sigma=0.0)) as hype:
        assert train(perturbed, batch, 4, hype) == train(plain, batch, 4)
    assert equal(plain, perturbed)


def test_dropout_stays_where_it_is_wanted(bert: BertForSequenceClassification, batch: Batch) -> None:
    before = rates(bert)
    with HyPe(bert, HyPeConfig(disable_dropout=False)) as hype:
        assert rates(bert) == before
        first = bert(**batch).logits
        hype.step(0)
        assert not torch.equal(first, bert(**batch).logits)


# HYPE-C10
def test_the_generators_of_torch_are_untouched(bert: BertForSequenceClassification, batch: Batch) -> None:
    state = torch.get_rng_state()
    with HyPe(bert, HyPeConfig(sigma=0.1)):
        bert(**batch).loss.backward()
    assert torch.equal(torch.get_rng_state(), state)


# HYPE-C12
def test_attaching_twice_is_refused(bert: BertForSequenceClassification) -> None:
    handle = HyPe(bert).attach()
    words = r"A HyPe is attached to this model already\. Call its remove\(\) first"
    for other in (handle, HyPe(bert), HyPe(bert.bert), HyPe(nn.Sequential(bert))):
        with pytest.raises(StateError, match=words):
            other.attach()
    handle.remove()
    handle.attach().remove()
    assert hooks(bert) == 0


def test_a_handle_that_is_not_attached_has_no_place(bert: BertForSequenceClassification) -> None:
    handle = HyPe(bert)
    for call in (lambda: handle.position, lambda: handle.step(1)):
        with pytest.raises(StateError, match=r"not attached to its model\. Call attach\(\), or use it in a with block"):
            call()
    handle.remove()


@pytest.mark.parametrize("place", [(-1, 0), (0, -1)])
def test_a_negative_place_is_refused(place: tuple[int, int], bert: BertForSequenceClassification) -> None:
    with (
        HyPe(bert) as hype,
        pytest.raises(ConfigError, match=r"A position must be >= 0, but it is .*Count the steps from 0"),
    ):
        hype.step(*place)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="HyPe takes the model itself, but it got text"):
        HyPe("bert", HyPeConfig(sigma=1e-5))  # type: ignore[arg-type]


def test_a_negative_rank_is_refused(bert: BertForSequenceClassification) -> None:
    with pytest.raises(ConfigError, match=r"rank must be >= 0, but it is -1\. Leave it out"):
        HyPe(bert, rank=-1)


def test_the_place_counts_training_passes_only(bert: BertForSequenceClassification, batch: Batch) -> None:
    with HyPe(bert, HyPeConfig(sigma=0.1)) as hype:
        assert hype.position == (0, 0)
        bert(**batch)
        bert.eval()(**batch)
        bert.train()(**batch)
        assert hype.position == (0, 2)
        hype.step(7)
        assert hype.position == (7, 0)
        bert(**batch)
        assert hype.position == (7, 1)


def test_noise_is_fresh_in_each_pass_and_step_and_that_of_the_place(
    bert: BertForSequenceClassification, batch: Batch
) -> None:
    with HyPe(bert, HyPeConfig(sigma=0.1)) as hype:
        logits = {}
        for place in [(0, 0), (0, 1), (1, 0), (0, 0)]:
            hype.step(*place)
            value = bert(**batch).logits
            assert torch.equal(value, logits.setdefault(place, value))
    assert not torch.equal(logits[0, 0], logits[0, 1])
    assert not torch.equal(logits[0, 0], logits[1, 0])
    assert not torch.equal(logits[0, 1], logits[1, 0])


def test_another_seed_gives_other_noise(bert: BertForSequenceClassification, batch: Batch) -> None:
    outputs = []
    for seed in (0, 1, 2**32, 2**62):
        with HyPe(bert, HyPeConfig(sigma=0.1, seed=seed)):
            outputs.append(bert(**batch).logits)
    assert len({tuple(output.flatten().tolist()) for output in outputs}) == 4


def test_relative_noise_has_the_size_of_each_token(make_stack: type[nn.Module]) -> None:
    sizes = torch.tensor([0.0, 1.0, 100.0]).view(1, 3, 1)
    hidden = sizes * torch.ones(8, 3, 512)
    model = make_stack(1)
    with HyPe(model, HyPeConfig(sigma=0.01, sigma_mode="relative")):
        noise = model(hidden) - hidden
    assert noise[:, 0].abs().max() == 0
    for token in (1, 2):  # 4096 values each: the standard error is 1.1 %
        assert noise[:, token].std().item() == pytest.approx(0.01 * sizes[0, token].item(), rel=0.05)


def test_the_noise_is_added_in_a_new_tensor(make_stack: type[nn.Module]) -> None:
    hidden = torch.ones(2, 3, 4)
    model = make_stack(2)
    with HyPe(model, HyPeConfig(sigma=0.1)):
        model(hidden)
    assert torch.equal(hidden, torch.ones(2, 3, 4))


class Keyword(nn.Module):
    """Calls its layers with keyword arguments, and with more than hidden states if asked."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0) for _ in range(2)])

    def forward(self, hidden: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = layer(src=hidden)
        return hidden


def test_hidden_states_in_keywords_are_perturbed() -> None:
    model, hidden = Keyword(), torch.ones(3, 2, 8)
    plain = model(hidden)
    with HyPe(model, HyPeConfig(sigma=0.1)):
        assert not torch.allclose(model(hidden), plain, atol=1e-3)


def test_a_layer_that_is_never_called_is_named(make_stack: type[nn.Module]) -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stack = make_stack(2)

        def forward(self, hidden: Tensor) -> Tensor:
            return self.stack.get_submodule("layers.0")(hidden)

    model = Half()
    with HyPe(model), pytest.raises(ModelError, match=r"stack.layers.1 is a layer .* does not call it\. Leave it out"):
        model(torch.zeros(1, 2, 3))
    with HyPe(model, HyPeConfig(layers=[0])):
        model(torch.zeros(1, 2, 3))


def test_a_layer_that_is_never_called_is_named_by_the_dry_run(bert: BertForSequenceClassification) -> None:
    bert.bert.spare = nn.ModuleList([copy.deepcopy(bert.bert.encoder.layer[0])])
    with pytest.raises(ModelError, match=r"bert.spare.0 is a layer of the model, but a forward pass does not call it"):
        HyPe(bert).attach()
    assert hooks(bert) == 0
    assert rates(bert)["bert.encoder.layer.0.output.dropout.p"] == 0.1


def test_a_layer_whose_input_is_no_hidden_state_is_named(make_stack: type[nn.Module]) -> None:
    model = make_stack(1)
    with (
        HyPe(model),
        pytest.raises(ModelError, match=r"The first argument of layers.0 should be a hidden state, but it is Tensor"),
    ):
        model(torch.ones(2, 3, 4, dtype=torch.long))


def test_a_model_that_is_not_called_itself_is_refused(bert: BertForSequenceClassification, batch: Batch) -> None:
    with (
        HyPe(bert),
        pytest.raises(StateError, match=r"layer.0 ran in training, but .*never called itself\. Give HyPe the"),
    ):
        bert.bert(batch["input_ids"])


def test_a_model_whose_embeddings_are_sharded_alone_gets_noise(
    tmp_path: Path, bert: BertForSequenceClassification, batch: Batch
) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        for part in (bert.bert.embeddings, *bert.bert.encoder.layer, bert):
            fully_shard(part, mesh=mesh)  # pyright: ignore[reportArgumentType, reportCallIssue]
        with HyPe(bert, HyPeConfig(sigma=0.1)) as hype:
            first = bert(**batch).logits.detach()
            bert(**batch).loss.backward()
            hype.step(0)
            assert torch.equal(bert(**batch).logits, first)
            assert not torch.equal(bert(**batch).logits, first)
    finally:
        torch.distributed.destroy_process_group()
