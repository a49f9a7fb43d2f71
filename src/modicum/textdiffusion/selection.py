"""The choice of one candidate among several, and how different candidates are."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain

import numpy as np

from modicum.errors import ConfigError
from modicum.textdiffusion import functional


def choose(candidates: Sequence[Sequence[Sequence[Hashable]]]) -> list[int]:
    """Choose for each source the candidate with the highest sum of sentence BLEU against the others (exact MBR).

    Args:
        candidates: for each source as many, each of them a sequence of tokens: words, or integers.

    Returns:
        An index for each source; of equals the first.

    Raises:
        ConfigError: if a source has no candidates, or not as many as the others.

    Source:
        Kumar and Byrne 2004; the released scorer loops over pairs with sacrebleu, to the same choice.
    """
    counts = {len(texts) for texts in candidates}
    if len(counts) > 1 or 0 in counts:
        raise ConfigError(
            f"Each source needs as many candidates, at least one, got {sorted(counts)}.",
            hint="Sample the same number for each source.",
        )
    if not candidates:
        return []
    texts = list(chain.from_iterable(candidates))
    numbers: dict[Hashable, int] = {}
    tokens = np.full((len(texts), max(1, *map(len, texts))), -1, dtype=np.int64)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = [numbers.setdefault(token, len(numbers)) for token in text]
    similarity = functional.pairwise_bleu(tokens.reshape(len(candidates), -1, tokens.shape[1]))
    return functional.minimum_bayes_risk(similarity).tolist()


def distinct_n(candidates: Sequence[Sequence[Sequence[Hashable]]], n: int) -> float:
    """Compute the share of different n-grams among all of the candidates of a source, as a mean over sources.

    Args:
        candidates: tokens of the candidates of each source. With one candidate each and n = 1 this is dist-1, with ten
            and n = 4 it is div-4 of DiffuSeq.
        n: tokens of an n-gram.

    Returns:
        From 0 to 1; sources without n-grams are left out, and 0 stands for none with any.
    """
    shares: list[float] = []
    for texts in candidates:
        grams = [tuple(text[start : start + n]) for text in texts for start in range(len(text) - n + 1)]
        if grams:
            shares.append(len(set(grams)) / len(grams))
    return float(np.mean(shares)) if shares else 0.0
