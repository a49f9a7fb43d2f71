"""A frozen sentence encoder: the mean of the last layer's tokens, scaled to length 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from modicum.core.extras import require
from modicum.core.pretrained import OFFLINE, open_text_encoder
from modicum.sarcasm.encoder.batches import Row, encode, pad, padding_of


class FrozenEncoder:
    """Gives one vector a text; nothing of it is trained."""

    def __init__(self, place: str = OFFLINE, *, longest: int = 96, batch: int = 64) -> None:
        self.place = place
        self.longest = longest
        self.batch = batch
        require("transformers", extra="text", purpose="A frozen encoder")
        from modicum.sarcasm.encoder.opening import encoder_folder, open_tokenizer

        self._tokenizer = open_tokenizer(place)
        self._model: Any = open_text_encoder(encoder_folder(place)).eval()

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
