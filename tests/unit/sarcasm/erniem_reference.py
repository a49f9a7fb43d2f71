"""ERNIE-M for classification, from its equations, in evaluation mode: what a converted model is compared with."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import gelu

Weights = dict[str, Tensor]


def hidden_states(weights: Weights, ids: Tensor, mask: Tensor, *, layers: int, heads: int) -> Tensor:
    """Give the last hidden states, shape (batch, length, hidden)."""
    words = weights["ernie_m.embeddings.word_embeddings.weight"]
    places = weights["ernie_m.embeddings.position_embeddings.weight"]
    x = words[ids] + places[2 : 2 + ids.shape[1]]
    x = _norm(weights, "ernie_m.embeddings.layer_norm", x)
    for layer in (f"ernie_m.encoder.layers.{number}" for number in range(layers)):
        x = _norm(weights, f"{layer}.norm1", x + _attention(weights, f"{layer}.self_attn", x, mask, heads))
        wide = gelu(_linear(weights, f"{layer}.linear1", x))
        x = _norm(weights, f"{layer}.norm2", x + _linear(weights, f"{layer}.linear2", wide))
    return x


def pooled(weights: Weights, ids: Tensor, mask: Tensor, *, layers: int, heads: int) -> Tensor:
    """Give what the pooler makes of the first token, shape (batch, hidden)."""
    first = hidden_states(weights, ids, mask, layers=layers, heads=heads)[:, 0]
    return torch.tanh(_linear(weights, "ernie_m.pooler.dense", first))


def logits(weights: Weights, ids: Tensor, mask: Tensor, *, layers: int, heads: int) -> Tensor:
    """Give the logits, shape (batch, labels)."""
    return _linear(weights, "classifier", pooled(weights, ids, mask, layers=layers, heads=heads))


def _attention(weights: Weights, name: str, x: Tensor, mask: Tensor, heads: int) -> Tensor:
    query, key, value = (
        _linear(weights, f"{name}.self_attn.{it}_proj", x).unflatten(-1, (heads, -1)).transpose(1, 2) for it in "qkv"
    )
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(mask[:, None, None, :] == 0, -math.inf)
    return _linear(weights, f"{name}.out_proj", (scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scale = torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
    return centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]
