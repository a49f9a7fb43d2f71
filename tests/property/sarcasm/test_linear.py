"""Explanations of any text, and thresholds of any numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from modicum.sarcasm.data.examples import Example
from modicum.sarcasm.decisions import best_threshold
from modicum.sarcasm.explanation import explain_linear
from modicum.sarcasm.linear import LinearLearner, LinearModel

TEXTS = ["oh great, ça va", "İstanbul is so great", "ΣΟΦΟΣ σοφός great", "رائع جدا يا صديقي", "great great", "so so"]
MODELS = [
    LinearLearner(features=kind).fit(
        [Example(text=text, language="en", sarcastic=place % 2) for place, text in enumerate(TEXTS * 2)]
    )
    for kind in ("char", "char+word")
]
LETTERS = st.sampled_from("  \t\n\u00a0\u2028\x1cgreatosİıΣςÇçيار.,!ßǰ\u0307")


# XPUDU-C8
@given(st.text(LETTERS, max_size=40) | st.text(max_size=30))
@pytest.mark.parametrize("model", MODELS)
def test_contributions_of_any_text_sum_to_its_logit(model: LinearModel, text: str) -> None:
    found = explain_linear(model, text)
    assert found.intercept + sum(value for _, value in found.ngrams) == pytest.approx(found.logit, abs=1e-9)
    assert found.intercept + found.characters.sum() == pytest.approx(found.logit, abs=1e-9)
    assert not any(found.characters[place] for place, letter in enumerate(text) if letter.isspace())


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30))
def test_no_cut_is_better(pairs: list[tuple[int, bool]]) -> None:
    chances, labels = np.array([(it / 6, label) for it, label in [*pairs, (3, True)]]).T
    score = f1_score(labels, chances >= best_threshold(chances, labels))
    assert all(f1_score(labels, chances >= cut) <= score + 1e-12 for cut in chances)
