"""The weights and the settings of ERNIE-M under the names of XLM-RoBERTa, one to one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from modicum.core.extras import require
from modicum.core.safeload import read_json
from modicum.errors import ConfigError, DataError, ModelError

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig


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
CONFIG_FILE = "config.json"
_PAD = 1  # XLM-RoBERTa's positions begin behind it, and ERNIE-M's at 2
_SETTINGS_HINT = "Put the file there that came with the weights."
# transformers 4.57: what ErnieMConfig takes where its file is silent.
_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 250002,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 514,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-5,
    "classifier_dropout": None,
}
_LABELS = ("id2label", "label2id", "problem_type")


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
        named = {
            name: tensor.t() if tensor.ndim == 2 and "embeddings" not in name else tensor
            for name, tensor in named.items()
        }
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


def read_settings(path: Path) -> dict[str, Any]:
    """Read a file of settings, such as the config.json of a model."""
    if not path.is_file():
        raise ConfigError(f"{path.parent} has no {path.name}.", hint="Name the folder of a model.")
    read: object = read_json(path, hint=_SETTINGS_HINT)
    if not isinstance(read, dict):
        raise DataError(f"{path} is no JSON object.", hint=_SETTINGS_HINT)
    return cast("dict[str, Any]", read)


def is_ernie_m(folder: Path) -> bool:
    """Say whether a folder is that of an ERNIE-M, which transformers cannot open."""
    path = folder / CONFIG_FILE
    return path.is_file() and read_settings(path).get("model_type") == "ernie_m"


def sizes(settings: Mapping[str, Any]) -> Sizes:
    """Give the sizes that an ERNIE-M's config.json tells."""
    return Sizes(
        vocabulary=_count(settings, "vocab_size"),
        positions=_count(settings, "max_position_embeddings"),
        hidden=_count(settings, "hidden_size"),
        intermediate=_count(settings, "intermediate_size"),
        layers=_count(settings, "num_hidden_layers"),
    )


def xlm_roberta_config(settings: Mapping[str, Any], *, labels: int | None) -> XLMRobertaConfig:
    """Give the configuration of the XLM-RoBERTa that computes the same."""
    transformers = require("transformers", extra="text", purpose="Converting ERNIE-M")
    refused = require("huggingface_hub.errors", extra="text", purpose="Converting ERNIE-M").StrictDataclassError
    _check_same(settings)
    _check_heads(settings)
    taken = {name: settings.get(name, default) for name, default in _DEFAULTS.items()}
    taken["classifier_dropout"] = settings.get("classifier_dropout", settings.get("dropout"))  # Paddle's name
    if taken["hidden_dropout_prob"] is None:
        taken["hidden_dropout_prob"] = _DEFAULTS["hidden_dropout_prob"]
    try:
        return transformers.XLMRobertaConfig(
            **taken,
            **_labels(settings, labels),
            pad_token_id=_PAD,
            bos_token_id=0,
            eos_token_id=2,
            type_vocab_size=1,
            architectures=["XLMRobertaForSequenceClassification"],
            tokenizer_class="ErnieMTokenizer",
        )
    except (refused, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{CONFIG_FILE} does not describe an ERNIE-M ({reason}).", hint=_SETTINGS_HINT) from error


def _check_same(settings: Mapping[str, Any]) -> None:
    if (pad := settings.get("pad_token_id", _PAD)) != _PAD:
        raise ModelError(
            f"ERNIE-M pads with token 1, but {CONFIG_FILE} says {pad!r}, from which XLM-RoBERTa would count positions.",
            hint=_SETTINGS_HINT,
        )
    if (rate := settings.get("act_dropout", 0.0)) != 0:  # none means that of the other layers
        raise ModelError(
            f"{CONFIG_FILE} has act_dropout {rate!r}, but XLM-RoBERTa does not drop out after its activation.",
            hint="Write 0.0 there if you can do without it in training; predictions do not change.",
        )


def _check_heads(settings: Mapping[str, Any]) -> None:
    hidden, heads = _count(settings, "hidden_size"), _count(settings, "num_attention_heads")
    if hidden % heads:
        raise DataError(f"{CONFIG_FILE} has hidden_size {hidden}, no multiple of {heads} heads.", hint=_SETTINGS_HINT)


def _count(settings: Mapping[str, Any], name: str) -> int:
    value = settings.get(name, _DEFAULTS[name])
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DataError(f"{CONFIG_FILE} has {name} {value!r}, not a positive integer.", hint=_SETTINGS_HINT)
    return value


def _labels(settings: Mapping[str, Any], labels: int | None) -> dict[str, Any]:
    if labels is None:
        return {}
    named = settings.get("id2label")
    if isinstance(named, dict) and len(cast("dict[str, Any]", named)) == labels:
        return {name: settings[name] for name in _LABELS if settings.get(name) is not None}
    return {"num_labels": labels}
