"""What each piece of a text adds to a logit, whatever kind of model gave it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from modicum.errors import ModelError
from modicum.sarcasm.linear.explanation import explain_linear
from modicum.sarcasm.linear.model import LinearModel
from modicum.sarcasm.scoring import TextModel
from modicum.sarcasm.stacked import StackedModel


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
