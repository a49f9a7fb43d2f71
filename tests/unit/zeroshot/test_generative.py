from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.zeroshot.tiny_models import write_bert, write_t5
from torch import Tensor

from modicum.core.seeding import numpy_generator, seeded_globally
from modicum.zeroshot import FitSettings
from modicum.zeroshot.generative import (
    corrupt_spans,
    shuffled_classes,
    tune_words,
)
from modicum.zeroshot.scoring import WordPredictor, WordRoute, label_words, open_word_model
from modicum.zeroshot.task import Task
from modicum.zeroshot.training import balanced_order, order_by_length

SENTIMENT = Task(
    ["negative", "positive"],
    {"negative": ["terrible", "awful"], "positive": ["great", "lovely"]},
    ["{text} it was {mask} .", "{text} all in all , the film was {mask} ."],
)
TOPIC = Task(["news", "sports"], {"news": ["real estate"]}, templates=["{text} this is about {mask} ."])
CLUES = {"negative": ["dull", "poor"], "positive": ["clever", "fine"], "news": ["politics"], "sports": ["ending"]}
ROUTES = pytest.mark.parametrize("route", ["mlm", "seq2seq"])
QUICK = FitSettings(steps=3, batch=8, rate=1e-4, chunk=40)


@dataclass(frozen=True)
class Rows:
    """What training reads of mined rows."""

    texts: list[str]
    labels: Any
    formats: list[str]
    words: list[str]
    holdout: Any

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def training(self) -> Any:
        return np.setdiff1d(np.arange(len(self)), self.holdout)


def mined(task: Task, count: int, seed: int = 0) -> Any:
    """Write rows whose class is told by one clue each."""
    generator = numpy_generator(seed, "rows")
    texts, formats, words = [], [], []
    labels = np.arange(count) % 2
    for number, label in enumerate(labels.tolist()):
        clue = generator.choice(CLUES[task.labels[label]])
        form = ["inplace", "prompted", "context"][number % 3]
        texts.append(f"the {clue} plot , a {clue} story" + (" is {mask} ." if form == "inplace" else " ."))
        formats.append(form)
        words.append(str(generator.choice(task.verbalizer[task.labels[label]])))
    return Rows(texts, labels, formats, words, np.arange(count)[-6:])


def predictor(folder: Path, route: WordRoute, task: Task = SENTIMENT) -> WordPredictor:
    place = write_bert(folder) if route == "mlm" else write_t5(folder)
    return WordPredictor(open_word_model(place, route), task, length=40)


def accuracy(model: WordPredictor, rows: Any) -> float:
    scores = model.scores([text.replace("{mask}", "") for text in rows.texts])
    return float((scores.argmax(1).numpy() == rows.labels).mean())


def tuned(
    folder: Path, route: WordRoute, parts: list[tuple[Task, Any]], objective: Any = "labels", **settings: Any
) -> list[WordPredictor]:
    words = predictor(folder, route).words
    return tune_words(words, parts, replace(QUICK, **settings), seed=0, temperature=2.0, objective=objective)


@ROUTES
@pytest.mark.slow
def test_masked_label_words_teach_the_labels_and_random_masking_does_not(tmp_path: Path, route: WordRoute) -> None:
    rows, other = mined(SENTIMENT, 66), mined(SENTIMENT, 60, seed=1)
    recipe = {"steps": 40, "batch": 16, "rate": 1e-2, "head_rate": 1e-2}
    (model,) = tuned(tmp_path / "go", route, [(SENTIMENT, rows)], **recipe)
    assert accuracy(model, other) > 0.9
    (control,) = tuned(tmp_path / "random", route, [(SENTIMENT, rows)], objective="random", **recipe)
    assert accuracy(control, other) < 0.85


def test_shuffled_classes_are_the_classes_of_other_rows() -> None:
    # GO-C4: what such a control must end at is chance
    rows = mined(SENTIMENT, 66)
    for seed in range(5):
        shuffled = shuffled_classes(rows, seed).labels
        assert sorted(shuffled) == sorted(rows.labels)
        assert 0.2 < (shuffled == rows.labels).mean() < 0.8


@ROUTES
def test_a_single_task_of_several_is_a_single_task(tmp_path: Path, route: WordRoute) -> None:
    # GO-C11: whatever the temperature, and again with the same seed
    part = (SENTIMENT, mined(SENTIMENT, 30))
    words = predictor(tmp_path / "one", route).words
    tune_words(words, [part], QUICK, seed=0)
    expected = words.model.state_dict()
    (found,) = tuned(tmp_path / "other", route, [part])
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.words.model.state_dict().items())


