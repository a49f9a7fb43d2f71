"""Fits logistic regressions for the three tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from modicum.errors import ConfigError, DataError
from modicum.sarcasm.examples import Example
from modicum.sarcasm.linear.features import (
    KINDS,
    Encode,
    Features,
    FrozenFeatures,
    Grams,
    Matrix,
    NgramFeatures,
    NgramKind,
)
from modicum.sarcasm.linear.model import Head, LinearModel, Ranker

_FEWEST = 2  # of each label, for a category to be learnt


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearLearner:
    """Logistic regressions on what is seen of a text; a `Learner`."""

    # The first head balances the two labels. The categories are learnt from the sarcastic examples alone, on the same
    # features; one with fewer than two examples for or against it is given its rate, (k + 1) / (n + 2). The third head
    # learns from the difference of a text and its rephrase, in both orders and without an intercept, so that two texts
    # that change places change the sign; its n-grams are those of these texts.

    features: NgramKind | tuple[Grams, ...] | Encode = "char"  # "char" (2 to 5 characters inside words), "word"
    penalty: float = 1.0  # C of the first two heads, the inverse of the strength of the quadratic penalty
    rank_penalty: float = 1.0  # C of the third

    def __post_init__(self) -> None:
        for penalty in (self.penalty, self.rank_penalty):
            if not (math.isfinite(penalty) and penalty > 0):
                raise ConfigError(f"A penalty C must be > 0, got {penalty}.", hint="Use 1 or 10.")
        if isinstance(self.features, str) and self.features not in KINDS:
            raise ConfigError(f"There are no features {self.features!r}.", hint=f"Use one of: {', '.join(KINDS)}.")

    def fit(self, examples: Sequence[Example], *, seed: int = 0) -> LinearModel:  # noqa: ARG002
        """Fit the heads for which there are examples."""
        labelled = [it for it in examples if it.sarcastic is not None]
        labels = _labels(labelled)
        features, rows = self._features([it.text for it in labelled])
        first = _regression(self.penalty, class_weight="balanced").fit(rows, labels)
        return LinearModel(
            features=features,
            sarcastic=Head(weights=first.coef_, intercept=first.intercept_),
            categories=self._categories(rows, labelled),
            ranker=self._ranker(features, [it for it in examples if it.rephrase]),
        )

    def _features(self, texts: Sequence[str]) -> tuple[Features, Matrix]:
        if callable(self.features):
            features = FrozenFeatures(self.features)
            return features, features(texts)
        grams = KINDS[self.features] if isinstance(self.features, str) else self.features
        return NgramFeatures.fit(grams, texts)

    def _categories(self, rows: Matrix, labelled: Sequence[Example]) -> Head | None:
        places = [place for place, it in enumerate(labelled) if it.sarcastic and it.categories is not None]
        if not places:
            return None
        labels = np.array([labelled[place].categories for place in places])
        columns = [self._category(rows[places], column) for column in labels.T]
        return Head(
            weights=np.stack([weights for weights, _ in columns]), intercept=np.array([bias for _, bias in columns])
        )

    def _category(self, rows: Matrix, labels: np.ndarray) -> tuple[np.ndarray, float]:
        positives, total = int(labels.sum()), len(labels)
        if min(positives, total - positives) < _FEWEST:
            return np.zeros(rows.shape[1]), math.log((positives + 1) / (total - positives + 1))
        fitted = _regression(self.penalty).fit(rows, labels)
        return fitted.coef_[0], float(fitted.intercept_[0])

    def _ranker(self, features: Features, examples: Sequence[Example]) -> Ranker | None:
        if not examples:
            return None
        texts, plain = [it.text for it in examples], [str(it.rephrase) for it in examples]
        if isinstance(features, NgramFeatures):
            features, _ = self._features(texts + plain)
        difference = features(texts) - features(plain)
        labels = np.repeat([1, 0], len(examples))
        fitted = _regression(self.rank_penalty, fit_intercept=False).fit(_both_orders(difference), labels)
        return Ranker(features=features, weights=fitted.coef_[0])


def _regression(penalty: float, **options: Any) -> LogisticRegression:
    return LogisticRegression(C=penalty, solver="liblinear", max_iter=2000, **options)


def _both_orders(difference: Matrix) -> Matrix:
    if isinstance(difference, np.ndarray):
        return np.vstack([difference, -difference])
    return sparse.vstack([difference, -difference], format="csr")


def _labels(examples: Sequence[Example]) -> np.ndarray:
    labels = np.array([it.sarcastic for it in examples])
    if len(set(labels)) < 2:
        raise DataError(
            f"Of {len(examples)} labelled texts, {int(labels.sum())} are sarcastic; both labels are needed.",
            hint="Give examples that are sarcastic and examples that are not.",
        )
    return labels
