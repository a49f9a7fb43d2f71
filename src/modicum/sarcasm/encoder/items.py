"""What a model is trained on, tokenised: items, the batches made of them, and the order in which they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Sampler

from modicum.sarcasm.encoder.batches import Row, Tokenizer, encode, pad, padding_of
from modicum.sarcasm.encoder.configuration import PairHead
from modicum.sarcasm.examples import CATEGORIES, LANGUAGES, Example
from modicum.sarcasm.functional import language_shares

_UNKNOWN = float("nan")


@dataclass(frozen=True, slots=True)
class Item:
    """An example, tokenised."""

    example: Example  # the labels
    text: Row  # its tokens
    rephrase: Row | None = None  # those of its rephrase; None if it has none, or pairs are read together
    pair: tuple[Row, Row] | None = None  # the text with its rephrase, and the rephrase with the text


def make_items(examples: Sequence[Example], tokenizer: Tokenizer, *, length: int, pairs: PairHead | None) -> list[Item]:
    """Tokenise a training split once."""
    texts = encode(tokenizer, [example.text for example in examples], length=length)
    parents = [place for place, example in enumerate(examples) if example.rephrase is not None]
    if pairs is None or not parents:
        return [Item(example, text) for example, text in zip(examples, texts, strict=True)]
    first = [examples[place].text for place in parents]
    other = [examples[place].rephrase or "" for place in parents]
    if pairs == "rank":
        alone = dict(zip(parents, encode(tokenizer, other, length=length), strict=True))
        return [Item(examples[place], text, rephrase=alone.get(place)) for place, text in enumerate(texts)]
    both = zip(
        encode(tokenizer, first, other, length=length), encode(tokenizer, other, first, length=length), strict=True
    )
    together = dict(zip(parents, both, strict=True))
    return [Item(examples[place], text, pair=together.get(place)) for place, text in enumerate(texts)]


@dataclass(frozen=True, slots=True)
class Collator:
    """Makes the batch of some items: "texts", "pairs" if they are read together, and "targets"."""

    padding: int  # number of the padding token

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Collator:
        """Make the collator of a tokenizer."""
        return cls(padding_of(tokenizer))

    def __call__(self, items: Sequence[Item]) -> dict[str, Mapping[str, Tensor]]:
        """Pad the texts, and behind them the rephrases, to one batch."""
        rephrases = [item.rephrase for item in items if item.rephrase is not None]
        both = [item.pair for item in items if item.pair is not None]
        batch: dict[str, Mapping[str, Tensor]] = {
            "texts": pad([*(item.text for item in items), *rephrases], self.padding),
            "targets": _targets(items),
        }
        if both:
            batch["pairs"] = pad([*(pair[0] for pair in both), *(pair[1] for pair in both)], self.padding)
        return batch


def _targets(items: Sequence[Item]) -> dict[str, Tensor]:
    examples = [item.example for item in items]
    compared = [place for place, item in enumerate(items) if item.rephrase is not None or item.pair is not None]
    return {
        "sarcastic": torch.tensor([_UNKNOWN if it.sarcastic is None else float(it.sarcastic) for it in examples]),
        "language": torch.tensor([LANGUAGES.index(it.language) for it in examples]),
        "categories": torch.tensor([_categories(it) for it in examples]),
        "parents": torch.tensor(compared, dtype=torch.int64),
    }


def _categories(example: Example) -> list[float]:
    if example.categories is None or example.sarcastic != 1:
        return [_UNKNOWN] * len(CATEGORIES)
    return [float(it) for it in example.categories]


class LanguageSampler(Sampler[int]):
    """Draw the items of an epoch so that language l has the share n_l^alpha / sum of n^alpha, in random order."""

    # An epoch has as many items as there are, up to rounding. Of a language, each item comes before one comes again:
    # with alpha = 1 every item comes once.

    def __init__(self, examples: Sequence[Example], exponent: float, generator: torch.Generator) -> None:
        present = sorted({example.language for example in examples})
        self._places = [
            torch.tensor([place for place, example in enumerate(examples) if example.language == language])
            for language in present
        ]
        shares = language_shares(torch.tensor([len(places) for places in self._places]), exponent)
        self._counts: list[int] = (shares * len(examples)).round().long().tolist()
        self._generator = generator

    def __len__(self) -> int:
        return sum(self._counts)

    def __iter__(self) -> Iterator[int]:
        drawn = torch.cat([self._draw(*it) for it in zip(self._places, self._counts, strict=True)])
        yield from drawn[torch.randperm(len(drawn), generator=self._generator)].tolist()

    def _draw(self, places: Tensor, count: int) -> Tensor:
        rounds = -(-count // len(places))
        order = [places[torch.randperm(len(places), generator=self._generator)] for _ in range(rounds)]
        return torch.cat([places[:0], *order])[:count]
