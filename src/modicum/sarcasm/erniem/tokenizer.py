"""ERNIE-M's tokenizer: the numbers of the reference, and where in the text each of them comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import Tensor

from modicum.core.files import aside, make_folder, replacing
from modicum.errors import ConfigError, ModelError
from modicum.sarcasm.erniem.configuration import CONFIG_FILE, is_ernie_m, read_settings
from modicum.sarcasm.erniem.padding import pad_right
from modicum.sarcasm.erniem.segmenter import Segmenter
from modicum.sarcasm.erniem.vocabulary import SPECIAL, read_vocabulary, write_vocabulary

VOCABULARY_FILE = "vocab.txt"
SENTENCEPIECE_FILE = "sentencepiece.bpe.model"
SETTINGS_FILE = "tokenizer_config.json"
TOKENIZER_FILES = (VOCABULARY_FILE, SENTENCEPIECE_FILE, SETTINGS_FILE)
_CLASS = "ErnieMTokenizer"
_LONGEST = 512  # the table has 514 positions, and the first two are not used
_NOWHERE = (0, 0)
Entry = TypeVar("Entry")


class ErnieMTokenizer:
    """Texts to numbers, for an ERNIE-M and for the XLM-RoBERTa that it was converted to."""

    # It stands where a tokenizer of transformers does: it is called with a list of texts, and pads. A special token
    # that is written in a text, such as "[SEP]", is read as one, as transformers' tokenizers do.

    padding_side = "right"

    def __init__(self, vocab_file: Path, sentencepiece_file: Path, *, model_max_length: int = _LONGEST) -> None:
        self.model_max_length = model_max_length
        self._tokens = read_vocabulary(Path(vocab_file))
        self._numbers = {token: number for number, token in enumerate(self._tokens)}
        self._segmenter = Segmenter(Path(sentencepiece_file), [it for it in SPECIAL if it in self._numbers])
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
            part.write_bytes(self._segmenter.serialized())
        with replacing(Path(folder) / SETTINGS_FILE) as file:
            json.dump(settings, file, indent=2)

    def __len__(self) -> int:
        return len(self._tokens)

    def tokenize(self, text: str) -> list[str]:
        """Give the tokens of a text, also those that the vocabulary does not have."""
        return self._segmenter.tokens(text)

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """Give the tokens of numbers."""
        return [self._tokens[number] for number in ids]

    def encode(self, text: str) -> list[int]:
        """Give the numbers of ``[CLS] text [SEP]``."""
        return _framed(self._ids(text), None, self.cls_token_id, self.sep_token_id)

    def encode_pair(self, first: str, second: str) -> list[int]:
        """Give the numbers of ``[CLS] first [SEP] [SEP] second [SEP]``."""
        return _framed(self._ids(first), self._ids(second), self.cls_token_id, self.sep_token_id)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Give where in a text each of its tokens stands, as `encode` gives them."""
        return _framed(self._segmenter.spans(text), None, _NOWHERE, _NOWHERE)

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
                spans = _cut(
                    self._segmenter.spans(first), None if second is None else self._segmenter.spans(second), room
                )
                columns.setdefault("offset_mapping", []).append(_framed(*spans, _NOWHERE, _NOWHERE))
        return columns

    def pad(
        self,
        features: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
        *,
        padding: bool | Literal["longest", "max_length"] = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_tensors: Literal["pt"] = "pt",
    ) -> dict[str, Tensor]:
        """Pad on the right, and make tensors."""
        if not padding or return_tensors != "pt":
            raise ConfigError("Rows of unequal length make no tensor.", hint='Use padding=True, return_tensors="pt".')
        if not isinstance(features, Mapping):
            features = {name: [row[name] for row in features] for name in features[0]}
        rows = features["input_ids"]
        columns = {"attention_mask": [[1] * len(row) for row in rows], **features}
        longest = max((len(row) for row in rows), default=0)
        width = longest if padding != "max_length" else max_length or self.model_max_length
        if longest > width:
            raise ConfigError(f"A row has {longest} tokens, more than {width}.", hint="Call with truncation=True.")
        width += -width % (pad_to_multiple_of or 1)
        fill = {"input_ids": self.pad_token_id, "attention_mask": 0, "offset_mapping": _NOWHERE}
        return pad_right(columns, fill, width=width)

    def _room(self, max_length: int | None, *, pair: bool) -> int:
        length = self.model_max_length if max_length is None else max_length
        if (room := length - (4 if pair else 2)) < 1:
            raise ConfigError(
                f"max_length {length} leaves no room for anything but the special tokens.", hint="Make it longer."
            )
        return room

    def _ids(self, text: str) -> list[int]:
        numbers, unknown = self._numbers, self.unk_token_id
        return [numbers.get(token, unknown) for token in self._segmenter.tokens(text)]


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
