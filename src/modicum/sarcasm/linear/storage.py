"""A folder for a linear model: n-grams as JSON, numbers as safetensors, nothing that is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modicum.core.extras import require
from modicum.core.files import aside, make_folder, replacing
from modicum.core.safeload import read_json
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.examples import CATEGORIES
from modicum.sarcasm.linear.features import Encode, Features, FrozenFeatures, Grams, NgramFeatures
from modicum.sarcasm.linear.model import Head, LinearModel, Ranker

FORMAT = "modicum.sarcasm.linear"
VERSION = 1
DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"
_HINT = "Copy the folder again, or fit and save the model again."


def save(model: LinearModel, folder: Path) -> None:
    """Write a model to a new folder; see `LinearModel.save`."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and not an empty folder.", hint="Name a new one.")
    library = require("safetensors.numpy", extra="text", purpose="Storing a linear model")
    tensors: dict[str, np.ndarray] = {}
    document = {
        "format": FORMAT,
        "version": VERSION,
        "features": _described(model.features, tensors),
        "heads": [name for name in ("sarcastic", "categories") if getattr(model, name) is not None],
        "ranker": _described_ranker(model.ranker, tensors),
    }
    for name in document["heads"]:
        head: Head = getattr(model, name)
        tensors[f"{name}.weights"], tensors[f"{name}.intercept"] = head.weights, head.intercept
    make_folder(folder)
    with aside(folder / WEIGHTS) as part:
        part.write_bytes(library.save({name: np.ascontiguousarray(it) for name, it in tensors.items()}))
    # Last, so that a folder with a description has its numbers, too.
    with replacing(folder / DESCRIPTION) as file:
        json.dump(document, file)


def load(folder: Path, *, encode: Encode | None = None) -> LinearModel:
    """Read a model that `save` wrote."""
    document, store = _document(folder / DESCRIPTION), _Store(folder / WEIGHTS)
    try:
        model = _model(document, store, encode)
    except (ConfigError, DataError):
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{folder / DESCRIPTION} describes no model ({error!r}).", hint=_HINT) from error
    store.check_empty()
    return model


def _model(document: Mapping[str, Any], store: _Store, encode: Encode | None) -> LinearModel:
    features = _features(document["features"], store, encode)
    sarcastic = _head("sarcastic", 1, features.width if isinstance(features, NgramFeatures) else None, store)
    width, known = sarcastic.weights.shape[1], "categories" in document["heads"]
    return LinearModel(
        features=features,
        sarcastic=sarcastic,
        categories=_head("categories", len(CATEGORIES), width, store) if known else None,
        ranker=_ranker(document["ranker"], features, width, store),
    )


def _described(features: Features, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    if isinstance(features, NgramFeatures):
        return {"ngrams": _described_ngrams(features, "features", tensors)}
    from modicum.sarcasm.linear.frozen import FrozenEncoder

    encoder = features.encode
    known = {"place": encoder.place, "longest": encoder.longest} if isinstance(encoder, FrozenEncoder) else None
    return {"ngrams": None, "encoder": known}


def _described_ngrams(features: NgramFeatures, name: str, tensors: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    for place, vectorizer in enumerate(features.vectorizers):
        tensors[f"{name}.idf.{place}"] = vectorizer.idf_
    return [
        {"analyzer": it.analyzer, "shortest": it.shortest, "longest": it.longest, "vocabulary": vocabulary}
        for it, vocabulary in zip(features.grams, features.vocabularies, strict=True)
    ]


def _described_ranker(ranker: Ranker | None, tensors: dict[str, np.ndarray]) -> dict[str, Any] | None:
    if ranker is None:
        return None
    tensors["rank.weights"] = ranker.weights
    if isinstance(ranker.features, NgramFeatures):
        return {"ngrams": _described_ngrams(ranker.features, "rank", tensors)}
    return {"ngrams": None}  # it sees what the other heads see


def _document(path: Path) -> dict[str, Any]:
    document = read_json(path, hint=_HINT)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{path} describes no linear model of modicum.", hint="Name a folder that save() wrote.")
    if document.get("version") != VERSION:
        raise DataError(
            f"{path} has version {document.get('version')!r} of the format, but this modicum reads version {VERSION}.",
            hint="Read it with the version of modicum that wrote it, or fit the model again.",
        )
    return document


class _Store:
    """The tensors of a file, each taken once; what is missing, of another shape or left over is an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        library = require("safetensors.numpy", extra="text", purpose="Reading a linear model")
        damaged = require("safetensors", extra="text", purpose="Reading a linear model").SafetensorError
        try:
            self._tensors: dict[str, np.ndarray] = library.load_file(path)
        except (OSError, damaged) as error:
            raise DataError(f"{path} is no whole safetensors file ({error}).", hint=_HINT) from error

    def take(self, name: str, *shape: int | None) -> np.ndarray:
        """Give the numbers of a name; None stands for any length."""
        found = self._tensors.pop(name, None)
        if (
            found is None
            or found.dtype != np.float64
            or len(found.shape) != len(shape)
            or any(wanted not in {None, length} for wanted, length in zip(shape, found.shape, strict=True))
            or not np.isfinite(found).all()
        ):
            came = "nothing" if found is None else f"{found.dtype} of shape {list(found.shape)}"
            raise DataError(
                f"{self._path}: {name} must be finite float64 of shape {list(shape)}, got {came}.", hint=_HINT
            )
        return found

    def check_empty(self) -> None:
        """Refuse what the description does not speak of."""
        if self._tensors:
            raise DataError(f"{self._path} holds {', '.join(self._tensors)}, which no part has.", hint=_HINT)


def _features(document: Mapping[str, Any], store: _Store, encode: Encode | None) -> Features:
    if document["ngrams"] is not None:
        return _ngrams(document["ngrams"], "features", store)
    return FrozenFeatures(encode or _encoder(document["encoder"]))


def _ngrams(kinds: Sequence[Mapping[str, Any]], name: str, store: _Store) -> NgramFeatures:
    grams = [Grams(analyzer=it["analyzer"], shortest=it["shortest"], longest=it["longest"]) for it in kinds]
    vocabularies = [it["vocabulary"] for it in kinds]
    weights = [store.take(f"{name}.idf.{place}", len(it)) for place, it in enumerate(vocabularies)]
    return NgramFeatures.restore(grams, vocabularies, weights)


def _encoder(document: Mapping[str, Any] | None) -> Encode:
    if document is None:
        raise ConfigError("The model was fitted with an encoder of your own.", hint="Give it as encode=.")
    from modicum.sarcasm.linear.frozen import FrozenEncoder  # and torch, which n-grams do without

    return FrozenEncoder(document["place"], longest=document["longest"])


def _head(name: str, outputs: int, width: int | None, store: _Store) -> Head:
    return Head(
        weights=store.take(f"{name}.weights", outputs, width), intercept=store.take(f"{name}.intercept", outputs)
    )


def _ranker(document: Mapping[str, Any] | None, features: Features, width: int, store: _Store) -> Ranker | None:
    if document is None:
        return None
    if document["ngrams"] is not None:
        features = _ngrams(document["ngrams"], "rank", store)
        width = features.width
    return Ranker(features=features, weights=store.take("rank.weights", width))
