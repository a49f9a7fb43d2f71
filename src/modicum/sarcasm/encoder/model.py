"""A trained encoder as a `TextModel`: texts in, logits out, in the order of the texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from modicum.core.files import new_folder
from modicum.errors import ConfigError, ModelError
from modicum.sarcasm.encoder.batches import Row, Tokenizer, budget_batches, encode, pad, padding_of
from modicum.sarcasm.encoder.modeling import SarcasmModel
from modicum.sarcasm.encoder.opening import open_model, open_tokenizer, write_model
from modicum.sarcasm.examples import CATEGORIES
from modicum.sarcasm.functional import antisymmetric
from modicum.sarcasm.scoring import Outputs

_BUDGETS = {"cpu": 1024}  # ours: a third less time than 4096 takes MiniLM on one core, by less padding and in cache
_BUDGET = 4096


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
        found = self._each(texts)
        learnt, ranks = self.model.config.learnt, self.model.config.pair_head == "rank"
        return Outputs(
            sarcastic=found[:, 0],
            categories=found[:, 1:-1] if "categories" in learnt else None,
            rank=found[:, -1] if ranks and "rank" in learnt else None,
        )

    def compare(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Compare texts of one meaning."""
        if "rank" not in self.model.config.learnt:
            raise ModelError(
                "The model was trained without pairs of texts.", hint="Train it on examples that have a rephrase."
            )
        if self.model.config.pair_head == "rank":
            rank = self._each([text for pair in pairs for text in pair])[:, -1]
            return rank[1::2] - rank[::2]
        return self._read_together(pairs)

    def save(self, folder: Path) -> None:
        """Write model and tokenizer to a new folder, as safetensors and JSON."""
        write_model(folder, self.model, self.tokenizer)

    @classmethod
    def load(cls, folder: Path, *, budget: int | None = None) -> EncoderModel:
        """Read what `save` wrote."""
        return cls(open_model(folder), open_tokenizer(str(folder)), budget=budget)

    def _each(self, texts: Sequence[str]) -> np.ndarray:
        place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        found = self._computed(encode(self.tokenizer, list(place), length=self.length) if place else [])
        return found[np.array([place[text] for text in texts], dtype=np.int64)]

    def _read_together(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        if not pairs:
            return np.zeros(0)
        first, second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        rows = encode(self.tokenizer, [*first, *second], [*second, *first], length=self.length)
        there, back = torch.from_numpy(self._computed(rows)[:, -1]).chunk(2)
        return antisymmetric(there, back).numpy()

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

    def compare(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Give the mean of what each member's `EncoderModel.compare` gives."""
        return np.mean([member.compare(pairs) for member in self.members], axis=0)

    def save(self, folder: Path) -> None:
        """Write each member to a folder of its own, "0", "1" and so on, below a new folder."""
        with new_folder(folder) as part:
            for number, member in enumerate(self.members):
                member.save(part / str(number))

    @classmethod
    def load(cls, folder: Path, *, budget: int | None = None) -> EnsembleModel:
        """Read what `save` wrote."""
        count = sum(path.is_dir() for path in folder.glob("*"))
        return cls(tuple(EncoderModel.load(folder / str(number), budget=budget) for number in range(count)))


def _mean(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    given = [part for part in parts if part is not None]
    return np.mean(given, axis=0) if len(given) == len(parts) else None
