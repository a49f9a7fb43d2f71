"""Training: it learns, resumes bit for bit, and moves the schedule once a step."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.textdiffusion.ranks import SMALL, build

from modicum.core.seeding import seeded_globally
from modicum.core.settings import change
from modicum.errors import ConfigError, DataError, RunError
from modicum.textdiffusion import (
    PRESETS,
    SeqDiffuSeqConfig,
    SeqDiffuSeqForConditionalGeneration,
    TrainingSettings,
    train,
)
from modicum.textdiffusion.data import Example
from modicum.textdiffusion.schedule import TokenNoiseSchedule

FAST = dataclasses.replace(PRESETS["fast"], steps=6, batch=4, warmup=2, schedule_every=2)


def examples(count: int = 10) -> list[Any]:
    """Make pairs whose target is the source backwards."""
    rows = torch.randint(4, 12, (count, 3), generator=torch.Generator().manual_seed(0))
    ends = torch.tensor([0]), torch.tensor([2])
    return [
        {
            "input_ids": torch.cat([ends[0], row, ends[1]]),
            "labels": torch.cat([ends[0], row.flip(0)[: 1 + k % 3], ends[1]]),
        }
        for k, row in enumerate(rows)
    ]


def network() -> SeqDiffuSeqForConditionalGeneration:
    with seeded_globally(0, "initialisation"):
        return SeqDiffuSeqForConditionalGeneration(SeqDiffuSeqConfig(**{**SMALL, "dropout": 0.1}))


def state(model: SeqDiffuSeqForConditionalGeneration) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def test_a_training_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path) -> None:
    checkpoints = {"checkpoints": tmp_path / "whole", "checkpoint_every": 3}
    without, whole, stopped = network(), network(), network()
    train(without, examples(), FAST, seed=1)
    done = train(whole, examples(), FAST, seed=1, **checkpoints)  # SD-9
    assert done.updates == 6
    assert equal(state(without), state(whole)), "checkpoints change the training"
    assert not whole.training
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    shutil.rmtree(tmp_path / "stopped" / "checkpoint-6")
    (tmp_path / "stopped" / "checkpoint-5").mkdir()  # the process was killed while it wrote this one
    train(stopped, examples(), FAST, seed=1, checkpoints=tmp_path / "stopped")
    assert equal(state(whole), state(stopped))
    assert not equal(state(whole), state(network()))
    others = {"vocab_size": 12, "tokenizer_hash": "another"}, {"d_model": 32}
    networks = [
        SeqDiffuSeqForConditionalGeneration(SeqDiffuSeqConfig(**{**SMALL, "dropout": 0.1, **it})) for it in others
    ]
    changed = [*examples()[:9], Example(input_ids=torch.tensor([0, 4, 2]), labels=torch.tensor([0, 5, 2]))]
    for model, rows, seed in (
        (network(), examples(), 2),
        (network(), changed, 1),
        *((other, examples(), 1) for other in networks),
    ):
        with pytest.raises(ConfigError, match="checkpoints of a training with other settings") as refused:
            train(model, rows, FAST, seed=seed, checkpoints=tmp_path / "whole")
        assert refused.value.hint == "Train in a new folder."


def test_the_schedule_moves_once_a_step_whatever_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[bool] = []
    update = TokenNoiseSchedule.update
    monkeypatch.setattr(
        TokenNoiseSchedule, "update", lambda *args, **options: (moved.append(True), update(*args, **options))[1]
    )
    for accumulation in (1, 2):
        moved.clear()
        model = build()
        settings = dataclasses.replace(FAST, steps=7, accumulation=accumulation, canvas="fixed")
        train(model, examples(8), settings)  # SD-8: one update after step 6, and step 7 is recorded in full
        assert len(moved) == 1
        lengths = [len(example["labels"]) for example in examples(8)]
        assert min(lengths) * 4 <= int(model.schedule.loss_count.sum()) - 50 <= max(lengths) * 4
        assert not torch.equal(model.schedule.alphas_cumprod, build().schedule.alphas_cumprod)
    model = build()
    train(model, examples(8), dataclasses.replace(FAST, schedule_every=0))
    assert torch.equal(model.schedule.alphas_cumprod, build().schedule.alphas_cumprod)


def test_it_learns_in_half_precision_too() -> None:
    settings = dataclasses.replace(FAST, steps=40, batch=8, rate=1e-2, clip=1.0, schedule_every=0)
    for precision in ("fp32", "bf16"):
        changed = change(settings, {"precision": precision})
        first = train(build(), examples(8), dataclasses.replace(changed, steps=1)).loss
        assert train(build(), examples(8), changed).loss < first - 0.3


def test_presets_are_those_of_the_paper_and_faster_ones() -> None:
    paper = PRESETS["paper"]
    assert (paper.steps, paper.rate, paper.warmup, paper.ema, paper.schedule_every) == (
        10**6,
        1e-4,
        10**4,
        0.9999,
        20000,
    )
    assert not paper.prediction_loss
    assert paper.canvas == "fixed"
    assert PRESETS["fast"].prediction_loss
    assert change(paper, {"steps": "10", "compile": "true"}).compile
    with pytest.raises(ConfigError, match="canvas must be one of fixed, random"):
        change(paper, {"canvas": "long"})


def test_what_a_training_refuses() -> None:
    model = build()
    settings: TrainingSettings = dataclasses.replace(FAST, steps=1)
    with pytest.raises(DataError, match="no examples"):
        train(model, [], settings)
    with pytest.raises(ConfigError, match="A batch of 4 pairs has no 3 equal parts"):
        train(model, examples(), dataclasses.replace(settings, accumulation=3))
    with pytest.raises(DataError, match="A target has 6 tokens, but the canvas has 5"):
        train(
            model,
            [Example(input_ids=torch.zeros(3, dtype=torch.long), labels=torch.zeros(6, dtype=torch.long))],
            settings,
        )
    with pytest.raises(ConfigError, match="torch cannot use the device 'nowhere'"):
        train(model, examples(), settings, device="nowhere")
    with torch.no_grad():
        model.lm_head.bias[3] = torch.nan
    with pytest.raises(RunError, match="The loss is nan"):
        train(model, examples(), settings)