@ROUTES
def test_several_tasks_share_a_model(tmp_path: Path, route: WordRoute) -> None:
    parts = [(SENTIMENT, mined(SENTIMENT, 30)), (TOPIC, mined(TOPIC, 12))]
    one, two = tuned(tmp_path, route, parts, replay=0.5)
    assert one.words is two.words
    assert one.scores(["a clever plot"]).shape == two.scores(["a clever plot"]).shape == (1, 2)


@ROUTES
def test_the_loss_is_that_of_its_parts(tmp_path: Path, route: WordRoute, monkeypatch: pytest.MonkeyPatch) -> None:
    before = predictor(tmp_path, route)
    # One update of all training rows, without dropout: the mean of -log p(word) over label words and the vocabulary.
    for module in before.words.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(vars(module).get("dropout"), float):
            module.dropout = 0.0
    rows = mined(SENTIMENT, 26)
    rows = replace(rows, formats=["context"] * 26, texts=[text.replace(" is {mask}", "") for text in rows.texts])
    task = Task(SENTIMENT.labels, SENTIMENT.verbalizer, SENTIMENT.templates[:1])
    texts = [before.words.prompt(task.templates[0], rows.texts[row]) for row in rows.training]
    labels = rows.labels[rows.training]
    with torch.no_grad():
        state = before.words.encode(before.words.inputs(texts))
        ids = before.words.label_ids(label_words(task))
        scores = before.words.label_scores(state, ids).log_softmax(1)
        targets = [before.words.targets(label_words(task))[label] for label in labels]
        expected = -scores[torch.arange(20), torch.as_tensor(labels)].mean() + before.words.span_loss(state, targets)
    losses = captured_losses(monkeypatch)
    tune_words(before.words, [(task, rows)], replace(QUICK, steps=1, batch=20), seed=0)
    torch.testing.assert_close(losses[0], expected, atol=1e-4, rtol=1e-4)


def captured_losses(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Keep what Trainer differentiates."""
    from accelerate import Accelerator

    losses: list[Tensor] = []
    backward: Callable[..., None] = Accelerator.backward

    def keep(self: Accelerator, loss: Tensor, **options: Any) -> None:
        losses.append(loss.detach().clone())
        backward(self, loss, **options)

    monkeypatch.setattr(Accelerator, "backward", keep)
    return losses


def test_the_target_of_a_word_is_that_of_t5(tmp_path: Path) -> None:
    # GO-C6
    words = predictor(tmp_path, "seq2seq").words
    (target,) = words.targets(["great"])
    inner = words.tokenizer("great", add_special_tokens=False)["input_ids"]
    assert words.tokenizer.convert_ids_to_tokens([target[0], *target[-2:]]) == ["<extra_id_0>", "<extra_id_1>", "</s>"]
    assert target[1:-2] == inner


def test_tasks_are_drawn_by_the_temperature() -> None:
    sizes = [900, 100]
    for temperature, share in ((1.0, 0.1), (2.0, 0.25), (1e9, 0.5)):
        order = np.asarray(balanced_order(sizes, 8000, seed=0, temperature=temperature))
        assert abs((order >= 900).mean() - share) < 0.02
    rows, counts = np.unique(order[order < 900], return_counts=True)
    assert len(rows) == 900
    assert counts.max() - counts.min() <= 1


def test_a_task_has_its_own_order_beside_others() -> None:
    alone = balanced_order([50], 50, seed=0, temperature=2.0)
    beside = [row for row in balanced_order([50, 70], 200, seed=0, temperature=2.0) if row < 50]
    assert sorted(alone) == list(range(50))
    assert beside[:50] == alone


@pytest.mark.parametrize("length", [0, 1, 2, 7, 60])
def test_spans_and_target_together_are_the_sentence(length: int) -> None:
    sentinels, ids = [101, 102, 103, 104, 105], list(range(1, length + 1))
    with seeded_globally(0, "spans"):
        entered, target = corrupt_spans(ids, sentinels, end=99)
    assert entered[-1] == target[-1] == 99
    filled: list[int] = []
    spans = {first: target[target.index(first) + 1 :] for first in sentinels if first in target}
    for token in entered[:-1]:
        hidden = spans.get(token, [token])
        end = next((at for at, other in enumerate(hidden) if other in {*sentinels, 99}), len(hidden))
        filled += hidden[:end]
    assert filled == ids
    if length >= 7:
        assert len(ids) - sum(token < 99 for token in entered) == round(0.15 * length)


def test_batches_have_rows_of_a_length() -> None:
    lengths = np.random.default_rng(0).integers(4, 65, 960).tolist()
    sampler = order_by_length(lengths, 32, seed=0)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(960))
    assert first != second
    assert first == list(order_by_length(lengths, 32, seed=0))
    assert first != list(order_by_length(lengths, 32, seed=1))
    padded = lambda order: np.asarray(lengths)[order].reshape(-1, 32).max(1).mean()
    assert padded(first) < 0.65 * padded(np.arange(960))
