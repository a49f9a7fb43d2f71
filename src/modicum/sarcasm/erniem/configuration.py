"""The settings of ERNIE-M as those of XLM-RoBERTa."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modicum.core.extras import require
from modicum.core.safeload import read_json
from modicum.errors import ConfigError, DataError, ModelError
from modicum.sarcasm.erniem.mapping import Sizes

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig


CONFIG_FILE = "config.json"
_PAD = 1  # XLM-RoBERTa's positions begin behind it, and ERNIE-M's at 2
_HINT = "Put the file there that came with the weights."

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


def read_settings(path: Path) -> dict[str, Any]:
    """Read a file of settings, such as the config.json of a model."""
    if not path.is_file():
        raise ConfigError(f"{path.parent} has no {path.name}.", hint="Name the folder of a model.")
    read: object = read_json(path, hint=_HINT)
    if not isinstance(read, dict):
        raise DataError(f"{path} is no JSON object.", hint=_HINT)
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
        raise DataError(f"{CONFIG_FILE} does not describe an ERNIE-M ({reason}).", hint=_HINT) from error


def _check_same(settings: Mapping[str, Any]) -> None:
    if (pad := settings.get("pad_token_id", _PAD)) != _PAD:
        raise ModelError(
            f"ERNIE-M pads with token 1, but {CONFIG_FILE} says {pad!r}, from which XLM-RoBERTa would count positions.",
            hint=_HINT,
        )
    if (rate := settings.get("act_dropout", 0.0)) != 0:  # none means that of the other layers
        raise ModelError(
            f"{CONFIG_FILE} has act_dropout {rate!r}, but XLM-RoBERTa does not drop out after its activation.",
            hint="Write 0.0 there if you can do without it in training; predictions do not change.",
        )


def _check_heads(settings: Mapping[str, Any]) -> None:
    hidden, heads = _count(settings, "hidden_size"), _count(settings, "num_attention_heads")
    if hidden % heads:
        raise DataError(f"{CONFIG_FILE} has hidden_size {hidden}, no multiple of {heads} heads.", hint=_HINT)


def _count(settings: Mapping[str, Any], name: str) -> int:
    value = settings.get(name, _DEFAULTS[name])
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DataError(f"{CONFIG_FILE} has {name} {value!r}, not a positive integer.", hint=_HINT)
    return value


def _labels(settings: Mapping[str, Any], labels: int | None) -> dict[str, Any]:
    if labels is None:
        return {}
    named = settings.get("id2label")
    if isinstance(named, dict) and len(cast("dict[str, Any]", named)) == labels:
        return {name: settings[name] for name in _LABELS if settings.get(name) is not None}
    return {"num_labels": labels}
