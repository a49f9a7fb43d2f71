"""Which words of a text speak for sarcasm: integrated gradients, with the sum that they must have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from modicum.errors import ModelError
from modicum.sarcasm.encoder.batches import Row, encode, padding_of
from modicum.sarcasm.encoder.model import EncoderModel

_Head: TypeAlias = Literal["sarcastic", "rank"]

_FIRST_POINTS, _MOST_POINTS = 32, 512


@dataclass(frozen=True, slots=True)
class TokenShare:
    """What a token adds to the logit."""

    start: int  # its first character in the text
    end: int  # the character behind its last one
    share: float  # in logits; above 0 it speaks for sarcasm


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The shares of a text's tokens in the logit of "sarcastic", or in the score by which texts are ranked."""

    text: str  # as it was given
    tokens: tuple[TokenShare, ...]  # in the order of the text; what was cut from it has none
    logit: float  # f(x), of the text, or its score
    baseline: float  # f(b), of padding tokens in the place of its words
    gap: float  # |sum of the shares - (f(x) - f(b))|, the error of the integral
    points: int  # at which the gradient was taken


def explain(model: EncoderModel, text: str, *, head: _Head = "sarcastic", tolerance: float = 1e-3) -> Explanation:
    """Share the logit of a text among its tokens by integrated gradients of the word embeddings."""
    # The integral from the baseline to the text is taken by Gauss and Legendre's rule, with twice the points until the
    # shares add up, at most 512.
    if head not in model.model.config.learnt:
        raise ModelError(
            "The model was trained without pairs of texts.", hint="Train it on examples that have a rephrase."
        )
    row = encode(model.tokenizer, [text], length=model.length)[0]
    found = model.tokenizer([text], truncation=True, max_length=model.length, return_offsets_mapping=True)
    spans = [(int(start), int(end)) for start, end in found["offset_mapping"][0]]
    path = _Path(model, row, [start == end for start, end in spans], head)
    logit, baseline = path.at(1.0), path.at(0.0)
    points = _FIRST_POINTS
    while True:
        shares = path.integrate(points)
        gap = abs(float(shares.sum()) - (logit - baseline))
        if gap < tolerance or points == _MOST_POINTS:
            break
        points *= 2
    tokens = tuple(
        TokenShare(*span, float(share)) for span, share in zip(spans, shares, strict=True) if span[0] < span[1]
    )
    return Explanation(text=text, tokens=tokens, logit=logit, baseline=baseline, gap=gap, points=points)


class _Path:
    """The straight line of word embeddings from the baseline to a text, and the logit of a head along it."""

    def __init__(self, model: EncoderModel, row: Row, special: list[bool], head: _Head) -> None:
        self._model, self._budget, self._head = model.model, model.budget, head
        tensors = {name: torch.tensor([ids], device=self._model.device) for name, ids in row.items()}
        ids, words = tensors.pop("input_ids"), self._model.get_input_embeddings()
        kept = torch.tensor([special], device=ids.device)
        self._rest = tensors
        with torch.no_grad():
            self._start = words(torch.where(kept, ids, padding_of(model.tokenizer)))
            self._step = words(ids) - self._start

    @torch.no_grad()
    def at(self, place: float) -> float:
        """Give the logit at a place from 0, the baseline, to 1, the text."""
        return float(self._logits(self._embedded(torch.tensor([place]))))

    def integrate(self, points: int) -> Tensor:
        """Give the step times the integral of the gradient, summed for each token; float64, shape (tokens,)."""
        knots, weights = (torch.from_numpy(it) / 2 for it in np.polynomial.legendre.leggauss(points))
        size = max(1, self._budget // self._step.shape[1])
        parts = zip((knots + 0.5).split(size), weights.split(size), strict=True)
        return torch.stack([weight @ self._slopes(places) for places, weight in parts]).sum(0)

    def _slopes(self, places: Tensor) -> Tensor:
        embedded = self._embedded(places).requires_grad_()
        (gradient,) = torch.autograd.grad(self._logits(embedded).sum(), embedded)
        return (gradient * self._step).sum(-1).double().cpu()

    def _embedded(self, places: Tensor) -> Tensor:
        return self._start + places.to(self._step)[:, None, None] * self._step

    def _logits(self, embedded: Tensor) -> Tensor:
        rest = {name: tensor.expand(len(embedded), -1) for name, tensor in self._rest.items()}
        mask = torch.ones(embedded.shape[:2], dtype=torch.int64, device=embedded.device)
        return self._model(inputs_embeds=embedded, attention_mask=mask, **rest)[self._head]
