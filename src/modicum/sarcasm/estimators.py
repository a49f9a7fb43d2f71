# ruff: noqa: N803, N806 - X is scikit-learn's name
"""The three tasks as scikit-learn has estimators: texts or pairs of texts in, labels and probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from modicum.core.tables import as_texts, is_missing
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.configuration import AUTO, NGRAMS, Pooling, Rule, Settings
from modicum.sarcasm.data.examples import CATEGORIES, Example, Language, Pair
from modicum.sarcasm.data.preparation import language_of
from modicum.sarcasm.evaluate.scores import whole_labels
from modicum.sarcasm.fitting import fit
from modicum.sarcasm.system import SarcasmSystem

Kind = TypeVar("Kind")
Spoken: TypeAlias = Sequence[Language] | Language | None
Dialects: TypeAlias = Sequence[str | None] | None


@dataclass(eq=False, repr=False, kw_only=True)
class _Estimator(BaseEstimator):
    """What the three share: their settings, which are those of `Settings`, and the system that they are fitted to."""

    model: str = field(default=NGRAMS, kw_only=False)
    preset: str = AUTO
    rule: Rule = "oof_f1"
    folds: int = 5
    seed: int = 0
    epochs: int = 5
    batch: int = 32
    rate: float = 2e-5
    pooling: Pooling = "cls"
    device: str = "cpu"
    system_: SarcasmSystem = field(init=False)  # after fitting

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the fitted system to a new folder, without a pickle.

        Raises:
            ConfigError: if the folder has something in it, or cannot be written.
        """
        check_is_fitted(self)
        self.system_.save(Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read what `save_pretrained`, or ``modicum sarcasm train``, wrote.

        Raises:
            ConfigError: if there is no such folder.
            DataError: if it holds no system, or a damaged one.
            ModelError: if the encoder in it cannot be read.
        """
        read = cls()
        read.system_ = SarcasmSystem.load(Path(folder))
        return read

    def _fit(self, examples: Sequence[Example], like: Sequence[Example] | None = None) -> Self:
        self.system_ = fit(examples, Settings(**self.get_params()), like=like).system
        return self


class SarcasmDetector(ClassifierMixin, _Estimator):
    """Tells which texts their authors meant sarcastically (task A); the arguments are those of all three estimators.

    Attributes:
        classes_: 0 and 1.

    Example:
        >>> from modicum.sarcasm.written import read_written
        >>> known = read_written("en")
        >>> texts, labels = [it.text for it in known], [it.sarcastic for it in known]
        >>> detector = SarcasmDetector(folds=2).fit(texts, labels, rephrases=[it.rephrase for it in known])
        >>> detector.predict_proba(["Lovely, another meeting about meetings"]).shape
        (1, 2)
    """

    classes_ = np.array([0, 1])

    def fit(
        self,
        X: Sequence[str],
        y: npt.ArrayLike,
        *,
        languages: Spoken = None,
        dialects: Dialects = None,
        rephrases: Dialects = None,
        like: Sequence[str] | None = None,
    ) -> Self:
        """Fit on labelled texts.

        Args:
            X: n texts.
            y: 1 where a text is sarcastic, else 0, shape (n,).
            languages: "en" or "ar", of all or of each; None goes by the script.
            dialects: of Arabic texts.
            rephrases: the plain wording of sarcastic texts, where it is known.
            like: unlabelled texts of the kind that will be read, by which preset "auto" chooses, too.

        Raises:
            ConfigError: if a setting is unknown.
            DataError: if a text is empty, a label is none, or there are not as many of each.
        """
        labels = _labels(y)
        X = as_texts(X, "X")
        spoken, dialects, rephrases = _languages(X, languages), _each(dialects, X), _each(rephrases, X)
        _check_lengths(X, labels, spoken, dialects, rephrases)
        return self._fit(
            [
                Example(text=text, sarcastic=int(label), language=language, dialect=dialect, rephrase=rephrase)
                for text, label, language, dialect, rephrase in zip(X, labels, spoken, dialects, rephrases, strict=True)
            ],
            None if like is None else _texts(like, languages if isinstance(languages, str) else None, None),
        )

    def predict_proba(self, X: Sequence[str], *, languages: Spoken = None, dialects: Dialects = None) -> np.ndarray:
        """Give the probabilities of both labels, shape (n, 2)."""
        check_is_fitted(self)
        second = self.system_.read(_texts(X, languages, dialects)).probabilities
        return np.stack([1 - second, second], axis=1)

    def predict(self, X: Sequence[str], *, languages: Spoken = None, dialects: Dialects = None) -> np.ndarray:
        """Give labels, shape (n,).

        Raises:
            ConfigError: if there is no threshold for a language.
        """
        check_is_fitted(self)
        return self.system_.read(_texts(X, languages, dialects)).labels


class IronyCategorizer(_Estimator):
    """Tells what kind of irony a text is (task B): any of six, or none."""

    def fit(self, X: Sequence[str], y: npt.ArrayLike, *, languages: Spoken = None) -> Self:
        """Fit on texts whose categories are known.

        Args:
            X: n texts.
            y: 0 or 1, shape (n, 6), in the order of `CATEGORIES`; a row of zeros is a text that is not sarcastic.
            languages: "en" or "ar", of all or of each; None goes by the script.

        Raises:
            ConfigError: if a setting is unknown.
            DataError: if a text is empty, the labels are of another shape, or there are not as many of each.
        """
        X = as_texts(X, "X")
        rows, spoken = _labels(y, len(CATEGORIES)), _languages(X, languages)
        _check_lengths(X, rows, spoken)
        return self._fit(
            [
                Example(text=text, language=language, sarcastic=int(any(row)), categories=tuple(int(it) for it in row))
                for text, row, language in zip(X, rows, spoken, strict=True)
            ]
        )

    def predict_proba(self, X: Sequence[str], *, languages: Spoken = None) -> np.ndarray:
        """Give the probability of each category, shape (n, 6).

        Raises:
            ConfigError: if the system knows no categories.
        """
        check_is_fitted(self)
        return _known(self.system_.read(_texts(X, languages, None)).category_probabilities)

    def predict(self, X: Sequence[str], *, languages: Spoken = None) -> np.ndarray:
        """Give 0 or 1 for each category, shape (n, 6).

        Raises:
            ConfigError: if the system knows no categories.
        """
        check_is_fitted(self)
        return _known(self.system_.read(_texts(X, languages, None)).category_labels)


class SarcasmRanker(ClassifierMixin, _Estimator):
    """Tells which of two texts that mean the same is the sarcastic one (task C).

    Attributes:
        classes_: 0, the first, and 1, the second.
    """

    classes_ = np.array([0, 1])

    def fit(self, X: Sequence[tuple[str, str]], y: npt.ArrayLike, *, languages: Spoken = None) -> Self:
        """Fit on pairs.

        Args:
            X: n pairs of texts.
            y: 0 or 1, which of them is sarcastic, shape (n,).
            languages: "en" or "ar", of all or of each; None goes by the script.

        Raises:
            ConfigError: if a setting is unknown.
            DataError: if a text is empty, a label is none, or there are not as many of each.
        """
        examples: list[Example] = []
        for pair in _pairs(X, languages, _labels(y)):
            text, plain = pair.texts[pair.sarcastic or 0], pair.texts[1 - (pair.sarcastic or 0)]
            examples += [
                Example(text=text, language=pair.language, sarcastic=1, rephrase=plain),
                Example(text=plain, language=pair.language, sarcastic=0),
            ]
        return self._fit(examples)

    def predict_proba(self, X: Sequence[tuple[str, str]], *, languages: Spoken = None) -> np.ndarray:
        """Give the probabilities that the first and that the second is the sarcastic one, shape (n, 2).

        Raises:
            ConfigError: if the system was fitted without pairs.
        """
        check_is_fitted(self)
        second = self.system_.compare(_pairs(X, languages, None))
        return np.stack([1 - second, second], axis=1)

    def predict(self, X: Sequence[tuple[str, str]], *, languages: Spoken = None) -> np.ndarray:
        """Give 0 or 1, which of the two is the sarcastic one, shape (n,)."""
        return (self.predict_proba(X, languages=languages)[:, 1] > 0.5).astype(np.int64)


def _texts(texts: Sequence[str], languages: Spoken, dialects: Dialects) -> list[Example]:
    texts = as_texts(texts, "X")
    spoken, dialects = _languages(texts, languages), _each(dialects, texts)
    _check_lengths(texts, spoken, dialects)
    return [
        Example(text=text, language=language, dialect=dialect)
        for text, language, dialect in zip(texts, spoken, dialects, strict=True)
    ]


def _pairs(
    pairs: Sequence[tuple[str, str]],
    languages: Spoken,
    labels: np.ndarray | None,
) -> list[Pair]:
    for place, pair in enumerate(pairs):
        if isinstance(pair, str) or len(pair) != 2:
            raise DataError(f"X[{place}] is {pair!r}, expected two texts.", hint="Give (first, second).")
        as_texts(pair, f"X[{place}]")
    spoken = _languages([" ".join(pair) for pair in pairs], languages)
    known = [None] * len(pairs) if labels is None else [int(it) for it in labels]
    _check_lengths(pairs, spoken, known)
    return [
        Pair(texts=(first, second), language=language, sarcastic=label)
        for (first, second), language, label in zip(pairs, spoken, known, strict=True)
    ]


def _labels(given: npt.ArrayLike, *columns: int) -> npt.NDArray[np.int64]:
    labels = whole_labels(given, "training")
    if labels.ndim == 0 or labels.shape[1:] != columns:
        raise DataError(
            f"The labels have the shape {labels.shape}, expected {('n', *columns)}.", hint="Give a row for each text."
        )
    return labels


def _languages(texts: Sequence[str], given: Spoken) -> Sequence[Language]:
    if given is None:
        return [language_of(text) for text in texts]
    if isinstance(given, str):
        return [cast("Language", given) for _ in texts]
    return given


def _each(values: Sequence[Kind | None] | None, texts: Sequence[str]) -> Sequence[Kind | None]:
    return [None] * len(texts) if values is None else [None if is_missing(it) else it for it in values]


def _check_lengths(*columns: Sequence[object] | np.ndarray) -> None:
    if len({len(column) for column in columns}) > 1:
        raise DataError(
            f"There are {', '.join(str(len(column)) for column in columns)} texts, labels and so on.",
            hint="Give one of each for every text.",
        )


def _known(found: np.ndarray | None) -> np.ndarray:
    if found is None:
        raise ConfigError("The system knows no categories.", hint="Fit it on texts whose categories are known.")
    return found
