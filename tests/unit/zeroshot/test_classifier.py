from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.zeroshot.tiny import TASK, write_corpus, write_encoder, write_texts
from tests.unit.zeroshot.tiny_models import write_bert

from modicum.errors import ConfigError, DataError
from modicum.zeroshot import GoTuner, MultiTaskGoTuner, ZeroShotClassifier
from modicum.zeroshot.scoring import WordPredictor, open_word_model

TEXTS = write_texts(12)[0]


@pytest.fixture(scope="module")
def tuner(tmp_path_factory: pytest.TempPathFactory) -> GoTuner:
    tuner = GoTuner(write_encoder(tmp_path_factory.mktemp("encoder")), task=TASK)
    return tuner.fit(tuner.mine(write_corpus(150)), "head")


@pytest.fixture(scope="module", params=["encoder", "mlm"])
def tuned(request: pytest.FixtureRequest, tuner: GoTuner, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "encoder":
        return tuner
    return WordPredictor(open_word_model(write_bert(tmp_path_factory.mktemp("bert")), "mlm"), TASK)


def test_the_result_has_the_shape_of_the_pipeline_of_transformers(tuner: GoTuner) -> None:
    classify = ZeroShotClassifier(tuner)
    found = classify(TEXTS[0], ["good", "bad"])
    assert list(found) == ["sequence", "labels", "scores"]
    assert found["sequence"] == TEXTS[0]
    assert found["scores"] == sorted(found["scores"], reverse=True)
    assert sum(found["scores"]) == pytest.approx(1)
    (listed,) = classify(TEXTS[:1], "bad, good")
    assert listed["labels"] == found["labels"]
    assert listed["scores"] == pytest.approx(found["scores"])
    assert classify([], ["good", "bad"]) == []


def test_labels_of_the_task_have_its_scores(tuned: Any) -> None:
    probabilities = tuned.scores(TEXTS).softmax(1)
    for found, row in zip(ZeroShotClassifier(tuned)(TEXTS), probabilities, strict=True):
        by_name = dict(zip(found["labels"], found["scores"], strict=True))
        assert by_name == pytest.approx(dict(zip(TASK.labels, row.tolist(), strict=True)), abs=1e-6)


def test_other_labels_are_scored_by_their_names(tuned: Any) -> None:
    found = ZeroShotClassifier(tuned)(TEXTS, ["good", "music", "cold"])
    assert all(sorted(each["labels"]) == ["cold", "good", "music"] for each in found)
    untuned = GoTuner(tuned.model, task=TASK).scores(TEXTS) if isinstance(tuned, GoTuner) else tuned.scores(TEXTS)
    for each, row in zip(ZeroShotClassifier(tuned)(TEXTS, ["bad", "good", "music"]), untuned, strict=True):
        by_name = dict(zip(each["labels"], each["scores"], strict=True))
        odds = torch.tensor(by_name["good"] / by_name["bad"]).log()  # as without the third label
        torch.testing.assert_close(odds, row[1] - row[0], atol=1e-4, rtol=1e-4)


def test_several_labels_may_be_true(tuner: GoTuner) -> None:
    found = ZeroShotClassifier(tuner)(TEXTS, ["good", "music", "cold"], multi_label=True)
    logits = {name: [] for name in ("good", "music", "cold")}
    for each in found:
        assert each["scores"] == sorted(each["scores"], reverse=True)
        assert 0 < each["scores"][-1] <= each["scores"][0] < 1
        for name, score in zip(each["labels"], each["scores"], strict=True):
            logits[name].append(score)
    two = ZeroShotClassifier(tuner)(TEXTS, ["good", "bad"], multi_label=True)
    for each, one in zip(two, ZeroShotClassifier(tuner)(TEXTS, ["good", "bad"]), strict=True):
        assert each["scores"] == pytest.approx(one["scores"], abs=1e-6)  # of two labels the other one is the mean


@pytest.mark.parametrize("calibration", ["content-free", "batch-mean"])
def test_a_calibration_warns_and_moves_the_scores(tuned: Any, calibration: Any) -> None:
    with pytest.warns(UserWarning, match="alibration"):
        classify = ZeroShotClassifier(tuned, calibration=calibration)
    raw = {each["sequence"]: each["scores"] for each in ZeroShotClassifier(tuned)(TEXTS)}
    assert any(each["scores"] != pytest.approx(raw[each["sequence"]]) for each in classify(TEXTS))


def test_wrong_input_is_refused(tuner: GoTuner, tmp_path: Path) -> None:
    classify = ZeroShotClassifier(tuner)
    with pytest.raises(DataError, match=r"texts\[1\] is empty"):
        classify(["good", " "])
    for labels in (["good"], ["good", "good"], ""):
        with pytest.raises(ConfigError):
            classify("a day", labels)
    with pytest.raises(ConfigError, match=r"expected, got MultiTaskGoTuner\. .* predictors\[0\]"):
        ZeroShotClassifier(MultiTaskGoTuner())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="calibration must be one of"):
        ZeroShotClassifier(tuner, calibration="sinkhorn")  # type: ignore[arg-type]
