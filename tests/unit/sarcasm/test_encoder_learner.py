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
from torch.optim import AdamW

from modicum.errors import ConfigError, DataError
from modicum.perturb import HyPeCallback, HyPeConfig
from modicum.sarcasm.configuration import EncoderSettings
from modicum.sarcasm.data.examples import Example
from modicum.sarcasm.encoder.model import EncoderModel
from modicum.sarcasm.encoder.modeling import SarcasmModel
from modicum.sarcasm.encoder.training import EncoderLearner, parameter_groups
from modicum.sarcasm.models import Learner, TextModel, compare_texts

SETTINGS = EncoderSettings(epochs=2, batch=8, rate=1e-3, pooling="mean")
EXAMPLES = write_examples(24) + write_examples(16, language="ar")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def learner(place: str) -> EncoderLearner:
    return EncoderLearner(encoder=place, settings=SETTINGS, length=24)


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
    fits: Learner = replace(learner, settings=replace(SETTINGS, epochs=16, rate=5e-3))
    model = fits.fit(write_examples(64) + write_examples(48, language="ar"), seed=0)
    assert isinstance(model, EncoderModel)
    outputs = model([example.text for example in UNSEEN])
    labels = np.array([example.sarcastic for example in UNSEEN])
    assert np.mean((outputs.sarcastic > 0) == labels) > 0.95
    assert outputs.categories is not None
    assert outputs.categories[:, 2:].max() < 0, "a category that never occurs is predicted"
    assert outputs.rank is not None
    assert np.mean(compare_texts(model, UNSEEN_PAIRS) > 0) > 0.95


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


def test_only_heads_with_something_to_learn_are_asked(learner: EncoderLearner) -> None:
    bare = [replace(example, rephrase=None, categories=None) for example in EXAMPLES]
    outputs = learner.fit(bare, seed=0)(["the cat"])
    assert outputs.categories is None
    assert outputs.rank is None


def test_examples_that_no_task_learns_from_are_not_computed(learner: EncoderLearner) -> None:
    unknown = [Example(text="the bus ran", language="en")]
    assert same(learner.fit([*EXAMPLES, *unknown], seed=0), learner.fit(EXAMPLES, seed=0))


def test_one_label_alone_is_refused(learner: EncoderLearner) -> None:
    for label in (0, 1):
        with pytest.raises(DataError, match=r"Of \d+ examples that can be learnt from, none is sarcastic, or all are"):
            learner.fit([example for example in EXAMPLES if example.sarcastic == label], seed=0)
    with pytest.raises(DataError, match=r"Of 0 examples"):
        learner.fit([], seed=0)


def test_a_length_beyond_the_positions_of_the_encoder_is_refused(learner: EncoderLearner) -> None:
    with pytest.raises(ConfigError, match=r"cut at 65 tokens, but the encoder takes 4 to 64. Name an encoder"):
        replace(learner, length=65).fit(EXAMPLES, seed=0)


def test_texts_that_are_cut_in_training_are_reported(learner: EncoderLearner) -> None:
    with pytest.warns(UserWarning, match=r"\d+ of 40 texts have more than 8 tokens and were cut there\."):
        replace(learner, length=8).fit([replace(it, rephrase=None) for it in EXAMPLES], seed=0)


def test_rates_fall_from_the_heads_to_the_embeddings_and_vectors_do_not_decay(place: str) -> None:
    model = SarcasmModel.from_encoder(place)
    groups = parameter_groups(model, 1e-3)
    AdamW(groups)  # takes them
    found = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(found) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        layers_below = (
            3 if not name.startswith("encoder.") else 2 if ".layer.1." in name else 1 if ".layer.0." in name else 0
        )
        group = found[id(parameter)]
        assert group["lr"] == pytest.approx(1e-3 * 0.9 ** (3 - layers_below)), name
        assert group["weight_decay"] == (0.0 if "bias" in name or "LayerNorm" in name else 0.01), name


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"batch": 0}, {"rate": 0.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        EncoderSettings(**settings)


def test_fixtures_are_what_their_names_say() -> None:
    spoken = [example.text.split()[0] for example in write_examples(20) if example.sarcastic]
    assert set(spoken) <= set(IRONIC)
    assert not any(word in text.split() for text in write_texts(50) for word in IRONIC)
