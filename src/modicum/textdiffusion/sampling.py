"""Sampling: streams of noise that belong to a source, the loop over times, and the choice among candidates."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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


@torch.no_grad()
def generate(
    model: SeqDiffuSeqForConditionalGeneration,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    *,
    steps: int,
    candidates: int,
    selection: str,
    length: int,
    known_tokens: Sequence[Mapping[int, int]] | None,
    generator: torch.Generator | None,
    **options: Any,
) -> Tensor:
    """Sample targets; see the method of the model."""
    for name, value in {"selection": selection, **options}.items():
        if value not in _CHOICES[name]:
            raise ConfigError(f"{name} is {value!r}.", hint=f"Use one of: {', '.join(_CHOICES[name])}.")
    if candidates < 1 or not 1 <= length <= model.config.target_length:
        raise ConfigError(
            f"num_return_sequences is {candidates} and length {length}, for a canvas of {model.config.target_length}.",
            hint="Give at least 1 of each, and no more positions than the canvas has.",
        )
    mask = _checked_mask(model, input_ids, attention_mask)
    times = model.schedule.set_timesteps(steps)
    known = _known(model, known_tokens, len(input_ids), length)
    fixed = None if known is None else known.repeat_interleave(candidates, dim=0)
    streams = _streams(generator, input_ids, mask, candidates)
    shape = (length, model.config.embedding_dim)

    def draw() -> Tensor:
        # On the CPU: a source has the same noise on all devices.
        return torch.stack([torch.randn(shape, generator=stream) for stream in streams]).to(input_ids.device)

    memory, sample = model.encode(input_ids, mask), draw()
    prediction, previous = torch.zeros_like(sample), None
    for t in times:
        at = model.network_times(torch.full((len(sample),), t, device=sample.device))
        prediction = model.denoise(sample, prediction, at, memory)
        if fixed is not None:
            # A prediction that is right: what follows has the noise that these positions have in training.
            clean = model.input_transformers.shared(fixed.clamp(min=0)).float()
            prediction = torch.where((fixed >= 0)[..., None], clean, prediction)
        noise = draw() if options["sampler"] == "ddpm" and t != times[-1] else None
        sample = model.schedule.step(prediction, t, sample, previous=previous, noise=noise, **options)
        previous = prediction
    tokens = model.round(sample)
    if fixed is not None:
        tokens = torch.where(fixed >= 0, fixed, tokens)
    tokens = _ended(tokens, model.config.eos_token_id, model.config.pad_token_id, fixed)
    if selection == "none":
        return tokens
    special = {model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id}
    texts = [[token for token in row if token not in special] for row in tokens.tolist()]
    chosen = choose([texts[first : first + candidates] for first in range(0, len(texts), candidates)])
    rows = torch.arange(len(chosen)) * candidates + torch.tensor(chosen)
    return tokens[rows.to(tokens.device)]


def _checked_mask(model: SeqDiffuSeqForConditionalGeneration, ids: Tensor, mask: Tensor | None) -> Tensor:
    mask = torch.ne(ids, model.config.pad_token_id) if mask is None else mask.bool()
    if ids.ndim != 2 or not mask.any(dim=1).all() or mask.shape != ids.shape:
        raise ConfigError(
            f"Sources must have at least one token each, in the shape (B, source), got {tuple(ids.shape)}"
            + ("." if ids.ndim != 2 or mask.shape != ids.shape else f", where {(~mask.any(dim=1)).sum()} have none."),
            hint="Drop the empty ones, and give the mask the shape of the sources.",
        )
    if ids.shape[1] > model.config.max_position_embeddings:
        raise ConfigError(
            f"Sources may have {model.config.max_position_embeddings} tokens, got {ids.shape[1]}.",
            hint="Shorten them.",
        )
    return mask


def _known(
    model: SeqDiffuSeqForConditionalGeneration, tokens: Sequence[Mapping[int, int]] | None, count: int, length: int
) -> Tensor | None:
    """Give fixed tokens as a table, -1 where a position is free."""
    if tokens is None:
        return None
    if len(tokens) != count:
        raise ConfigError(
            f"There are fixed tokens for {len(tokens)} sources, but {count} sources.",
            hint="Give one mapping for each source; an empty one fixes nothing.",
        )
    table = torch.full((count, length), -1)
    for row, fixed in enumerate(tokens):
        for position, token in fixed.items():
            if not (0 <= position < length and 0 <= token < model.config.vocab_size):
                raise ConfigError(
                    f"Source {row} fixes position {position} to token {token}, but there are {length} positions and "
                    f"{model.config.vocab_size} tokens.",
                    hint="Count both from 0; position 0 has the token that begins each text.",
                )
            table[row, position] = token
    return table.to(model.device)


def _streams(generator: torch.Generator | None, ids: Tensor, mask: Tensor, candidates: int) -> list[torch.Generator]:
    """Make a generator for each candidate of each source, from the seed, the tokens and the candidate's number."""
    seed = int(torch.randint(2**62, ())) if generator is None else generator.initial_seed()
    sources = [row[here].tolist() for row, here in zip(ids.cpu(), mask.cpu(), strict=True)]
    names = [hashlib.sha256(str(source).encode()).hexdigest() for source in sources]
    return [torch_generator(seed, f"{name}/{number}") for name in names for number in range(candidates)]


def _ended(tokens: Tensor, eos: int, pad: int, fixed: Tensor | None) -> Tensor:
    """Replace what stands behind the first end of a text by padding; an end before a fixed token is none."""
    ends = tokens == eos
    if fixed is not None:
        ends &= (fixed >= 0).flip(1).cumsum(1).flip(1) - (fixed >= 0).long() == 0
    behind = ends.cumsum(1) - ends.long() > 0
    return tokens.masked_fill(behind, pad)
