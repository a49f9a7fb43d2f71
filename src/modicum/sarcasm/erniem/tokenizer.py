"""ERNIE-M's tokenizer: the numbers of the reference, and where in the text each of them comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from modicum.core.extras import require
from modicum.core.files import aside, make_folder, replacing
from modicum.errors import ConfigError, DataError, ModelError
from modicum.sarcasm.erniem.mapping import CONFIG_FILE, is_ernie_m, read_settings

SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
_PAD = 1  # where XLM-RoBERTa's positions begin
SPACE = "▁"  # SentencePiece's letter for a space
_PUNCTUATION = frozenset(",;:.?!~，；：。？！《》【】")
_CACHED = 1 << 16  # ours: pieces whose parts are kept; a text of any language has fewer
VOCABULARY_FILE = "vocab.txt"
SENTENCEPIECE_FILE = "sentencepiece.bpe.model"
SETTINGS_FILE = "tokenizer_config.json"
TOKENIZER_FILES = (VOCABULARY_FILE, SENTENCEPIECE_FILE, SETTINGS_FILE)
_CLASS = "ErnieMTokenizer"
_LONGEST = 512  # the table has 514 positions, and the first two are not used
_NOWHERE = (0, 0)
Entry = TypeVar("Entry")


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Read the tokens."""
    if not path.is_file():
        raise ConfigError(f"{path.parent} has no {path.name}.", hint="Put ERNIE-M's vocabulary there.")
    try:
        with path.open(encoding="utf-8") as lines:  # not splitlines: some tokens are what it takes for line ends
            tokens = tuple(line.removesuffix("\n") for line in lines)
    except ValueError as error:
        raise DataError(f"{path} is not UTF-8 ({error}).", hint="Fetch the file again.") from error
    if missing := [token for token in SPECIAL[:4] if token not in tokens]:
        raise DataError(f"{path} has no line {missing[0]}.", hint="Use the vocab.txt of ERNIE-M, a token a line.")
    if (number := tokens.index("[PAD]")) != _PAD:
        raise DataError(f"{path} has [PAD] as number {number}, not {_PAD}.", hint="Use the vocab.txt of ERNIE-M.")
    return tokens


def write_vocabulary(tokens: Sequence[str], path: Path) -> None:
    """Write the tokens as `read_vocabulary` reads them."""
    with replacing(path) as file:
        file.writelines(f"{token}\n" for token in tokens)


