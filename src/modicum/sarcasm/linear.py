"""The classical model: logistic regressions on n-grams or on a frozen encoder, for all three tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from modicum.core.files import make_folder
from modicum.core.storage import Format, Tensors, read_tensors, write_tensors
from modicum.errors import ConfigError, DataError, InputError, ModelError
from modicum.sarcasm.data.examples import CATEGORIES, Example
from modicum.sarcasm.models import Outputs

if TYPE_CHECKING:
    from modicum.sarcasm.encoder.model import FrozenEncoder

Matrix: TypeAlias = "np.ndarray | sparse.csr_matrix"
NgramKind: TypeAlias = Literal["char", "word", "char+word"]

_DESCRIPTION = "model.json"
_WEIGHTS = "weights.safetensors"
_FORMAT = Format(
    name="modicum.sarcasm.linear",
    version=1,
    what="linear model",
    hint="Copy the folder again, or fit and save the model again.",
)
Features: TypeAlias = "NgramFeatures | FrozenEncoder"


@dataclass(frozen=True, kw_only=True, slots=True)
class Grams:
    """A kind of n-grams."""

    analyzer: Literal["char_wb", "word"]  # scikit-learn's name: "char_wb" for characters inside words, "word" for words
    shortest: int  # n at least
    longest: int  # n at most

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest:
            raise ConfigError(
                f"There are no n-grams of {self.analyzer!r} from {self.shortest} to {self.longest}.",
                hint="Give integers from 1 that do not fall.",
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


def _vectorizer(kind: Grams, **options: Any) -> TfidfVectorizer:
    span = (kind.shortest, kind.longest)
    return TfidfVectorizer(analyzer=kind.analyzer, ngram_range=span, sublinear_tf=True, **options)


def _joined(parts: Sequence[Any]) -> sparse.csr_matrix:
    return cast("sparse.csr_matrix", parts[0] if len(parts) == 1 else sparse.hstack(parts, format="csr"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A linear map of features to logits."""

    weights: np.ndarray  # shape (k, d)
    intercept: np.ndarray  # shape (k,)

    def __call__(self, rows: Matrix) -> np.ndarray:
        """Give logits, shape (n, k), from features, shape (n, d)."""
        return np.asarray(rows @ self.weights.T) + self.intercept


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranker:
    """Scores by whose difference two texts are compared."""

    features: Features  # its own n-grams, or those of the model
    weights: np.ndarray  # shape (d,); an intercept would cancel


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearModel:
    """Logistic regressions for the three tasks; a `TextModel`."""

    features: Features  # of the first two heads
    sarcastic: Head  # the first head, of one logit
    categories: Head | None = None  # the second, of six; None where there was nothing to learn them from
    ranker: Ranker | None = None  # the third; None where there was no pair

    def __call__(self, texts: Sequence[str]) -> Outputs:
        """Give the outputs, in the order of the texts and independent of what else is asked for."""
        rows = self.features(texts)
        columns = self.sarcastic.weights.shape[1]
        if rows.shape[1] != columns:
            raise ModelError(
                f"The encoder gives {rows.shape[1]} columns, but the model was fitted on {columns}.",
                hint="Load the model with the encoder that it was fitted on.",
            )
        return Outputs(
            sarcastic=self.sarcastic(rows)[:, 0],
            categories=self.categories(rows) if self.categories else None,
            rank=self._ranks(texts, rows),
        )

    def save(self, folder: Path) -> None:
        """Write it to a new folder: ``model.json`` with the n-grams, ``weights.safetensors`` with the numbers."""
        # Of a frozen encoder only its name is kept.
        tensors: dict[str, np.ndarray] = {}
        heads: dict[Literal["sarcastic", "categories"], Head] = {"sarcastic": self.sarcastic}
        if self.categories is not None:
            heads["categories"] = self.categories
        for name, head in heads.items():
            tensors[f"{name}.weights"], tensors[f"{name}.intercept"] = head.weights, head.intercept
        ranker = None
        if self.ranker is not None:
            tensors["rank.weights"] = self.ranker.weights
            own = isinstance(self.ranker.features, NgramFeatures)  # else it sees what the other heads see
            ranker = _described(self.ranker.features, "rank", tensors) if own else _Features(ngrams=None)
        document = _Document(features=_described(self.features, "features", tensors), heads=list(heads), ranker=ranker)
        make_folder(folder)
        write_tensors(folder / _WEIGHTS, tensors)
        # Last, so that a folder with a description has its weights, too.
        _FORMAT.write(folder / _DESCRIPTION, asdict(document))

    @classmethod
    def load(cls, folder: Path) -> LinearModel:
        """Read what `save` wrote."""
        document = _FORMAT.read(folder / _DESCRIPTION, _Document)
        arrays, _ = read_tensors(folder / _WEIGHTS, hint=_FORMAT.hint)
        tensors = Tensors(folder / _WEIGHTS, arrays, hint=_FORMAT.hint)
        try:
            model = _model(document, tensors, folder)
        except InputError:
            raise
        except ValueError as error:  # scikit-learn's, of a vocabulary
            raise DataError(f"{folder / _DESCRIPTION} describes no model ({error!r}).", hint=_FORMAT.hint) from error
        tensors.check_empty()
        return model

    def _ranks(self, texts: Sequence[str], rows: Matrix) -> np.ndarray | None:
        if self.ranker is None:
            return None
        shared = self.ranker.features is self.features
        return np.asarray((rows if shared else self.ranker.features(texts)) @ self.ranker.weights)


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearLearner:
    """Logistic regressions on what is seen of a text; a `Learner`."""

    # The first head balances the two labels. The categories are learnt from the sarcastic examples alone, on the same
    # features; one with fewer than two examples for or against it is given its rate, (k + 1) / (n + 2). The third head
    # learns from the difference of a text and its rephrase, in both orders and without an intercept, so that two texts
    # that change places change the sign; its n-grams are those of these texts.

    # "char" (2 to 5 characters inside words), "word" (1 or 2), both side by side, n-grams of your own, or an encoder
    features: NgramKind | tuple[Grams, ...] | FrozenEncoder = "char"
    penalty: float = 1.0  # C of the first two heads, the inverse of the strength of the quadratic penalty; 1 for pairs

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
        if isinstance(self.features, str | tuple):
            return NgramFeatures.fit(KINDS[self.features] if isinstance(self.features, str) else self.features, texts)
        return self.features, self.features(texts)

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
        if min(positives, total - positives) < 2:
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
        fitted = _regression(1.0, fit_intercept=False).fit(_both_orders(difference), labels)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ngrams(Grams):
    vocabulary: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Encoder:
    place: str
    longest: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Features:
    ngrams: list[_Ngrams] | None
    encoder: _Encoder | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Document:
    features: _Features
    heads: list[Literal["sarcastic", "categories"]]
    ranker: _Features | None


