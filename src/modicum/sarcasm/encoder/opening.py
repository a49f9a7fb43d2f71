"""Folders of models and tokenizers: opened with a reason where they cannot be, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modicum.core.extras import quiet_transformers
from modicum.core.files import new_folder
from modicum.core.pretrained import encoder_source, open_folder, open_part
from modicum.core.safeload import read_json
from modicum.errors import ConfigError, ModelError
from modicum.sarcasm.encoder.batches import Tokenizer
from modicum.sarcasm.encoder.configuration import SarcasmConfig
from modicum.sarcasm.encoder.modeling import SarcasmModel
from modicum.sarcasm.erniem import ErnieMTokenizer, has_ernie_m_tokenizer, is_ernie_m, open_ernie_m

_UNBOUNDED = 1_000_000  # transformers writes 1e30 where a tokenizer sets no limit
_HINT = "Give a folder that EncoderModel.save wrote, complete."


def open_tokenizer(place: str) -> Tokenizer:
    """Open the tokenizer of an encoder."""
    found = encoder_folder(place)
    if has_ernie_m_tokenizer(Path(found)):
        return ErnieMTokenizer.from_pretrained(Path(found))
    return open_part("AutoTokenizer", found, extra="text")


def encoder_folder(place: str) -> str:
    """Tell what transformers can open of an encoder: an ERNIE-M in a folder is converted once, beside it."""
    found = encoder_source(place)
    return str(open_ernie_m(Path(found))) if is_ernie_m(Path(found)) else found


def open_model(folder: Path) -> SarcasmModel:
    """Open a model that was trained here."""
    _check_kind(folder)
    return open_folder(SarcasmModel, folder, hint=_HINT)


def check_length(model: SarcasmModel, tokenizer: Tokenizer, length: int) -> None:
    """Refuse a length that the encoder has no positions for."""
    limit = int(min(getattr(tokenizer, "model_max_length", _UNBOUNDED), _positions(model), _UNBOUNDED))
    if not 4 <= length <= limit:
        raise ConfigError(
            f"length is {length}, but the encoder takes 4 to {limit} tokens.", hint="Give a number between."
        )


def write_model(folder: Path, model: SarcasmModel, tokenizer: Tokenizer) -> None:
    """Write a model and its tokenizer to a new folder; the weights are safetensors."""
    with new_folder(folder) as part, quiet_transformers():
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)


def _check_kind(folder: Path) -> None:
    try:
        kind = read_json(folder / "config.json", hint=_HINT).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{folder} has no config.json of a model ({error}).", hint=_HINT) from error
    if kind != SarcasmConfig.model_type:
        raise ModelError(
            f"{folder} holds a model of type {kind!r}, not {SarcasmConfig.model_type!r}.",
            hint=f"{_HINT} An encoder becomes one by training it with EncoderLearner.",
        )


def _positions(model: SarcasmModel) -> int:
    table: Any = getattr(getattr(model.encoder, "embeddings", None), "position_embeddings", None)
    taken = getattr(table, "padding_idx", None)  # RoBERTa's kind counts from the number after it
    limit = getattr(model.config.encoder, "max_position_embeddings", _UNBOUNDED)
    return limit - (taken + 1 if taken is not None else 0)
