"""The weights of ERNIE-M under the names of XLM-RoBERTa, one to one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from modicum.errors import ModelError

_FIRST_POSITION = 2
_NAMED = 3  # of the names in a message
_HINT = "Name the folder of an ERNIE-M encoder or text classifier, with the config.json that belongs to it."
_TYPES = "roberta.embeddings.token_type_embeddings.weight"
_WORDS = "roberta.embeddings.word_embeddings.weight"
_PLACES = "roberta.embeddings.position_embeddings.weight"
_HEAD = "classifier.out_proj"
_HEAD_BIAS = f"{_HEAD}.bias"
_MODULES = {
    "embeddings.word_embeddings": "roberta.embeddings.word_embeddings",
    "embeddings.position_embeddings": "roberta.embeddings.position_embeddings",
    "embeddings.layer_norm": "roberta.embeddings.LayerNorm",
    "pooler.dense": "classifier.dense",
    "classifier": _HEAD,
}
_OF_A_LAYER = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)")
_DOUBLED = "self_attn.self_attn."  # transformers' name of what is "self_attn." in Paddle


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """What decides the shapes."""

    vocabulary: int  # tokens
    positions: int  # rows of the table of positions, of which the first two are not used
    hidden: int  # width H of the layers
    intermediate: int  # width between the two linear maps of a layer
    layers: int  # number L of layers


def positions(input_ids: Tensor) -> Tensor:
    """Give ERNIE-M's positions: 2, 3, ... for every slot, padding or not."""
    # XLM-RoBERTa counts only what is no padding. With the padding on the right the two agree wherever it matters, and
    # no ``position_ids`` are needed; with padding on the left or in the middle only
    # ``position_ids=positions(input_ids)`` makes a converted model give what ERNIE-M gives.
    places = torch.arange(input_ids.shape[-1], device=input_ids.device) + _FIRST_POSITION
    return places.expand(input_ids.shape).clone()


def xlm_roberta_name(name: str) -> str | None:
    """Give XLM-RoBERTa's name of a weight of ERNIE-M."""
    module, _, kind = name.removeprefix("ernie_m.").rpartition(".")
    if not (layer := _LAYER.fullmatch(module)):
        return f"{_MODULES[module]}.{kind}" if module in _MODULES else None
    part = layer[2].replace(_DOUBLED, "self_attn.")
    return f"roberta.encoder.layer.{layer[1]}.{_OF_A_LAYER[part]}.{kind}" if part in _OF_A_LAYER else None


def to_xlm_roberta(weights: Mapping[str, Tensor], sizes: Sizes, *, place: str) -> dict[str, Tensor]:
    """Name the weights of ERNIE-M as XLMRobertaForSequenceClassification does."""
    # Paddle, known by its names, keeps the weight of a linear map as (inputs, outputs): these are transposed.
    labels = next((tensor.numel() for name, tensor in weights.items() if xlm_roberta_name(name) == _HEAD_BIAS), None)
    shapes = _shapes(sizes, labels)
    named = _named(weights, shapes, place)
    if not any(_DOUBLED in name for name in weights):
        named = {name: tensor.t() if _is_linear(name, tensor) else tensor for name, tensor in named.items()}
    for name, shape in shapes.items():
        _check(name, named[name], shape, place)
    mapped = {name: named[name].contiguous() for name in shapes}
    return mapped | {_TYPES: torch.zeros(1, sizes.hidden, dtype=mapped[_WORDS].dtype)}


def _shapes(sizes: Sizes, labels: int | None) -> dict[str, tuple[int, ...]]:
    hidden, wide = sizes.hidden, sizes.intermediate
    layer = dict.fromkeys(_OF_A_LAYER.values(), (hidden, hidden)) | {
        _OF_A_LAYER["linear1"]: (wide, hidden),
        _OF_A_LAYER["linear2"]: (hidden, wide),
        _OF_A_LAYER["norm1"]: (hidden,),
        _OF_A_LAYER["norm2"]: (hidden,),
    }
    modules = {
        "roberta.embeddings.LayerNorm": (hidden,),
        **{f"roberta.encoder.layer.{n}.{part}": shape for n in range(sizes.layers) for part, shape in layer.items()},
        "classifier.dense": (hidden, hidden),
        **({} if labels is None else {_HEAD: (labels, hidden)}),
    }
    tables = {_WORDS: (sizes.vocabulary, hidden), _PLACES: (sizes.positions, hidden)}
    return tables | {
        f"{module}.{kind}": shape if kind == "weight" else shape[:1]
        for module, shape in modules.items()
        for kind in ("weight", "bias")
    }


def _named(weights: Mapping[str, Tensor], wanted: Iterable[str], place: str) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    surplus: list[str] = []
    for source, tensor in weights.items():
        name = xlm_roberta_name(source)
        if name is None or name in named or name not in wanted:
            surplus.append(source)
        else:
            named[name] = tensor
    missing = [name for name in wanted if name not in named]
    if missing or surplus:
        faults = [f"lacks {_some(missing)}"] * bool(missing) + [f"has {_some(surplus)}"] * bool(surplus)
        raise ModelError(f"{place} is a checkpoint of another architecture: it {' and '.join(faults)}.", hint=_HINT)
    return named


def _is_linear(name: str, tensor: Tensor) -> bool:
    return tensor.ndim == 2 and "embeddings" not in name


def _check(name: str, tensor: Tensor, shape: tuple[int, ...], place: str) -> None:
    if tuple(tensor.shape) != shape:
        raise ModelError(
            f"{place} is a checkpoint of another architecture: {name} should have the shape {shape}, but has "
            f"{tuple(tensor.shape)}.",
            hint=_HINT,
        )
    if not tensor.is_floating_point():
        raise ModelError(
            f"{place} holds {name} as {str(tensor.dtype).removeprefix('torch.')}, not in floating point.",
            hint="Save the weights as float32 where they were trained.",
        )


def _some(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
