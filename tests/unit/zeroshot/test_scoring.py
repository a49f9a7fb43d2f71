from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.zeroshot.tiny import write_encoder
from tests.unit.zeroshot.tiny_models import SENTENCES, write_bert, write_t5
from torch import Tensor
from transformers import BartConfig, BartForConditionalGeneration

from modicum.core.seeding import seeded_globally
from modicum.errors import ConfigError, ModelError
from modicum.zeroshot.scoring import MaskedWords, SpanWords, WordPredictor, open_word_model, sequence_scores, split_long
from modicum.zeroshot.task import Task

TASK = Task(
    ["negative", "positive"],
    {"negative": ["terrible", "awful"], "positive": ["great", "good"]},
    ["{text} it was {mask} .", "{text} all in all , a {mask} film ."],
)
WORDS = ["great", "good", "new", "new york", "real estate", "terrible"]


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def t5(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SpanWords:
    found = open_word_model(write_t5(tmp_path_factory.mktemp("t5"), tied=request.param), "seq2seq")
    assert isinstance(found, SpanWords)
    return found


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> MaskedWords:
    found = open_word_model(write_bert(tmp_path_factory.mktemp("bert")), "mlm")
    assert isinstance(found, MaskedWords)
    return found


def one_by_one(model: Any, inputs: dict[str, Tensor], labels: list[list[int]]) -> Tensor:
    """Score each pair of a text and a label by a forward pass of transformers, without padding."""
    total = torch.zeros(len(inputs["input_ids"]), len(labels))
    with torch.inference_mode():
        for row, mask in enumerate(inputs["attention_mask"]):
            ids = inputs["input_ids"][row][mask.bool()][None]
            for column, label in enumerate(labels):
                logits = model(input_ids=ids, labels=torch.tensor([label])).logits[0]
                total[row, column] = logits.log_softmax(-1)[torch.arange(len(label)), torch.tensor(label)].sum()
    return total


@pytest.mark.parametrize("words", [WORDS, WORDS[:2], WORDS[5:], WORDS[3:5]], ids=["unequal", "two", "one", "long"])
def test_scores_are_those_of_transformers(t5: SpanWords, words: list[str]) -> None:
    # GO-C2: padding, unequal lengths, K = 1 and the attention mask
    inputs = t5.inputs([f"{text} it was <extra_id_0> ." for text in SENTENCES])
    assert (inputs["attention_mask"] == 0).any()
    ids = t5.label_ids(words)
    with torch.inference_mode():
        scores = t5.label_scores(t5.encode(inputs), ids, normalised=True)
    torch.testing.assert_close(scores, one_by_one(t5.model, inputs, ids), atol=1e-5, rtol=0)


def test_scores_are_those_of_lm_eval(t5: SpanWords) -> None:
    # GO-C3. lm-eval brings more than it tests here, so that CI goes without.
    harness = pytest.importorskip("lm_eval.models.huggingface", reason="lm-eval is not installed")
    instance = pytest.importorskip("lm_eval.api.instance").Instance
    other = harness.HFLM(pretrained=t5.model, tokenizer=t5.tokenizer, backend="seq2seq", device="cpu", batch_size=4)
    ids = t5.label_ids(WORDS)  # all with the second sentinel, since "new" begins "new york"
    texts = [f"{text} it was <extra_id_0> ." for text in SENTENCES]
    asked = [
        instance("loglikelihood", {}, (text, f"<extra_id_0> {word}<extra_id_1>"), number)
        for text in texts
        for number, word in enumerate(WORDS)
    ]
    theirs = torch.tensor([score for score, _ in other.loglikelihood(asked, disable_tqdm=True)])
    with torch.inference_mode():
        ours = t5.label_scores(t5.encode(t5.inputs(texts)), ids, normalised=True)
    torch.testing.assert_close(ours, theirs.view(len(texts), -1), atol=1e-5, rtol=0)
    assert ours.argmax(1).tolist() == theirs.view(len(texts), -1).argmax(1).tolist()


def test_a_constant_a_text_is_all_that_label_rows_leave_out(t5: SpanWords) -> None:
    # GO-C2: a softmax over labels of one step is that over the vocabulary, restricted
    inputs = t5.inputs([f"{text} <extra_id_0>" for text in SENTENCES])
    ids = t5.label_ids(["great", "terrible", "new"])
    assert {len(label) for label in ids} == {2}
    with torch.inference_mode():
        state = t5.encode(inputs)
        rows, entire = (t5.label_scores(state, ids, normalised=each) for each in (False, True))
    torch.testing.assert_close(rows.softmax(1), entire.softmax(1), atol=1e-6, rtol=1e-5)


def test_a_bart_is_scored_as_by_transformers() -> None:
    # GO-C2: another family, with a bias of its own on the logits
    config = BartConfig(
        vocab_size=50,
        d_model=16,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=40,
        init_std=0.5,
    )
    with seeded_globally(0, "bart"):
        model = BartForConditionalGeneration(config).eval()
        model.final_logits_bias.normal_()
        ids = torch.randint(4, 50, (5, 9))
    mask = torch.ones_like(ids)
    mask[1:3, 6:] = 0
    labels = [[7, 9], [7, 11, 12], [7, 11, 13], [20]]
    with torch.inference_mode():
        encoded = model.get_encoder()(input_ids=ids, attention_mask=mask)[0]
        scores = sequence_scores(model, encoded, mask, labels)
    expected = one_by_one(model, {"input_ids": ids, "attention_mask": mask}, labels)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_label_rows_are_the_gathered_logits_at_the_mask(bert: MaskedWords) -> None:
    # GO-C2
    inputs = bert.inputs([f"{text} it was [MASK] ." for text in SENTENCES])
    ids = bert.label_ids(["great", "terrible", "new york"])
    with torch.inference_mode():
        scores = bert.label_scores(bert.encode(inputs), ids)
        logits = bert.model(**inputs).logits[inputs["input_ids"] == bert.tokenizer.mask_token_id]
    gathered = torch.stack([logits[:, label].mean(1) for label in ids], dim=1)
    torch.testing.assert_close(scores, gathered, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["t5", "bert"])
def test_the_order_and_size_of_batches_change_nothing(tmp_path: Path, kind: str) -> None:
    # GO-C2: batch permutation
    model = (
        open_word_model(write_t5(tmp_path), "seq2seq") if kind == "t5" else open_word_model(write_bert(tmp_path), "mlm")
    )
    scores = WordPredictor(model, TASK).scores(SENTENCES)
    assert scores.shape == (len(SENTENCES), 2)
    assert scores.dtype == torch.float32
    turned = WordPredictor(model, TASK, batch=4).scores(SENTENCES[::-1]).flip(0)
    torch.testing.assert_close(turned.softmax(1), scores.softmax(1), atol=1e-5, rtol=0)


def test_the_head_is_multiplied_in_float32(bert: MaskedWords) -> None:
    inputs = bert.inputs([f"{text} it was [MASK] ." for text in SENTENCES])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        scores = bert.label_scores(bert.encode(inputs), bert.label_ids(["great", "terrible"]))
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, scores.bfloat16().float())


