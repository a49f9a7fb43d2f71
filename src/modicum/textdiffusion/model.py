"""The network: an encoder of sources and a denoiser of embedded targets, named as in the released code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

from modicum.core.extras import require
from modicum.errors import ConfigError
from modicum.textdiffusion import functional, sampling
from modicum.textdiffusion.configuration import SeqDiffuSeqConfig
from modicum.textdiffusion.schedule import PosteriorVariance, Sampler, TokenNoiseSchedule

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.utils.generic import ModelOutput
else:
    _transformers = require("transformers", extra="text", purpose="SeqDiffuSeq")
    PreTrainedModel, ModelOutput = _transformers.PreTrainedModel, _transformers.utils.generic.ModelOutput

_OFFSET = 2  # the first rows of a BART position table are never used
_TIME_SCALE = 1000.0  # times are given to the network as if there were so many


@dataclass
class SeqDiffuSeqOutput(ModelOutput):
    """What a training pass gives."""

    loss: Tensor | None = None
    prediction: Tensor | None = None  # of the clean embeddings, shape (B, S, E)


class Memory(NamedTuple):
    """A source as the decoder reads it: computed once, for all steps and all candidates."""

    keys: Sequence[tuple[Tensor, Tensor]]  # keys and values of each layer, shape (B, heads, source, width)
    mask: Tensor  # True at tokens, shape (B, 1, 1, source)


class Past(dict[int, tuple[Tensor, Tensor]]):
    """Keys and values of the tokens that a layer has read, of a decoder that writes from left to right (a control)."""

    def joined(self, layer: int, keys: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Append to those of a layer, and give all of them."""
        if layer in self:
            keys = torch.cat([self[layer][0], keys[0]], dim=2), torch.cat([self[layer][1], keys[1]], dim=2)
        self[layer] = keys
        return keys


class _Linear(nn.Linear):
    """A layer that begins as BART's do; the projections around the Transformer begin as torch's."""


class _Attention(nn.Module):
    """Attention with the projections in the order of BART."""

    def __init__(self, config: SeqDiffuSeqConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.attention_heads, config.attention_dropout
        self.k_proj = _Linear(config.d_model, config.d_model)
        self.v_proj = _Linear(config.d_model, config.d_model)
        self.q_proj = _Linear(config.d_model, config.d_model)
        self.out_proj = _Linear(config.d_model, config.d_model)

    def project(self, states: Tensor) -> tuple[Tensor, Tensor]:
        return self._split(self.k_proj(states)), self._split(self.v_proj(states))

    def forward(self, hidden: Tensor, keys: tuple[Tensor, Tensor], mask: Tensor | None = None) -> Tensor:
        # Candidates of one source stand one behind the other as queries of that source: its keys need no copies.
        queries = self._split(self.q_proj(hidden).view(len(keys[0]), -1, hidden.shape[-1]))
        dropout = self.dropout if self.training else 0.0
        mixed = scaled_dot_product_attention(queries, *keys, attn_mask=mask, dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).reshape(hidden.shape))

    def _split(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _Layer(nn.Module):
    """A post-norm layer of BART; a decoder's reads the source, and sees all positions of the target."""

    def __init__(self, config: SeqDiffuSeqConfig, *, decoder: bool) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        if decoder:
            self.encoder_attn = _Attention(config)
            self.encoder_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.fc1 = _Linear(config.d_model, config.ffn_dim)
        self.fc2 = _Linear(config.ffn_dim, config.d_model)
        self.final_layer_norm = nn.LayerNorm(config.d_model)
        self.dropout, self.activation_dropout = nn.Dropout(config.dropout), nn.Dropout(config.activation_dropout)

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None = None,
        memory: tuple[tuple[Tensor, Tensor], Tensor] | None = None,
        past: tuple[int, Past] | None = None,
    ) -> Tensor:
        keys = self.self_attn.project(hidden)
        mixed = self.self_attn(hidden, keys if past is None else past[1].joined(past[0], keys), mask)
        hidden = self.self_attn_layer_norm(hidden + self.dropout(mixed))
        if memory is not None:
            hidden = self.encoder_attn_layer_norm(hidden + self.dropout(self.encoder_attn(hidden, *memory)))
        inner = self.activation_dropout(gelu(self.fc1(hidden)))
        return self.final_layer_norm(hidden + self.dropout(self.fc2(inner)))


