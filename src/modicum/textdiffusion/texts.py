"""A network with its tokenizer: texts in and texts out, and one folder for both in the form of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from modicum.core.extras import quiet_transformers, require
from modicum.core.files import new_folder
from modicum.core.pretrained import open_folder
from modicum.core.tables import read_text
from modicum.errors import ConfigError, ModelError
from modicum.textdiffusion.configuration import SeqDiffuSeqConfig
from modicum.textdiffusion.data import check_tokenizer, encode_sources, padded
from modicum.textdiffusion.model import SeqDiffuSeqForConditionalGeneration

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TOKENIZER = "tokenizer.json"
_HINT = "Give a folder that modicum textdiffusion train or save_model wrote, complete."


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
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"{path} cannot be read ({error}).", hint=_HINT) from error
    config = folder / "config.json"
    if config.is_file() and f'"{SeqDiffuSeqConfig.model_type}"' not in read_text(config):
        raise ModelError(f"{folder} has another model than a SeqDiffuSeq.", hint=_HINT)
    model = open_folder(SeqDiffuSeqForConditionalGeneration, folder, hint=_HINT)
    check_tokenizer(tokenizer, model.config)
    return model, tokenizer


def generate_texts(
    model: SeqDiffuSeqForConditionalGeneration,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    *,
    batch_size: int = 64,
    truncate: bool = False,
    seed: int = 0,
    known_tokens: Sequence[Mapping[int, int]] | None = None,
    **options: Any,
) -> list[list[str]]:
    """Sample the targets of texts, each source exactly once.

    Args:
        model: in evaluation mode.
        tokenizer: of the network.
        sources: texts.
        batch_size: sources in a batch; what comes out does not depend on it.
        truncate: cut sources that are too long.
        seed: of the noise.
        known_tokens: for each source the tokens that are fixed, by position.
        **options: of `SeqDiffuSeqForConditionalGeneration.generate`.

    Returns:
        For each source its candidates, or the one that was selected.

    Raises:
        ConfigError: if ``batch_size`` or an option is out of range, or there are not as many ``known_tokens``.
        DataError: if a source is empty or too long, or has a token that fills texts.
        ModelError: if the tokenizer is not that of the network.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}.", hint="Give at least 1.")
    if model.training:
        raise ConfigError("The network is in training mode, where dropout is on.", hint="Call model.eval() first.")
    if known_tokens is not None and len(known_tokens) != len(sources):
        raise ConfigError(
            f"There are fixed tokens for {len(known_tokens)} sources, but {len(sources)} sources.",
            hint="Give one mapping for each source; an empty one fixes nothing.",
        )
    tokens = encode_sources(sources, tokenizer, model.config, truncate=truncate)
    order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))  # little padding in a batch
    found: dict[int, list[str]] = {}
    for first in range(0, len(order), batch_size):
        batch = order[first : first + batch_size]
        ids, mask = (
            part.to(model.device) for part in padded([tokens[index] for index in batch], model.config.pad_token_id)
        )
        known = None if known_tokens is None else [known_tokens[index] for index in batch]
        noise = torch.Generator().manual_seed(seed)
        generated = model.generate(ids, mask, known_tokens=known, generator=noise, **options)
        # Position 0 is that of the token which begins each text, whatever a network of little training writes there.
        texts = tokenizer.decode_batch(generated[:, 1:].tolist(), skip_special_tokens=True)
        each = len(texts) // len(batch)
        found |= {index: texts[place * each : (place + 1) * each] for place, index in enumerate(batch)}
    return [found[index] for index in range(len(order))]