def fragments(pieces: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Split the pieces of a text."""
    # A piece is split around Chinese characters and punctuation, each of which stands alone, and where digits begin or
    # end. A space that is a piece of its own stays only between two others of which the second has none, and a space
    # that is split off is dropped.
    start = 0
    for place, piece in enumerate(pieces):
        if piece != SPACE:
            for within, fragment in _split(piece):
                yield start + within, fragment
        elif 0 < place < len(pieces) - 1 and not pieces[place + 1].startswith(SPACE):
            yield start, piece
        start += len(piece)


def span(start: int, fragment: str, places: Sequence[int]) -> tuple[int, int]:
    """Give where a fragment stands in the text as it was written, without the spaces before it."""
    word = fragment.lstrip(SPACE) or fragment
    after = start + len(fragment)
    begin, last = places[after - len(word)], places[after - 1]
    return begin, next((it for it in places[after:] if it > last), places[-1])


@lru_cache(maxsize=_CACHED)
def _split(piece: str) -> tuple[tuple[int, str], ...]:
    bounds = sorted({0, *_cuts(piece), len(piece)})
    parts = [(start, piece[start:end]) for start, end in pairwise(bounds)]
    # The reference looks for a dropped space only where it cuts: at the end of a piece it stays.
    return tuple(part for part in parts[:-1] if part[1] != SPACE) + tuple(parts[-1:])


def _cuts(piece: str) -> Iterator[int]:
    for place, character in enumerate(piece):
        if character == SPACE:
            continue
        if "\u4e00" <= character <= "\u9fff" or character in _PUNCTUATION:
            yield from (place, place + 1)
        elif place and character.isdigit() != piece[place - 1].isdigit():
            yield place


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


class ErnieMTokenizer:
    """Texts to numbers, for an ERNIE-M and for the XLM-RoBERTa that it was converted to."""

    # It stands where a tokenizer of transformers does: it is called with a list of texts, and pads. A special token
    # that is written in a text, such as "[SEP]", is read as one, as transformers' tokenizers do.

    padding_side = "right"

    def __init__(self, vocab_file: Path, sentencepiece_file: Path, *, model_max_length: int = _LONGEST) -> None:
        self.model_max_length = model_max_length
        self._tokens = read_vocabulary(Path(vocab_file))
        self._numbers = {token: number for number, token in enumerate(self._tokens)}
        self._processor = _open(Path(sentencepiece_file))
        self._special = re.compile("|".join(re.escape(token) for token in SPECIAL if token in self._numbers))
        self.cls_token_id, self.pad_token_id, self.sep_token_id, self.unk_token_id = (
            self._numbers[token] for token in SPECIAL[:4]
        )

    @classmethod
    def from_pretrained(cls, folder: Path) -> ErnieMTokenizer:
        """Open the tokenizer of a folder."""
        folder = Path(folder)
        settings = _optional(folder / SETTINGS_FILE)
        if settings.get("do_lower_case"):
            raise ModelError(
                f"{folder / SETTINGS_FILE} asks for lower case, which ERNIE-M was not trained on.",
                hint="Write do_lower_case false there, and lower the texts yourself if the model was tuned so.",
            )
        positions = _optional(folder / CONFIG_FILE).get("max_position_embeddings")
        # What transformers wrote as model_max_length, 514, counts the two positions that are not used.
        longest = positions - 2 if positions else min(settings.get("model_max_length", _LONGEST), _LONGEST)
        return cls(folder / VOCABULARY_FILE, folder / SENTENCEPIECE_FILE, model_max_length=longest)

    def save_pretrained(self, folder: Path) -> None:
        """Write the tokenizer's files."""
        make_folder(Path(folder))
        settings = {"tokenizer_class": _CLASS, "do_lower_case": False, "model_max_length": self.model_max_length}
        write_vocabulary(self._tokens, Path(folder) / VOCABULARY_FILE)
        with aside(Path(folder) / SENTENCEPIECE_FILE) as part:
            part.write_bytes(self._processor.serialized_model_proto())
        with replacing(Path(folder) / SETTINGS_FILE) as file:
            json.dump(settings, file, indent=2)

    def __len__(self) -> int:
        return len(self._tokens)

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """Give the tokens of numbers."""
        return [self._tokens[number] for number in ids]

    def __call__(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        truncation: bool = False,
        max_length: int | None = None,
        return_offsets_mapping: bool = False,
    ) -> dict[str, list[Any]]:
        """Tokenise texts, or pairs of them."""
        _check_batch(texts, pairs)
        room = self._room(max_length, pair=pairs is not None) if truncation else None
        seconds = [None] * len(texts) if pairs is None else pairs
        columns: dict[str, list[Any]] = {"input_ids": [], "attention_mask": []}
        for first, second in zip(texts, seconds, strict=True):
            ids = _cut(self._ids(first), None if second is None else self._ids(second), room)
            columns["input_ids"].append(_framed(*ids, self.cls_token_id, self.sep_token_id))
            columns["attention_mask"].append([1] * len(columns["input_ids"][-1]))
            if return_offsets_mapping:
                spans = _cut(self._spans(first), None if second is None else self._spans(second), room)
                columns.setdefault("offset_mapping", []).append(_framed(*spans, _NOWHERE, _NOWHERE))
        return columns

    def pad(self, features: Sequence[Mapping[str, Any]], **options: Any) -> dict[str, Tensor]:
        """Pad on the right to the longest row, and make tensors, as DataCollatorWithPadding asks for."""
        asked = {"padding": True, "return_tensors": "pt"} | {name: it for name, it in options.items() if it is not None}
        if asked != {"padding": True, "return_tensors": "pt"}:
            raise ConfigError(f"Padding by {asked} is not offered.", hint='Use padding=True and return_tensors="pt".')
        columns = {name: [row[name] for row in features] for name in features[0]}
        fill = {"input_ids": self.pad_token_id, "attention_mask": 0, "offset_mapping": 0}
        return {
            name: pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=fill[name])
            if name in fill
            else torch.tensor(rows)
            for name, rows in columns.items()
        }

    def tokenize(self, text: str) -> list[str]:
        """Give the tokens of a text, also those that the vocabulary does not have."""
        tokens: list[str] = []
        for _, part in self._parts(text):
            if self._special.fullmatch(part):
                tokens.append(part)
            else:
                tokens.extend(fragment for _, fragment in fragments(self._processor.EncodeAsPieces(part)))
        return tokens

    def _spans(self, text: str) -> list[tuple[int, int]]:
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

    def _room(self, max_length: int | None, *, pair: bool) -> int:
        length = self.model_max_length if max_length is None else max_length
        if (room := length - (4 if pair else 2)) < 1:
            raise ConfigError(
                f"max_length {length} leaves no room for anything but the special tokens.", hint="Make it longer."
            )
        return room

    def _ids(self, text: str) -> list[int]:
        numbers, unknown = self._numbers, self.unk_token_id
        return [numbers.get(token, unknown) for token in self.tokenize(text)]


def has_ernie_m_tokenizer(folder: Path) -> bool:
    """Say whether the tokenizer of a folder is ERNIE-M's, which transformers cannot open."""
    return _optional(Path(folder) / SETTINGS_FILE).get("tokenizer_class") == _CLASS or is_ernie_m(Path(folder))


def _optional(path: Path) -> dict[str, Any]:
    return read_settings(path) if path.is_file() else {}


def _check_batch(texts: Sequence[str], pairs: Sequence[str] | None) -> None:
    if isinstance(texts, str):
        raise ConfigError("A list of texts was expected, but one text came.", hint="Put it into a list.")
    if pairs is not None and len(pairs) != len(texts):
        raise ConfigError(f"{len(texts)} texts came with {len(pairs)} others.", hint="Give one for each.")


def _framed(first: list[Entry], second: list[Entry] | None, start: Entry, end: Entry) -> list[Entry]:
    single = [start, *first, end]
    return single if second is None else [*single, end, *second, end]


def _cut(first: list[Entry], second: list[Entry] | None, room: int | None) -> tuple[list[Entry], list[Entry] | None]:
    """Leave out what has no room, one by one from the end of the longer list, of the second if both are alike."""
    if room is None:
        return first, second
    if second is None:
        return first[:room], None
    kept = min(len(second), max(room // 2, room - len(first)))
    return first[: room - kept], second[:kept]
