"""Samples belong to their source, whatever stands beside it; fixed tokens stay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.textdiffusion.ranks import SMALL
from torch import Tensor

from modicum.errors import ConfigError
from modicum.textdiffusion import SeqDiffuSeqConfig, SeqDiffuSeqForConditionalGeneration, choose

SOURCES = [[0, 5, 6, 2], [0, 7, 2], [0, 8, 9, 10, 3, 2], [0, 4, 4, 2], [0, 11, 2]]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture(scope="module")
def model() -> SeqDiffuSeqForConditionalGeneration:
    """Give a network whose weights are large enough for its samples to differ."""
    model = SeqDiffuSeqForConditionalGeneration(SeqDiffuSeqConfig(**SMALL)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.6, generator=generator)
            elif name.endswith("bias"):
                weight.zero_()
    return model


def generate(model: SeqDiffuSeqForConditionalGeneration, sources: list[list[int]], **options: Any) -> list[list[int]]:
    longest = max(map(len, sources))
    ids = torch.tensor([source + [1] * (longest - len(source)) for source in sources])
    return model.generate(ids, generator=seeded(), **{"num_inference_steps": 4, **options}).tolist()


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m"])
def test_a_sample_depends_neither_on_its_batch_nor_on_its_order_nor_on_the_number_of_candidates(
    model: SeqDiffuSeqForConditionalGeneration, sampler: str
) -> None:
    options = {"selection": "none", "sampler": sampler}
    together = generate(model, SOURCES, num_return_sequences=4, **options)  # SD-9
    backwards = generate(model, SOURCES[::-1], num_return_sequences=2, **options)
    for index, source in enumerate(SOURCES):
        alone = generate(model, [source], num_return_sequences=3, **options)
        assert alone == together[4 * index : 4 * index + 3]
        place = 2 * (len(SOURCES) - 1 - index)
        assert alone[:2] == backwards[place : place + 2]
    assert len({tuple(row) for row in together}) > 8, "the samples hardly differ"


def test_other_seeds_and_no_seed_give_other_samples(model: SeqDiffuSeqForConditionalGeneration) -> None:
    ids = torch.tensor(SOURCES[:1])
    draw = lambda generator: model.generate(ids, num_inference_steps=4, selection="none", generator=generator)
    used = seeded()
    assert torch.equal(draw(used), draw(used)), "the generator is advanced, so that batches differ"
    assert not torch.equal(draw(seeded()), draw(torch.Generator().manual_seed(8)))
    assert not torch.equal(draw(None), draw(None))


def test_selection_keeps_the_candidate_of_least_risk(model: SeqDiffuSeqForConditionalGeneration) -> None:
    every = generate(model, SOURCES, selection="none")
    texts = [[token for token in row if token > 2] for row in every]
    chosen = choose([texts[first : first + 10] for first in range(0, 50, 10)])
    assert generate(model, SOURCES) == [every[10 * row + index] for row, index in enumerate(chosen)]


def test_nothing_but_padding_follows_the_end(model: SeqDiffuSeqForConditionalGeneration) -> None:
    rows = generate(model, SOURCES, num_return_sequences=40, selection="none")
    ended = [row for row in rows if 2 in row[:-1]]
    assert ended, "no sample ends early"
    for row in ended:
        assert set(row[row.index(2) + 1 :]) <= {1}


def test_every_step_of_the_schedule_with_both_variances(model: SeqDiffuSeqForConditionalGeneration) -> None:
    options = {"num_inference_steps": 40, "selection": "none"}
    right = generate(model, SOURCES, **options)
    assert generate(model, SOURCES, posterior_variance="released", **options) != right
    with pytest.raises(ConfigError, match="defined for all 40 steps, got 4"):
        generate(model, SOURCES, posterior_variance="released")


def test_fixed_tokens_stay_and_change_the_others(model: SeqDiffuSeqForConditionalGeneration) -> None:
    known = [{0: 0, 4: 9}, {}, {1: 5}, {}, {3: 3}]
    options = {"selection": "none", "num_return_sequences": 6, "num_inference_steps": 8}
    rows, free = (generate(model, SOURCES, known_tokens=given, **options) for given in (known, None))
    for index, fixed in enumerate(known):
        for row in rows[6 * index : 6 * index + 6]:
            assert {position: row[position] for position in fixed} == fixed
    assert rows[6:12] == free[6:12]
    before = lambda found: [row[1:4] for row in found[:6]]
    assert before(rows) != before(free), "the other positions do not look at what is fixed"


def test_a_shorter_canvas_begins_with_the_same_noise(model: SeqDiffuSeqForConditionalGeneration) -> None:
    assert {len(row) for row in generate(model, SOURCES, length=3)} == {3}


def test_what_generate_refuses(model: SeqDiffuSeqForConditionalGeneration) -> None:
    for options, words in (
        ({"num_inference_steps": 0}, "from 1 to 40 steps, got 0"),
        ({"num_inference_steps": 41}, "from 1 to 40 steps, got 41"),
        ({"num_return_sequences": 0}, "num_return_sequences is 0"),
        ({"length": 6}, "length 6, for a canvas of 5"),
        ({"selection": "best"}, "selection is 'best'. Use one of: mbr, none"),
        ({"sampler": "euler"}, "sampler is 'euler'"),
        ({"posterior_variance": "official"}, "posterior_variance is 'official'"),
        ({"known_tokens": [{}]}, "fixed tokens for 1 sources, but 5 sources"),
        ({"known_tokens": [{}, {5: 3}, {}, {}, {}]}, "Source 1 fixes position 5 to token 3, but there are 5 positions"),
        ({"known_tokens": [{0: 12}, {}, {}, {}, {}]}, "token 12, but there are 5 positions and 12 tokens"),
        ({"known_tokens": [{0: -1}, {}, {}, {}, {}]}, "token -1"),
    ):
        with pytest.raises(ConfigError, match=words):
            generate(model, SOURCES, **options)
    mask: Tensor = torch.tensor([[1, 1], [0, 0]])
    with pytest.raises(ConfigError, match="1 of 2 sources have no token"):
        model.generate(torch.tensor([[0, 2], [0, 2]]), mask)
    for ids in (torch.tensor([0, 2]), torch.zeros(1, 9, dtype=torch.long)):
        with pytest.raises(ConfigError, match=r"must have the shape \(B, source\), with up to 8 tokens"):
            model.generate(ids)
