"""Pairs of texts from the files that users have, their tokenizer, and the tokens of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import torch
from torch import Tensor

from modicum.core.extras import require
from modicum.core.tables import read_records, read_text, source_name
from modicum.errors import ConfigError, DataError, ModelError
from modicum.textdiffusion.configuration import SeqDiffuSeqConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_NAMES = (("src", "trg"), ("source", "target"))  # those of DiffuSeq first
# In the order of the paper's tokenizer; the second of each is that of BERT.
_SPECIAL = {
    "bos_token_id": ("<s>", "[CLS]"),
    "pad_token_id": ("<pad>", "[PAD]"),
    "eos_token_id": ("</s>", "[SEP]"),
}
_OTHERS = ("<unk>", "<mask>")
_FRAME = 2  # tokens that begin and end a text


@dataclass(frozen=True, kw_only=True, slots=True)
class TextPair:
    """A source and its target."""

    source: str
    target: str
    row: str = "This pair"  # where it stands, for messages: "train.jsonl, line 3"


class Example(TypedDict):
    """A pair as tokens."""

    input_ids: Tensor  # shape (source,)
    labels: Tensor  # shape (target,), without padding


def read_pairs(path: Path | str, targets: Path | str | None = None) -> list[TextPair]:
    """Read pairs: JSON lines or a CSV or TSV table with src and trg (or source and target), or two parallel texts.

    Args:
        path: a .jsonl, .csv or .tsv file; with ``targets`` a text with one source a line. A name may end in .gz there.
        targets: a text with one target a line.

    Returns:
        The pairs in their order.

    Raises:
        DataError: if a row lacks one of the two, or it is empty or no text, or two texts differ in length.
    """
    if targets is not None:
        return _parallel(path, targets)
    name = source_name(path)
    columns, records = read_records(path)
    source, target = next((pair for pair in _NAMES if set(pair) <= set(columns)), _NAMES[0])
    return [
        _pair(record.cells.get(source), record.cells.get(target), f"{name}, line {record.line}", (source, target))
        for record in records
    ]


def train_tokenizer(
    texts: Iterable[str], *, size: int = 10_005, split: Literal["bytes", "words"] = "bytes"
) -> Tokenizer:
    """Make a tokenizer for source and target.

    Args:
        texts: of the training data, both sides.
        size: tokens at most, the five special ones in it: <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> 4.
        split: "bytes" for byte-level BPE, "words" for one token a word between spaces.

    Returns:
        A tokenizer of the library tokenizers.
    """
    tokenizers = require("tokenizers", extra="text", purpose="A tokenizer")
    special = [*(names[0] for names in _SPECIAL.values()), *_OTHERS]
    options: dict[str, Any] = {"vocab_size": size, "special_tokens": special, "show_progress": False}
    if split == "words":
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="<unk>"))  # noqa: S106 - no password
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        trainer = tokenizers.trainers.WordLevelTrainer(**options)
    else:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        trainer = tokenizers.trainers.BpeTrainer(initial_alphabet=alphabet, **options)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def configure(tokenizer: Tokenizer, **options: Any) -> SeqDiffuSeqConfig:
    """Make the configuration of a network for a tokenizer, which its checkpoints then ask for.

    Args:
        tokenizer: with tokens that begin, fill and end a text, named as in BART or BERT.
        **options: of `SeqDiffuSeqConfig`.

    Returns:
        The configuration.

    Raises:
        ConfigError: if the tokenizer lacks one of these tokens, or an option is out of range.
    """
    return SeqDiffuSeqConfig(
        vocab_size=tokenizer.get_vocab_size(), tokenizer_hash=fingerprint(tokenizer), **_special(tokenizer), **options
    )


def fingerprint(tokenizer: Tokenizer) -> str:
    """Hash what a tokenizer does, without how it pads or truncates."""
    content = json.loads(tokenizer.to_str()) | {"padding": None, "truncation": None}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """Copy a tokenizer without how it pads or truncates, which would become part of a text."""
    tokenizer = type(tokenizer).from_str(tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def check_tokenizer(tokenizer: Tokenizer, config: SeqDiffuSeqConfig) -> None:
    """Refuse a tokenizer whose numbers mean other tokens to the network."""
    named = all(getattr(config, name) == token for name, token in _special(tokenizer).items())
    hashed = config.tokenizer_hash is None or config.tokenizer_hash == fingerprint(tokenizer)
    if not (named and hashed and tokenizer.get_vocab_size() == config.vocab_size):
        raise ModelError(
            f"The tokenizer, of {tokenizer.get_vocab_size()} tokens, is not the one that the network was made for, of "
            f"{config.vocab_size}.",
            hint="Use the tokenizer.json that was saved with the network, or make a network for this one.",
        )


def encode_pairs(
    pairs: Sequence[TextPair], tokenizer: Tokenizer, config: SeqDiffuSeqConfig, *, truncate: bool = False
) -> list[Example]:
    """Give the tokens of pairs, each text between the tokens that begin and end it.

    Args:
        pairs: at least one.
        tokenizer: of the network.
        config: of the network.
        truncate: cut what is longer than the canvas, or than a source may be; else it is refused.

    Returns:
        Tokens of the pairs in their order.

    Raises:
        ModelError: if the tokenizer is not that of the network.
        DataError: if there are no pairs, a text has no tokens, or one that frames or fills it, or some are too long.
    """
    check_tokenizer(tokenizer, config)
    if not pairs:
        raise DataError("There are no pairs.", hint="Give at least one.")
    rows = [pair.row for pair in pairs]
    sources = _encoded("source", [pair.source for pair in pairs], rows, tokenizer, config, truncate=truncate)
    targets = _encoded("target", [pair.target for pair in pairs], rows, tokenizer, config, truncate=truncate)
    return [
        Example(input_ids=torch.tensor(source), labels=torch.tensor(target))
        for source, target in zip(sources, targets, strict=True)
    ]


def room(tokenizer: Tokenizer, texts: Sequence[str], *, at_most: int) -> int:
    """Give the positions that the longest text takes, up to a limit."""
    found = plain(tokenizer).encode_batch(list(texts), add_special_tokens=False)
    return min(at_most, _FRAME + max((len(each.ids) for each in found), default=1))


def encode_sources(
    sources: Sequence[str], tokenizer: Tokenizer, config: SeqDiffuSeqConfig, *, truncate: bool
) -> list[list[int]]:
    """Give the tokens of sources alone."""
    check_tokenizer(tokenizer, config)
    rows = [f"Source {index}" for index in range(len(sources))]
    return _encoded("source", sources, rows, tokenizer, config, truncate=truncate)


def padded(rows: Sequence[Any], value: int, length: int | None = None) -> tuple[Tensor, Tensor]:
    """Stack sequences of tokens, filled to a length or to the longest, with a mask of what is not filled."""
    table = torch.full((len(rows), max(map(len, rows)) if length is None else length), value)
    for row, tokens in zip(table, rows, strict=True):
        row[: len(tokens)] = torch.as_tensor(tokens)
    return table, torch.arange(table.shape[1]) < torch.tensor([[len(tokens)] for tokens in rows])


def _encoded(
    side: Literal["source", "target"],
    texts: Sequence[str],
    rows: Sequence[str],
    tokenizer: Tokenizer,
    config: SeqDiffuSeqConfig,
    *,
    truncate: bool,
) -> list[list[int]]:
    limit = (config.source_length if side == "source" else config.target_length) - _FRAME
    found = plain(tokenizer).encode_batch(list(texts), add_special_tokens=False)
    for row, each in zip(rows, found, strict=True):
        if not each.ids:
            raise DataError(f"{row}: the {side} is empty.", hint="Drop that row, or write its text.")
    # A target ends at the token that ends it, and its begin is cut; of a source padding alone is hidden.
    control = {config.pad_token_id}
    if side == "target":
        control |= {config.bos_token_id, config.eos_token_id}
    for row, each in zip(rows, found, strict=True):
        if inside := control.intersection(each.ids):
            raise DataError(
                f"{row}: the {side} has {tokenizer.id_to_token(min(inside))} in it, which begins, ends or fills texts.",
                hint="Write it in another way, or take it out.",
            )
    long = [(row, len(each.ids)) for row, each in zip(rows, found, strict=True) if len(each.ids) > limit]
    if long and not truncate:
        what = "canvas" if side == "target" else "longest source"
        raise DataError(
            f"{len(long)} of {len(texts)} {side}s have more than the {limit} tokens that the {what} has room for "
            f"beside those that begin and end it, first the {side} of {long[0][0]} with {long[0][1]}.",
            hint=f"Cut them (truncate, --truncate), or make a network with a larger {side}_length.",
        )
    bos, eos = config.bos_token_id, config.eos_token_id
    return [[bos, *each.ids[:limit], eos] for each in found]


def _special(tokenizer: Tokenizer) -> dict[str, int]:
    found = {name: [tokenizer.token_to_id(token) for token in names] for name, names in _SPECIAL.items()}
    known = {name: next((token for token in ids if token is not None), None) for name, ids in found.items()}
    if missing := [name for name, token in known.items() if token is None]:
        raise ConfigError(
            f"The tokenizer has none of the tokens {' and '.join(_SPECIAL[missing[0]])}.",
            hint="Make one by train_tokenizer, or add them.",
        )
    return {name: token for name, token in known.items() if token is not None}


def _parallel(sources: Path | str, targets: Path | str) -> list[TextPair]:
    texts = [read_text(path).removesuffix("\n").split("\n") for path in (sources, targets)]
    if len(texts[0]) != len(texts[1]):
        raise DataError(
            f"{source_name(sources)} has {len(texts[0])} lines and {source_name(targets)} {len(texts[1])}.",
            hint="Write the target of each source in the line of the same number.",
        )
    rows = (f"{source_name(sources)}, line {line}" for line in range(1, len(texts[0]) + 1))
    return [
        _pair(source.rstrip("\r"), target.rstrip("\r"), row, ("source", "target"))
        for source, target, row in zip(*texts, rows, strict=True)
    ]


def _pair(source: object, target: object, row: str, names: tuple[str, str]) -> TextPair:
    for name, text in zip(names, (source, target), strict=True):
        if text is None:
            raise DataError(f"{row} has no {name}.", hint='Write {"src": "...", "trg": "..."} in each row.')
        if not isinstance(text, str) or not text.strip():
            state = "empty" if isinstance(text, str) else f"no text, but {text!r}"
            raise DataError(f"{row}: {name} is {state}.", hint="Write its text, or drop the row.")
    return TextPair(source=str(source), target=str(target), row=row)
