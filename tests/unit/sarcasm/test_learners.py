"""Settings by name, and what is fitted for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.errors import ConfigError, DataError
from modicum.sarcasm.comparison import make_tiny_encoder
from modicum.sarcasm.configuration import Settings
from modicum.sarcasm.data.preparation import PRESETS
from modicum.sarcasm.encoder.model import EncoderModel, EnsembleModel
from modicum.sarcasm.fitting import fit, fit_system
from modicum.sarcasm.linear import LinearLearner, LinearModel
from modicum.sarcasm.system import SarcasmSystem
from modicum.sarcasm.written import read_written

KNOWN = [*read_written("en")[:30], *read_written("ar")[:30]]
TEXTS = [it.text for it in read_written("en")[40:60]]
NGRAMS = Settings(folds=2)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    place = make_tiny_encoder(tmp_path_factory.mktemp("encoder"), [it.text for it in KNOWN], seed=0)
    return Settings(model=str(place), folds=2, epochs=1, batch=16, rate=1e-3, pooling="mean")


def test_ngrams_are_one_model_of_all_examples() -> None:
    fitted = fit(KNOWN, replace(NGRAMS, preset="modicum"))
    assert isinstance(fitted.system.model, LinearModel)
    same = fit_system(KNOWN, LinearLearner(), robustness=PRESETS["modicum"], folds=2, seed=0)
    np.testing.assert_array_equal(fitted.system.model(TEXTS).sarcastic, same.system.model(TEXTS).sarcastic)
    assert fitted.system.decision == same.system.decision


def test_settings_reach_the_system() -> None:
    fitted = fit(KNOWN, replace(NGRAMS, preset="plain", rule="half", seed=3))
    assert fitted.system.preparation == PRESETS["plain"].preparation
    assert fitted.system.decision.rule == "half"
    assert fit(KNOWN, replace(NGRAMS, seed=4)).held != fit(KNOWN, replace(NGRAMS, seed=3)).held


def test_an_encoder_is_the_mean_of_the_models_of_its_folds(encoder: Settings) -> None:
    model = fit(KNOWN, encoder).system.model
    assert isinstance(model, EnsembleModel)
    assert len(model.members) == 2
    assert all(isinstance(member, EncoderModel) for member in model.members)
    first, second = (member(TEXTS).sarcastic for member in model.members)
    assert (first != second).all()
    np.testing.assert_allclose(model(TEXTS).sarcastic, (first + second) / 2)
    np.testing.assert_allclose(EnsembleModel(model.members[:1])(TEXTS).sarcastic, first)
    assert {member.model.config.pooling for member in model.members} == {"mean"}


def test_a_fit_of_an_encoder_is_a_function_of_its_seed(encoder: Settings) -> None:
    first, again, other = (fit(KNOWN, replace(encoder, folds=1, seed=seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.outputs.sarcastic, again.outputs.sarcastic)
    assert first.system.decision == again.system.decision
    assert first.system.decision != other.system.decision


def test_a_frozen_encoder_is_one_model_of_all_examples(encoder: Settings, tmp_path: Path) -> None:
    system = fit(KNOWN, replace(encoder, model=f"frozen:{encoder.model}")).system
    assert isinstance(system.model, LinearModel)
    system.save(tmp_path / "system")
    found = SarcasmSystem.load(tmp_path / "system").model(TEXTS).sarcastic
    np.testing.assert_allclose(found, system.model(TEXTS).sarcastic, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "robust"}, r"There is no preset 'robust'. Use one of: auto, plain, modicum"),
        ({"rule": "guess"}, r"There is no rule 'guess'. Use one of: oof_f1, half, top_share, prior_shift"),
        ({"folds": 0}, r"The number of folds is 0"),
    ],
)
def test_an_unknown_setting_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(KNOWN, replace(NGRAMS, **changes))


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"batch": 0}, {"rate": 0.0}])
def test_a_number_out_of_range_is_told_before_the_encoder_is_opened(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        fit(KNOWN, Settings(model="nowhere", **changes))


def test_an_unknown_pooling_is_named(encoder: Settings) -> None:
    with pytest.raises(ConfigError, match=r"pooling is 'max'. Use one of: cls, mean"):
        fit(KNOWN, replace(encoder, pooling="max"))


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The model '.*nothing' cannot be loaded"):
        fit(KNOWN, Settings(model=str(tmp_path / "nothing")))


def test_too_few_texts_are_told() -> None:
    with pytest.raises(DataError, match=r"but 5 are needed"):
        fit(KNOWN[:6], Settings())
