"""Minimum Bayes risk against a loop over pairs, and the diversity of candidates."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from modicum.errors import ConfigError, DataError
from modicum.textdiffusion import choose, distinct_n, score_texts

Sets = list[list[list[str]]]


def random_sets(count: int, candidates: int = 10) -> Sets:
    """Draw sets of variants of one text, with repeated and with empty ones."""
    generator = np.random.default_rng(0)
    sets: Sets = []
    for _ in range(count):
        words = generator.integers(2, 12)
        base = generator.integers(0, words, generator.integers(0, 13)).tolist()
        sets.append([])
        for _ in range(candidates):
            text = list(base)
            for _ in range(generator.integers(0, 4)):
                change, place = generator.integers(3), generator.integers(len(text) + 1)
                if change == 0:
                    text.insert(place, int(generator.integers(words)))
                elif place < len(text):
                    text[place : place + 1] = [] if change == 1 else [int(generator.integers(words))]
            sets[-1].append([f"w{token}" for token in text])
    return sets


def sentence_bleu(hypothesis: list[str], reference: list[str]) -> float:
    """Papineni et al. 2002 with exponential smoothing and effective order, in the plainest way."""
    if not set(hypothesis) & set(reference):
        return 0.0
    logarithms, smooth = [], 1.0
    for n in range(1, min(4, len(hypothesis)) + 1):
        grams = [Counter(zip(*(text[k:] for k in range(n)), strict=False)) for text in (hypothesis, reference)]
        matches, total = sum((grams[0] & grams[1]).values()), len(hypothesis) - n + 1
        if not matches:
            smooth *= 2
        logarithms.append(math.log(100.0 * matches / total if matches else 100.0 / (smooth * total)))
    brevity = math.exp(min(0.0, 1 - len(reference) / len(hypothesis)))
    return brevity * math.exp(sum(logarithms) / len(logarithms))


def by_loop(sets: Sets, score: Callable[[list[str], list[str]], float]) -> list[int]:
    chosen: list[int] = []
    for texts in sets:
        totals = [sum(score(one, two) for j, two in enumerate(texts) if j != i) for i, one in enumerate(texts)]
        chosen.append(totals.index(max(totals)))
    return chosen


def test_the_choice_is_that_of_a_loop_ties_included() -> None:
    sets = random_sets(1000, candidates=5)  # SD-9
    repeated = sum(len({tuple(text) for text in texts}) < 5 for texts in sets)
    assert repeated > 300, "there are few ties"
    assert choose(sets) == by_loop(sets, sentence_bleu)


def test_the_choice_is_that_of_sacrebleu_and_takes_a_twentieth_of_its_time() -> None:
    metrics = pytest.importorskip("sacrebleu.metrics")
    bleu = metrics.BLEU(effective_order=True, tokenize="none")
    sets = random_sets(1000)  # SD-9
    choose(sets[:2])  # imports
    began = time.process_time()
    found = choose(sets)
    between = time.process_time()
    score = lambda one, two: bleu.sentence_score(" ".join(one), [" ".join(two)]).score
    assert found == by_loop(sets, score)
    assert time.process_time() - between > 10 * (between - began)  # measured: 43 times


def test_of_equals_the_first_is_chosen_and_tokens_may_be_anything() -> None:
    assert choose([[[1, 2], [1, 2]], [[], []], [["a"], ["b"]], [[7], [7]]]) == [0, 0, 0, 0]
    assert choose([[["x", "y"], ["a", "b", "c"], ["a", "b", "d"]]]) == [1]
    assert choose([[["only"]]]) == [0]
    assert choose([]) == []


def test_long_texts_are_compared_too() -> None:
    base = list(range(1500))
    assert choose([[base[:700], base, [*base[:-1], 7]]]) == [1]  # BLEU with both others, not with one


def test_each_source_needs_as_many_candidates() -> None:
    with pytest.raises(ConfigError, match=r"as many candidates, at least one, got \[1, 2\]"):
        choose([[["a"]], [["a"], ["b"]]])


def test_distinct_n_grams() -> None:
    assert distinct_n([[["a", "a", "b"]], [["c", "d"]]], 1) == pytest.approx((2 / 3 + 1) / 2)
    assert distinct_n([[["a", "b"], ["a", "b"], ["b", "a"]]], 2) == pytest.approx(2 / 3)
    assert distinct_n([[["a"]]], 4) == 0.0


def test_scores_have_the_copied_source_beside_them() -> None:
    candidates = [["a b c", "a b d"], ["x", "y z"]]
    scores = score_texts(candidates, [["a b d", "q"], ["y z"]], ["a b d", "x"], bleu=False)
    assert scores["error_rate"] == pytest.approx(3 / 5)  # one substitution, and one with an insertion
    assert scores["wrong"] == 1.0
    assert (scores["oracle_error_rate"], scores["oracle_wrong"]) == (0.0, 0.0)
    assert scores["copied_error_rate"] == pytest.approx(2 / 5)
    assert "bleu" not in scores
    with pytest.raises(DataError, match="A reference of source 1 is empty"):
        score_texts([["a"], ["b"]], [["a"], ["b", " "]], ["a", "b"], bleu=False)
    with pytest.raises(ConfigError, match="candidates for 1 and references for 1 of 2 sources"):
        score_texts([["a"]], [["a"]], ["a", "b"], bleu=False)


def test_bleu_is_that_of_sacrebleu_with_several_references() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    scores = score_texts([["a b c d e"], ["k l m n"]], [["a b c d f", "a b c d e"], ["k l m o"]], ["a b c d e", "z"])
    assert (
        scores["bleu"]
        == sacrebleu.corpus_bleu(["a b c d e", "k l m n"], [["a b c d f", "k l m o"], ["a b c d e", None]]).score
    )
    assert scores["copied_bleu"] < scores["bleu"]
