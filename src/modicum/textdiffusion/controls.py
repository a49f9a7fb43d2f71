"""Two other decoders on the weights of the same network: left to right, and masked diffusion (CMLM).

Both read the embedding of a token where SeqDiffuSeq reads a noisy one, and have no time; all else is shared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from modicum.errors import ConfigError
from modicum.textdiffusion import sampling
from modicum.textdiffusion.model import Memory, Past, SeqDiffuSeqForConditionalGeneration, SeqDiffuSeqOutput

_MASK = 4  # of train_tokenizer


class TokenDecoder(SeqDiffuSeqForConditionalGeneration, ABC):
    """What both have: logits of tokens from tokens, and candidates of which the first is not drawn but greedy."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Embedding):  # as Transformers that read tokens begin, whatever suits a diffusion
            module.weight.mul_(self.config.d_model**-0.5 / self.config.init_std)

    def logits(self, tokens: Tensor, memory: Memory, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """Compute logits, shape (B K, S, V), without those tokens that no text has."""
        embedded = self.input_transformers.shared(tokens)
        hidden = self.input_up_proj_dec(torch.cat([embedded, torch.zeros_like(embedded)], dim=-1))
        hidden = self.input_transformers.decoder(self.dropout(self.LayerNorm(hidden)), mask, memory, past)
        found = self.lm_head(self.output_down_proj(hidden)).float()
        never = torch.tensor([self.config.bos_token_id, _MASK], device=found.device)
        return found.index_fill(-1, never, float("-inf"))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        **_: Any,
    ) -> SeqDiffuSeqOutput:
        """Compute the training loss, with the options of SeqDiffuSeq as far as they mean something here."""
        if labels is None:
            raise ConfigError("A training pass needs labels.", hint="Use generate without.")
        return SeqDiffuSeqOutput(loss=self._loss(labels, self.encode(input_ids, attention_mask), generator))

    @abstractmethod
    def _loss(self, labels: Tensor, memory: Memory, generator: torch.Generator | None) -> Tensor:
        """Compute the training loss."""

    @abstractmethod
    def _decode(self, memory: Memory, known: Tensor, calls: int, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Write tokens where none is known, which is -1 there."""

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        num_inference_steps: int = 20,
        num_return_sequences: int = 10,
        selection: Literal["mbr", "none"] = "mbr",
        known_tokens: Sequence[Mapping[int, int]] | None = None,
        generator: torch.Generator | None = None,
        **_: Any,
    ) -> Tensor:
        """Sample targets, with the options of SeqDiffuSeq as far as they mean something here."""
        candidates, length = num_return_sequences, self.config.target_length
        mask = sampling.checked_mask(self, input_ids, attention_mask)
        known = sampling.known_table(self, known_tokens, len(input_ids), length, candidates)
        fixed = known.clone()
        fixed[:, 0] = self.config.bos_token_id
        streams = sampling.streams(generator, input_ids, mask, candidates)

        def draw(logits: Tensor) -> Tensor:
            # The largest of logits with Gumbel noise is a draw from their softmax.
            shape = logits.shape[1:]
            uniform = torch.stack([torch.rand(shape, generator=stream) for stream in streams])
            noise = -torch.log(-torch.log(uniform.clamp(1e-7, 1 - 1e-7)))
            noise[::candidates] = 0
            return (logits + noise.to(logits.device)).argmax(dim=-1)

        tokens = self._decode(self.encode(input_ids, mask), fixed, num_inference_steps, draw)
        end, pad = self.config.eos_token_id, self.config.pad_token_id
        tokens = sampling.ended(tokens, end, pad, known)
        if selection == "none":
            return tokens
        return sampling.select(tokens, candidates, {pad, end, self.config.bos_token_id})


class Autoregressive(TokenDecoder):
    """A Transformer that writes a target from left to right, in as many calls as it has positions."""

    def _loss(self, labels: Tensor, memory: Memory, generator: torch.Generator | None) -> Tensor:
        """Compute the mean cross-entropy of each token after those before it, padding left out."""
        del generator  # nothing is drawn
        logits = self.logits(labels[:, :-1], memory, _causal(labels.shape[1] - 1, labels.device))
        return cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=self.config.pad_token_id)

    def _decode(self, memory: Memory, known: Tensor, calls: int, draw: Callable[[Tensor], Tensor]) -> Tensor:
        del calls  # as many as there are positions
        columns, past = [known[:, 0]], Past()
        for fixed in known[:, 1:].unbind(dim=1):  # each token is read once: its keys are kept
            logits = self.logits(columns[-1][:, None], memory, past=past)[:, -1]
            columns.append(torch.where(fixed >= 0, fixed, draw(logits)))
        return torch.stack(columns, dim=1)


class MaskedDiffusion(TokenDecoder):
    """Conditional masked language model: each call writes what is masked, and masks the least certain again.

    Padding is predicted as all other tokens are, so that a length needs no predictor of its own.

    Source:
        Ghazvininejad et al. 2019 (arXiv:1904.09324), mask-predict.
    """

    def _loss(self, labels: Tensor, memory: Memory, generator: torch.Generator | None) -> Tensor:
        """Compute the mean cross-entropy of what is masked, a share of each target that is drawn for it."""
        chance = torch.rand(labels.shape, generator=generator)
        share = torch.rand(len(labels), 1, generator=generator)
        chance[:, 0] = 1.0
        hidden = (chance <= torch.maximum(share, chance.amin(dim=1, keepdim=True))).to(labels.device)
        logits = self.logits(labels.masked_fill(hidden, _MASK), memory)
        return cross_entropy(logits[hidden], labels[hidden])

    def _decode(self, memory: Memory, known: Tensor, calls: int, draw: Callable[[Tensor], Tensor]) -> Tensor:
        fixed = known >= 0
        tokens, certain = known.masked_fill(~fixed, _MASK), fixed.float().masked_fill(fixed, float("inf"))
        free = (~fixed).sum(dim=1, keepdim=True)
        for left in range(calls - 1, -1, -1):
            logits, hidden = self.logits(tokens, memory), tokens == _MASK
            drawn = draw(logits)
            chance = logits.log_softmax(dim=-1).gather(-1, drawn[..., None])[..., 0]
            tokens, certain = torch.where(hidden, drawn, tokens), torch.where(hidden, chance, certain)
            order = certain.argsort(dim=1, stable=True).argsort(dim=1)
            tokens = tokens.masked_fill((order < free * left // calls) & ~fixed, _MASK)
        return tokens


def _causal(length: int, device: torch.device) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
