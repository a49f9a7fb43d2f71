"""Integrated gradients: shares that add up, and belong to characters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.unit.sarcasm.tiny_encoder import write_encoder, write_examples

from modicum.errors import ModelError
from modicum.sarcasm.configuration import EncoderSettings
from modicum.sarcasm.encoder.explanation import explain
from modicum.sarcasm.encoder.model import EncoderModel
from modicum.sarcasm.encoder.modeling import SarcasmModel
from modicum.sarcasm.encoder.training import EncoderLearner

TEXT = "the cats, great mat!"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EncoderModel:
    place = write_encoder(tmp_path_factory.mktemp("encoder"))
    settings = EncoderSettings(epochs=6, batch=8, rate=3e-3, pooling="mean")
    return EncoderLearner(encoder=place, settings=settings, length=24).fit(write_examples(60), seed=0)


def test_shares_add_up_to_the_logit(model: EncoderModel) -> None:  # XPUDU-C8
    found = explain(model, TEXT)
    total = sum(token.share for token in found.tokens)
    assert found.gap < 1e-3
    assert total == pytest.approx(found.logit - found.baseline, abs=1e-3)
    assert found.logit == pytest.approx(model([TEXT]).sarcastic[0], abs=1e-5)
    assert found.gap == pytest.approx(abs(total - (found.logit - found.baseline)), abs=1e-9)


def test_shares_add_up_to_the_rank(model: EncoderModel) -> None:  # XPUDU-C8
    found, rank = explain(model, TEXT, head="rank", tolerance=1e-6), model([TEXT]).rank
    assert rank is not None
    assert found.gap < 1e-6 < abs(found.logit - found.baseline) / 100
    assert found.logit == pytest.approx(rank[0], abs=1e-6)
    assert sum(token.share for token in found.tokens) == pytest.approx(found.logit - found.baseline, abs=1e-6)
    assert [it.share for it in found.tokens] != [it.share for it in explain(model, TEXT).tokens]


def test_texts_of_equal_length_have_one_baseline(model: EncoderModel) -> None:
    one, other = (explain(model, text, head="rank") for text in ("great the cat", "the bus ran"))
    assert one.baseline == pytest.approx(other.baseline, abs=1e-6)


def test_a_model_that_ranks_no_text_has_no_rank_to_explain(model: EncoderModel, tmp_path: Path) -> None:
    message = r"was trained without pairs of texts. Train it on examples that have a rephrase"
    network = SarcasmModel.from_encoder(write_encoder(tmp_path), length=24, learnt=("sarcastic",))
    with pytest.raises(ModelError, match=message):
        explain(EncoderModel(network, model.tokenizer), TEXT, head="rank")


def test_tokens_are_found_in_the_text(model: EncoderModel) -> None:  # XPUDU-C8
    spans = [TEXT[token.start : token.end] for token in explain(model, TEXT).tokens]
    assert spans == ["the", "cat", "s", ",", "great", "mat", "!"]


def test_the_word_that_makes_it_sarcastic_has_the_largest_share(model: EncoderModel) -> None:
    found = explain(model, "great the cat sat on a mat")
    largest = max(found.tokens, key=lambda token: token.share)
    assert found.text[largest.start : largest.end] == "great"
    assert largest.share > 0.5 * (found.logit - found.baseline)


def test_more_points_are_taken_until_the_gap_is_small(model: EncoderModel) -> None:
    loose, tight = explain(model, TEXT, tolerance=1e9), explain(model, TEXT, tolerance=0.0)
    assert (loose.points, tight.points) == (32, 512)
    assert tight.gap < 1e-3


def test_the_points_do_not_depend_on_the_budget(model: EncoderModel) -> None:
    small = EncoderModel(model.model, model.tokenizer, budget=20)
    one, other = explain(model, TEXT), explain(small, TEXT)
    assert [it.share for it in one.tokens] == pytest.approx([it.share for it in other.tokens], abs=1e-5)


def test_what_was_cut_has_no_share_and_is_reported(model: EncoderModel) -> None:
    long = "the cat " * 15
    with pytest.warns(UserWarning, match=r"1 of 1 texts have more than 24 tokens"):
        found = explain(model, long)
    assert len(found.tokens) == 22
    assert found.tokens[-1].end < len(long)


def test_explaining_leaves_no_gradient(model: EncoderModel) -> None:
    explain(model, TEXT)
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.model.parameters())
    assert torch.is_grad_enabled()


def test_an_empty_text_has_no_tokens(model: EncoderModel, tmp_path: Path) -> None:
    found = explain(model, "")
    assert found.tokens == ()
    assert found.logit == found.baseline