class _Stack(nn.Module):
    """Learned positions, a norm and layers."""

    def __init__(self, config: SeqDiffuSeqConfig, *, decoder: bool) -> None:
        super().__init__()
        self.embed_positions = nn.Embedding(config.max_position_embeddings + _OFFSET, config.d_model)
        count = config.decoder_layers if decoder else config.encoder_layers
        self.layers = nn.ModuleList([_Layer(config, decoder=decoder) for _ in range(count)])
        self.layernorm_embedding = nn.LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Tensor, mask: Tensor | None = None, memory: Memory | None = None, past: Past | None = None
    ) -> Tensor:
        first = _OFFSET + (past[0][0].shape[2] if past else 0)
        positions = self.embed_positions.weight[first : first + hidden.shape[1]]
        hidden = self.dropout(self.layernorm_embedding(hidden + positions))
        for index, layer in enumerate(self.layers):
            source = None if memory is None else (memory.keys[index], memory.mask)
            hidden = layer(hidden, mask, source, None if past is None else (index, past))
        return hidden


class _Transformer(nn.Module):
    """The embedding that source, diffusion and rounding share, and the two stacks."""

    def __init__(self, config: SeqDiffuSeqConfig) -> None:
        super().__init__()
        self.shared = nn.Embedding(config.vocab_size, config.embedding_dim, padding_idx=config.pad_token_id)
        self.encoder, self.decoder = _Stack(config, decoder=False), _Stack(config, decoder=True)


def _projection(inputs: int, width: int, outputs: int, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), activation(), nn.Linear(width, outputs))


