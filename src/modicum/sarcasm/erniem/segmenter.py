"""Texts to the tokens of ERNIE-M, and the places of the tokens in the texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modicum.core.extras import require
from modicum.errors import ConfigError, DataError, ModelError
from modicum.sarcasm.erniem.splitting import fragments, span


class Segmenter:
    """SentencePiece between the special tokens of a text, and ERNIE-M's rule upon its pieces."""

    def __init__(self, path: Path, special: Sequence[str]) -> None:
        self._processor = _open(path)
        self._special = re.compile("|".join(re.escape(token) for token in special))

    def serialized(self) -> bytes:
        """Give what its file holds."""
        return self._processor.serialized_model_proto()

    def tokens(self, text: str) -> list[str]:
        """Give the tokens of a text."""
        tokens: list[str] = []
        for _, part in self._parts(text):
            if self._special.fullmatch(part):
                tokens.append(part)
            else:
                tokens.extend(fragment for _, fragment in fragments(self._processor.EncodeAsPieces(part)))
        return tokens

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Give where in a text each of its tokens begins and ends, in characters."""
        return [(base + begin, base + end) for base, part in self._parts(text) for begin, end in self._within(part)]

    def _within(self, part: str) -> list[tuple[int, int]]:
        if self._special.fullmatch(part):
            return [(0, len(part))]
        pieces: list[str] = self._processor.EncodeAsPieces(part)
        normalised, places = self._processor.Normalize(part, with_offsets=True)
        if "".join(pieces) != normalised:
            raise ModelError(
                "The pieces of SentencePiece are not the text: its model splits into bytes.",
                hint="Use the sentencepiece.bpe.model of ERNIE-M.",
            )
        return [span(start, fragment, places) for start, fragment in fragments(pieces)]

    def _parts(self, text: str) -> Iterator[tuple[int, str]]:
        _check_text(text)
        end = 0
        for match in self._special.finditer(text):
            yield end, text[end : match.start()]
            yield match.start(), match[0]
            end = match.end()
        yield end, text[end:]


def _open(path: Path) -> Any:
    sentencepiece = require("sentencepiece", extra="text", purpose="ERNIE-M's tokenizer")
    if not path.is_file():
        raise ConfigError(f"{path.parent} has no {path.name}.", hint="Put ERNIE-M's model of SentencePiece there.")
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path} is no model of SentencePiece.", hint="Fetch the file again.") from error


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"A text has half of a surrogate pair: {text!r}.", hint="Write the entire character."
        ) from error
