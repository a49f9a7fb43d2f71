from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from tests.unit.zeroshot.tiny import TASK, write_corpus, write_encoder, write_texts
from tests.unit.zeroshot.tiny_models import write_bert

from modicum.core import registry
from modicum.core.compare import compare
from modicum.errors import ConfigError, DataError
from modicum.zeroshot.configuration import TaskName
from modicum.zeroshot.data import SETS, labelled, named_task, read_written
from modicum.zeroshot.verdict import mcnemar

COMPARISON = registry.load("gotuning").comparison


def test_written_sentences_are_what_their_page_says() -> None:
    data = read_written()
    assert len(data.documents) == 60
    assert np.bincount(data.truth).tolist() == [40, 40]
    words = {word for words in data.task.verbalizer.values() for word in words}
    assert not any(words & set(re.findall(r"\w+", text.lower())) for text in data.texts)
    for document in data.documents:
        first, second = re.split(r"(?<=[.!?])\s+", document)
        assert words & set(re.findall(r"\w+", first.lower()))
        assert not words & set(re.findall(r"\w+", second.lower()))


@pytest.mark.parametrize("name", SETS)
def test_each_task_has_words_and_several_templates(name: TaskName) -> None:
    task = named_task(name)
    assert len(task.cosine_templates) == 3
    assert len(task.mask_templates) == 1
    assert all(len(words) >= 4 for words in task.verbalizer.values())


def test_a_masked_lm_is_masked_at_random(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model")
    options = {"route": "mlm", "model": folder, "steps": "1", "per_class": "8"}
    settings = COMPARISON.settings_for("demo", options)
    assert COMPARISON.variant is not None
    names = [arm.name for arm in COMPARISON.variant(settings).arms]
    assert "random masking" in names
    assert "random words" not in names
    report = compare(COMPARISON, seeds=[0], engine="inline", options=options)
    found = {arm.name: arm for arm in report.arms}
    assert 0 <= found["random masking"].values[0] <= 1
    assert "spread over templates" in found["random masking"].secondary


def test_vader_is_there_where_the_task_is_sentiment() -> None:
    assert COMPARISON.variant is not None
    for task in get_args(TaskName):
        arms = COMPARISON.variant(COMPARISON.settings_for("full", {"task": task})).arms
        assert ("VADER" in [arm.name for arm in arms]) == (task == "sentiment")


def test_a_folder_of_a_user_is_compared(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    options = {"task": "own", "model": write_encoder(tmp_path / "model"), "steps": "1", "per_class": "8"}
    folder = tmp_path / "own"
    with pytest.raises(ConfigError, match="task=own and --data belong together"):
        compare(COMPARISON, seeds=[0], engine="inline", options=options)
    folder.mkdir()
    with pytest.raises(DataError, match="own must have one task, it has none"):
        compare(COMPARISON, seeds=[0], engine="inline", options=options, data=folder)
    (folder / "task.yaml").write_text(
        json.dumps({"labels": list(TASK.labels), "verbalizer": TASK.as_json()["verbalizer"]})
    )
    (folder / "corpus").mkdir()
    for number, document in enumerate(write_corpus(100)):
        (folder / "corpus" / f"{number}.txt").write_text(document)
    texts, labels = write_texts(20, seed=1)
    rows = [{"text": text, "label": TASK.labels[label]} for text, label in zip(texts, labels, strict=True)]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"text": "the day", "label": "fair"}])))
    with pytest.raises(DataError, match=r"test\.jsonl, line 21 has the label 'fair'"):
        compare(COMPARISON, seeds=[0], engine="inline", options=options, data=folder)
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = compare(COMPARISON, seeds=[0], engine="inline", options=options, data=folder)
    assert {arm.name: 0 <= arm.values[0] <= 1 for arm in report.arms}["Go-tuning"]
    assert "VADER" not in [arm.name for arm in report.arms]


def test_mcnemar_counts_rows_where_one_alone_is_right() -> None:
    truth = np.zeros(20, dtype=np.int64)
    worse = (torch.arange(20) < 6).long().numpy()
    assert mcnemar(truth, truth, worse) == pytest.approx(2 / 2**6)
    assert mcnemar(truth, worse, worse) == 1.0


# As the catalogue counts them; of BBC without copies, and of vader-gold the texts whose mean rating is 1 or more.
ROWS: dict[str, list[int]] = {
    "sst2": [912, 909],
    "mr": [5331, 5331],
    "subj": [5000, 5000],
    "trec": [138, 94, 9, 65, 81, 113],
    "amazon": [2455],
    "nyt": [1554],
    "tweets": [2667],
    "ag": [1900] * 4,
    "bbc": [510, 386, 417, 511, 401],
}


@pytest.mark.skipif("MODICUM_DATA" not in os.environ, reason="reads the catalogue's data")
@pytest.mark.parametrize("name", ROWS)
def test_published_sets_have_the_rows_of_the_catalogue(name: str) -> None:
    task = named_task(next(task for task, sets in SETS.items() if name in sets))
    counts = np.bincount([label for _, label in labelled(name, task)], minlength=len(task.labels))
    wanted = ROWS[name]
    assert (counts.tolist() if len(wanted) > 1 else [counts.sum()]) == wanted