class SeqDiffuSeqForConditionalGeneration(PreTrainedModel):
    """An encoder-decoder that denoises the embeddings of a target, with its noise schedule.

    The schedule is part of the saved model. Weights have the names of the released code.

    Args:
        config: of the network.

    Example:
        >>> config = SeqDiffuSeqConfig(vocab_size=20, d_model=16, attention_heads=2, ffn_dim=32, target_length=8)
        >>> model = SeqDiffuSeqForConditionalGeneration(config).eval()
        >>> source = torch.tensor([[0, 5, 6, 2]])
        >>> model.generate(source, num_inference_steps=2, num_return_sequences=3, selection="none").shape
        torch.Size([3, 8])

    Source:
        Yuan et al. 2024 (arXiv:2212.10325). Departures: the encoder runs once for both passes of self-conditioning;
        and dropout has the rates of the configuration, where the released scripts apply none.
    """

    config_class = SeqDiffuSeqConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    _tied_weights_keys = {"lm_head.weight": "input_transformers.shared.weight"}  # noqa: RUF012 - transformers' own form
    _supports_sdpa = True

    config: SeqDiffuSeqConfig

    def __init__(self, config: SeqDiffuSeqConfig) -> None:
        super().__init__(config)
        width, embedded = config.d_model, config.embedding_dim
        # In the order of the released code.
        self.time_embed = _projection(width, width, width, nn.SiLU)
        self.input_transformers = _Transformer(config)
        self.input_up_proj_dec = _projection(2 * embedded, width, width)
        self.input_up_proj_enc = _projection(embedded, width, width)
        self.output_down_proj = _projection(width, width, embedded)
        self.lm_head = nn.Linear(embedded, config.vocab_size)
        self.LayerNorm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.schedule = TokenNoiseSchedule(config.num_steps, config.target_length, config.bins)
        # DistributedDataParallel would put the histories of rank 0 in place of those of the others at each pass.
        self._ddp_params_and_buffers_to_ignore = [f"schedule.{name}" for name, _ in self.schedule.named_buffers()]
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, TokenNoiseSchedule):
            module.reset()
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, _Linear):
            nn.init.normal_(module.weight, std=self.config.init_std)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm | nn.Linear):
            module.reset_parameters()

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Memory:
        """Read sources, once for all steps of a sampler and all candidates.

        Args:
            input_ids: shape (B, source).
            attention_mask: 1 at tokens, the same shape; None where all but padding are.

        Returns:
            Keys and values of each decoder layer, and the mask.
        """
        mask = input_ids.ne(self.config.pad_token_id) if attention_mask is None else attention_mask
        mask = mask.bool()[:, None, None, :]
        embedded = self.input_up_proj_enc(self.input_transformers.shared(input_ids))
        states = self.input_transformers.encoder(embedded, mask)
        layers = cast("Sequence[_Layer]", self.input_transformers.decoder.layers)
        return Memory([layer.encoder_attn.project(states) for layer in layers], mask)

    def denoise(self, sample: Tensor, self_condition: Tensor, times: Tensor, memory: Memory) -> Tensor:
        """Predict the clean embeddings: one network call.

        Args:
            sample: z_t of B sources with K candidates each, those of a source one behind the other, shape (B K, S, E).
            self_condition: the prediction of the step before, or zeros; the same shape.
            times: in [0, 1000), shape (B K,).
            memory: of the B sources.

        Returns:
            Shape (B K, S, E).
        """
        embedded = self.time_embed(functional.timestep_embedding(times, self.config.d_model).to(self.dtype))
        hidden = self.input_up_proj_dec(torch.cat([sample, self_condition], dim=-1).to(self.dtype))
        hidden = self.dropout(self.LayerNorm(hidden + embedded[:, None]))
        return self.output_down_proj(self.input_transformers.decoder(hidden, memory=memory)).float()

    def network_times(self, t: Tensor) -> Tensor:
        """Give times of the schedule as the network is told them, in [0, 1000)."""
        return t * (_TIME_SCALE / self.config.num_steps)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        self_conditioning: float = 0.5,
        prediction_loss: bool = False,
        generator: torch.Generator | None = None,
    ) -> SeqDiffuSeqOutput:
        """Compute the training loss at random times; in training mode the schedule takes note of it.

        Args:
            input_ids: sources, shape (B, source).
            attention_mask: 1 at their tokens, the same shape; None where all but padding are.
            labels: targets with padding, which counts, shape (B, S).
            self_conditioning: chance that the batch sees its own prediction.
            prediction_loss: add the cross-entropy of the prediction.
            generator: on the CPU, of times and noise; None for torch's own.

        Returns:
            The loss and the prediction.

        Raises:
            ConfigError: if there are no labels, or more of them than positions.
        """
        if labels is None:
            raise ConfigError("A training pass needs labels.", hint="Use generate, or encode and denoise, without.")
        embedded = self.input_transformers.shared(labels).float()
        # The seed of the noise is drawn on the CPU, so that no value is waited for.
        times = torch.randint(self.config.num_steps, (len(labels),), generator=generator)
        coin = torch.rand((), generator=generator).item()
        times, noise = times.to(labels.device), _noise(generator, embedded)
        # z_0 ~ N(E(w), (1 - abar_0) I)
        noisy = embedded + self.schedule.add_noise(torch.zeros_like(embedded), noise[0], torch.zeros_like(times))
        sample = self.schedule.add_noise(noisy, noise[1], times)
        memory, network_times = self.encode(input_ids, attention_mask), self.network_times(times)
        condition = torch.zeros_like(sample)
        if coin < self_conditioning:
            with torch.no_grad():
                condition = self.denoise(sample, condition, network_times, memory)
        prediction = self.denoise(sample, condition, network_times, memory)
        by_position = functional.denoising_loss(prediction, noisy, embedded, times)
        if self.training and torch.is_grad_enabled():  # an evaluation must not move the schedule
            self.schedule.record(times, by_position.detach(), labels != self.config.pad_token_id)
        last = self.schedule.alphas_cumprod[-1, : labels.shape[1]].float()
        loss = by_position.mean() + functional.prior_loss(noisy, last) + self._rounding_loss(noisy, labels)
        if prediction_loss:
            loss = loss + self._rounding_loss(prediction, labels)
        return SeqDiffuSeqOutput(loss=loss, prediction=prediction)

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        num_inference_steps: int = 20,
        num_return_sequences: int = 10,
        selection: Literal["mbr", "none"] = "mbr",
        sampler: Sampler = "ddpm",
        posterior_variance: PosteriorVariance = "correct",
        length: int | None = None,
        known_tokens: Sequence[Mapping[int, int]] | None = None,
        generator: torch.Generator | None = None,
        watch: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """Sample targets.

        Noise depends on the seed, the source and the number of the candidate alone: what comes out for a source is
        the same in any batch, and more candidates leave the first ones as they are.

        Args:
            input_ids: sources, shape (B, source).
            attention_mask: 1 at their tokens, the same shape; None where all but padding are.
            num_inference_steps: network calls, from 1 to ``config.num_steps``.
            num_return_sequences: candidates K for a source.
            selection: "mbr" keeps the candidate with the highest BLEU against the others, "none" keeps all.
            sampler: "ddpm", "ddim" or "dpmpp_2m", see `TokenNoiseSchedule.step`.
            posterior_variance: of "ddpm".
            length: positions of the canvas; None for all. Shorter ones need a training with ``canvas="random"``.
            known_tokens: for each source the tokens that are fixed, by position.
            generator: its initial seed names the noise, and it is not advanced; None draws a seed from torch's own.
            watch: called at each network call with its time and the tokens that it predicts, shape (B K, S).

        Returns:
            Tokens with padding behind the end of each text, shape (B, S), or (B K, S) without selection.

        Raises:
            ConfigError: if a source is empty, an option is out of range, or a fixed token is outside the vocabulary
                or the canvas.
        """
        sampling.check_choices(selection=selection, sampler=sampler, posterior_variance=posterior_variance)
        length = self.config.target_length if length is None else length
        if num_return_sequences < 1 or not 1 <= length <= self.config.target_length:
            raise ConfigError(
                f"num_return_sequences is {num_return_sequences} and length {length}, for a canvas of "
                f"{self.config.target_length}.",
                hint="Give at least 1 of each, and no more positions than the canvas has.",
            )
        mask = sampling.checked_mask(self, input_ids, attention_mask)
        times = self.schedule.set_timesteps(num_inference_steps)
        known = sampling.known_table(self, known_tokens, len(input_ids), length, num_return_sequences)
        streams = sampling.streams(generator, input_ids, mask, num_return_sequences)
        shape = (length, self.config.embedding_dim)

        def draw() -> Tensor:
            # On the CPU: a source has the same noise on all devices.
            return torch.stack([torch.randn(shape, generator=stream) for stream in streams]).to(input_ids.device)

        memory, sample, previous = self.encode(input_ids, mask), draw(), None
        prediction = torch.zeros_like(sample)
        fixed, clean = (known >= 0)[..., None], self.input_transformers.shared(known.clamp(min=0)).float()
        for t in times:
            at = self.network_times(torch.full((len(sample),), t, device=sample.device))
            # What is fixed has no noise at any time, as if abar were 1 there, and its prediction is right.
            sample = torch.where(fixed, clean, sample)
            condition = prediction if self.config.self_conditioning else torch.zeros_like(prediction)
            prediction = torch.where(fixed, clean, self.denoise(sample, condition, at, memory))
            if watch is not None:
                watch(t, self._rounded(prediction, known))
            noise = draw() if sampler == "ddpm" and t != times[-1] else None
            options = {"sampler": sampler, "previous": previous, "posterior_variance": posterior_variance}
            sample = self.schedule.step(prediction, t, sample, noise=noise, **options)
            previous = prediction
        tokens = self._rounded(sample, known)
        if selection == "none":
            return tokens
        special = {self.config.pad_token_id, self.config.eos_token_id, self.config.bos_token_id}
        return sampling.select(tokens, num_return_sequences, special)

    def _rounded(self, embedded: Tensor, known: Tensor) -> Tensor:
        logits = self.lm_head(embedded.to(self.dtype))
        if (known >= 0).any():  # a text that has a token further on has words up to there
            before = (known >= 0).flip(1).cumsum(1).flip(1) > 0
            before[:, 0] = False
            special = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
            special[[self.config.pad_token_id, self.config.eos_token_id, self.config.bos_token_id]] = True
            logits = logits.masked_fill(before[..., None] & special, float("-inf"))
        tokens = torch.where(known >= 0, known, logits.argmax(dim=-1))
        return sampling.ended(tokens, self.config.eos_token_id, self.config.pad_token_id, known)

    def _rounding_loss(self, embedded: Tensor, labels: Tensor) -> Tensor:
        logits = self.lm_head(embedded.to(self.dtype)).float()
        return cross_entropy(logits.flatten(0, 1), labels.flatten())


def _noise(generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Draw two sequences of noise, on the device where they are used."""
    if like.device.type == "cpu":
        return torch.randn(2, *like.shape, generator=generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    own = torch.Generator(like.device)
    own.manual_seed(seed)
    return torch.randn(2, *like.shape, generator=own, device=like.device)