def test_templates_and_chunks_are_averaged(bert: MaskedWords) -> None:
    text = " ".join(SENTENCES)
    predictor = WordPredictor(bert, TASK, length=40)
    chunks, owner = split_long(bert.tokenizer, [text, "it was good"], predictor.room)
    assert " ".join(chunks[:-1]) == text
    assert owner.tolist() == [0] * (len(chunks) - 1) + [1]
    single = [
        WordPredictor(bert, Task(TASK.labels, TASK.verbalizer, [one]), length=40).scores(chunks)
        for one in TASK.templates
    ]
    mean = (single[0] + single[1]) / 2
    expected = torch.stack([mean[:-1].mean(0), mean[-1]])
    torch.testing.assert_close(predictor.scores([text, "it was good"]), expected, atol=1e-5, rtol=0)


def test_chunks_have_like_lengths_and_cut_no_word(bert: MaskedWords) -> None:
    text = " ".join(["clever lovely plot"] * 30)
    chunks, _ = split_long(bert.tokenizer, [text, ""], 20)
    lengths = [len(bert.tokenizer(chunk, add_special_tokens=False)["input_ids"]) for chunk in chunks[:-1]]
    assert max(lengths) <= 20 + 4
    assert max(lengths) - min(lengths) <= 8
    assert " ".join(chunks[:-1]).split() == text.split()
    assert chunks[-1] == ""


def test_a_mask_in_a_text_is_no_second_mask(bert: MaskedWords) -> None:
    predictor = WordPredictor(bert, TASK)
    with_mask, without = predictor.scores(["it was [MASK] bad", "it was   bad"])
    torch.testing.assert_close(with_mask, without)


def test_other_labels_are_scored_by_their_names(bert: MaskedWords) -> None:
    predictor = WordPredictor(bert, TASK)
    scores = predictor.name_scores(SENTENCES, ["positive", "sports"])
    torch.testing.assert_close(scores[:, 0], predictor.scores(SENTENCES)[:, 1])


def test_a_word_outside_the_vocabulary_is_refused(bert: MaskedWords) -> None:
    task = Task(["a", "b"], {"a": ["☃"], "b": ["great"]})
    with pytest.raises(ConfigError, match="'☃' is not in the vocabulary"):
        WordPredictor(bert, task)


def test_a_long_template_is_refused(bert: MaskedWords) -> None:
    with pytest.raises(ConfigError, match="leaves none for the text"):
        WordPredictor(bert, TASK, length=6)


def test_a_model_without_what_the_route_needs_is_refused(tmp_path: Path) -> None:
    folder, encoder = write_bert(tmp_path / "bert"), tmp_path / "encoder"
    encoder.mkdir()
    with pytest.raises(ModelError, match=r"bert' is no sequence-to-sequence model"):
        open_word_model(folder, "seq2seq")
    model = open_word_model(folder, "mlm")
    with pytest.raises(ModelError, match="no sentinels"):
        SpanWords(model.model, model.tokenizer)
    with pytest.raises(ModelError, match=r"no head that predicts words: cls\.predictions"):
        open_word_model(write_encoder(encoder), "mlm")
