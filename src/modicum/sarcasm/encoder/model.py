"""Encoders that read texts: a trained one or several as a `TextModel`, and a frozen one; their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modicum.core.extras import quiet_transformers
from modicum.core.files import new_folder
from modicum.core.pretrained import (
    OFFLINE,
    encoder_source,
    lasting_name,
    open_folder,
    open_part,
    open_text_encoder,
    token_limit,
)
from modicum.core.safeload import read_json
from modicum.errors import ConfigError, ModelError
from modicum.sarcasm.data.examples import CATEGORIES
from modicum.sarcasm.encoder.batches import Row, Tokenizer, budget_batches, encode, pad, padding_of
from modicum.sarcasm.encoder.modeling import SarcasmConfig, SarcasmModel
from modicum.sarcasm.erniem import ErnieMTokenizer, has_ernie_m_tokenizer, is_ernie_m, open_ernie_m
from modicum.sarcasm.models import Outputs

_HINT = "Give a folder that EncoderModel.save wrote, complete."
_BUDGETS = {"cpu": 1024}  # ours: a third less time than 4096 takes MiniLM on one core, by less padding and in cache
_BUDGET = 4096


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


def check_length(encoder: Any, tokenizer: Tokenizer, length: int) -> None:
    """Refuse a length that the encoder has no positions for."""
    limit = token_limit(encoder, tokenizer)
    if not 4 <= length <= limit:
        raise ConfigError(
            f"Texts are cut at {length} tokens, but the encoder takes 4 to {limit}.",
            hint="Name an encoder that takes as many.",
        )


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


class EncoderModel:
    """A sarcasm model with its tokenizer."""

    # Each text is tokenised and computed once, however often it is asked for, in batches of texts of like length.

    def __init__(self, model: SarcasmModel, tokenizer: Tokenizer, *, budget: int | None = None) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.budget = budget or _BUDGETS.get(model.device.type, _BUDGET)

    @property
    def length(self) -> int:
        """Tokens that are kept of a text."""
        return self.model.config.length

    def __call__(self, texts: Sequence[str]) -> Outputs:
        """Give the outputs of the heads that were trained; a warning tells how many texts were cut."""
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        computed = self._computed(encode(self.tokenizer, list(rows), length=self.length) if rows else [])
        found, learnt = computed[np.array([rows[text] for text in texts], dtype=np.int64)], self.model.config.learnt
        return Outputs(
            sarcastic=found[:, 0],
            categories=found[:, 1:-1] if "categories" in learnt else None,
            rank=found[:, -1] if "rank" in learnt else None,
        )

    def save(self, folder: Path) -> None:
        """Write model and tokenizer to a new folder, as safetensors and JSON."""
        with new_folder(folder) as part, quiet_transformers():
            self.model.save_pretrained(part)
            self.tokenizer.save_pretrained(part)

    @classmethod
    def load(cls, folder: Path, *, budget: int | None = None) -> EncoderModel:
        """Read what `save` wrote."""
        _check_kind(folder)
        return cls(open_folder(SarcasmModel, folder, hint=_HINT), open_tokenizer(str(folder)), budget=budget)

    @torch.inference_mode()
    def _computed(self, rows: Sequence[Row]) -> np.ndarray:
        found = np.zeros((len(rows), 2 + len(CATEGORIES)))
        padding = padding_of(self.tokenizer)
        for places in budget_batches([len(row["input_ids"]) for row in rows], self.budget):
            batch = pad([rows[place] for place in places], padding)
            outputs = self.model(**{name: tensor.to(self.model.device) for name, tensor in batch.items()})
            columns = (outputs.sarcastic[:, None], outputs.categories, outputs.rank[:, None])
            found[places] = torch.cat(columns, dim=1).double().cpu().numpy()
        return found


@dataclass(frozen=True, slots=True)
class EnsembleModel:
    """Several models of the same heads, such as those of the folds: the mean of their logits."""

    members: tuple[EncoderModel, ...]  # at least one

    def __post_init__(self) -> None:
        if not self.members:
            raise ConfigError("An ensemble has no model.", hint="Give it at least one.")

    def __call__(self, texts: Sequence[str]) -> Outputs:
        """Give the mean outputs; a head that a member did not learn is None."""
        found = [member(texts) for member in self.members]
        return Outputs(
            sarcastic=np.mean([it.sarcastic for it in found], axis=0),
            categories=_mean([it.categories for it in found]),
            rank=_mean([it.rank for it in found]),
        )

    def save(self, folder: Path) -> None:
        """Write each member to a folder of its own, "0", "1" and so on, below a new folder."""
        with new_folder(folder) as part:
            for number, member in enumerate(self.members):
                member.save(part / str(number))

    @classmethod
    def load(cls, folder: Path) -> EnsembleModel:
        """Read what `save` wrote."""
        count = sum(path.is_dir() for path in folder.glob("*"))
        return cls(tuple(EncoderModel.load(folder / str(number)) for number in range(count)))


def _mean(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    given = [part for part in parts if part is not None]
    return np.mean(given, axis=0) if len(given) == len(parts) else None


class FrozenEncoder:
    """Gives one vector a text; nothing of it is trained."""

    def __init__(self, place: str = OFFLINE, *, longest: int = 96, batch: int = 64) -> None:
        self.place = lasting_name(place)
        self.batch = batch
        self._tokenizer = open_tokenizer(place)
        self._model: Any = open_text_encoder(encoder_folder(place)).eval()
        self.longest = min(longest, token_limit(self._model, self._tokenizer))

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Give the direction of the mean of the token vectors of each text, float64, shape (n, d)."""
        # A warning tells how many texts were cut.
        vectors = np.empty((len(texts), self._model.config.hidden_size))
        rows = encode(self._tokenizer, texts, length=self.longest) if len(texts) else []
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]["input_ids"]))
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            vectors[chosen] = self._mean([rows[place] for place in chosen])
        return vectors

    def _mean(self, rows: Sequence[Row]) -> np.ndarray:
        tokens = pad(rows, padding_of(self._tokenizer))
        hidden = self._model(**tokens).last_hidden_state.double()
        mask = tokens["attention_mask"][:, :, None].double()
        return torch.nn.functional.normalize((hidden * mask).sum(dim=1), dim=1).numpy()
