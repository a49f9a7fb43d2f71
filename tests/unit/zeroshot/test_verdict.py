from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score
from tests.unit.zeroshot.tiny import TASK, write_corpus, write_encoder, write_texts

from modicum.errors import DataError
from modicum.zeroshot import GoTuner, Task
from modicum.zeroshot.verdict import change, evaluate, vader_scores


@pytest.fixture(scope="module")
def tuner(tmp_path_factory: pytest.TempPathFactory) -> GoTuner:
    tuner = GoTuner(write_encoder(tmp_path_factory.mktemp("encoder")), task=TASK)
    return tuner.fit(tuner.mine(write_corpus(300)))


def test_change(tuner: GoTuner) -> None:
    texts, _ = write_texts(60, seed=1)
    before = [TASK.labels[int(best)] for best in tuner.baseline().scores(texts).argmax(1)]
    after = tuner.predict(texts)
    found = change(tuner, texts)
    assert found.changed == sum(one != other for one, other in zip(before, after, strict=True)) > 0
    assert found.shares["good"] == (before.count("good") / 60, after.count("good") / 60)
    text, old, new = found.examples[0]
    assert (old, new) == (before[texts.index(text)], after[texts.index(text)])
    assert f"changed the label of {found.changed} of 60 texts" in str(found)


def test_evaluation(tuner: GoTuner) -> None:
    texts, numbers = write_texts(120, seed=2)
    truth = [TASK.labels[number] for number in numbers]
    found = evaluate(tuner, texts, truth)
    answers = tuner.predict(texts)
    assert found.accuracy == pytest.approx(accuracy_score(truth, answers))
    assert found.macro_f1 == pytest.approx(f1_score(truth, answers, average="macro"))
    rival = found.rivals[0]
    cosine = tuner.baseline().scores(texts).argmax(1)
    right, theirs = np.array(answers) == np.array(truth), (cosine == torch.tensor(numbers)).numpy()
    won, lost = int((right & ~theirs).sum()), int((~right & theirs).sum())
    assert rival.p_value == pytest.approx(binomtest(won, won + lost).pvalue)
    assert rival.low < rival.difference < rival.high
    assert (rival.name, rival.word) == ("cosine", "better")
    assert "120 labelled texts: accuracy" in str(found)
    with pytest.raises(DataError, match=r"labels\[1\] has the label 'Good'"):
        evaluate(tuner, texts[:2], ["good", "Good"])


def test_what_was_not_tuned_has_no_rival_cosine(tuner: GoTuner) -> None:
    untuned = GoTuner(tuner.model, task=TASK)
    texts, numbers = write_texts(20, seed=2)
    assert "cosine" not in {each.name for each in evaluate(untuned, texts, [TASK.labels[at] for at in numbers]).rivals}


def test_vader_answers_where_the_labels_are_opposed() -> None:
    pytest.importorskip("vaderSentiment")
    texts = ["I love it, wonderful!", "I hate it, awful."]
    found = vader_scores(Task(["positive", "negative"]), texts)
    assert found is not None
    assert found.argmax(1).tolist() == [0, 1]
    assert vader_scores(Task(["sports", "politics"]), texts) is None
    assert vader_scores(Task(["positive", "negative", "neutral"]), texts) is None
