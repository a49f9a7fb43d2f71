"""How far one comes without reading: models that see only a text's length, its place in the file or its punctuation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modicum.core.splits import Folds, folds
from modicum.errors import DataError
from modicum.sarcasm.data.examples import LANGUAGES, Example, Language
from modicum.sarcasm.data.folds import key

See: TypeAlias = Callable[[Sequence[Example]], np.ndarray]
Remark: TypeAlias = Literal["", "shortcut", "reverses", "shift"]

DOMAIN = "train or test"
_STRONG = 0.6  # ours: an area from which on a cue is remarked upon; of a shift, the lower end of its interval
_FOLDS, _FEWEST = 5, 2
_MARKS = ("!", "?", "؟", ".", ",", "،", ":", '"', "…", "#")
_URL = re.compile(r"https?://|www\.", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRow:
    """What a model reaches that sees one thing alone."""

    cue: str  # what it sees; `DOMAIN` tells training from test texts by their characters, whatever their labels
    language: Language  # of the texts
    train: float  # area under its ROC curve on the training texts, cross-validated where something was fitted
    test: float | None  # on the test texts, with direction and weights from the training texts
    remark: Remark  # "shortcut" where the cue tells much in training


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """The rows of all languages and cues."""

    rows: tuple[AuditRow, ...]

    def find(self, cue: str, language: Language) -> AuditRow:
        """Give a row."""
        for row in self.rows:
            if (row.cue, row.language) == (cue, language):
                return row
        cues = ", ".join(row.cue for row in self.rows if row.language == language)
        raise DataError(f"There is no cue {cue!r} for {language!r}.", hint=f"There are: {cues or 'none'}.")


def audit(train: Sequence[Example], test: Sequence[Example], *, seed: int = 0) -> Audit:
    """Measure what can be told without reading, and whether it still holds in the test texts.

    Args:
        train: labelled, in the order of the file and not cleaned: cleaning takes cues away.
        test: likewise; without labels, only training areas and the shift are measured.
        seed: of the folds.

    Returns:
        A row for each language of the training texts and each cue that varies there, and one for the shift.

    Raises:
        DataError: if a training text has no label, or a language has fewer than two texts of one of the labels.
    """
    rows: list[AuditRow] = []
    for language in LANGUAGES:
        ours = [it for it in train if it.language == language]
        theirs = [it for it in test if it.language == language]
        if ours:
            parts = _folds(_labels(ours), seed)
            rows += [_cue_row(cue, see, ours, theirs, parts) for cue, see in _cues(ours).items() if _varies(see, ours)]
        rows += shifts(ours, theirs, seed=seed)
    return Audit(rows=tuple(rows))


def shifts(train: Sequence[Example], later: Sequence[Example], *, seed: int = 0) -> list[AuditRow]:
    """Measure how well training texts are told from later ones, in each language that has enough of both."""
    rows: list[AuditRow] = []
    for language in LANGUAGES:
        ours, theirs = ([it for it in part if it.language == language] for part in (train, later))
        # Of distinct texts: copies say no more.
        if min(len({key(it.text) for it in part}) for part in (ours, theirs)) >= _FEWEST:
            rows += _domain_rows(ours, theirs, seed)
    return rows


def _cues(examples: Sequence[Example]) -> dict[str, See]:
    dialects = sorted({it.dialect for it in examples if it.dialect})
    return {
        # White space at the edges is a cue of its own.
        "characters": lambda given: _column(len(it.text.strip()) for it in given),
        "words": lambda given: _column(len(it.text.split()) for it in given),
        "punctuation": _punctuation,
        "position in the file": lambda given: _column(range(len(given))),
        "white space at the edges": lambda given: _column(it.text != it.text.strip() for it in given),
        "line break": lambda given: _column("\n" in it.text.strip() for it in given),
        "URL": lambda given: _column(bool(_URL.search(it.text)) for it in given),
        "@": lambda given: _column("@" in it.text for it in given),
        "dialect": lambda given: np.array([[it.dialect == name for name in dialects] for it in given], dtype=float),
    }


def _column(values: Iterable[float]) -> np.ndarray:
    return np.array(list(values), dtype=np.float64)[:, None]


def _punctuation(examples: Sequence[Example]) -> np.ndarray:
    every = [sum(unicodedata.category(letter).startswith("P") for letter in it.text) for it in examples]
    return np.array([[count, *map(it.text.count, _MARKS)] for count, it in zip(every, examples, strict=True)], float)


def _varies(see: See, examples: Sequence[Example]) -> bool:
    seen = see(examples)
    return bool((seen != seen[0]).any())


def _cue_row(cue: str, see: See, train: Sequence[Example], test: Sequence[Example], parts: Folds) -> AuditRow:
    labels, seen = _labels(train), see(train)
    known = [it for it in test if it.sarcastic is not None]
    truth = [it.sarcastic for it in known]
    later = see(test)[[it.sarcastic is not None for it in test]] if len(set(truth)) == 2 else None
    if seen.shape[1] == 1:
        sign = 1.0 if roc_auc_score(labels, seen[:, 0]) >= 0.5 else -1.0
        scores, wanted = sign * seen[:, 0], None if later is None else sign * later[:, 0]
    else:
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        scores = cross_val_predict(model, seen, labels, cv=parts, method="decision_function")
        wanted = None if later is None else model.fit(seen, labels).decision_function(later)
    area = float(roc_auc_score(labels, scores))
    held = None if wanted is None else float(roc_auc_score(truth, wanted))
    return AuditRow(cue=cue, language=train[0].language, train=area, test=held, remark=_remark(area, held, truth))


def _remark(train: float, test: float | None, truth: Sequence[int | None]) -> Remark:
    if test is not None and test < 0.5 - 2 * _chance(truth) and max(train, 1 - test) >= _STRONG:
        return "reverses"
    return "shortcut" if train >= _STRONG else ""


def _chance(truth: Sequence[int | None]) -> float:
    # Standard error of the area where the scores tell nothing: that of Mann and Whitney's statistic.
    positives, negatives = truth.count(1), truth.count(0)
    return ((positives + negatives + 1) / (12 * positives * negatives)) ** 0.5


def _domain_rows(train: Sequence[Example], test: Sequence[Example], seed: int) -> list[AuditRow]:
    texts = [it.text for it in (*train, *test)]
    sides = np.repeat([0, 1], [len(train), len(test)])
    # Without a label, the n-grams of all texts may be counted at once.
    seen = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(texts)
    model = LogisticRegression(class_weight="balanced", solver="liblinear")
    # A text that is on both sides is in one fold: its copy would say that it is of the other side.
    ours, theirs = ({key(it.text) for it in part} for part in (train, test))
    numbers = np.unique([key(text) for text in texts], return_inverse=True)[1] if ours & theirs else None
    parts = folds(sides, min(_FOLDS, len(ours), len(theirs)), seed, groups=numbers)
    if any(len(set(sides[learnt])) < 2 for learnt, _ in parts):  # so few texts that some folds have one side alone
        return []
    scores = cross_val_predict(model, seen, sides, cv=parts, method="decision_function")
    area = float(roc_auc_score(sides, scores))
    surely = area - 2 * _chance(sides.tolist()) >= _STRONG  # 30 texts of the same kind can reach 0.65
    return [AuditRow(cue=DOMAIN, language=train[0].language, train=area, test=None, remark="shift" if surely else "")]


def _labels(examples: Sequence[Example]) -> np.ndarray:
    labels = [it.sarcastic for it in examples if it.sarcastic is not None]
    if len(labels) < len(examples) or min(labels.count(0), labels.count(1)) < _FEWEST:
        raise DataError(
            f"Of {len(examples)} training texts of {examples[0].language!r}, {labels.count(1)} are sarcastic and "
            f"{labels.count(0)} are not.",
            hint=f"Give each a label, and at least {_FEWEST} texts of both.",
        )
    return np.array(labels)


def _folds(labels: np.ndarray, seed: int) -> Folds:
    return folds(labels, min(_FOLDS, int(np.bincount(labels).min())), seed)
