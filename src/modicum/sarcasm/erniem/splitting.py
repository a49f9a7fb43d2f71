"""ERNIE-M's rule: the pieces of SentencePiece are split further, after it has chosen them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

SPACE = "▁"  # SentencePiece's letter for a space
_PUNCTUATION = frozenset(",;:.?!~，；：。？！《》【】")
_CACHED = 1 << 16  # ours: pieces whose parts are kept; a text of any language has fewer


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
