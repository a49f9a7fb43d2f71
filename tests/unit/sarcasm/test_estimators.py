"""The three tasks as scikit-learn's users meet them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from modicum.errors import ConfigError, DataError
from modicum.sarcasm import IronyCategorizer, SarcasmDetector, SarcasmRanker
from modicum.sarcasm.data.examples import CATEGORIES
from modicum.sarcasm.linear import LinearModel
from modicum.sarcasm.written import read_written

ENGLISH, ARABIC = read_written("en")[:80], read_written("ar")[:80]
KNOWN = [*ENGLISH[:60], *ARABIC[:60]]
UNSEEN = [*ENGLISH[60:], *ARABIC[60:]]
TEXTS, LABELS = [it.text for it in KNOWN], [it.sarcastic or 0 for it in KNOWN]
ASKED = [it.text for it in UNSEEN]
DIALECTS = [it.dialect for it in KNOWN]
ROWS = np.array([it.categories for it in KNOWN])
PAIRS = [(str(it.rephrase), it.text) if at % 2 else (it.text, str(it.rephrase)) for at, it in enumerate(KNOWN)]
PAIRS = [pair for pair, it in zip(PAIRS, KNOWN, strict=True) if it.rephrase]
SECOND = [at % 2 for at, it in enumerate(KNOWN) if it.rephrase]
Estimator = SarcasmDetector | IronyCategorizer | SarcasmRanker


@pytest.fixture(scope="module")
def detector() -> SarcasmDetector:
    return SarcasmDetector(preset="modicum", folds=2).fit(TEXTS, LABELS, dialects=DIALECTS)


@pytest.fixture(scope="module")
def categorizer() -> IronyCategorizer:
    return IronyCategorizer(folds=2).fit(TEXTS, ROWS)


@pytest.fixture(scope="module")
def ranker() -> SarcasmRanker:
    return SarcasmRanker(folds=2).fit(PAIRS, SECOND)


@pytest.mark.parametrize("kind", [SarcasmDetector, IronyCategorizer, SarcasmRanker])
def test_parameters_are_scikit_learns(kind: type[Estimator]) -> None:
    estimator = kind("offline", preset="plain", rule="half", folds=3, seed=7, epochs=1, batch=4, rate=1e-4)
    given = estimator.get_params()
    assert (given["model"], given["preset"], given["rule"], given["folds"]) == ("offline", "plain", "half", 3)
    assert len(given) == 10
    copy = clone(estimator)
    assert isinstance(copy, kind)
    assert copy.get_params() == given
    assert estimator.set_params(folds=4).folds == 4
    with pytest.raises(ValueError, match="Invalid parameter 'fold'"):
        estimator.set_params(fold=4)


def test_probabilities_are_of_both_labels_and_labels_follow_them(detector: SarcasmDetector) -> None:
    found, labels = detector.predict_proba(ASKED), detector.predict(ASKED)
    assert found.shape == (len(ASKED), 2)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert detector.classes_.tolist() == [0, 1]
    assert set(labels) == {0, 1}
    english = [at for at, it in enumerate(UNSEEN) if it.language == "en"]
    assert found[english, 1][labels[english] == 1].min() > found[english, 1][labels[english] == 0].max()
    assert detector.score(TEXTS, LABELS) > 0.9  # on its own texts, which n-grams remember


def test_languages_are_seen_named_or_told_one_by_one(detector: SarcasmDetector) -> None:
    english = SarcasmDetector(folds=2).fit(TEXTS[:60], LABELS[:60])
    with pytest.raises(ConfigError, match="no threshold for 'ar', only for en"):
        english.predict(ASKED)
    spoken = english.predict_proba(ASKED, languages="en")
    assert spoken.shape == (len(ASKED), 2)
    np.testing.assert_array_equal(spoken, english.predict_proba(ASKED, languages=["en" for _ in ASKED]))
    seen, told = detector.predict_proba(ASKED), detector.predict_proba(ASKED, languages=[it.language for it in UNSEEN])
    np.testing.assert_array_equal(seen, told)
    assert (detector.predict_proba(ASKED, languages="en") != seen).any()
    with pytest.raises(DataError, match=r"The language is 'fr'. Use one of: en, ar"):
        detector.predict(ASKED, languages="fr")  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", [None, math.nan, pd.NA, np.float64("nan")])
def test_what_pandas_leaves_for_a_missing_text_is_named_and_for_a_missing_rephrase_is_none(missing: object) -> None:
    texts, labels = TEXTS[:60], LABELS[:60]
    rephrases = [it.rephrase for it in KNOWN[:60]]
    left = [missing if it is None else it for it in rephrases]
    plain = SarcasmDetector(folds=2).fit(texts, labels, rephrases=rephrases).predict_proba(texts)
    found = SarcasmDetector(folds=2).fit(pd.Series(texts), labels, rephrases=pd.Series(left, dtype=object))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.predict_proba(texts), plain)
    with pytest.raises(DataError, match=r"X\[1\] is missing, expected a text"):
        SarcasmDetector(folds=2).fit([texts[0], missing], [0, 1])  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"X\[2\] is missing"):
        found.predict([*texts[:2], missing])  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"X\[0\] is of type int"):
        found.predict([7])  # type: ignore[list-item]


def test_a_few_texts_in_other_letters_stop_neither_training_nor_prediction() -> None:
    arabic = [it.text for it in KNOWN if it.language == "ar"]
    labels = [it.sarcastic or 0 for it in KNOWN if it.language == "ar"]
    with pytest.warns(UserWarning, match=r"1 of \d+ texts are taken for 'en', such as 'hahaha LOL'.*read as 'ar'"):
        found = SarcasmDetector(folds=2).fit([*arabic, "hahaha LOL"], [*labels, 1])
    assert set(found.system_.decision.thresholds) == {"ar"}
    with pytest.warns(UserWarning, match=r"1 of \d+ texts are taken for 'en', such as 'nice one'"):
        assert len(found.predict([*arabic, "nice one"])) == len(arabic) + 1
    with pytest.raises(ConfigError, match="no threshold for 'en', only for ar"):
        found.predict(["nice one", arabic[0]])


def test_dialects_tell_something(detector: SarcasmDetector) -> None:
    arabic = [it.text for it in UNSEEN if it.language == "ar"]
    bare, nile = detector.predict_proba(arabic), detector.predict_proba(arabic, dialects=["nile"] * len(arabic))
    assert (bare != nile).any()
    np.testing.assert_array_equal(bare, detector.predict_proba(arabic, dialects=[None] * len(arabic)))


def test_rephrases_are_learnt_from() -> None:
    rephrases = [it.rephrase for it in KNOWN]
    plain = SarcasmDetector(folds=2).fit(TEXTS, LABELS)
    more = SarcasmDetector(folds=2).fit(TEXTS, LABELS, rephrases=rephrases)
    assert (plain.predict_proba(ASKED) != more.predict_proba(ASKED)).any()


def test_categories_are_six_columns_of_which_none_is_likelier_than_sarcasm(categorizer: IronyCategorizer) -> None:
    found, labels = categorizer.predict_proba(ASKED), categorizer.predict(ASKED)
    assert found.shape == labels.shape == (len(ASKED), len(CATEGORIES))
    assert set(labels.ravel()) <= {0, 1}
    examples = [type(it)(text=it.text, language=it.language) for it in UNSEEN]
    assert (found <= categorizer.system_.read(examples).probabilities[:, None]).all()
    alone = IronyCategorizer(folds=2).fit(TEXTS, ROWS, languages=[it.language for it in KNOWN])
    np.testing.assert_array_equal(alone.predict_proba(ASKED), found)


def test_categories_that_never_occur_are_not_known() -> None:
    detector = SarcasmDetector(folds=2).fit(TEXTS, LABELS)
    categorizer = IronyCategorizer()
    categorizer.system_ = detector.system_
    for ask in (categorizer.predict, categorizer.predict_proba):
        with pytest.raises(ConfigError, match=r"knows no categories. Fit it on texts whose categories are known"):
            ask(ASKED)


def test_the_ranker_finds_the_sarcastic_text_and_changes_with_the_order(ranker: SarcasmRanker) -> None:  # XPUDU-C5
    found = ranker.predict_proba(PAIRS)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    back = [(second, first) for first, second in PAIRS]
    np.testing.assert_allclose(ranker.predict_proba(back), found[:, ::-1], atol=1e-7)
    np.testing.assert_array_equal(ranker.predict(back), 1 - ranker.predict(PAIRS))
    assert ranker.score(PAIRS, SECOND) > 0.9  # of its own pairs
    assert ranker.classes_.tolist() == [0, 1]


def test_a_ranker_needs_pairs(detector: SarcasmDetector) -> None:
    ranker = SarcasmRanker()
    ranker.system_ = detector.system_
    with pytest.raises(ConfigError, match="The model cannot compare texts"):
        ranker.predict(PAIRS)


@pytest.mark.parametrize("kind", [SarcasmDetector, IronyCategorizer])
def test_what_is_not_fitted_says_so(kind: type[SarcasmDetector | IronyCategorizer], tmp_path: Path) -> None:
    for ask in (lambda it: it.predict(ASKED), lambda it: it.predict_proba(ASKED)):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            ask(kind())
    with pytest.raises(NotFittedError):
        kind().save_pretrained(tmp_path / "model")
    with pytest.raises(NotFittedError):
        SarcasmRanker().predict(PAIRS)
    assert list(tmp_path.iterdir()) == []


def test_what_is_saved_reads_the_same(
    detector: SarcasmDetector, categorizer: IronyCategorizer, ranker: SarcasmRanker, tmp_path: Path
) -> None:
    asked: list[tuple[Estimator, Any]] = [(detector, ASKED), (categorizer, ASKED), (ranker, PAIRS)]
    for number, (estimator, texts) in enumerate(asked):
        estimator.save_pretrained(str(tmp_path / str(number)))
        loaded = type(estimator).from_pretrained(str(tmp_path / str(number)))
        np.testing.assert_array_equal(loaded.predict_proba(texts), estimator.predict_proba(texts))
        np.testing.assert_array_equal(loaded.predict(texts), estimator.predict(texts))
    with pytest.raises(ConfigError, match="has files in it"):
        detector.save_pretrained(tmp_path / "0")
    with pytest.raises(ConfigError, match="holds no sarcasm system"):
        SarcasmDetector.from_pretrained(tmp_path / "3")


def test_one_system_serves_all_three(tmp_path: Path) -> None:
    rephrases = [it.rephrase for it in KNOWN]
    SarcasmDetector(folds=2).fit(TEXTS, LABELS, rephrases=rephrases).save_pretrained(tmp_path / "model")
    assert SarcasmRanker.from_pretrained(tmp_path / "model").predict(PAIRS).shape == (len(PAIRS),)


def test_settings_are_heeded_when_fitting() -> None:
    plain = SarcasmDetector(preset="plain", rule="half", folds=1).fit(TEXTS, LABELS)
    assert isinstance(plain.system_.model, LinearModel)
    assert not plain.system_.preparation.clean
    assert (plain.predict(ASKED) == (plain.predict_proba(ASKED)[:, 1] >= 0.5)).all()
    with pytest.raises(ConfigError, match="There is no preset 'bold'"):
        SarcasmDetector(preset="bold").fit(TEXTS, LABELS)


def test_scikit_learn_can_cross_validate_it() -> None:
    texts, labels = np.array(TEXTS[:60]), np.array(LABELS[:60])
    scores = cross_val_score(SarcasmDetector(folds=1), texts, labels, cv=2, scoring="f1")
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:-1], r"There are 120, 119, 120, 120, 120 texts, labels and so on. Give one of each"),
        ([*LABELS[:-1], 2], r"A training label is 2, at index \d+. Give 0 or 1 for each"),
        ([*LABELS[:-1], 0.5], r"A training label is 0.5"),
        ([*LABELS[:-1], np.nan], r"A training label is nan"),
        (np.array(LABELS)[:, None], r"The labels have the shape \(120, 1\), expected \('n',\)"),
        (1, r"The labels have the shape \(\)"),
    ],
)
def test_labels_that_are_none_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        SarcasmDetector().fit(TEXTS, labels)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (LABELS, r"The labels have the shape \(120,\), expected \('n', 6\)"),
        (ROWS[:, :5], r"The labels have the shape \(120, 5\)"),
        (ROWS[1:], r"There are 120, 119, 120 texts"),
        (ROWS * 2, r"A training label is 2"),
        ([[0, 1], [0]], r"The training labels are no table"),
    ],
)
def test_rows_of_categories_that_are_none_are_refused(rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        IronyCategorizer().fit(TEXTS, rows)


def test_there_must_be_one_of_each_for_every_text(detector: SarcasmDetector, ranker: SarcasmRanker) -> None:
    with pytest.raises(DataError, match="texts, labels and so on"):
        SarcasmDetector().fit(TEXTS, LABELS, dialects=["nile"])
    with pytest.raises(DataError, match="texts, labels and so on"):
        detector.predict(ASKED, languages=["en"])
    with pytest.raises(DataError, match="texts, labels and so on"):
        SarcasmRanker().fit(PAIRS, SECOND[1:])
    with pytest.raises(DataError, match="texts, labels and so on"):
        ranker.predict(PAIRS, languages=["en"])


def test_empty_texts_and_one_text_in_place_of_a_list_are_refused(detector: SarcasmDetector) -> None:
    with pytest.raises(DataError, match=r"A text is empty. Leave the row out"):
        detector.predict([*ASKED, "  "])
    with pytest.raises(DataError, match=r"A list of texts was expected, but one text came. Put it into a list"):
        detector.predict("great weather")
    assert detector.predict([]).shape == (0,)
