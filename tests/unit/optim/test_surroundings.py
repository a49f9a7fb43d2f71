"""NSGD beside mixed precision, several ranks and transformers."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.multiprocessing.spawn import spawn
from torch.nn.functional import cross_entropy

from modicum.errors import ModelError
from modicum.optim import NSGD

Draw = Callable[..., Tensor]


def test_autocast_keeps_powers_in_float32(draw: Draw) -> None:
    layers = [nn.Linear(6, 4), nn.Linear(4, 2)]
    model = nn.Sequential(*layers)
    optimizer = NSGD(model, lr=0.1)
    x = 300 * draw(8, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = layers[0](x)
        loss = model(x).float().sum()
    loss.backward()
    optimizer.step()
    assert hidden.dtype == torch.bfloat16
    powers = [optimizer.state[layer.weight]["power"] for layer in layers]
    assert [power.dtype for power in powers] == [torch.float32] * 2
    torch.testing.assert_close(powers[0], x.square().sum(1).mean().reshape(1))
    torch.testing.assert_close(powers[1], hidden.detach().float().square().sum(1).mean().reshape(1))


def _train_on_rank(rank: int, folder: str, model: nn.Module, x: Tensor, labels: Tensor) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model = copy.deepcopy(model)  # what spawn hands over lies in memory that the ranks share
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = NSGD(parallel, lr=0.01, momentum=0.9, reduce="channel", beta=0.5)
    rows = slice(rank * len(x) // 2, (rank + 1) * len(x) // 2)
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(parallel(x[rows]), labels[rows]).backward()
        optimizer.step()
    torch.save(model.state_dict(), Path(folder, f"rank{rank}.pt"))
    # Not by destroy_process_group: freeing the parallel model then waits, with the interpreter locked, for a thread
    # of gloo that may need that lock to end.
    os._exit(0)


def test_two_ranks_equal_one_with_the_whole_batch(tmp_path: Path, convnet: nn.Module, draw: Draw) -> None:  # NSGD-C9
    # Images of the second rank are brighter, so that powers of one rank alone would show.
    x, labels = torch.cat([draw(4, 4, 8, 8), 3 * draw(4, 4, 8, 8)]), torch.arange(8) % 5
    alone = copy.deepcopy(convnet)
    spawn(_train_on_rank, args=(str(tmp_path), convnet, x, labels), nprocs=2)
    optimizer = NSGD(alone, lr=0.01, momentum=0.9, reduce="channel", beta=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(alone(x), labels).backward()
        optimizer.step()
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    for name, expected in alone.state_dict().items():
        assert torch.equal(ranks[0][name], ranks[1][name])
        torch.testing.assert_close(ranks[0][name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reduce", ["batch", "channel", "sample"])
def test_layer_of_gpt2_equals_the_linear_layer_of_its_transpose(reduce: Any, draw: Draw) -> None:
    from transformers.pytorch_utils import Conv1D

    turned, straight = Conv1D(3, 5), nn.Linear(5, 3)
    with torch.no_grad():
        straight.weight.copy_(turned.weight.T)
        straight.bias.copy_(turned.bias)
    x = draw(4, 2, 5) * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    for layer in (turned, straight):
        optimizer = NSGD(layer, lr=0.5, reduce=reduce)
        layer(x).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(turned.weight.T, straight.weight)
    torch.testing.assert_close(turned.bias, straight.bias)


@pytest.fixture
def bert() -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    with torch.random.fork_rng():
        return BertForSequenceClassification(
            BertConfig(
                vocab_size=32,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=16,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            )
        )


@pytest.fixture
def make_trainer(bert: Any, tmp_path: Path, generator: torch.Generator) -> Callable[..., Any]:
    from transformers import Trainer, TrainingArguments

    tokens = torch.randint(2, 32, (16, 8), generator=generator)
    labels = torch.arange(16) % 2
    tokens[:, 0] = labels  # the first token gives the answer away
    examples = [{"input_ids": row, "labels": label} for row, label in zip(tokens, labels, strict=True)]

    def make(optimizer: NSGD, **settings: Any) -> Any:
        scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=30)
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            save_strategy="no",
            **settings,
        )
        return Trainer(bert, arguments, train_dataset=examples, optimizers=(optimizer, scheduler))  # pyright: ignore[reportArgumentType]

    return make


def test_trainer_of_transformers_trains_bert(bert: Any, make_trainer: Callable[..., Any]) -> None:
    optimizer = NSGD(bert, lr=0.1, momentum=0.9, max_norm=1.0)
    trainer = make_trainer(optimizer, max_steps=30, max_grad_norm=0)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.7 * losses[0]
    linear = [name for name, module in bert.named_modules() if isinstance(module, nn.Linear)]
    assert set(optimizer.powers()) == {f"{name}.weight" for name in linear}
    assert optimizer.state[bert.classifier.weight]["step"] == 30


def test_trainer_that_clips_before_the_division_is_warned_of(bert: Any, make_trainer: Callable[..., Any]) -> None:
    with NSGD(bert, lr=0.1) as optimizer, pytest.warns(UserWarning, match=r"max_grad_norm=1 .* Set max_grad_norm=0"):
        make_trainer(optimizer, max_steps=1).train()
    # By sample the gradients are divided before Trainer sees them.
    make_trainer(NSGD(bert, lr=0.1, reduce="sample"), max_steps=1).train()


def test_a_sharded_model_is_refused(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        fully_shard(model[0], mesh=init_device_mesh("cpu", (1,)))
        with pytest.raises(ModelError, match=r"shared out among ranks \(FSDP, tensor parallelism\). Use Distrib"):
            NSGD(model, lr=0.1)
    finally:
        torch.distributed.destroy_process_group()
