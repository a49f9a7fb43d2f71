"""The baselines that the specification measured with scikit-learn alone, by the shipped recipe.

Texts are as they stand in the files: cleaned ones give .760 instead of .770 for the English pairs.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from modicum.core import catalogue
from modicum.sarcasm.data.examples import Example, Language
from modicum.sarcasm.decisions import best_threshold, top_share_threshold
from modicum.sarcasm.linear import LinearLearner, LinearModel, NgramKind

pytestmark = [pytest.mark.data("isarcasmeval"), pytest.mark.slow]

TEXT = {"en": "tweet", "ar": "text"}


@dataclass(frozen=True, slots=True)
class Task:
    """The files of one language."""

    train: list[Example]
    test: list[Example]
    pairs: list[dict[str, str]]

    @property
    def gold(self) -> np.ndarray:
        return np.array([it.sarcastic for it in self.test])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@functools.cache
def read(language: Language) -> Task:
    folder, name = catalogue.fetch("isarcasmeval"), language.capitalize()
    return Task(
        train=[
            Example(
                text=row[TEXT[language]],
                language=language,
                sarcastic=int(row["sarcastic"]),
                rephrase=row["rephrase"] or None,
            )
            for row in rows(folder / f"train/train.{name}.csv")
            if row[TEXT[language]].strip()
        ],
        test=[
            Example(text=row["text"], language=language, sarcastic=int(row["sarcastic"]))
            for row in rows(folder / f"test/task_A_{name}_test.csv")
        ],
        pairs=rows(folder / f"test/task_C_{name}_test.csv"),
    )


def normalised(text: str) -> str:
    return " ".join(text.lower().split())


def groups(examples: list[Example]) -> list[int]:
    """Number the texts, so that equal ones, and a text and its rephrase, have one number."""
    numbers: dict[str, int] = {}
    for place, it in enumerate(examples):
        wordings = [normalised(it.text), *([normalised(it.rephrase)] if it.rephrase else [])]
        known = next((numbers[wording] for wording in wordings if wording in numbers), place)
        for wording in wordings:
            numbers.setdefault(wording, known)
    return [numbers[normalised(it.text)] for it in examples]


def bare(examples: list[Example]) -> list[Example]:
    """Leave the rephrases out, from which nothing is to be learnt."""
    return [replace(it, rephrase=None) for it in examples]


def out_of_fold(learner: LinearLearner, examples: list[Example]) -> np.ndarray:
    labels, logits = np.array([it.sarcastic for it in examples]), np.empty(len(examples))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for kept, held in folds.split(labels, labels, groups(examples)):
        model = learner.fit(bare([examples[place] for place in kept]))
        logits[held] = model([examples[place].text for place in held]).sarcastic
    return logits


@functools.cache
def fitted(language: Language, features: NgramKind, penalty: float) -> LinearModel:
    """Fit all heads on all training texts: that of the pairs has a penalty of its own, and does not move the others."""
    return LinearLearner(features=features, penalty=penalty).fit(read(language).train)


# XPUDU-C10
@pytest.mark.parametrize(("language", "penalty", "accuracy"), [("en", 1.0, 0.770), ("ar", 10.0, 0.840)])
def test_pair_differences_reach_exactly_the_measured_accuracy(
    language: Language, penalty: float, accuracy: float
) -> None:
    task, model = read(language), fitted(language, "char", penalty)
    first, second = (model([row[name] for row in task.pairs]).rank for name in ("text_0", "text_1"))
    assert first is not None
    assert second is not None
    right = (second > first) == (np.array([row["sarcastic_id"] for row in task.pairs]) == "1")
    assert right.mean() == accuracy
    # XPUDU-C5: without a tie, the file with its columns swapped has the same accuracy.
    assert not (first == second).any()


# XPUDU-C11: these do not depend on folds. The specification labelled 351 of 1,400 texts as the top 25 %, which moves F1
# by less than .001; we label 350.
@pytest.mark.parametrize(
    ("language", "features", "penalty", "area", "rule", "score"),
    [
        ("en", "char", 1.0, 0.603, "half", 0.2791),
        ("en", "word", 1.0, 0.628, "top 25 %", 0.2940),
        ("en", "char+word", 1.0, 0.624, "half", 0.3031),
        ("ar", "char", 10.0, 0.674, "half", 0.3115),
        ("ar", "word", 1.0, 0.695, "top 25 %", 0.3702),
    ],
)
def test_areas_and_scores_without_a_chosen_threshold_are_the_measured_ones(
    language: Language, features: NgramKind, penalty: float, area: float, rule: str, score: float
) -> None:
    task, model = read(language), fitted(language, features, penalty)
    logits = model([it.text for it in task.test]).sarcastic
    threshold = 0.0 if rule == "half" else top_share_threshold(logits, 0.25)
    assert roc_auc_score(task.gold, logits) == pytest.approx(area, abs=5.1e-4)
    tolerance = 5.1e-5 if rule == "half" else 1e-3
    assert f1_score(task.gold, logits >= threshold) == pytest.approx(score, abs=tolerance)


# XPUDU-C11: the folds of the measurement are not known, so ours are others; .002 is what the specification allows.
@pytest.mark.parametrize(
    ("language", "features", "penalty", "score"),
    [("en", "char", 1.0, 0.2699), ("ar", "char", 10.0, 0.3000)],
)
def test_scores_at_the_best_threshold_out_of_fold_are_the_measured_ones(
    language: Language, features: NgramKind, penalty: float, score: float
) -> None:
    task, learner = read(language), LinearLearner(features=features, penalty=penalty)
    labels = np.array([it.sarcastic for it in task.train])
    threshold = best_threshold(out_of_fold(learner, task.train), labels)
    logits = fitted(language, features, penalty)([it.text for it in task.test]).sarcastic
    assert f1_score(task.gold, logits >= threshold) == pytest.approx(score, abs=0.002)
