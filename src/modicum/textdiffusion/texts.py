"""Texts in, texts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from modicum.errors import ConfigError
from modicum.textdiffusion.data import encode_sources, padded
from modicum.textdiffusion.model import SeqDiffuSeqForConditionalGeneration

if TYPE_CHECKING:
    from tokenizers import Tokenizer


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
        DataError: if a source is empty or too long.
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
        ids = padded([tokens[index] for index in batch], model.config.pad_token_id).to(model.device)
        lengths = torch.tensor([len(tokens[index]) for index in batch], device=model.device)
        mask = torch.arange(ids.shape[1], device=model.device) < lengths[:, None]
        known = None if known_tokens is None else [known_tokens[index] for index in batch]
        noise = torch.Generator().manual_seed(seed)
        generated = model.generate(ids, mask, known_tokens=known, generator=noise, **options)
        texts = tokenizer.decode_batch(generated.tolist(), skip_special_tokens=True)
        each = len(texts) // len(batch)
        found |= {index: texts[place * each : (place + 1) * each] for place, index in enumerate(batch)}
    return [found[index] for index in range(len(order))]
