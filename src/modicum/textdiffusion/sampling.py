"""What sampling checks, streams of noise that belong to a source, and the choice among candidates."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError
from modicum.textdiffusion.selection import choose

if TYPE_CHECKING:
    from modicum.textdiffusion.model import SeqDiffuSeqForConditionalGeneration

_CHOICES = {
    "selection": ("mbr", "none"),
    "sampler": ("ddpm", "ddim", "dpmpp_2m"),
    "posterior_variance": ("correct", "released"),
}


def check_choices(**options: str) -> None:
    """Refuse a word that an option does not know."""
    for name, value in options.items():
        if value not in _CHOICES[name]:
            raise ConfigError(f"{name} is {value!r}.", hint=f"Use one of: {', '.join(_CHOICES[name])}.")


def select(tokens: Tensor, candidates: int, special: set[int]) -> Tensor:
    """Keep of each source the candidate of least risk."""
    texts = [[token for token in row if token not in special] for row in tokens.tolist()]
    chosen = choose([texts[first : first + candidates] for first in range(0, len(texts), candidates)])
    rows = torch.arange(len(chosen)) * candidates + torch.tensor(chosen)
    return tokens[rows.to(tokens.device)]


def checked_mask(model: SeqDiffuSeqForConditionalGeneration, ids: Tensor, mask: Tensor | None) -> Tensor:
    """Refuse sources that are empty or too long; without a mask all that is no padding counts."""
    mask, most = torch.ne(ids, model.config.pad_token_id) if mask is None else mask.bool(), ids.shape[-1]
    if ids.ndim != 2 or mask.shape != ids.shape or most > model.config.max_position_embeddings:
        raise ConfigError(
            f"Sources and mask must have the shape (B, source), with up to {model.config.max_position_embeddings} "
            f"tokens, got {tuple(ids.shape)} and {tuple(mask.shape)}.",
            hint="Give both one row for each source.",
        )
    if empty := int((~mask.any(dim=1)).sum()):
        raise ConfigError(f"{empty} of {len(ids)} sources have no token.", hint="Drop those that are empty.")
    return mask


def known_table(
    model: SeqDiffuSeqForConditionalGeneration,
    tokens: Sequence[Mapping[int, int]] | None,
    count: int,
    length: int,
    candidates: int,
) -> Tensor:
    """Give the fixed tokens of each candidate, -1 where a position is free."""
    if tokens is not None and len(tokens) != count:
        raise ConfigError(
            f"There are fixed tokens for {len(tokens)} sources, but {count} sources.",
            hint="Give one mapping for each source; an empty one fixes nothing.",
        )
    table = torch.full((count, length), -1)
    for row, fixed in enumerate(tokens or ()):
        for position, token in fixed.items():
            if not (0 <= position < length and 0 <= token < model.config.vocab_size):
                raise ConfigError(
                    f"Source {row} fixes position {position} to token {token}, but there are {length} positions and "
                    f"{model.config.vocab_size} tokens.",
                    hint="Count both from 0; position 0 has the token that begins each text.",
                )
            table[row, position] = token
    return table.repeat_interleave(candidates, dim=0).to(model.device)


def streams(generator: torch.Generator | None, ids: Tensor, mask: Tensor, candidates: int) -> list[torch.Generator]:
    """Make a generator for each candidate of each source, from the seed, the tokens and the candidate's number."""
    seed = int(torch.randint(2**62, ())) if generator is None else generator.initial_seed()
    sources = [row[here].tolist() for row, here in zip(ids.cpu(), mask.cpu(), strict=True)]
    names = [hashlib.sha256(str(source).encode()).hexdigest() for source in sources]
    return [torch_generator(seed, f"{name}/{number}") for name in names for number in range(candidates)]


def ended(tokens: Tensor, eos: int, pad: int, known: Tensor) -> Tensor:
    """Replace what stands behind the first end of a text by padding; an end before a fixed token is none."""
    fixed = (known >= 0).long()
    ends = ((tokens == eos) & (fixed.flip(1).cumsum(1).flip(1) == fixed)).long()
    return tokens.masked_fill(ends.cumsum(1) > ends, pad)
