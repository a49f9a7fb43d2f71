"""Training examples from which the shortcuts of the collection are taken.

Both functions are for the training part of a split, *after* splitting: what they add or cut has no fold of its own,
and what is held out is scored as it was written. Crop first and add rephrases then: rephrases are left whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from modicum.core.seeding import numpy_generator
from modicum.errors import DataError
from modicum.sarcasm.examples import CATEGORIES, LANGUAGES, Example

_WORD = re.compile(r"\S+")


def length_matched(examples: Sequence[Example], seed: int) -> list[Example]:
    """Crop texts that are not sarcastic to as many words as sarcastic ones have."""
    # Each is given a number of words drawn from the sarcastic texts of its language, and from a random word on keeps
    # that many as they stand; a text that has no more stays as it is.
    generator = numpy_generator(seed, "crop")
    lengths = {
        language: np.array([len(it.text.split()) for it in examples if it.language == language and it.sarcastic])
        for language in LANGUAGES
    }
    return [
        replace(it, text=_cropped(it, lengths[it.language], generator)) if it.sarcastic == 0 else it for it in examples
    ]


def with_rephrases(examples: Sequence[Example]) -> list[Example]:
    """Add the rephrase of each sarcastic text as an example that is not."""
    # It has the language and the dialect of its parent and no category.
    return [*examples, *(_plain(it, it.rephrase) for it in examples if it.sarcastic and it.rephrase)]


def _cropped(example: Example, lengths: np.ndarray, generator: np.random.Generator) -> str:
    if not len(lengths):
        raise DataError(
            f"No text of {example.language!r} is sarcastic, so there is no length to crop the others to.",
            hint="Give sarcastic examples of that language, too.",
        )
    words = list(_WORD.finditer(example.text))
    kept = int(generator.choice(lengths))
    if kept >= len(words):
        return example.text
    first = int(generator.integers(len(words) - kept + 1))
    return example.text[words[first].start() : words[first + kept - 1].end()]


def _plain(example: Example, rephrase: str) -> Example:
    categories = None if example.categories is None else (0,) * len(CATEGORIES)
    return Example(
        text=rephrase, language=example.language, sarcastic=0, dialect=example.dialect, categories=categories
    )
