"""Which preset is chosen where none is named, and what its probabilities are worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modicum.errors import ConfigError, DataError
from modicum.sarcasm import Example, SarcasmDetector, SarcasmSystem, Settings, fit
from modicum.sarcasm.data.examples import Language
from modicum.sarcasm.decisions import decide

GENERATOR = np.random.default_rng(0)
SETTINGS = Settings(folds=2)


def words(letters: str, count: int) -> str:
    return " ".join("".join(GENERATOR.choice(list(letters), 4)) for _ in range(count))


def texts(
    count: int, *, sign: str = "", dialect: bool = False, letters: str = "abcd", language: Language = "en"
) -> list[Example]:
    """Give texts of random words; a sign in front of them, or a dialect, tells the sarcastic half."""
    return [
        Example(
            text=f"{sign if label else ''}{words(letters, 3 if label else 9)}",
            language=language,
            sarcastic=label,
            dialect=("nile" if label else "msa") if dialect else None,
        )
        for label in (0, 1) * (count // 2)
    ]


def unlabelled(count: int, letters: str = "abcd") -> list[Example]:
    return [replace(it, sarcastic=None) for it in texts(count, sign="#", letters=letters)]


KNOWN = texts(120, sign="#")  # a hashtag, which preset modicum takes away


def test_what_is_better_on_held_out_texts_is_taken_and_said() -> None:
    plain = fit(KNOWN, SETTINGS).system
    assert plain.preset == "plain"
    assert plain.why.startswith("On held-out texts n-grams have AUC 0.99")
    assert "with modicum: preset plain. Give texts of the kind that will be read (like=, --like)" in plain.why
    other = fit(texts(120, dialect=True, letters="ابتث", language="ar"), SETTINGS).system
    assert other.preset == "modicum"  # which alone reads dialects
    assert "with modicum: preset modicum. Give texts" in other.why


def test_the_preset_that_is_chosen_gives_the_system_of_its_name() -> None:
    found, named = fit(KNOWN, SETTINGS), fit(KNOWN, replace(SETTINGS, preset="plain"))
    assert found.system.decision == named.system.decision
    np.testing.assert_array_equal(found.outputs.sarcastic, named.outputs.sarcastic)
    assert (named.system.preset, named.system.why) == ("plain", "")


def test_texts_of_another_kind_ask_for_modicum_and_like_ones_do_not() -> None:
    apart = fit(KNOWN, SETTINGS, like=unlabelled(80, letters="efgh")).system
    assert apart.preset == "modicum"
    assert apart.why.startswith("The 80 texts like those to be read are told from training texts (AUC 1.00 in en)")
    alike = fit(KNOWN, SETTINGS, like=unlabelled(80)).system
    assert alike.preset == "plain"
    assert "The 80 texts like those to be read are not told from training texts (AUC 0." in alike.why


def test_the_estimator_asks_the_same() -> None:
    X, y = [it.text for it in KNOWN], [it.sarcastic or 0 for it in KNOWN]
    like = [it.text for it in unlabelled(80, letters="efgh")]
    assert SarcasmDetector(folds=2).fit(X, y).system_.preset == "plain"
    assert SarcasmDetector(folds=2).fit(X, y, like=like).system_.preset == "modicum"


def test_the_choice_is_saved(tmp_path: Path) -> None:
    system = fit(KNOWN, SETTINGS).system
    system.save(tmp_path / "system")
    read = SarcasmSystem.load(tmp_path / "system")
    assert (read.preset, read.why) == (system.preset, system.why)


def test_texts_that_cannot_choose_are_refused() -> None:
    arabic = [replace(it, language="ar") for it in unlabelled(10)]
    for like in ([], unlabelled(2)[:1], arabic):
        with pytest.raises(DataError, match=rf"Of the {len(like)} texts like those .* no two are in a language"):
            fit(KNOWN, SETTINGS, like=like)
    with pytest.raises(ConfigError, match=r"The preset is 'plain' already. Leave it out, or leave out like"):
        fit(KNOWN, replace(SETTINGS, preset="plain"), like=unlabelled(80))


def test_probabilities_are_those_of_entire_texts_and_labels_those_of_cropped_ones() -> None:
    fitted = fit(texts(200, dialect=True), replace(SETTINGS, preset="modicum"))
    decision = fitted.system.decision
    languages: list[Language] = [it.language for it in fitted.held]
    assert (fitted.entire != fitted.outputs.sarcastic).any()
    # A regression with an intercept expects as many as there are.
    expected = decision.calibrations["en"](fitted.entire).mean()
    assert expected == pytest.approx(np.mean([it.sarcastic or 0 for it in fitted.held]), abs=1e-3)
    cropped = decide(fitted.outputs, fitted.held)
    np.testing.assert_array_equal(decision.labels(fitted.outputs, languages), cropped.labels(fitted.outputs, languages))
    assert decision.thresholds != cropped.thresholds
