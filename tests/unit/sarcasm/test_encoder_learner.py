"""Training: reproducible, in place of nothing else, and it learns what can be learnt."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.sarcasm.tiny_encoder import IRONIC, write_encoder, write_examples, write_texts
from torch.optim import AdamW, Optimizer

from modicum.errors import ConfigError, DataError
from modicum.optim import NSGD
from modicum.perturb import HyPeCallback, HyPeConfig
from modicum.sarcasm.encoder.batches import Tokenizer
from modicum.sarcasm.encoder.items import Collator, make_items
from modicum.sarcasm.encoder.learner import EncoderLearner
from modicum.sarcasm.encoder.losses import Counts, Objective
from modicum.sarcasm.encoder.model import EncoderModel
from modicum.sarcasm.encoder.modeling import SarcasmModel
from modicum.sarcasm.encoder.opening import open_tokenizer
from modicum.sarcasm.encoder.training import Recipe, batch_loss, parameter_groups, train
from modicum.sarcasm.scoring import Learner, TextModel

RECIPE = Recipe(epochs=2, batch=8, rate=1e-3, layer_decay=1.0)
EXAMPLES = write_examples(24) + write_examples(16, language="ar")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def learner(place: str) -> EncoderLearner:
    return EncoderLearner(encoder=place, pooling="mean", length=24, recipe=RECIPE)


def weights(model: TextModel) -> dict[str, torch.Tensor]:
    assert isinstance(model, EncoderModel)
    return model.model.state_dict()


def same(one: TextModel, other: TextModel) -> bool:
    mine, yours = weights(one), weights(other)
    return all(torch.equal(mine[name], yours[name]) for name in mine)


def states() -> tuple[Any, ...]:
    numpy: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002
    place, keys = numpy["state"]["pos"], numpy["state"]["key"].tobytes()
    return random.getstate(), place, keys, torch.get_rng_state().numpy().tobytes()


UNSEEN = write_examples(60, seed=1) + write_examples(60, language="ar", seed=1)
UNSEEN_PAIRS = [(example.rephrase, example.text) for example in UNSEEN if example.rephrase is not None]


def test_all_three_tasks_are_learnt_in_both_languages(learner: EncoderLearner) -> None:
    fits: Learner = replace(learner, recipe=replace(RECIPE, epochs=16, rate=5e-3))
    model = fits.fit(write_examples(64) + write_examples(48, language="ar"), seed=0)
    assert isinstance(model, EncoderModel)
    outputs = model([example.text for example in UNSEEN])
    labels = np.array([example.sarcastic for example in UNSEEN])
    assert np.mean((outputs.sarcastic > 0) == labels) > 0.95
    assert outputs.categories is not None
    assert outputs.categories[:, 2:].max() < 0, "a category that never occurs is predicted"
    assert outputs.rank is not None
    assert np.mean(model.compare(UNSEEN_PAIRS) > 0) > 0.95


def test_reading_two_texts_together_is_learnt(learner: EncoderLearner) -> None:
    recipe, pairs_alone = replace(RECIPE, epochs=10, rate=1e-2), Objective(weights=(0, 0, 1))
    fits = replace(learner, pair_head="cross", length=28, recipe=recipe, objective=pairs_alone)
    model = fits.fit(write_examples(96), seed=0)
    found = model.compare(UNSEEN_PAIRS[:30])
    assert np.mean(found > 0) > 0.95
    assert np.median(found) > 1
    assert model(["the cat"]).rank is None


def test_a_fit_is_a_function_of_its_seed_and_leaves_nothing_behind(
    learner: EncoderLearner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = states()
    first, again, other = (learner.fit(EXAMPLES, seed=seed) for seed in (0, 0, 1))
    assert states() == before
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert same(first, again)
    assert not same(first, other)


def test_hype_perturbs_the_encoder_while_it_trains_and_no_longer(learner: EncoderLearner) -> None:
    def fit(sigma: float) -> EncoderModel:
        config = HyPeConfig(noise="normal", sigma=sigma, seed=3)
        return replace(learner, callbacks=lambda: [HyPeCallback(config)]).fit(EXAMPLES, seed=0)

    noisy, again, louder = fit(1e-2), fit(1e-2), fit(2e-2)
    assert same(noisy, again)
    assert not same(noisy, louder)
    assert not any(module._forward_pre_hooks for module in noisy.model.modules())
    assert np.array_equal(noisy(["wow the cat"]).sarcastic, noisy(["wow the cat"]).sarcastic)


def test_an_optimizer_takes_the_place_of_adamw(learner: EncoderLearner) -> None:
    taken: list[list[dict[str, Any]]] = []

    def make(groups: list[dict[str, Any]]) -> Optimizer:
        taken.append(groups)
        return torch.optim.SGD(groups)

    fitted = replace(learner, optimizer=make).fit(EXAMPLES, seed=0)
    assert len(taken) == 1
    assert not same(fitted, learner.fit(EXAMPLES, seed=0))


def test_nsgd_trains_a_model(place: str) -> None:
    tokenizer = open_tokenizer(place)
    model = SarcasmModel.from_encoder(place, length=24)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    items = make_items(EXAMPLES, tokenizer, length=24, pairs="rank")
    optimizer = NSGD(model, lr=0.01)
    done = train(
        model, items, Collator.of(tokenizer), objective=Objective(), recipe=RECIPE, seed=0, optimizers=(optimizer, None)
    )
    assert done.updates == 2 * 5
    assert all(bool(weight.isfinite().all()) for weight in model.state_dict().values())
    assert any(not torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_training_in_bfloat16_keeps_weights_and_losses_in_single(learner: EncoderLearner) -> None:
    fitted = replace(learner, recipe=replace(RECIPE, bf16=True)).fit(EXAMPLES, seed=0)
    assert {weight.dtype for weight in weights(fitted).values()} == {torch.float32}
    found, single = fitted(["wow the cat"]).sarcastic, learner.fit(EXAMPLES, seed=0)(["wow the cat"]).sarcastic
    assert not np.array_equal(found, single)
    np.testing.assert_allclose(found, single, atol=0.1)


def test_only_heads_with_something_to_learn_are_asked(learner: EncoderLearner) -> None:
    bare = [replace(example, rephrase=None, categories=None) for example in EXAMPLES]
    outputs = learner.fit(bare, seed=0)(["the cat"])
    assert outputs.categories is None
    assert outputs.rank is None
    ranker = replace(learner, objective=Objective(weights=(0, 0, 1)))
    fitted = ranker.fit([example for example in EXAMPLES if example.sarcastic], seed=0)
    assert fitted.model.config.learnt == ["rank"]
    assert fitted(["the cat"]).rank is not None


def test_examples_that_no_task_learns_from_are_not_computed(learner: EncoderLearner) -> None:
    ranker = replace(learner, objective=Objective(weights=(0, 0, 1)))
    assert same(ranker.fit(EXAMPLES, seed=0), ranker.fit([it for it in EXAMPLES if it.rephrase], seed=0))


def test_one_label_alone_is_refused(learner: EncoderLearner) -> None:
    for label in (0, 1):
        with pytest.raises(DataError, match=r"Of \d+ examples that can be learnt from, none is sarcastic, or all are"):
            learner.fit([example for example in EXAMPLES if example.sarcastic == label], seed=0)
    with pytest.raises(DataError, match=r"Of 0 examples"):
        learner.fit([], seed=0)


def test_a_length_beyond_the_positions_of_the_encoder_is_refused(learner: EncoderLearner) -> None:
    with pytest.raises(
        ConfigError, match=r"length is 65, but the encoder takes 4 to 64 tokens. Give a number between."
    ):
        replace(learner, length=65).fit(EXAMPLES, seed=0)


def test_texts_that_are_cut_in_training_are_reported(learner: EncoderLearner) -> None:
    with pytest.warns(UserWarning, match=r"\d+ of 40 texts have more than 8 tokens and were cut there\."):
        replace(learner, length=8, objective=Objective(weights=(1, 0, 0))).fit(EXAMPLES, seed=0)


def batch(tokenizer: Tokenizer) -> dict[str, Any]:
    return Collator.of(tokenizer)(make_items(EXAMPLES[:8], tokenizer, length=24, pairs="rank"))


def test_r_drop_adds_the_losses_of_two_passes_and_their_divergence(place: str) -> None:
    tokenizer, model = open_tokenizer(place), SarcasmModel.from_encoder(place, length=24)
    counts = Counts.of(EXAMPLES, Objective())
    plain = batch_loss(model.eval(), batch(tokenizer), counts=counts, objective=Objective())
    twice = batch_loss(model, batch(tokenizer), counts=counts, objective=Objective(r_drop=5.0))
    assert float(twice.detach()) == pytest.approx(
        2 * float(plain.detach()), rel=1e-5
    )  # two passes without dropout agree
    model.train()
    losses = []
    for r_drop in (1e-9, 1000.0):
        with torch.random.fork_rng():
            torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
            loss = batch_loss(model, batch(tokenizer), counts=counts, objective=Objective(r_drop=r_drop))
            losses.append(float(loss.detach()))
    assert losses[1] > losses[0] + 1e-4, "two passes with dropout do not differ"


def test_rates_fall_from_the_heads_to_the_embeddings_and_vectors_do_not_decay(place: str) -> None:
    model = SarcasmModel.from_encoder(place)
    recipe = Recipe(rate=1e-3, layer_decay=0.5, weight_decay=0.02)
    groups = parameter_groups(model, recipe)
    AdamW(groups)  # takes them
    found = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(found) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        layers_below = (
            3 if not name.startswith("encoder.") else 2 if ".layer.1." in name else 1 if ".layer.0." in name else 0
        )
        group = found[id(parameter)]
        assert group["lr"] == pytest.approx(1e-3 * 0.5 ** (3 - layers_below)), name
        assert group["weight_decay"] == (0.0 if "bias" in name or "LayerNorm" in name else 0.02), name


@pytest.mark.parametrize(
    "settings", [{"epochs": 0}, {"batch": 0}, {"rate": 0.0}, {"layer_decay": 0.0}, {"warmup": 1.0}]
)
def test_recipes_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Recipe(**settings)


def test_fixtures_are_what_their_names_say() -> None:
    spoken = [example.text.split()[0] for example in write_examples(20) if example.sarcastic]
    assert set(spoken) <= set(IRONIC)
    assert not any(word in text.split() for text in write_texts(50) for word in IRONIC)
