from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.zeroshot.tiny import TASK, write_corpus, write_encoder, write_texts
from tests.unit.zeroshot.tiny_models import write_bert, write_t5

from modicum.errors import ConfigError, DataError, StateError
from modicum.zeroshot import FitSettings, GoTuner, MinedSet, MultiTaskGoTuner, Task

WEATHER = Task(["rain", "sun"], {"rain": ["storm", "cold"], "sun": ["beach", "warm"]}, ["a day of {label}"])
SETTINGS = FitSettings(steps=6, batch=8, rate=1e-3, chunk=32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def parts(encoder: str) -> list[tuple[Task, MinedSet]]:
    found = [(task, GoTuner(encoder, task=task).mine(write_corpus(200))) for task in (TASK, WEATHER)]
    few = found[1][1]
    half = np.arange(0, len(few), 2)
    texts, formats, words = ([column[at] for at in half] for column in (few.texts, few.formats, few.words))
    held = np.flatnonzero(np.isin(half, few.holdout))
    smaller = replace(few, texts=texts, labels=few.labels[half], formats=formats, words=words, holdout=held)
    return [found[0], (WEATHER, smaller)]


def test_one_task_is_the_single_task_run(encoder: str, parts: list[Any]) -> None:
    # GO-C11
    task, mined = parts[0]
    single = GoTuner(encoder, task=task, settings=SETTINGS).fit(mined, "encoder", seed=1)
    several = MultiTaskGoTuner(encoder, settings=SETTINGS).fit(parts[:1], "encoder", seed=1)
    texts = write_texts(20, seed=5)[0]
    assert torch.equal(several.predictors[0].scores(texts), single.scores(texts))
    untuned = GoTuner(encoder, task=task, settings=SETTINGS).fit(mined, "head")
    assert not torch.equal(single.scores(texts), untuned.scores(texts))


def test_two_tasks_share_an_encoder_and_learn_both(encoder: str, parts: list[Any]) -> None:
    tuner = MultiTaskGoTuner(encoder, settings=replace(SETTINGS, c=1.0, steps=60, rate=3e-3)).fit(parts, "encoder")
    texts, labels = write_texts(60, seed=7)
    for number, names in enumerate((TASK.labels, WEATHER.labels)):
        found = tuner.predict(texts, number)
        assert np.mean([names[label] == each for label, each in zip(labels, found, strict=True)]) > 0.85


def test_a_saved_model_is_the_same(encoder: str, parts: list[Any], tmp_path: Path) -> None:
    # GO-C10
    tuner = MultiTaskGoTuner(encoder, settings=SETTINGS).fit(parts, "encoder")
    tuner.save_pretrained(tmp_path / "saved")
    again = MultiTaskGoTuner.from_pretrained(tmp_path / "saved")
    texts = write_texts(10, seed=3)[0]
    for one, other in zip(tuner.predictors, again.predictors, strict=True):
        assert one.task == other.task
        assert torch.equal(one.scores(texts), other.scores(texts))
    with pytest.raises(ConfigError, match="has files in it"):
        tuner.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "gotuning.json").write_text("{}")
    with pytest.raises(DataError, match="is no model of several tasks"):
        MultiTaskGoTuner.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("kind", ["bert", "t5", "t5 v1.1"])
def test_word_models_are_saved_and_opened(parts: list[Any], tmp_path: Path, kind: str) -> None:
    # GO-C10: a tied and scaled head, and one that is neither
    folder, route = tmp_path / "model", "mlm" if kind == "bert" else "seq2seq"
    model = write_bert(folder) if kind == "bert" else write_t5(folder, tied=kind == "t5")
    tuner = MultiTaskGoTuner(model, settings=replace(SETTINGS, steps=2)).fit(parts, route)
    tuner.save_pretrained(tmp_path / "saved")
    again = MultiTaskGoTuner.from_pretrained(tmp_path / "saved")
    assert again.route == route
    texts = ["the plot was dull", "a lovely story"]
    for one, other in zip(tuner.predictors, again.predictors, strict=True):
        assert torch.equal(one.scores(texts), other.scores(texts))


def test_what_makes_no_sense_is_refused(encoder: str, parts: list[Any]) -> None:
    tuner = MultiTaskGoTuner(encoder, settings=SETTINGS)
    with pytest.raises(StateError, match="Nothing was fitted"):
        tuner.predict(["a day"])
    with pytest.raises(ConfigError, match="At least one task"):
        tuner.fit([])
    with pytest.raises(ConfigError, match="route must be encoder, mlm or seq2seq, got 'head'"):
        tuner.fit(parts, "head")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="temperature must be above 0"):
        MultiTaskGoTuner(encoder, temperature=0.0)
    with pytest.raises(ConfigError, match="drop is for one task"):
        MultiTaskGoTuner(encoder, settings=replace(SETTINGS, drop=0.5))
