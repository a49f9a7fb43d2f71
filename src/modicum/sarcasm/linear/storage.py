"""A folder for a linear model: n-grams as JSON, weights as safetensors, nothing that is executed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from modicum.core.files import make_folder
from modicum.core.storage import Format, Tensors, read_tensors, write_tensors
from modicum.errors import ConfigError, DataError, InputError
from modicum.sarcasm.examples import CATEGORIES
from modicum.sarcasm.linear.features import Encode, Features, FrozenFeatures, Grams, NgramFeatures
from modicum.sarcasm.linear.model import Head, LinearModel, Ranker

DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"
_FORMAT = Format(
    name="modicum.sarcasm.linear",
    version=1,
    what="linear model",
    hint="Copy the folder again, or fit and save the model again.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ngrams:
    analyzer: Literal["char_wb", "word"]
    shortest: int
    longest: int
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


def save(model: LinearModel, folder: Path) -> None:
    """Write a model to a new folder; see `LinearModel.save`."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and not an empty folder.", hint="Name a new one.")
    tensors: dict[str, np.ndarray] = {}
    heads: dict[Literal["sarcastic", "categories"], Head | None] = {
        "sarcastic": model.sarcastic,
        "categories": model.categories,
    }
    for name, head in heads.items():
        if head is not None:
            tensors[f"{name}.weights"], tensors[f"{name}.intercept"] = head.weights, head.intercept
    ranker = None
    if model.ranker is not None:
        tensors["rank.weights"] = model.ranker.weights
        own = isinstance(model.ranker.features, NgramFeatures)  # else it sees what the other heads see
        ranker = _described(model.ranker.features, "rank", tensors) if own else _Features(ngrams=None)
    document = _Document(
        features=_described(model.features, "features", tensors),
        heads=[name for name, head in heads.items() if head is not None],
        ranker=ranker,
    )
    make_folder(folder)
    write_tensors(folder / WEIGHTS, tensors)
    # Last, so that a folder with a description has its weights, too.
    _FORMAT.write(folder / DESCRIPTION, asdict(document))


def load(folder: Path, *, encode: Encode | None = None) -> LinearModel:
    """Read a model that `save` wrote."""
    document = _FORMAT.read(folder / DESCRIPTION, _Document)
    arrays, _ = read_tensors(folder / WEIGHTS, hint=_FORMAT.hint)
    tensors = Tensors(folder / WEIGHTS, arrays, hint=_FORMAT.hint)
    try:
        model = _model(document, tensors, encode)
    except InputError:
        raise
    except ValueError as error:  # scikit-learn's, of a vocabulary
        raise DataError(f"{folder / DESCRIPTION} describes no model ({error!r}).", hint=_FORMAT.hint) from error
    tensors.check_empty()
    return model


def _model(document: _Document, tensors: Tensors, encode: Encode | None) -> LinearModel:
    features = _features(document.features, tensors, encode)
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
    from modicum.sarcasm.linear.frozen import FrozenEncoder

    encoder = features.encode
    known = isinstance(encoder, FrozenEncoder)
    return _Features(ngrams=None, encoder=_Encoder(place=encoder.place, longest=encoder.longest) if known else None)


def _features(document: _Features, tensors: Tensors, encode: Encode | None) -> Features:
    if document.ngrams is not None:
        return _ngrams(document.ngrams, "features", tensors)
    if encode is not None:
        return FrozenFeatures(encode)
    if document.encoder is None:
        raise ConfigError("The model was fitted with an encoder of your own.", hint="Give it as encode=.")
    from modicum.sarcasm.linear.frozen import FrozenEncoder  # and torch, which n-grams do without

    return FrozenFeatures(FrozenEncoder(document.encoder.place, longest=document.encoder.longest))


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
