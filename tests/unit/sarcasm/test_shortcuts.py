"""What can be told without reading."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from modicum.core import catalogue
from modicum.errors import DataError
from modicum.sarcasm.data.examples import Example, Language
from modicum.sarcasm.evaluate.audit import DOMAIN, audit, shifts

GENERATOR = np.random.default_rng(0)


def texts(count: int, sarcastic: int | None, *, words: int, mark: str = "", letters: str = "abcd") -> list[Example]:
    return [
        Example(
            text=" ".join("".join(GENERATOR.choice(list(letters), 4)) for _ in range(GENERATOR.integers(1, words)))
            + mark,
            language="en",
            sarcastic=sarcastic,
        )
        for _ in range(count)
    ]


TRAIN = [*texts(60, 1, words=4, mark="!"), *texts(60, 0, words=12, mark=".")]
TEST = [*texts(60, 1, words=12, mark="."), *texts(60, 0, words=4, mark=".")]


def test_a_length_that_reverses_is_found() -> None:
    row = audit(TRAIN, TEST).find("words", "en")
    lengths = [len(it.text.split()) for it in TRAIN]
    # Shorter is sarcastic: the sign is chosen on the training texts and kept.
    assert row.train == pytest.approx(1 - roc_auc_score([it.sarcastic for it in TRAIN], lengths), rel=1e-12)
    later = [-len(it.text.split()) for it in TEST]
    assert row.test == pytest.approx(roc_auc_score([it.sarcastic for it in TEST], later), rel=1e-12)
    assert row.train > 0.8
    assert row.remark == "reverses"


def test_a_sorted_file_and_a_mark_are_shortcuts() -> None:
    found = audit(TRAIN, [*TEST[30:90], *TEST[:30], *TEST[90:]])
    assert found.find("position in the file", "en").train == 1.0
    assert found.find("punctuation", "en").train == 1.0
    # All test texts end alike.
    assert found.find("punctuation", "en").test == pytest.approx(0.5, abs=1e-9)
    assert found.find("punctuation", "en").remark == "shortcut"


def test_cues_that_do_not_vary_have_no_row() -> None:
    with pytest.raises(DataError, match="no cue 'URL' for 'en'"):
        audit(TRAIN, TEST).find("URL", "en")


def test_signs_in_the_text_are_cues() -> None:
    signs = {"@": "@you ", "URL": "see https://t.co/x ", "line break": "one\ntwo ", "white space at the edges": " "}
    for cue, sign in signs.items():
        train = [
            Example(text=sign + it.text if it.sarcastic else it.text, language="en", sarcastic=it.sarcastic)
            for it in TRAIN
        ]
        assert audit(train, TEST).find(cue, "en").train == 1.0


def test_dialects_are_a_cue_and_languages_are_apart() -> None:
    generator = np.random.default_rng(1)
    names = {1: ("nile", "magreb"), 0: ("msa", "gulf")}
    arabic = [
        Example(text="نص قصير", language="ar", sarcastic=label, dialect=str(generator.choice(names[label])))
        for label in (0, 1) * 30
    ]
    found = audit([*TRAIN, *arabic], TEST)
    row = found.find("dialect", "ar")
    assert (row.train, row.test, row.remark) == (1.0, None, "shortcut")
    assert found.find("words", "en") == audit(TRAIN, TEST).find("words", "en")


def test_texts_of_another_kind_are_told_apart_and_others_are_not() -> None:
    alike, other = texts(120, None, words=8, mark="."), texts(120, None, words=8, mark=".", letters="efgh")
    train = [*texts(60, 1, words=8, mark="."), *texts(60, 0, words=8, mark=".")]
    shifted = audit(train, other).find(DOMAIN, "en")
    assert (shifted.train, shifted.test, shifted.remark) == (1.0, None, "shift")
    assert audit(train, alike).find(DOMAIN, "en").remark == ""


def test_texts_that_are_on_both_sides_do_not_give_away_which_side_the_other_is_of() -> None:
    kept = [replace(it, text=f"{it.text} {number}") for number, it in enumerate(TRAIN)]
    assert audit(kept, kept).find(DOMAIN, "en").train == pytest.approx(0.5, abs=1e-9)
    few = [replace(TRAIN[0], text=text) for text in ("good", "bad", "fine")]
    assert shifts(few[:2], [few[0], few[2]]) == []  # no fold has texts of both to learn from
    assert audit(kept, [*kept[:90], *kept[:20]]).find(DOMAIN, "en").train == pytest.approx(0.5, abs=0.15)


def test_seeds_reproduce() -> None:
    assert audit(TRAIN, TEST, seed=2) == audit(TRAIN, TEST, seed=2)


def test_training_texts_need_labels_of_both_kinds() -> None:
    with pytest.raises(DataError, match="Of 60 training texts of 'en', 60 are sarcastic"):
        audit(TRAIN[:60], TEST)
    with pytest.raises(DataError, match="Give each a label"):
        audit([*TRAIN, *texts(1, None, words=3)], TEST)


@pytest.mark.data("isarcasmeval")
def test_length_reverses_in_the_shared_task_in_arabic() -> None:
    # XPUDU 8.4: training .824, test .413.
    folder = catalogue.fetch("isarcasmeval")

    def read(name: str, language: Language) -> list[Example]:
        with (folder / name).open(newline="", encoding="utf-8") as file:
            return [
                Example(text=row["text"], language=language, sarcastic=int(row["sarcastic"]), dialect=row["dialect"])
                for row in csv.DictReader(file)
            ]

    found = audit(read("train/train.Ar.csv", "ar"), read("test/task_A_Ar_test.csv", "ar"))
    row = found.find("characters", "ar")
    assert row.train == pytest.approx(0.824, abs=5e-4)
    assert row.test == pytest.approx(0.413, abs=5e-4)
    assert row.remark == "reverses"
    assert found.find("position in the file", "ar").train == 1.0
    assert found.find(DOMAIN, "ar").train > 0.85
