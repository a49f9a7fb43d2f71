"""Plain encoders: features of texts, cosine scores without any training, and tuning from the Go-head."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from modicum.core.pretrained import open_text_encoder, open_tokenizer, token_limit
from modicum.core.progress import Progress, silent
from modicum.errors import ConfigError, ModelError
from modicum.zeroshot.configuration import FitSettings
from modicum.zeroshot.head import GoHead
from modicum.zeroshot.task import Task
from modicum.zeroshot.training import balanced_order, order_by_length, train

COSINE_SCALE = 20.0  # of cosines as logits, that of sentence-transformers' contrastive training
_BATCH = 64  # chunks
_UNKNOWN = 0.5  # share of unknown tokens from which on a tokenizer does not fit the texts
_SAME = 1 - 1e-6  # cosine of two labels that nothing can tell apart


@dataclass
class TextEncoder:
    """An encoder with its tokenizer; a feature is the mean over tokens, of unit length, averaged over chunks."""

    network: Any
    tokenizer: Any
    chunk: int  # tokens

    def __post_init__(self) -> None:
        if self.chunk > (limit := token_limit(self.network, self.tokenizer)):
            raise ConfigError(
                f"chunk is {self.chunk}, but the encoder takes {limit} tokens.", hint=f"Give {limit} at most."
            )

    @classmethod
    def open(cls, model: str, chunk: int) -> TextEncoder:
        """Open the encoder of a hub id, a folder or "offline"."""
        tokenizer = open_tokenizer(model)
        return cls(open_text_encoder(model).eval(), tokenizer, chunk)

    def check_plain(self) -> None:
        """Refuse what cannot encode a text by itself."""
        if getattr(self.network.config, "is_encoder_decoder", False) or self.tokenizer.pad_token_id is None:
            raise ModelError(
                f"{type(self.network).__name__} with this tokenizer is no plain encoder.",
                hint="Use an encoder such as BERT's, or the route seq2seq for a T5.",
            )

    @torch.no_grad()
    def word_vectors(self, words: Sequence[str]) -> Tensor:
        """Give the static embedding of each word, the mean of its tokens', (N, d)."""
        table = self.network.get_input_embeddings().weight
        return torch.stack([table[ids].mean(0) for ids in self.tokenizer(words, add_special_tokens=False)["input_ids"]])

    def chunks(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Tokenise texts into chunks, and tell which text each chunk is of."""
        found = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.chunk,
            return_overflowing_tokens=True,
            return_attention_mask=False,
        )
        return found["input_ids"], list(found["overflow_to_sample_mapping"])

    def check_known(self, texts: Sequence[str]) -> None:
        """Refuse texts that the tokenizer mostly does not know."""
        tokens = [token for row in self.chunks(texts)[0] for token in row]
        special = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}
        words = [token for token in tokens if token not in special]
        unknown = sum(token == self.tokenizer.unk_token_id for token in words)
        if unknown > _UNKNOWN * len(words):
            raise ModelError(
                f"The tokenizer knows {len(words) - unknown:,} of {len(words):,} tokens of these texts.",
                hint="Use a model for their language, and a folder that has its tokenizer's own files.",
            )

    @torch.no_grad()
    def features(self, texts: Sequence[str], progress: Progress = silent) -> Tensor:
        """Encode texts as float32 of shape (N, d)."""
        rows, owners = self.chunks(texts)
        order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
        found = torch.empty(len(rows), self.network.config.hidden_size)
        for start in range(0, len(rows), _BATCH):
            at = order[start : start + _BATCH]
            found[at] = self.pooled(self.batch([rows[each] for each in at])).float().cpu()
            progress(start + len(at), len(rows), "chunks")
        owner, sizes = torch.tensor(owners), torch.tensor([float(len(row)) for row in rows])
        total = torch.zeros(len(texts)).index_add(0, owner, sizes)
        return torch.zeros(len(texts), found.shape[1]).index_add(0, owner, found * (sizes / total[owner])[:, None])

    def batch(self, rows: Sequence[list[int]]) -> Any:
        """Pad chunks to a batch on the device of the network."""
        return self.tokenizer.pad({"input_ids": list(rows)}, return_tensors="pt").to(self.network.device)

    def pooled(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Encode a batch as vectors of unit length."""
        hidden = self.network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        mask = batch["attention_mask"][:, :, None].to(hidden.dtype)
        return normalize((hidden * mask).sum(1) / mask.sum(1))

    def cosine_rows(self, task: Task) -> Tensor:
        """Give a row for each label: the mean feature of its words in every template, of unit length."""
        rows: list[Tensor] = []
        for label in task.labels:
            texts = [each.replace("{label}", word) for each in task.cosine_templates for word in task.verbalizer[label]]
            rows.append(normalize(self.features(texts).mean(0), dim=0))
        found = torch.stack(rows)
        alike = torch.triu(found @ found.T, diagonal=1) > _SAME
        if alike.any():
            first, second = (task.labels[int(at)] for at in alike.nonzero()[0])
            raise ModelError(
                f"The labels {first!r} and {second!r} are the same to this model, whose tokenizer may not know them.",
                hint="Give other words for them: verbalizer in the task, or other --labels.",
            )
        return found


@dataclass(frozen=True, slots=True)
class EncoderPredictor:
    """Scores of a task's labels by label rows on the features of an encoder."""

    encoder: TextEncoder
    head: GoHead
    task: Task

    @classmethod
    def cosine(cls, encoder: TextEncoder, task: Task) -> EncoderPredictor:
        """Score by cosine, which takes no training: the baseline."""
        rows = COSINE_SCALE * encoder.cosine_rows(task)
        return cls(encoder, GoHead(rows, torch.zeros(len(rows)), math.nan), task)

    def scores(self, texts: Sequence[str]) -> Tensor:
        """Score the labels of the task: (N, K), float32."""
        return self.head.scores(self.encoder.features(texts))

    def name_scores(self, texts: Sequence[str], names: Sequence[str]) -> Tensor:
        """Score any labels by cosine: those of the task by their words, others by their names."""
        words = {name: self.task.verbalizer[name] for name in names if name in self.task.verbalizer}
        return self.cosine(self.encoder, Task(names, words, self.task.templates)).scores(texts)


def tune_encoder(
    encoder: TextEncoder,
    parts: Sequence[tuple[GoHead, Sequence[str], Tensor]],
    settings: FitSettings,
    *,
    seed: int,
    device: str = "cpu",
    temperature: float = 1.0,
) -> list[GoHead]:
    """Train the encoder in place with the label rows of one task or several, each from its Go-head, texts, labels."""
    rows: list[tuple[list[int], int, int]] = []
    sizes: list[int] = []
    for number, (_, texts, labels) in enumerate(parts):
        chunks, owners = encoder.chunks(texts)
        rows += [(chunk, number, int(labels[owner])) for chunk, owner in zip(chunks, owners, strict=True)]
        sizes.append(len(chunks))
    model = _Shared(encoder, [head for head, _, _ in parts]).to(device)
    if len(parts) > 1:
        order = balanced_order(sizes, settings.steps * settings.batch, seed=seed, temperature=temperature)
    else:
        order = order_by_length([len(chunk) for chunk, _, _ in rows], settings.batch, seed=seed)
    train(
        model,
        rows,
        settings,
        seed=seed,
        device=device,
        collate=partial(_collate, encoder),
        loss=_loss,
        sampler=order,
        head=lambda name: name.startswith("heads."),
    )
    layers: Any = model.heads
    return [
        GoHead(layer.weight.detach().clone(), layer.bias.detach().clone(), head.residual)
        for layer, (head, _, _) in zip(layers, parts, strict=True)
    ]


class _Shared(nn.Module):
    """The encoder and the label rows of each task on top of it, for training."""

    def __init__(self, encoder: TextEncoder, heads: Sequence[GoHead]) -> None:
        super().__init__()
        self.encoder, self.network = encoder, encoder.network
        self.heads = nn.ModuleList([nn.Linear(head.weight.shape[1], len(head.bias)) for head in heads])
        for layer, head in zip(self.heads, heads, strict=True):
            layer.load_state_dict({"weight": head.weight, "bias": head.bias})

    def forward(self, **batch: Tensor) -> Tensor:
        # The label rows in float32 whatever the rest is in: with 8 bits near-ties fall to one class.
        return self.encoder.pooled(batch).float()


def _collate(encoder: TextEncoder, rows: Sequence[tuple[list[int], int, int]]) -> dict[str, Any]:
    batch = encoder.tokenizer.pad({"input_ids": [chunk for chunk, _, _ in rows]}, return_tensors="pt")
    tasks, labels = (torch.tensor([row[at] for row in rows]) for at in (1, 2))
    return {**batch, "tasks": tasks, "labels": labels}


def _loss(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    features = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    total = features.new_zeros(())
    for number in batch["tasks"].unique().tolist():
        own = batch["tasks"] == number
        logits = model.heads[number](features[own])
        total = total + own.sum() / len(own) * cross_entropy(logits, batch["labels"][own])
    return total
