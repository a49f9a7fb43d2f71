"""Systems that were fitted alike, joined by the held-out outputs of their models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from modicum.errors import ConfigError, DataError
from modicum.sarcasm.comparison import make_tiny_encoder
from modicum.sarcasm.configuration import Settings
from modicum.sarcasm.data.examples import Example, Language, Pair
from modicum.sarcasm.data.preparation import PRESETS
from modicum.sarcasm.fitting import Fitted, fit, fit_system, stack
from modicum.sarcasm.linear import LinearLearner, LinearModel
from modicum.sarcasm.stack import DESCRIPTION, StackedModel, Weights, rank_weights
from modicum.sarcasm.system import SarcasmSystem
from modicum.sarcasm.written import read_written

KNOWN = [*read_written("en")[:60], *read_written("ar")[:60]]
ASKED = [*read_written("en")[80:100], *read_written("ar")[80:100]]
PAIRS = [Pair(texts=(it.rephrase, it.text), language=it.language) for it in ASKED if it.rephrase]


def fitted(learner: LinearLearner, examples: Sequence[Example] = KNOWN, *, folds: int = 2, seed: int = 0) -> Fitted:
    return fit_system(examples, learner, robustness=PRESETS["modicum"], folds=folds, seed=seed)


@pytest.fixture(scope="module")
def parts() -> tuple[Fitted, Fitted]:
    return fitted(LinearLearner(features="char")), fitted(LinearLearner(features="word"))


@pytest.fixture(scope="module")
def joint(parts: tuple[Fitted, Fitted]) -> Fitted:
    return stack(parts)


def model_of(joint: Fitted) -> StackedModel:
    assert isinstance(joint.system.model, StackedModel)
    return joint.system.model


@pytest.mark.parametrize("language", ["en", "ar"])
def test_weights_have_the_least_penalised_cross_entropy(
    parts: tuple[Fitted, Fitted], joint: Fitted, language: Language
) -> None:
    chosen = np.array([it.language == language for it in joint.held])
    labels = np.array([it.sarcastic for it in joint.held])[chosen]
    columns = np.stack([it.outputs.sarcastic[chosen] for it in parts], axis=1)
    each = len(labels) / 2 / np.bincount(labels)[labels]  # both labels count alike

    def objective(values: np.ndarray) -> float:
        logits = columns @ values[:2] + values[2]
        return float((each * np.logaddexp(0, np.where(labels, -logits, logits))).sum() + (values[:2] ** 2).sum() / 2)

    found = minimize(objective, np.zeros(3), tol=1e-10).x[:2]
    np.testing.assert_allclose(model_of(joint).weights[language].sarcastic, found, atol=2e-3)


def test_a_logit_is_the_weighted_sum_of_the_members(parts: tuple[Fitted, Fitted], joint: Fitted) -> None:
    texts = [joint.system.preparation.text(it) for it in ASKED]
    outputs, members = joint.system.model(texts), [it.system.model(texts) for it in parts]
    for place, example in enumerate(ASKED):
        weights = model_of(joint).weights[example.language]
        expected = sum(w * it.sarcastic[place] for w, it in zip(weights.sarcastic, members, strict=True))
        assert outputs.sarcastic[place] == pytest.approx(expected, abs=1e-12)
    categories = [it.categories for it in members if it.categories is not None]
    assert outputs.categories is not None
    np.testing.assert_allclose(outputs.categories, (categories[0] + categories[1]) / 2)


def test_held_out_outputs_are_those_of_models_that_had_not_seen_the_texts(
    parts: tuple[Fitted, Fitted], joint: Fitted
) -> None:
    weights = model_of(joint).weights
    for place in (0, len(joint.held) - 1):
        own = weights[joint.held[place].language]
        expected = sum(w * it.outputs.sarcastic[place] for w, it in zip(own.sarcastic, parts, strict=True))
        assert joint.outputs.sarcastic[place] == pytest.approx(expected, abs=1e-12)


def test_pairs_that_change_places_change_the_answer(joint: Fitted) -> None:  # XPUDU-C5
    there = joint.system.compare(PAIRS)
    back = joint.system.compare([replace(it, texts=(it.texts[1], it.texts[0])) for it in PAIRS])
    np.testing.assert_allclose(there + back, 1, atol=1e-7)
    assert there.mean() > 0.5


def test_ranks_agree_with_comparisons(joint: Fitted) -> None:
    texts = [Example(text=text, language=it.language) for it in PAIRS for text in it.texts]
    rank = joint.system.rank(texts)
    np.testing.assert_allclose(1 / (1 + np.exp(rank[::2] - rank[1::2])), joint.system.compare(PAIRS), atol=1e-12)


def test_margins_are_joined_as_comparisons_are(parts: tuple[Fitted, Fitted], joint: Fitted) -> None:
    assert joint.margins is not None
    place = next(at for at, it in enumerate(joint.held) if it.rephrase)
    weights = model_of(joint).weights[joint.held[place].language].rank
    assert weights is not None
    each = [it.margins[place] for it in parts if it.margins is not None]
    assert joint.margins[place] == pytest.approx(weights[0] * each[0] + weights[1] * each[1], abs=1e-12)
    assert np.isnan(joint.margins).sum() == sum(it.rephrase is None for it in joint.held)


def test_a_model_that_tells_nothing_hardly_counts(parts: tuple[Fitted, Fitted]) -> None:
    useful = parts[0]
    noise = np.random.default_rng(0).normal(size=len(useful.held))
    useless = replace(useful, outputs=replace(useful.outputs, sarcastic=noise))
    for weights in model_of(stack([useful, useless])).weights.values():
        assert abs(weights.sarcastic[1]) < 0.5 * weights.sarcastic[0]


def least_penalised(margins: np.ndarray) -> np.ndarray:
    def objective(values: np.ndarray) -> float:
        return float(2 * np.logaddexp(0, -margins @ values).sum() + (values**2).sum() / 2)

    return minimize(objective, np.zeros(margins.shape[1]), tol=1e-10).x


def test_models_that_err_on_other_pairs_are_joined() -> None:
    margins = np.random.default_rng(0).normal(1.0, 1.0, (200, 2))  # independent: right on 84 % each, on 92 % together
    np.testing.assert_allclose(rank_weights(margins), least_penalised(margins), atol=2e-3)


def test_a_gain_within_one_standard_error_leaves_the_best_model_alone() -> None:
    # Of 100 pairs both together are right on 3 that the first alone errs on, and wrong on none, then on 2, that it has
    # right: a gain of 0.03 and of 0.01, whose standard errors are 0.017 and 0.022.
    first, second = np.full(100, 1.0), np.full(100, 1.0)
    first[:3], second[:3] = -1.0, 3.0
    second[90:] = -0.5  # the second alone is right on 90, the first on 97
    margins = np.stack([first, second], axis=1)
    joined = least_penalised(margins)
    assert ((margins @ joined) > 0).mean() == 1.0
    np.testing.assert_allclose(rank_weights(margins), joined, atol=2e-3)

    second[88:90] = -3.0
    margins = np.stack([first, second], axis=1)
    joined = least_penalised(margins)
    assert ((margins @ joined) > 0).mean() > ((margins[:, 0]) > 0).mean()
    alone = least_penalised(margins[:, :1])
    np.testing.assert_allclose(rank_weights(margins), [alone[0], 0.0], atol=2e-3)


def test_a_language_without_rephrases_is_compared_as_the_other_one() -> None:
    bare = [replace(it, rephrase=None) if it.language == "ar" else it for it in KNOWN]
    weights = model_of(stack([fitted(LinearLearner(), bare), fitted(LinearLearner(features="word"), bare)])).weights
    assert weights["en"].rank == weights["ar"].rank
    assert weights["en"].sarcastic != weights["ar"].sarcastic


def test_without_rephrases_nothing_is_compared() -> None:
    bare = [replace(it, rephrase=None) for it in KNOWN]
    joint = stack([fitted(LinearLearner(), bare), fitted(LinearLearner(features="word"), bare)])
    assert joint.margins is None
    assert joint.system.model(["A text."]).rank is None
    with pytest.raises(ConfigError, match="cannot compare"):
        joint.system.compare(PAIRS)


def test_systems_of_other_folds_are_refused(parts: tuple[Fitted, Fitted]) -> None:
    for other in (fitted(LinearLearner(), seed=1), fitted(LinearLearner(), folds=3)):
        with pytest.raises(ConfigError, match="same examples"):
            stack([parts[0], other])


def test_it_is_saved_and_reads_the_same(joint: Fitted, tmp_path: Path) -> None:
    joint.system.save(tmp_path / "system")
    again = SarcasmSystem.load(tmp_path / "system")
    np.testing.assert_array_equal(again.read(ASKED).probabilities, joint.system.read(ASKED).probabilities)
    np.testing.assert_array_equal(again.compare(PAIRS), joint.system.compare(PAIRS))
    assert isinstance(again.model, StackedModel)
    assert again.model.weights == model_of(joint).weights


@pytest.mark.parametrize(
    "damaged", ["{", "[]", "{}", '{"en": {"sarcastic": [1, "x"], "rank": null}}', '{"en": {"rank": [1, 2]}}']
)
def test_damaged_weights_are_named(joint: Fitted, tmp_path: Path, damaged: str) -> None:
    joint.system.save(tmp_path / "system")
    (tmp_path / "system" / "model" / DESCRIPTION).write_text(damaged)
    with pytest.raises(DataError, match=DESCRIPTION):
        SarcasmSystem.load(tmp_path / "system")


def test_weights_that_do_not_fit_are_refused(joint: Fitted, tmp_path: Path) -> None:
    joint.system.save(tmp_path / "system")
    path = tmp_path / "system" / "model" / DESCRIPTION
    document = json.loads(path.read_text())
    document["en"]["rank"] = [1.0]
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="2 models"):
        SarcasmSystem.load(tmp_path / "system")


def test_a_text_of_an_unknown_language_is_read_with_the_weights_there_are(joint: Fitted) -> None:
    english = StackedModel(members=model_of(joint).members, weights={"en": Weights(sarcastic=(1.0, 2.0))})
    first, second = (it(["ما أجمل هذا"]).sarcastic for it in english.members)
    np.testing.assert_allclose(english(["ما أجمل هذا"]).sarcastic, first + 2 * second)
    assert english([]).sarcastic.shape == (0,)


def test_a_short_arabic_text_with_its_dialect_in_front_is_read_as_arabic(joint: Fitted) -> None:
    short = Example(text="كيف", language="ar", dialect="magreb")
    text = joint.system.preparation.text(short)
    assert text == "magreb: كيف"
    weights = model_of(joint).weights
    assert weights["ar"] != weights["en"]
    assert model_of(joint).weights_of(text) == model_of(joint).weights_of("What?", text) == weights["ar"]
    assert model_of(joint).weights_of("gulf: war again", "msa") == weights["en"]


def test_the_decision_is_made_on_what_the_model_gives_of_a_text(parts: tuple[Fitted, Fitted]) -> None:
    written = [
        replace(it, text="lol", rephrase=None, dialect=None) if it.language == "ar" else it for it in parts[0].held
    ]
    alike = stack([replace(it, held=tuple(written)) for it in parts])
    weights = model_of(alike).weights["en"].sarcastic  # in Latin letters
    columns = np.stack([it.outputs.sarcastic for it in parts], axis=1)
    np.testing.assert_allclose(alike.outputs.sarcastic, columns @ np.array(weights), atol=1e-12)
    assert model_of(alike).weights["ar"].sarcastic != weights


def test_words_of_ngrams_alone_sum_up_to_the_logit_less_its_intercepts(joint: Fitted) -> None:  # XPUDU-C8
    for example in (ASKED[0], ASKED[-1]):
        text = joint.system.preparation.text(example)
        shares = joint.system.explain(example)
        assert [it.text for it in shares] == text.split()
        weights = model_of(joint).weights[example.language].sarcastic
        members = [it for it in model_of(joint).members if isinstance(it, LinearModel)]
        intercept = sum(w * it.sarcastic.intercept[0] for w, it in zip(weights, members, strict=True))
        logit = joint.system.model([text]).sarcastic[0]
        assert sum(it.share for it in shares) == pytest.approx(logit - intercept, abs=1e-9)


def test_ngrams_and_an_encoder_are_fitted_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = make_tiny_encoder(tmp_path, [it.text for it in KNOWN], seed=0)
    settings = Settings(model=f"ngrams+{place}", preset="plain", folds=2, epochs=1, batch=16, rate=1e-3, pooling="mean")
    with caplog.at_level("INFO", logger="modicum"):
        joint = fit(KNOWN, settings)
    ngrams, encoder = model_of(joint).members
    assert isinstance(ngrams, LinearModel)
    assert caplog.messages[0] == "Fitting ngrams, part 1 of 2"
    assert caplog.messages[-1] == f"Fitting {place}, part 2 of 2"
    weights = model_of(joint).weights["en"].rank
    assert weights is not None
    pair = PAIRS[0]
    shares = [it for text in joint.system.explain_pair(pair) for it in text]
    parts = [replace(joint.system, model=it).explain_pair(pair) for it in (ngrams, encoder)]
    each = [sum(it.share for text in part for it in text) for part in parts]
    assert sum(it.share for it in shares) == pytest.approx(weights[0] * each[0] + weights[1] * each[1], abs=1e-9)
