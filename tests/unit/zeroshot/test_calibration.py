from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError, DataError
from modicum.zeroshot.calibration import Abstention, check_calibration, corrected


def score(texts: Sequence[str]) -> Tensor:
    """Score three labels by the length of a text."""
    return torch.tensor([[0.3 * len(text), 1.0, -math.sqrt(len(text))] for text in texts])


def test_no_calibration_gives_the_scores() -> None:
    # GO-C9
    texts = ["", "a", "abcd"]
    assert torch.equal(corrected(score, texts, "none"), score(texts))


def test_content_free_calibration_is_uniform_without_content() -> None:
    # GO-C9
    found = corrected(score, ["", "abc"], "content-free").softmax(1)
    torch.testing.assert_close(found[0], torch.full((3,), 1 / 3), atol=1e-7, rtol=0)
    odds = score(["abc"]).softmax(1) / score([""]).softmax(1)
    torch.testing.assert_close(found[1], (odds / odds.sum())[0])


def test_the_batch_mean_divides_by_the_mean_probability() -> None:
    texts = ["a", "abcdef", "abcdefghijkl"]
    found = corrected(score, texts, "batch-mean").softmax(1)
    odds = score(texts).softmax(1) / score(texts).softmax(1).mean(0)
    torch.testing.assert_close(found, odds / odds.sum(1, keepdim=True))


@pytest.mark.parametrize(("name", "words"), [("content-free", "can cost more"), ("batch-mean", "equally frequent")])
def test_each_calibration_warns_of_what_it_assumes(name: str, words: str) -> None:
    with pytest.warns(UserWarning, match=words):
        check_calibration(name)  # type: ignore[arg-type]


def test_the_default_warns_of_nothing_and_others_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_calibration("none")
    with pytest.raises(ConfigError, match="'sinkhorn'"):
        check_calibration("sinkhorn")  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_true_label_is_possible_as_often_as_promised(alpha: float) -> None:
    # The mean coverage over draws lies between 1 - alpha and 1 - alpha + 1 / (n + 1).
    generator, n, coverage = torch_generator(0, "conformal"), 99, []
    for _ in range(200):
        scores = torch.randn(n + 200, 4, generator=generator)
        labels = torch.multinomial(scores.softmax(1), 1, generator=generator)[:, 0]
        fitted = Abstention.fit(scores[:n], labels[:n], alpha=alpha)
        coverage.append(fitted.possible(scores[n:]).gather(1, labels[n:, None]).float().mean().item())
    assert abs(np.mean(coverage) - (1 - alpha)) < 0.012


def test_it_abstains_unless_one_label_is_possible() -> None:
    fitted = Abstention(threshold=0.6, alpha=0.1)
    scores = torch.tensor([[0.9, 0.05, 0.05], [0.45, 0.45, 0.1], [1 / 3, 1 / 3, 1 / 3]]).log()
    assert fitted.possible(scores).sum(1).tolist() == [1, 2, 0]
    assert fitted.abstains(scores).tolist() == [False, True, True]


def test_too_few_rows_and_wrong_alphas_are_refused() -> None:
    with pytest.raises(DataError, match="needs 9 held-out rows or more, got 8"):
        Abstention.fit(torch.zeros(8, 2), torch.zeros(8, dtype=torch.long), alpha=0.1)
    Abstention.fit(torch.zeros(9, 2), torch.zeros(9, dtype=torch.long), alpha=0.1)
    with pytest.raises(ConfigError, match="alpha must be above 0"):
        Abstention.fit(torch.zeros(9, 2), torch.zeros(9, dtype=torch.long), alpha=1.0)
