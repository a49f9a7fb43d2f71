"""A network and its tokenizer in one folder, in the form of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modicum.core.extras import require
from modicum.core.files import new_folder
from modicum.core.pretrained import open_folder
from modicum.core.quiet import quiet_transformers
from modicum.errors import ModelError
from modicum.textdiffusion.data import check_tokenizer
from modicum.textdiffusion.model import SeqDiffuSeqForConditionalGeneration

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TOKENIZER = "tokenizer.json"
_HINT = "Give a folder that save_model wrote, complete."


def save_model(folder: Path | str, model: SeqDiffuSeqForConditionalGeneration, tokenizer: Tokenizer) -> None:
    """Write a network, its schedule and its tokenizer to a new folder, whole or not at all.

    Args:
        folder: does not exist, or is empty.
        model: the network.
        tokenizer: its tokenizer.

    Raises:
        ModelError: if the tokenizer is another one.
        ConfigError: if the folder cannot be written.
    """
    check_tokenizer(tokenizer, model.config)
    with new_folder(Path(folder)) as part, quiet_transformers():
        model.save_pretrained(part)
        tokenizer.save(str(part / _TOKENIZER))


def open_model(folder: Path | str) -> tuple[SeqDiffuSeqForConditionalGeneration, Tokenizer]:
    """Open what `save_model` wrote.

    Args:
        folder: with config.json, model.safetensors and tokenizer.json.

    Returns:
        The network in evaluation mode, and its tokenizer.

    Raises:
        ModelError: if a file is missing or damaged, weights or schedule have other sizes than the configuration says,
            or the tokenizer does not belong to them.
    """
    folder = Path(folder)
    path = folder / _TOKENIZER
    tokenizers = require("tokenizers", extra="text", purpose="A tokenizer")
    if not path.is_file():
        raise ModelError(f"The model in {folder} has no {_TOKENIZER}.", hint=_HINT)
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"{path} cannot be read ({error}).", hint=_HINT) from error
    model = open_folder(SeqDiffuSeqForConditionalGeneration, folder, hint=_HINT)
    check_tokenizer(tokenizer, model.config)
    return model, tokenizer
