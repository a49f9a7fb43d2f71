"""What a model is trained on, tokenised: items, the batches made of them, and the order in which they come."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from modicum.errors import ModelError
from modicum.sarcasm.data.examples import CATEGORIES, LANGUAGES, Example

Row: TypeAlias = dict[str, list[int]]
Tokenizer: TypeAlias = Any  # one of transformers, or `ErnieMTokenizer`
_COLUMNS = ("input_ids", "token_type_ids")
_UNKNOWN = float("nan")


def encode(tokenizer: Tokenizer, texts: Sequence[str], *, length: int) -> list[Row]:
    """Tokenise texts; a warning tells how many were too long."""
    rows = _rows(tokenizer, texts, length)
    full = [text for text, row in zip(texts, rows, strict=True) if len(row["input_ids"]) == length]
    if full:
        longer = _rows(tokenizer, full, length + 1)
        cut = sum(len(row["input_ids"]) > length for row in longer)
        if cut:
            warnings.warn(
                f"{cut} of {len(texts)} texts have more than {length} tokens and were cut there.",
                UserWarning,
                stacklevel=3,
            )
    return rows


def _rows(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> list[Row]:
    found = tokenizer(list(texts), truncation=True, max_length=length)
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


@dataclass(frozen=True, slots=True)
class Item:
    """An example, tokenised."""

    example: Example  # the labels
    text: Row  # its tokens
    rephrase: Row | None = None  # those of its rephrase


def make_items(examples: Sequence[Example], tokenizer: Tokenizer, *, length: int) -> list[Item]:
    """Tokenise a training split once."""
    texts = encode(tokenizer, [example.text for example in examples], length=length)
    plain = [example.rephrase for example in examples if example.rephrase is not None]
    rephrases = iter(encode(tokenizer, plain, length=length) if plain else [])
    return [
        Item(example, text, None if example.rephrase is None else next(rephrases))
        for example, text in zip(examples, texts, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Collator:
    """Makes the batch of some items: "texts", with the rephrases behind them, and "targets"."""

    padding: int  # number of the padding token

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Collator:
        """Make the collator of a tokenizer."""
        return cls(padding_of(tokenizer))

    def __call__(self, items: Sequence[Item]) -> dict[str, Mapping[str, Tensor]]:
        """Pad the texts, and behind them the rephrases, to one batch."""
        rephrases = [item.rephrase for item in items if item.rephrase is not None]
        examples = [item.example for item in items]
        targets = {
            "sarcastic": torch.tensor([_UNKNOWN if it.sarcastic is None else float(it.sarcastic) for it in examples]),
            "language": torch.tensor([LANGUAGES.index(it.language) for it in examples]),
            "categories": torch.tensor([_categories(it) for it in examples]),
            "parents": torch.tensor([at for at, it in enumerate(items) if it.rephrase is not None], dtype=torch.int64),
        }
        return {"texts": pad([*(item.text for item in items), *rephrases], self.padding), "targets": targets}


def _categories(example: Example) -> list[float]:
    if example.categories is None or example.sarcastic != 1:
        return [_UNKNOWN] * len(CATEGORIES)
    return [float(it) for it in example.categories]


class LanguageSampler(Sampler[int]):
    """Draws every item once an epoch, in an order that mixes the languages as they are."""

    def __init__(self, examples: Sequence[Example], generator: torch.Generator) -> None:
        present = sorted({example.language for example in examples})
        self._rows = [
            torch.tensor([row for row, example in enumerate(examples) if example.language == language])
            for language in present
        ]
        self._generator = generator

    def __len__(self) -> int:
        return sum(map(len, self._rows))

    def __iter__(self) -> Iterator[int]:
        drawn = torch.cat([rows[torch.randperm(len(rows), generator=self._generator)] for rows in self._rows])
        yield from drawn[torch.randperm(len(drawn), generator=self._generator)].tolist()
