"""What a linear model sees of a text: weighted n-grams, or what a frozen encoder makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from modicum.errors import ConfigError, DataError

Matrix: TypeAlias = "np.ndarray | sparse.csr_matrix"
Encode: TypeAlias = Callable[[Sequence[str]], np.ndarray]
NgramKind: TypeAlias = Literal["char", "word", "char+word"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grams:
    """A kind of n-grams."""

    analyzer: Literal["char_wb", "word"]  # scikit-learn's name: "char_wb" for characters inside words, "word" for words
    shortest: int  # n at least
    longest: int  # n at most

    def __post_init__(self) -> None:
        if self.analyzer not in {"char_wb", "word"} or not 1 <= self.shortest <= self.longest:
            raise ConfigError(
                f"There are no n-grams of {self.analyzer!r} from {self.shortest} to {self.longest}.",
                hint='Use "char_wb" or "word", and integers from 1 that do not fall.',
            )


KINDS: dict[NgramKind, tuple[Grams, ...]] = {
    "char": (Grams(analyzer="char_wb", shortest=2, longest=5),),
    "word": (Grams(analyzer="word", shortest=1, longest=2),),
    "char+word": (Grams(analyzer="char_wb", shortest=2, longest=5), Grams(analyzer="word", shortest=1, longest=2)),
}


class NgramFeatures:
    """Fitted n-grams: (1 + log tf) idf, each kind scaled to length 1, side by side."""

    def __init__(self, grams: tuple[Grams, ...], vectorizers: tuple[TfidfVectorizer, ...]) -> None:
        self.grams = grams
        self.vectorizers = vectorizers

    @classmethod
    def fit(cls, grams: Sequence[Grams], texts: Sequence[str]) -> tuple[NgramFeatures, sparse.csr_matrix]:
        """Keep the n-grams that occur in two texts or more."""
        vectorizers = tuple(_vectorizer(kind, min_df=2) for kind in grams)
        try:
            parts = [vectorizer.fit_transform(texts) for vectorizer in vectorizers]
        except ValueError as error:  # scikit-learn's for an empty vocabulary
            raise DataError(
                f"None of the n-grams of {len(texts)} texts occurs in two of them.", hint="Give more texts."
            ) from error
        return cls(tuple(grams), vectorizers), _joined(parts)

    @classmethod
    def restore(
        cls, grams: Sequence[Grams], vocabularies: Sequence[Sequence[str]], weights: Sequence[np.ndarray]
    ) -> NgramFeatures:
        """Make them from what was stored."""
        vectorizers: list[TfidfVectorizer] = []
        for kind, vocabulary, weight in zip(grams, vocabularies, weights, strict=True):
            vectorizer = _vectorizer(kind, vocabulary=vocabulary)
            vectorizer.idf_ = weight
            vectorizers.append(vectorizer)
        return cls(tuple(grams), tuple(vectorizers))

    @property
    def vocabularies(self) -> list[list[str]]:
        """The n-grams of each kind in the order of the columns."""
        return [[str(it) for it in vectorizer.get_feature_names_out()] for vectorizer in self.vectorizers]

    @property
    def width(self) -> int:
        """The number of columns."""
        return sum(len(vectorizer.vocabulary_) for vectorizer in self.vectorizers)

    def __call__(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Give the rows of texts, float64, shape (n, width)."""
        if not len(texts):  # which scikit-learn refuses
            return sparse.csr_matrix((0, self.width))
        return _joined([vectorizer.transform(texts) for vectorizer in self.vectorizers])


@dataclass(frozen=True, slots=True)
class FrozenFeatures:
    """What a frozen encoder gives."""

    encode: Encode  # texts to an array, shape (n, d)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Give the rows of texts, float64, shape (n, d)."""
        rows = np.asarray(self.encode(texts), dtype=np.float64)
        if rows.ndim != 2 or len(rows) != len(texts) or not np.isfinite(rows).all():
            raise DataError(
                f"An encoder must give one row of finite values for each of {len(texts)} texts, got shape "
                f"{rows.shape}.",
                hint="Return an array of shape (texts, d).",
            )
        return rows


Features: TypeAlias = NgramFeatures | FrozenFeatures


def _vectorizer(kind: Grams, **options: Any) -> TfidfVectorizer:
    span = (kind.shortest, kind.longest)
    return TfidfVectorizer(analyzer=kind.analyzer, ngram_range=span, sublinear_tf=True, **options)


def _joined(parts: Sequence[Any]) -> sparse.csr_matrix:
    return cast("sparse.csr_matrix", parts[0] if len(parts) == 1 else sparse.hstack(parts, format="csr"))
