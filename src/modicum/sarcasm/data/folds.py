"""Folds and splits in which no text is held out while its duplicate, or its rephrase, is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from modicum.core.splits import Indices, folds, hold_out
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import Example

_HELD_SHARE = 0.2  # ours, where there are no folds


def key(text: str) -> str:
    """Give what two texts share that differ in case and white space only."""
    return " ".join(text.lower().split())


def groups(examples: Sequence[Example]) -> Indices:
    """Number the examples so that those share a number which are duplicates, or which a rephrase connects."""
    numbers: dict[str, int] = {}

    def number(text: str) -> int:
        return numbers.setdefault(key(text), len(numbers))

    edges = np.array([(number(it.text), number(it.rephrase or it.text)) for it in examples], dtype=np.int64)
    texts, rephrases = edges.reshape(-1, 2).T
    graph = coo_array((np.ones(len(texts)), (texts, rephrases)), shape=(len(numbers), len(numbers)))
    _, components = connected_components(graph, directed=False)
    return np.unique(components[texts], return_inverse=True)[1].astype(np.int64)


def held_out_parts(examples: Sequence[Example], count: int, seed: int) -> list[tuple[Indices, Indices]]:
    """Give what is trained on and what is held out of each fold; of 1 fold, a fifth is held out."""
    if count < 1:
        raise ConfigError(f"The number of folds is {count}.", hint="Give 1 or more.")
    return grouped_folds(examples, count, seed) if count > 1 else [grouped_split(examples, _HELD_SHARE, seed)]


def grouped_folds(examples: Sequence[Example], count: int, seed: int) -> list[tuple[Indices, Indices]]:
    """Part examples into folds of like languages and labels, each group in one fold."""
    if count < 2:
        raise ConfigError(f"The number of folds is {count}.", hint="Give 2 or more.")
    strata, members = _parted(examples, count)
    return folds(strata, count, seed, groups=members)


def grouped_split(examples: Sequence[Example], share: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out a share of the groups of each language and label."""
    if not 0 < share < 1:
        raise ConfigError(f"The share that is held out is {share}.", hint="Give a number between 0 and 1, such as 0.2.")
    strata, members = _parted(examples, 2)
    return hold_out(len(examples), share, seed, labels=strata, groups=members)


def _parted(examples: Sequence[Example], needed: int) -> tuple[Indices, Indices]:
    """Give the stratum and the group of each example."""
    if not examples:
        raise DataError("There are no examples to split.", hint="Give some.")
    names = [f"{example.language}/{example.sarcastic}" for example in examples]
    strata, members = np.unique(names, return_inverse=True)[1].astype(np.int64), groups(examples)
    for stratum in np.unique(strata):
        of_stratum = strata == stratum
        if (distinct := len(np.unique(members[of_stratum]))) < needed:
            one = examples[int(np.argmax(of_stratum))]
            raise DataError(
                f"Only {distinct} distinct texts in {one.language!r} are labelled {one.sarcastic}, such as "
                f"{one.text[:40]!r}, but {needed} are needed.",
                hint="Give more, ask for fewer folds (--folds), or name the language of all texts (--language).",
            )
    return strata, members
