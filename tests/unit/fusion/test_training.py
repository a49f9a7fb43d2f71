"""Training: what it keeps, what it repeats, and what it takes from where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.fusion.made_up import recordings, text_config, tokenizer

from modicum.core.seeding import seeded_globally
from modicum.errors import ConfigError, DataError, RunError
from modicum.fusion import CubeMLPConfig, Stream
from modicum.fusion.batches import Collator, Items, split_words
from modicum.fusion.modeling import CubeMLPForPrediction, prediction_loss
from modicum.fusion.training import (
    Recipe,
    _factor,  # pyright: ignore[reportPrivateUsage]
    compute_logits,
    parameter_groups,
    train,
    with_text_states,
)

AUDIO = Stream(name="audio", size=3, encoder="linear")
VIDEO = Stream(name="video", size=2, encoder="gru", layers=1)
TEXT = Stream(name="text", size=16, text=True)
SHORT = Recipe(epochs=4, batch=16, rate=5e-3)


def config(*streams: Stream, **settings: Any) -> CubeMLPConfig:
    return CubeMLPConfig([6, len(streams), 8], [[4, len(streams), 8]], streams=streams, **settings)


def new(settings: CubeMLPConfig) -> CubeMLPForPrediction:
    with seeded_globally(0, "initialisation"):
        return CubeMLPForPrediction(settings)


def weights(model: CubeMLPForPrediction) -> torch.Tensor:
    return torch.cat([it.detach().flatten() for it in model.parameters()])


@pytest.fixture(name="splits")
def _splits() -> tuple[CubeMLPConfig, Items, Items]:
    settings = config(AUDIO, VIDEO, modality_dropout=0.2)
    return settings, Items(settings, recordings(48)), Items(settings, recordings(24, seed=1))


def test_training_predicts_better_than_the_mean(splits: tuple[CubeMLPConfig, Items, Items]) -> None:
    settings, items, valid = splits
    training = train(model := new(settings), items, valid, recipe=replace(SHORT, epochs=12, rate=0.02), seed=0)
    assert len(training.losses) == 12
    assert training.updates == 36
    assert min(training.losses) < 0.6 * np.abs(valid.labels - np.median(items.labels)).mean()  # type: ignore[arg-type]
    assert not model.training


def test_the_same_seed_gives_the_same_bits(splits: tuple[CubeMLPConfig, Items, Items]) -> None:
    settings, items, valid = splits
    models = [new(settings) for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        before = torch.get_rng_state()
        train(model, items, valid, recipe=SHORT, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)  # and leaves no trace
    assert torch.equal(weights(models[0]), weights(models[1]))
    assert not torch.equal(weights(models[0]), weights(models[2]))


@pytest.mark.parametrize("loss", ["mae", "mse", "ccc", "cross_entropy"])
def test_the_weights_are_those_of_the_epoch_of_the_lowest_validation_loss(loss: Any) -> None:
    classes = 3 if loss == "cross_entropy" else 0
    settings = config(AUDIO, VIDEO, loss=loss, outputs=classes or 1)
    items = Items(settings, recordings(33, classes=classes))  # 33 = 2 * 16 + 1, which "ccc" cannot have
    valid = Items(settings, recordings(20, seed=1, classes=classes))
    training = train(model := new(settings), items, valid, recipe=replace(SHORT, rate=0.05), seed=0)
    logits = compute_logits(model, valid, Collator())
    assert training.losses[training.epoch - 1] == min(training.losses)
    found = prediction_loss(loss, logits, torch.from_numpy(valid.labels))
    assert found.item() == pytest.approx(min(training.losses), rel=1e-5)
    assert training.updates == SHORT.epochs * (2 if loss == "ccc" else 3)


def test_patience_ends_a_training_that_gets_no_better(splits: tuple[CubeMLPConfig, Items, Items]) -> None:
    settings, items, valid = splits
    labels = -valid.labels if valid.labels is not None else None  # what is learnt makes this worse
    turned = Items(settings, replace(valid.recordings, labels=labels))
    recipe = replace(SHORT, epochs=30, patience=2)
    training = train(new(settings), items, turned, recipe=recipe, seed=0)
    assert len(training.losses) == training.epoch + 2 < 30


def test_without_a_validation_split_the_last_epoch_is_kept(splits: tuple[CubeMLPConfig, Items, Items]) -> None:
    settings, items, _ = splits
    training = train(new(settings), items, None, recipe=SHORT, seed=0)
    assert (training.losses, training.epoch) == ((), 4)


def test_a_training_that_diverges_says_so(splits: tuple[CubeMLPConfig, Items, Items]) -> None:
    settings, items, valid = splits
    with pytest.raises(RunError, match="finite in none of 4 epochs"):
        train(new(settings), items, valid, recipe=replace(SHORT, rate=1e30), seed=0)


def test_each_entry_of_a_gradient_is_clipped(splits: tuple[CubeMLPConfig, Items, Items]) -> None:
    settings, items, _ = splits
    largest: list[float] = []
    model = new(settings)
    step = torch.optim.AdamW.step

    def watched(self: Any, *given: Any, **named: Any) -> Any:
        largest.append(max(float(it.grad.abs().max()) for it in model.parameters() if it.grad is not None))
        return step(self, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", watched)
        train(model, items, None, recipe=replace(SHORT, epochs=1, clip=1e-3), seed=0)
        assert max(largest) == pytest.approx(1e-3)
        train(model, items, None, recipe=replace(SHORT, epochs=1, clip=0.0), seed=0)
        assert max(largest) > 2e-3


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [("step", [1, 1, 1, 1, 0.1, 0.1]), ("linear", [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]), ("none", [1] * 6)],
)
def test_schedules(schedule: Any, factors: list[float]) -> None:
    factor: Callable[[int], float] = _factor(Recipe(epochs=3, schedule=schedule, step=2), updates=2)
    assert [factor(update) for update in range(6)] == pytest.approx(factors)


def text_items(tmp_path: Path, settings: CubeMLPConfig, count: int, seed: int = 0) -> Items:
    drawn = recordings(count, words=True, seed=seed)
    return Items(settings, drawn, pieces=split_words(tokenizer(tmp_path), drawn.words or ()))


@pytest.mark.parametrize("frozen", [1, -1])
def test_cached_states_change_nothing(tmp_path: Path, frozen: int) -> None:
    settings = config(TEXT, AUDIO, VIDEO, text_encoder=text_config(), frozen_layers=frozen)
    items, valid = text_items(tmp_path, settings, 32), text_items(tmp_path, settings, 12, seed=1)
    both = []
    for cache in (True, False):
        training = train(model := new(settings), items, valid, recipe=SHORT, seed=0, cache_text=cache)
        both.append((training.losses, compute_logits(model, valid, Collator())))
    assert both[0][0] == pytest.approx(both[1][0], abs=1e-5)
    torch.testing.assert_close(both[0][1], both[1][1], atol=1e-5, rtol=0)


def test_states_are_those_of_the_encoder(tmp_path: Path) -> None:
    settings = config(TEXT, AUDIO, text_encoder=text_config(), frozen_layers=1)
    drawn = recordings(9, words=True)
    drawn = replace(drawn, streams={"audio": drawn.streams["audio"]})
    items = Items(settings, drawn, pieces=split_words(tokenizer(tmp_path), drawn.words or ()))
    kept = with_text_states(model := new(settings), items, Collator(), batch=4)
    assert items.states is None
    for pieces, states in zip(items.pieces or (), kept.states or (), strict=True):
        ids = torch.from_numpy(pieces.input_ids)[None]
        torch.testing.assert_close(states, model.text.text_states(ids, torch.ones_like(ids))[0], atol=1e-5, rtol=0)


def test_text_that_is_trained_has_no_states(tmp_path: Path) -> None:
    settings = config(TEXT, AUDIO, VIDEO, text_encoder=text_config(), frozen_layers=0, freeze_embeddings=False)
    items = text_items(tmp_path, settings, 4)
    assert with_text_states(new(settings), items, Collator()) is items


def test_the_text_encoder_has_a_rate_of_its_own() -> None:
    settings = config(TEXT, AUDIO, VIDEO, text_encoder=text_config(), frozen_layers=1)
    model = new(settings)
    groups = parameter_groups(model, Recipe(rate=0.1, text_rate=0.01, weight_decay=0.5))
    found = {id(it): (group["lr"], group["weight_decay"]) for group in groups for it in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate, decay = found[id(parameter)]
            assert rate == pytest.approx(0.001 if name.startswith("text.") else 0.1)
            assert decay == (0.5 if parameter.ndim > 1 else 0.0)
        else:
            assert id(parameter) not in found
    assert any(name.startswith("text.") and not it.requires_grad for name, it in model.named_parameters())


def test_logits_do_not_depend_on_the_batch(splits: tuple[CubeMLPConfig, Items, Items]) -> None:  # CUBEMLP-C6
    settings, items, _ = splits
    model = new(settings).train()
    alone, together = (compute_logits(model, items, Collator(), batch=batch) for batch in (1, 48))
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    assert model.training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"patience": 0}, "patience 0"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"clip": -1.0}, "clip -1.0"),
        ({"schedule": "cosine"}, "schedule is 'cosine'"),
    ],
)
def test_recipes_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe(**settings)


def test_splits_that_cannot_be_trained_on_are_refused() -> None:
    settings = config(AUDIO, VIDEO, loss="ccc")
    one, five = Items(settings, recordings(1)), Items(settings, recordings(5))
    unknown = Items(settings, replace(recordings(3), labels=None))
    with pytest.raises(DataError, match="no labels"):
        train(new(settings), unknown, None, recipe=SHORT, seed=0)
    with pytest.raises(DataError, match="1 samples for the loss 'ccc'"):
        train(new(settings), five, one, recipe=SHORT, seed=0)
    with pytest.raises(ConfigError, match="batch is 1"):
        train(new(settings), five, five, recipe=replace(SHORT, batch=1), seed=0)
