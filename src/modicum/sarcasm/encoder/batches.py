"""Texts as batches of tokens: tokenised once, cut visibly, and padded to neighbours of like length only."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from modicum.errors import ModelError

Row: TypeAlias = dict[str, list[int]]
_COLUMNS = ("input_ids", "token_type_ids")


class Tokenizer(Protocol):
    """What is used of a tokenizer of transformers, or of one that stands in its place."""

    @property
    def pad_token_id(self) -> Any:
        """The number of the padding token."""
        ...

    def __call__(
        self,
        text: Any,
        text_pair: Any = None,
        /,
        *,
        truncation: bool = ...,
        max_length: int | None = ...,
        return_offsets_mapping: bool = ...,
    ) -> Mapping[str, Any]:
        """Tokenise texts, or pairs of texts."""
        ...

    def save_pretrained(self, save_directory: Any, /) -> Any:
        """Write it to a folder."""
        ...


def encode(
    tokenizer: Tokenizer, texts: Sequence[str], others: Sequence[str] | None = None, *, length: int
) -> list[Row]:
    """Tokenise texts, or each with another one; a warning tells how many were too long."""
    rows = _rows(tokenizer, texts, others, length)
    full = [place for place, row in enumerate(rows) if len(row["input_ids"]) == length]
    if full:
        second = None if others is None else [others[place] for place in full]
        longer = _rows(tokenizer, [texts[place] for place in full], second, length + 1)
        cut = sum(len(row["input_ids"]) > length for row in longer)
        if cut:
            warnings.warn(
                f"{cut} of {len(texts)} texts have more than {length} tokens and were cut there.",
                UserWarning,
                stacklevel=3,
            )
    return rows


def _rows(tokenizer: Tokenizer, texts: Sequence[str], others: Sequence[str] | None, length: int) -> list[Row]:
    second = None if others is None else list(others)
    found = tokenizer(list(texts), second, truncation=True, max_length=length)
    columns = {name: found[name] for name in _COLUMNS if name in found}
    return [{name: column[place] for name, column in columns.items()} for place in range(len(texts))]


def padding_of(tokenizer: Tokenizer) -> int:
    """Give the number of the padding token."""
    if tokenizer.pad_token_id is None:
        raise ModelError(
            "The tokenizer has no padding token, so that texts of different length make no batch.",
            hint="Use the tokenizer of an encoder, or set its pad_token.",
        )
    return int(tokenizer.pad_token_id)


def pad(rows: Sequence[Row], padding: int) -> dict[str, Tensor]:
    """Make a batch, padded on the right to its longest row."""
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    longest = int(lengths.max())
    batch = {
        name: torch.tensor(
            [row[name] + [padding if name == "input_ids" else 0] * (longest - len(row[name])) for row in rows]
        )
        for name in rows[0]
    }
    batch["attention_mask"] = (torch.arange(longest) < lengths[:, None]).long()
    return batch


def budget_batches(lengths: Sequence[int], budget: int) -> Iterator[np.ndarray]:
    """Group rows of like length, so that no batch has more slots than the budget; a row that is longer goes alone."""
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        count = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + count]
        start += count
