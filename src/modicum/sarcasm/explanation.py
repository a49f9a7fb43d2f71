"""What each piece of a text adds to a logit, whatever kind of model gave it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from modicum.errors import ModelError
from modicum.sarcasm.linear import Features, Grams, Head, LinearModel, NgramFeatures
from modicum.sarcasm.models import TextModel
from modicum.sarcasm.stack import StackedModel

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What a piece of a text adds."""

    text: str  # the piece
    start: int  # its first character in the prepared text
    end: int  # the character behind its last
    share: float  # in logits; above 0 it speaks for sarcasm, or, of a pair, for the second text as the sarcastic one


def shares_of(model: TextModel, text: str, *, head: Literal["sarcastic", "rank"]) -> list[Share]:
    """Share a logit of a text among its pieces: words of n-grams, tokens of an encoder, words of both together."""
    if isinstance(model, LinearModel):
        return _cut(text, explain_linear(model, text, head=head).words())
    if isinstance(model, StackedModel):
        return _stacked(model, text, head)
    from modicum.sarcasm.encoder.explanation import explain
    from modicum.sarcasm.encoder.model import EncoderModel, EnsembleModel

    if not isinstance(model, EncoderModel | EnsembleModel):
        raise ModelError("This model cannot be taken apart.", hint="Explain n-grams or an encoder.")
    members = model.members if isinstance(model, EnsembleModel) else (model,)
    tokens = [explain(member, text, head=head).tokens for member in members]
    # The models of an ensemble share a tokenizer, and their shares are means as their logits are.
    together = zip(*tokens, strict=True)
    return _cut(text, [(it[0].start, it[0].end, float(np.mean([one.share for one in it]))) for it in together])


def _stacked(model: StackedModel, text: str, head: Literal["sarcastic", "rank"]) -> list[Share]:
    weights = getattr(model.weights_of(text), head)
    if weights is None:
        raise ModelError("The models compare no texts.", hint="Fit them on examples that have a rephrase.")
    words = [Share(text=it.group(), start=it.start(), end=it.end(), share=0.0) for it in re.finditer(r"\S+", text)]
    ends = [word.end for word in words]
    for member, weight in zip(model.members, weights, strict=True):
        for piece in shares_of(member, text, head=head):
            # A token lies in one word; of white space it goes to the word behind it, or to the last one.
            place = min(bisect_left(ends, piece.end), len(words) - 1)
            words[place] = replace(words[place], share=words[place].share + weight * piece.share)
    return words


def _cut(text: str, pieces: Sequence[tuple[int, int, float]]) -> list[Share]:
    return [Share(text=text[start:end], start=start, end=end, share=share) for start, end, share in pieces]
