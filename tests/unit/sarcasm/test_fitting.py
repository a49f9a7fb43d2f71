"""Folds and decisions: nothing is chosen on what was trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import CATEGORIES, Example
from modicum.sarcasm.data.preparation import PRESETS, Preparation, Robustness
from modicum.sarcasm.decisions import decide
from modicum.sarcasm.fitting import Fitted, fit_system
from modicum.sarcasm.linear import LinearLearner
from modicum.sarcasm.models import Learner, Outputs, TextModel

PLAIN, MODICUM = PRESETS["plain"], PRESETS["modicum"]


def made(number: int) -> Example:
    """An example of whose words each tells its number, so that a crop of it is still known for what it is."""
    sarcastic, arabic = number % 2, number % 3 == 0
    words = [f"{'wow' if sarcastic else 'so'}{number}x" for _ in range(4 + number % 3 + 10 * (1 - sarcastic))]
    return Example(
        text=" ".join(words),
        language="ar" if arabic else "en",
        sarcastic=sarcastic,
        rephrase=f"plainly{number}x put{number}x" if sarcastic else None,
        dialect=("nile", "gulf")[number % 4 // 2] if arabic else None,
        categories=tuple(int(sarcastic and place == number % 4 // 2) for place in range(len(CATEGORIES))),
    )


EXAMPLES = [made(number) for number in range(72)]


def numbers(texts: Sequence[str]) -> set[int]:
    return {int(found) for text in texts for found in re.findall(r"(\d+)x", text)}


@dataclass
class Watched:
    """What a model was trained on, and what it was asked for; it learns as n-grams do."""

    trained: tuple[Example, ...]
    seed: int
    model: TextModel
    asked: list[str] = field(default_factory=list)

    def __call__(self, texts: Sequence[str]) -> Outputs:
        self.asked += texts
        return self.model(texts)

    def save(self, folder: Path) -> None:
        self.model.save(folder)

    def learnt(self) -> set[int]:
        return numbers([text for it in self.trained for text in (it.text, it.rephrase) if text])


@dataclass
class Recording:
    learner: Learner = field(default_factory=LinearLearner)
    models: list[Watched] = field(default_factory=list)

    def fit(self, examples: Sequence[Example], *, seed: int) -> Watched:
        model = Watched(tuple(examples), seed, self.learner.fit(examples, seed=seed))
        self.models.append(model)
        return model


def recorded(examples: Sequence[Example] = EXAMPLES, **settings: Any) -> tuple[list[Watched], Fitted]:
    recording = settings.pop("recording", None) or Recording()
    fitted = fit_system(examples, recording, **{"robustness": MODICUM, "folds": 3, **settings})
    return recording.models, fitted


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("robustness", [PLAIN, MODICUM])
def test_no_model_was_trained_on_what_it_is_judged_by(robustness: Robustness, folds: int) -> None:  # XPUDU-C12
    models, fitted = recorded(robustness=robustness, folds=folds)
    for model in models[:folds]:
        held = numbers(model.asked)
        assert held
        assert model.learnt().isdisjoint(held)
        assert model.learnt() | held == set(range(72))
    asked = [text for model in models[:folds] for text in model.asked if "plainly" not in text]
    held = set[int]().union(*(numbers(model.asked) for model in models[:folds]))
    entire = {robustness.preparation.text(it) for it in EXAMPLES if numbers([it.text]) <= held}
    assert set(asked) == {it.text for it in fitted.held} | entire


def test_margins_are_the_held_out_texts_against_their_rephrases() -> None:
    models, fitted = recorded()
    assert fitted.margins is not None
    for model in models[:3]:
        held = numbers(model.asked)
        for example, margin in zip(fitted.held, fitted.margins, strict=True):
            if not numbers([example.text]) & held:
                continue
            if example.sarcastic:
                rank = model.model([str(example.rephrase), example.text]).rank
                assert rank is not None
                assert margin == pytest.approx(rank[1] - rank[0], abs=1e-12)
            else:
                assert np.isnan(margin)


def test_without_rephrases_there_are_no_margins() -> None:
    _, fitted = recorded([replace(it, rephrase=None) for it in EXAMPLES])
    assert fitted.margins is None


def test_each_example_is_held_out_once_by_folds() -> None:
    models, fitted = recorded()
    held = [numbers(model.asked) for model in models[:3]]
    assert sum(map(len, held)) == len(set().union(*held)) == len(fitted.held) == 72
    assert len(models) == 4
    assert models[3].asked == []
    assert models[3].learnt() == set(range(72))
    assert fitted.system.model is models[3]


def test_without_folds_a_fifth_is_held_out_and_one_model_is_fitted() -> None:
    models, fitted = recorded(folds=1)
    assert len(models) == 1
    assert fitted.system.model is models[0]
    assert 72 / 5 - 4 < len(fitted.held) < 72 / 5 + 4
    assert {(it.language, it.sarcastic) for it in fitted.held} == {("en", 0), ("en", 1), ("ar", 0), ("ar", 1)}


def test_models_of_the_folds_can_be_joined() -> None:
    joined: list[Sequence[TextModel]] = []

    class Joining(Recording):
        def join(self, models: Sequence[TextModel]) -> TextModel:
            joined.append(models)
            return models[-1]

    for folds in (1, 3):
        joined.clear()
        models, fitted = recorded(folds=folds, recording=Joining())
        assert len(models) == folds, "a model of all examples was fitted, too"
        assert [list(it) for it in joined] == [models]
        assert fitted.system.model is models[-1]


def test_the_decision_is_what_held_out_examples_make_of_it() -> None:
    _, fitted = recorded(rule="half")
    assert fitted.system.decision == decide(fitted.outputs, fitted.held, entire=fitted.entire, rule="half")
    assert fitted.system.decision.rule == "half"
    assert fitted.system.decision.categories is not None
    assert fitted.outputs.rank is not None
    assert len(fitted.outputs.sarcastic) == len(fitted.outputs.rank) == len(fitted.held)


def test_only_training_parts_are_made_robust() -> None:
    models, fitted = recorded()
    for model in models[:3]:
        held = numbers(model.asked)
        kept = [it for it in EXAMPLES if not numbers([it.text]) <= held]
        rephrases = [it for it in kept if it.rephrase]
        assert len(model.trained) == len(kept) + len(rephrases)
        added = model.trained[len(kept) :]
        assert [it.sarcastic for it in added] == [0] * len(rephrases)
        for language in ("en", "ar"):
            lengths = {len(words(it)) for it in model.trained if it.sarcastic and it.language == language}
            crops = {
                len(words(it)) for it in model.trained[: len(kept)] if not it.sarcastic and it.language == language
            }
            assert crops <= lengths
    assert not any(it.text.startswith("plainly") for it in fitted.held), "a rephrase is scored as a text"


def words(example: Example) -> list[str]:
    return [word for word in example.text.split() if not word.endswith(":")]


def test_thresholds_are_chosen_at_the_lengths_of_the_training_part() -> None:
    _, fitted = recorded()
    sarcastic = [len(words(it)) for it in fitted.held if it.sarcastic]
    assert max(len(words(it)) for it in fitted.held if not it.sarcastic) <= max(sarcastic)
    _, fitted = recorded(robustness=PLAIN)
    assert min(len(words(it)) for it in fitted.held if not it.sarcastic) > max(sarcastic)


def test_texts_are_prepared_before_they_are_learnt_and_scored() -> None:
    models, fitted = recorded()
    assert fitted.system.preparation == MODICUM.preparation
    arabic = [it for it in models[0].trained if it.language == "ar"]
    assert arabic
    assert all(it.text.startswith(f"{it.dialect}: ") for it in arabic), "its absence would tell a label"
    assert all(it.rephrase.startswith(f"{it.dialect}: plainly") for it in arabic if it.rephrase)
    models, _ = recorded(robustness=replace(MODICUM, preparation=Preparation(dialect_prefix=False)))
    assert not any(":" in it.text for it in models[0].trained)


def test_what_is_held_out_does_not_depend_on_how_texts_are_prepared() -> None:
    shouted = [replace(it, text=f"@name{it.text[-3]} {it.text}") for it in EXAMPLES]
    parts = [
        [numbers(model.asked) for model in recorded(shouted, robustness=robustness)[0][:3]]
        for robustness in (PLAIN, MODICUM, replace(PLAIN, preparation=Preparation()))
    ]
    assert parts[0] == parts[1] == parts[2]


def test_a_fit_is_a_function_of_its_seed() -> None:
    first, again, other = (recorded(seed=seed) for seed in (0, 0, 1))
    assert [(it.trained, it.seed, it.asked) for it in first[0]] == [(it.trained, it.seed, it.asked) for it in again[0]]
    np.testing.assert_array_equal(first[1].outputs.sarcastic, again[1].outputs.sarcastic)
    assert first[1].system.decision == again[1].system.decision
    assert [numbers(it.asked) for it in first[0]] != [numbers(it.asked) for it in other[0]]
    seeds = [it.seed for it in (*first[0], *other[0])]
    assert len(set(seeds)) == len(seeds), "two models draw the same numbers"


def test_unlabelled_texts_are_left_out() -> None:
    unknown = [Example(text=f"what{number}x is{number}x this", language="en") for number in range(100, 104)]
    models, fitted = recorded([*unknown, *EXAMPLES])
    assert not {100, 101, 102, 103} & set().union(*(it.learnt() for it in models))
    assert len(fitted.held) == 72


def test_what_no_part_can_learn_is_none() -> None:
    bare = [replace(it, categories=None, rephrase=None) for it in EXAMPLES]
    _, fitted = recorded(bare)
    assert (fitted.outputs.categories, fitted.outputs.rank) == (None, None)
    assert fitted.system.decision.categories is None


def test_what_is_fitted_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="modicum"):
        recorded()
        recorded(folds=1, title="both, ")
    parts = [f"Fitting part {number} of 3" for number in (1, 2, 3)]
    assert caplog.messages == [*parts, "Fitting all examples", "Fitting both, part 1 of 1"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 0}, r"The number of folds is 0. Give 1 or more"),
        ({"rule": "guess"}, r"There is no rule 'guess'. Use one of: oof_f1, half"),
    ],
)
def test_settings_without_meaning_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recorded(**settings)


def test_an_unknown_rule_is_told_before_anything_is_fitted() -> None:
    recording, rule = Recording(), "guess"
    with pytest.raises(ConfigError):
        fit_system(EXAMPLES, recording, robustness=PLAIN, rule=rule)  # type: ignore[arg-type]
    assert recording.models == []


@pytest.mark.parametrize("folds", [1, 3])
def test_too_few_texts_of_a_label_are_refused(folds: int) -> None:
    english = [it for it in EXAMPLES if it.language == "en"]
    arabic = [it for it in EXAMPLES if it.language == "ar" and not it.sarcastic]
    lonely = next(it for it in EXAMPLES if it.language == "ar" and it.sarcastic)
    english = [*[it for it in english if it.sarcastic][:9], *[it for it in english if not it.sarcastic][:9]]
    with pytest.raises(DataError, match=r"Only 1 distinct texts in 'ar' are labelled 1, such as"):
        recorded([*english, *arabic, lonely], folds=folds)
    with pytest.raises(DataError, match="There are no examples to split"):
        recorded([], folds=folds)
