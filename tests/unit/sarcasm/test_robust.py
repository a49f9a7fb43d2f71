"""Crops and rephrases."""

from __future__ import annotations

import numpy as np
import pytest

from modicum.errors import DataError
from modicum.sarcasm.data.examples import Example, Language
from modicum.sarcasm.data.preparation import length_matched, with_rephrases


def made(words: int, language: Language, sarcastic: int | None) -> Example:
    text = "  ".join(f"{language}{place}" for place in range(words))
    return Example(text=text, language=language, sarcastic=sarcastic)


EXAMPLES = [
    *(made(words, "en", 1) for words in (3, 4, 5)),
    *(made(words, "ar", 1) for words in (10, 12)),
    *(made(40, "en", 0) for _ in range(300)),
    *(made(40, "ar", 0) for _ in range(300)),
]


def lengths(examples: list[Example], language: Language) -> list[int]:
    return [len(it.text.split()) for it in examples if it.language == language and it.sarcastic == 0]


def test_others_get_the_lengths_of_the_sarcastic_of_their_language() -> None:
    cropped = length_matched(EXAMPLES, seed=0)
    assert set(lengths(cropped, "en")) == {3, 4, 5}
    assert set(lengths(cropped, "ar")) == {10, 12}
    assert np.mean(lengths(cropped, "en")) == pytest.approx(4, abs=0.2)


def test_crops_stand_as_they_are_in_the_text_and_begin_anywhere() -> None:
    cropped = length_matched(EXAMPLES, seed=0)
    pairs = [(new, old) for new, old in zip(cropped, EXAMPLES, strict=True) if old.sarcastic == 0]
    assert all(f" {new.text} " in f" {old.text} " for new, old in pairs)
    starts = {new.text.split()[0] for new, _ in pairs if new.language == "en"}
    assert {"en0", "en37"} <= starts
    assert "en38" not in starts  # three words at least follow


def test_sarcastic_unlabelled_and_shorter_texts_stay() -> None:
    short, unknown = made(2, "en", 0), made(50, "en", None)
    given = [*EXAMPLES[:5], short, unknown]
    assert length_matched(given, seed=1) == given


def test_seeds_reproduce_and_differ() -> None:
    assert length_matched(EXAMPLES, seed=3) == length_matched(EXAMPLES, seed=3)
    assert length_matched(EXAMPLES, seed=3) != length_matched(EXAMPLES, seed=4)


def test_a_language_without_sarcastic_texts_is_refused() -> None:
    with pytest.raises(DataError, match="No text of 'ar' is sarcastic"):
        length_matched([made(3, "en", 1), made(3, "ar", 0)], seed=0)


def test_rephrases_become_examples_of_the_other_label() -> None:
    sarcastic = Example(
        text="great", language="ar", sarcastic=1, rephrase="bad", dialect="nile", categories=(1, 0, 0, 0, 0, 0)
    )
    others = [Example(text="so", language="en", sarcastic=0), Example(text="sure", language="en", sarcastic=1)]
    *kept, added = with_rephrases([sarcastic, *others])
    assert kept == [sarcastic, *others]
    assert added == Example(text="bad", language="ar", sarcastic=0, dialect="nile", categories=(0,) * 6)
