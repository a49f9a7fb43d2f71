"""The vocabulary of ERNIE-M: a token a line, numbered from 0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modicum.core.files import replacing
from modicum.errors import ConfigError, DataError

SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
_PAD = 1  # where XLM-RoBERTa's positions begin


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