def _model(document: _Document, tensors: Tensors, folder: Path) -> LinearModel:
    features = _restored(document.features, tensors, folder)
    sarcastic = _head("sarcastic", 1, features.width if isinstance(features, NgramFeatures) else None, tensors)
    width, known = sarcastic.weights.shape[1], "categories" in document.heads
    return LinearModel(
        features=features,
        sarcastic=sarcastic,
        categories=_head("categories", len(CATEGORIES), width, tensors) if known else None,
        ranker=_ranker(document.ranker, features, width, tensors),
    )


def _described(features: Features, name: str, tensors: dict[str, np.ndarray]) -> _Features:
    if isinstance(features, NgramFeatures):
        for number, vectorizer in enumerate(features.vectorizers):
            tensors[f"{name}.idf.{number}"] = vectorizer.idf_
        each = zip(features.grams, features.vocabularies, strict=True)
        return _Features(ngrams=[_Ngrams(**asdict(it), vocabulary=vocabulary) for it, vocabulary in each])
    return _Features(ngrams=None, encoder=_Encoder(place=features.place, longest=features.longest))


def _restored(document: _Features, tensors: Tensors, folder: Path) -> Features:
    if document.ngrams is not None:
        return _ngrams(document.ngrams, "features", tensors)
    if document.encoder is None:
        raise DataError("The model has neither n-grams nor an encoder.", hint=_FORMAT.hint)
    from modicum.sarcasm.encoder.model import FrozenEncoder  # and torch, which n-grams do without

    try:
        return FrozenEncoder(document.encoder.place, longest=document.encoder.longest)
    except ConfigError as error:
        raise ModelError(
            f"The encoder of the model in {folder} cannot be opened. {error.what}",
            hint="Put it back where it was, or fit and save the model again.",
        ) from error


def _ngrams(kinds: Sequence[_Ngrams], name: str, tensors: Tensors) -> NgramFeatures:
    grams = [Grams(analyzer=it.analyzer, shortest=it.shortest, longest=it.longest) for it in kinds]
    weights = [_finite(tensors, f"{name}.idf.{number}", len(it.vocabulary)) for number, it in enumerate(kinds)]
    return NgramFeatures.restore(grams, [it.vocabulary for it in kinds], weights)


def _head(name: str, outputs: int, width: int | None, tensors: Tensors) -> Head:
    weights = _finite(tensors, f"{name}.weights", outputs, width)
    return Head(weights=weights, intercept=_finite(tensors, f"{name}.intercept", outputs))


def _ranker(document: _Features | None, features: Features, width: int, tensors: Tensors) -> Ranker | None:
    if document is None:
        return None
    if document.ngrams is not None:
        features = _ngrams(document.ngrams, "rank", tensors)
        width = features.width
    return Ranker(features=features, weights=_finite(tensors, "rank.weights", width))


def _finite(tensors: Tensors, name: str, *shape: int | None) -> np.ndarray:
    found = tensors.take(name, np.float64, shape=shape)
    if not np.isfinite(found).all():
        raise DataError(f"The weights hold numbers in {name} that are not finite.", hint=_FORMAT.hint)
    return found
