"""FGM: one more pass where the word embeddings are moved against the model, and nothing else is."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.unit.sarcasm.test_encoder_modeling import ENCODERS, drawn, tokens
from tests.unit.sarcasm.tiny_encoder import write_encoder, write_examples
from torch import Tensor
from torch.optim import Optimizer

from modicum.core.seeding import seeded_globally
from modicum.perturb import HyPeCallback, HyPeConfig
from modicum.sarcasm.encoder.items import Collator, make_items
from modicum.sarcasm.encoder.learner import EncoderLearner
from modicum.sarcasm.encoder.losses import Counts, Objective
from modicum.sarcasm.encoder.modeling import SarcasmModel
from modicum.sarcasm.encoder.opening import open_tokenizer
from modicum.sarcasm.encoder.training import Recipe, batch_loss
from modicum.sarcasm.examples import CATEGORIES
from modicum.sarcasm.functional import adversarial_move

EXAMPLES = write_examples(8) + write_examples(8, language="ar")
COUNTS = Counts.of(EXAMPLES, Objective())
PAIR_HEADS = ["rank", "cross"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


def made(place: str, pair_head: Any = "rank") -> tuple[SarcasmModel, dict[str, Any]]:
    """Give a model without dropout, and a batch."""
    tokenizer = open_tokenizer(place)
    items = make_items(EXAMPLES, tokenizer, length=24, pairs=pair_head)
    return SarcasmModel.from_encoder(place, pair_head=pair_head).eval(), Collator.of(tokenizer)(items)


def loss(model: SarcasmModel, batch: dict[str, Any], **settings: Any) -> Tensor:
    return batch_loss(model, batch, counts=COUNTS, objective=Objective(**settings))


def hooks(model: SarcasmModel) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


@contextmanager
def watched(model: SarcasmModel) -> Generator[list[Tensor]]:
    """Collect what the encoder makes of the word embeddings: they and the positions, before the first norm."""
    seen: list[Tensor] = []
    handle = model.encoder.embeddings.LayerNorm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("pair_head", PAIR_HEADS)
def test_without_a_move_the_loss_is_the_plain_one_bit_by_bit(place: str, pair_head: str) -> None:
    model, batch = made(place, pair_head)
    plain = loss(model, batch).detach()
    with watched(model) as seen:
        assert torch.equal(loss(model, batch, fgm=0.0).detach(), plain)
    assert len(seen) == (2 if pair_head == "cross" else 1)
    nearly = loss(model, batch, fgm=1e-30).detach()  # too small to move a number of single precision
    assert torch.equal(nearly, plain + plain)


@pytest.mark.parametrize("pair_head", PAIR_HEADS)
def test_each_text_is_moved_by_epsilon_and_its_padding_not_at_all(place: str, pair_head: str) -> None:
    model, batch = made(place, pair_head)
    with watched(model) as seen:
        loss(model, batch, fgm=0.5)
    inputs = [batch[name] for name in ("texts", "pairs") if name in batch]
    assert len(seen) == 2 * len(inputs)
    for rows, before, after in zip(inputs, seen, seen[len(inputs) :], strict=False):
        move = (after - before).detach()
        torch.testing.assert_close(move.flatten(1).norm(dim=1), torch.full((len(move),), 0.5), rtol=1e-5, atol=0)
        padding = rows["attention_mask"] == 0
        assert padding.any()
        assert not move[padding].any()


@pytest.mark.parametrize("pair_head", PAIR_HEADS)
def test_the_loss_rises_by_epsilon_times_the_norms_of_the_gradients(place: str, pair_head: str) -> None:
    model, batch = made(place, pair_head)
    with watched(model) as seen:
        plain = loss(model, batch)
    gradients = torch.autograd.grad(plain, seen)  # with respect to the sum, and so to the word embeddings in it
    slope = float(sum(gradient.flatten(1).norm(dim=1).sum() for gradient in gradients))
    rise = float(loss(model, batch, fgm=0.02).detach() - 2 * plain.detach())
    assert slope > 0.01
    assert rise == pytest.approx(0.02 * slope, rel=0.02)


def test_texts_that_nothing_is_learnt_from_stay_where_they_are(place: str) -> None:
    model, batch = made(place)
    with watched(model) as seen:
        loss(model, batch, fgm=0.5, weights=(0, 0, 1))
    moved = (seen[1] - seen[0]).flatten(1).any(dim=1)
    parents = batch["targets"]["parents"].tolist()
    assert moved.tolist() == [row in parents or row >= len(EXAMPLES) for row in range(len(moved))]
    both, cross = made(place, "cross")
    loss(both, cross, fgm=0.5, weights=(1, 0, 0))  # the pairs are read, and have no gradient


def test_gradients_of_both_passes_reach_the_weights_and_nothing_is_changed_in_place(place: str) -> None:
    model, batch = made(place)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    loss(model, batch).backward()
    single = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    found = loss(model, batch, fgm=1e-30)
    assert not any(weight.grad is not None for weight in model.parameters()), "the move left a gradient behind"
    found.backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        torch.testing.assert_close(weight.grad, 2 * single[name], rtol=1e-4, atol=1e-6)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert hooks(model) == 0


@pytest.mark.parametrize("failing", [1, 2])
def test_a_pass_that_fails_leaves_no_hook(place: str, failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = made(place)
    forward, calls = model.encoder.forward, iter(range(1, 3))

    def fails(**inputs: Any) -> Any:
        found = forward(**inputs)
        if next(calls) == failing:
            raise RuntimeError("out of memory")
        return found

    monkeypatch.setattr(model.encoder, "forward", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        loss(model, batch, fgm=0.5)
    assert hooks(model) == 0


def test_r_drop_keeps_its_two_passes(place: str) -> None:
    model, batch = made(place)
    plain = float(loss(model, batch).detach())
    with watched(model) as seen:
        found = float(loss(model, batch, fgm=1e-30, r_drop=1.0).detach())
    assert len(seen) == 3
    assert found == pytest.approx(3 * plain, rel=1e-6)


def test_with_r_drop_the_move_is_against_the_first_pass(place: str) -> None:
    model, batch = made(place)
    model.train()
    with seeded_globally(0, "noise"), watched(model) as seen:
        plain = loss(model, batch)
    (gradient,) = torch.autograd.grad(plain, seen)
    with seeded_globally(0, "noise"), watched(model) as seen:
        loss(model, batch, fgm=0.5, r_drop=100.0)
    move = (seen[2] - seen[0]).detach()
    torch.testing.assert_close(move, adversarial_move(gradient, 0.5), rtol=0, atol=1e-5)


def test_word_embeddings_that_are_frozen_are_moved_too(place: str) -> None:
    model, batch = made(place)
    wanted = loss(model, batch, fgm=0.5).detach()
    model.get_input_embeddings().requires_grad_(False)
    assert torch.equal(loss(model, batch, fgm=0.5).detach(), wanted)


@pytest.mark.parametrize("kind", ENCODERS)
def test_padding_stays_where_it_is_in_any_encoder(kind: str) -> None:
    model = drawn(ENCODERS[kind], pooling="mean")
    ids = torch.nn.functional.pad(tokens(3, 7), (0, 4), value=ENCODERS[kind].pad_token_id)
    texts = {"input_ids": ids, "attention_mask": torch.nn.functional.pad(torch.ones(3, 7), (0, 4)).long()}
    targets = {
        "sarcastic": torch.tensor([0.0, 1.0, 1.0]),
        "language": torch.zeros(3, dtype=torch.int64),
        "categories": torch.zeros(3, len(CATEGORIES)),
        "parents": torch.zeros(0, dtype=torch.int64),
    }
    embedded: list[Tensor] = []
    model.get_input_embeddings().register_forward_hook(lambda *call: embedded.append(call[2]))
    (gradient,) = torch.autograd.grad(loss(model, {"texts": texts, "targets": targets}), embedded)
    assert gradient[:, :7].any(dim=2).all()
    assert not gradient[:, 7:].any()


def learner(place: str, **changes: Any) -> EncoderLearner:
    recipe = Recipe(epochs=1, batch=8, rate=1e-3)
    return EncoderLearner(encoder=place, length=28, recipe=recipe, objective=Objective(fgm=1.0), **changes)


def noise() -> list[HyPeCallback]:
    return [HyPeCallback(HyPeConfig(noise="normal", sigma=1e-2, seed=3))]


@pytest.mark.parametrize("with_it", ["nothing", "a cross-encoder", "bfloat16", "R-Drop", "HyPe"])
def test_a_training_is_a_function_of_its_seed(place: str, with_it: str) -> None:
    plain = learner(place)
    fits = {
        "nothing": plain,
        "a cross-encoder": replace(plain, pair_head="cross"),
        "bfloat16": replace(plain, recipe=replace(plain.recipe, bf16=True)),
        "R-Drop": replace(plain, objective=Objective(fgm=1.0, r_drop=1.0)),
        "HyPe": replace(plain, callbacks=noise),
    }[with_it]
    unmoved = replace(fits, objective=replace(fits.objective, fgm=0.0))
    one, again, without = (it.fit(EXAMPLES, seed=0).model for it in (fits, fits, unmoved))
    mine, yours, other = one.state_dict(), again.state_dict(), without.state_dict()
    assert all(torch.equal(mine[name], yours[name]) for name in mine)
    assert any(not torch.equal(mine[name], other[name]) for name in mine)
    assert all(bool(weight.isfinite().all()) for weight in mine.values())
    assert hooks(one) == 0


def test_the_gradient_of_both_passes_is_clipped_at_once(place: str) -> None:
    norms: list[float] = []

    def make(groups: list[dict[str, Any]]) -> Optimizer:
        optimizer = torch.optim.SGD(groups)
        weights = [weight for group in groups for weight in group["params"]]
        optimizer.register_step_pre_hook(
            lambda *_: norms.append(float(torch.stack([it.grad.norm() for it in weights]).norm()))
        )
        return optimizer

    steep = Objective(fgm=1.0, weights=(100, 100, 100))
    replace(learner(place, optimizer=make), objective=steep).fit(EXAMPLES, seed=0)
    assert norms == pytest.approx([1.0] * 2, rel=1e-4)
