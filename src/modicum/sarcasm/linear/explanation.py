"""Why a linear model gives the number it gives: what each n-gram, each character and each word adds."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from modicum.errors import ModelError
from modicum.sarcasm.linear.features import Features, Grams, NgramFeatures
from modicum.sarcasm.linear.model import Head, LinearModel

_WORD = re.compile(r"\w\w+")  # scikit-learn's own, for the analyzer "word"
_Places = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """A logit, taken apart."""

    text: str  # that is explained
    logit: float  # of "sarcastic", or the score by which texts are ranked
    intercept: float  # what every text gets; 0 where texts are ranked
    ngrams: tuple[tuple[str, float], ...]
    characters: np.ndarray  # the same sum, spread over the text: shape (characters,)

    def words(self) -> list[tuple[int, int, float]]:
        """Give the first and last offset, as of a slice, and the contribution of each word between white space."""
        return [
            (found.start(), found.end(), float(self.characters[found.start() : found.end()].sum()))
            for found in re.finditer(r"\S+", self.text)
        ]


def explain_linear(model: LinearModel, text: str, *, head: Literal["sarcastic", "rank"] = "sarcastic") -> Explanation:
    """Take the logit of "sarcastic", or the score of a text among others, apart, exactly: it is a sum over n-grams."""
    # What an n-gram adds is shared evenly by the places where it occurs, and there by its characters.
    features, linear = _head(model, head)
    if not isinstance(features, NgramFeatures):
        raise ModelError("A model on a frozen encoder has no n-grams.", hint="Explain one that was fitted on n-grams.")
    row = features([text])
    added = row.data * linear.weights[0, row.indices]
    contributions = dict(zip(row.indices.tolist(), added.tolist(), strict=True))
    characters = np.zeros(len(text))
    found: list[tuple[str, float]] = []
    start = 0
    for kind, vectorizer in zip(features.grams, features.vectorizers, strict=True):
        for ngram, occurrences in _occurrences(kind, text).items():
            column = vectorizer.vocabulary_.get(ngram)
            if column is None or start + column not in contributions:
                continue
            contribution = contributions[start + column]
            found.append((ngram, contribution))
            for places in occurrences:
                np.add.at(characters, list(places), contribution / len(occurrences) / len(places))
        start += len(vectorizer.vocabulary_)
    return Explanation(
        text=text,
        logit=float(linear(row)[0, 0]),
        intercept=float(linear.intercept[0]),
        ngrams=tuple(sorted(found, key=lambda it: (-abs(it[1]), it[0]))),
        characters=characters,
    )


def _head(model: LinearModel, head: Literal["sarcastic", "rank"]) -> tuple[Features, Head]:
    if head == "sarcastic":
        return model.features, model.sarcastic
    if model.ranker is None:
        raise ModelError("The model ranks no texts.", hint="Fit it on examples that have a rephrase.")
    return model.ranker.features, Head(weights=model.ranker.weights[None], intercept=np.zeros(1))


def _occurrences(kind: Grams, text: str) -> dict[str, list[_Places]]:
    lower, origin = text.lower(), _origins(text)
    each = _characters(kind, lower) if kind.analyzer == "char_wb" else _words(kind, lower)
    occurrences: dict[str, list[_Places]] = defaultdict(list)
    for ngram, places in each:
        occurrences[ngram].append(tuple(origin[place] for place in places))
    return occurrences


def _origins(text: str) -> list[int]:
    # Some letters become two in lower case, "İ" for one.
    return [place for place, letter in enumerate(text) for _ in letter.lower()]


def _characters(kind: Grams, text: str) -> Iterator[tuple[str, _Places]]:
    for found in re.finditer(r"\S+", text):
        padded, first = f" {found.group()} ", found.start() - 1
        for length in range(kind.shortest, kind.longest + 1):
            for offset in range(max(len(padded) - length, 0) + 1):
                ngram = padded[offset : offset + length]
                # An edge has no place in the text: what it adds goes to the letters beside it.
                start = min(max(offset, 1), len(padded) - 2)
                end = max(min(offset + len(ngram), len(padded) - 1), start + 1)
                yield ngram, tuple(range(first + start, first + end))
            if length >= len(padded):  # what is longer would be the same again
                break


def _words(kind: Grams, text: str) -> Iterator[tuple[str, _Places]]:
    tokens = [(found.group(), tuple(range(*found.span()))) for found in _WORD.finditer(text)]
    for length in range(kind.shortest, kind.longest + 1):
        for first in range(len(tokens) - length + 1):
            chosen = tokens[first : first + length]
            yield " ".join(word for word, _ in chosen), sum((places for _, places in chosen), ())
