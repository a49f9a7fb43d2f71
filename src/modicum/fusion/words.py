"""Words as the pieces that a text encoder reads, each piece with the number of its word."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from modicum.core.pretrained import open_part
from modicum.errors import ConfigError, ModelError
from modicum.fusion.recordings import IntArray

OUTSIDE = -1  # the word of a special token, and of padding


class WordTokenizer(Protocol):
    """What is used of a fast tokenizer of transformers."""

    @property
    def is_fast(self) -> bool:
        """Whether it tells of which word a piece is."""
        ...

    @property
    def pad_token_id(self) -> Any:
        """The number of the padding token."""
        ...

    @property
    def model_max_length(self) -> int:
        """The most pieces that its encoder takes."""
        ...

    def __call__(self, text: Any, /, *, is_split_into_words: bool, truncation: bool, max_length: int) -> Any:
        """Tokenise texts that are lists of words."""
        ...

    def save_pretrained(self, save_directory: Any, /) -> Any:
        """Write it to a folder."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """One text."""

    input_ids: IntArray  # int64, shape (pieces,), special tokens among them
    word_ids: IntArray  # int64, shape (pieces,): the place of each piece's word, -1 for a special token


def open_tokenizer(place: str) -> WordTokenizer:
    """Open the tokenizer of a text encoder."""
    return check_tokenizer(open_part("AutoTokenizer", place, extra="fusion"))


def check_tokenizer(tokenizer: WordTokenizer) -> WordTokenizer:
    """Refuse a tokenizer that cannot be used."""
    if not tokenizer.is_fast:
        raise ModelError(
            f"{type(tokenizer).__name__} does not tell of which word a piece is.",
            hint="Use a fast tokenizer, as AutoTokenizer gives for BERT, RoBERTa or DeBERTa.",
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(f"{type(tokenizer).__name__} has no padding token.", hint="Set its pad_token.")
    return tokenizer


def split_words(
    tokenizer: WordTokenizer, texts: Sequence[Sequence[str]], *, max_words: int = 100, max_pieces: int | None = None
) -> list[Pieces]:
    """Split the words of texts into pieces; a warning tells how many texts were cut."""
    if max_words < 1:
        raise ConfigError(f"max_words is {max_words}.", hint="Keep at least 1 word.")
    if not texts:
        return []
    limit = min(max_pieces or tokenizer.model_max_length, tokenizer.model_max_length)
    words = [list(text[:max_words]) for text in texts]
    encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=limit)
    found = [_pieces(ids, encoded.word_ids(place)) for place, ids in enumerate(encoded["input_ids"])]
    cut = sum(
        len(text) > max_words or (len(pieces.input_ids) == limit and int(pieces.word_ids.max()) + 1 < len(text))
        for text, pieces in zip(texts, found, strict=True)
    )
    if cut:
        warnings.warn(
            f"{cut} of {len(texts)} texts have more than {max_words} words or {limit} pieces and were cut there.",
            UserWarning,
            stacklevel=2,
        )
    return found


def _pieces(input_ids: Sequence[int], words: Sequence[int | None]) -> Pieces:
    return Pieces(
        input_ids=np.array(input_ids, dtype=np.int64),
        word_ids=np.array([OUTSIDE if word is None else word for word in words], dtype=np.int64),
    )
