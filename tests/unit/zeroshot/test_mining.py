from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.zeroshot.tiny import TASK, write_corpus, write_texts

from modicum.errors import DataError
from modicum.zeroshot import CorpusIndex, MineSettings, Task
from modicum.zeroshot.configuration import MineFormat
from modicum.zeroshot.mining import mine

SMALL = MineSettings(per_class=60, holdout=0.2, formats=("inplace", "prompted", "context"))


@pytest.fixture(scope="module")
def index() -> CorpusIndex:
    return CorpusIndex.build(write_corpus(200))


def test_rows_are_balanced_and_without_their_word(index: CorpusIndex) -> None:
    # GO-C5
    mined = mine(index, TASK, SMALL)
    assert len(mined) == 120
    assert np.bincount(mined.labels).tolist() == [60, 60]
    assert {form: mined.formats.count(form) for form in SMALL.formats} == dict.fromkeys(SMALL.formats, 40)
    for text, label, form, word in zip(mined.texts, mined.labels, mined.formats, mined.words, strict=True):
        own = TASK.verbalizer[TASK.labels[int(label)]]
        assert word in own
        assert not any(re.search(rf"\b{each}\b", text, re.IGNORECASE) for each in own)
        assert text.count("{mask}") == (form == "inplace")
    assert set(mined.holdout) | set(mined.training) == set(range(120))
    assert 20 <= len(mined.holdout) <= 28


def test_the_word_goes_back_where_it_stood(index: CorpusIndex) -> None:
    mined = mine(index, TASK, MineSettings(per_class=60, formats=("inplace",)))
    sentences = {index.sentence(at) for at in range(len(index))}
    assert {text.replace("{mask}", word) for text, word in zip(mined.texts, mined.words, strict=True)} <= sentences


def test_a_seed_draws_the_same_rows(index: CorpusIndex) -> None:
    first, again, other = (mine(index, TASK, SMALL, seed=seed) for seed in (0, 0, 1))
    assert first.texts == again.texts
    assert np.array_equal(first.holdout, again.holdout)
    assert first.texts != other.texts


def test_no_document_is_on_both_sides() -> None:
    # Two label words a document: both of its rows are held out, or none is.
    documents = [f"here number{at} was great for us all. and there number{at} was great for them." for at in range(40)]
    documents += [f"here number{at} was awful for us all. and there number{at} was awful for them." for at in range(40)]
    settings = MineSettings(per_class=100, formats=("prompted",))
    mined = mine(CorpusIndex.build(documents), TASK, settings)
    numbers = [
        re.findall(r"number\d+", text)[0] + str(label) for text, label in zip(mined.texts, mined.labels, strict=True)
    ]
    held = {numbers[row] for row in mined.holdout}
    assert held
    assert held.isdisjoint(numbers[row] for row in mined.training)


@pytest.mark.parametrize("entire", [("good",), ("good", "bad"), ()])
def test_a_label_of_one_document_is_on_both_sides(entire: tuple[str, ...]) -> None:
    # A folder with a file a label, and one file for all.
    texts = [f"{text}." for text in write_texts(120)[0]]
    sentences = {"bad": [f"awful {text}" for text in texts[:60]], "good": [f"great {text}" for text in texts[60:]]}
    documents = [each for label, own in sentences.items() for each in ([" ".join(own)] if label in entire else own)]
    documents = documents if entire else [" ".join(documents)]
    mined = mine(CorpusIndex.build(documents), TASK, MineSettings(formats=("prompted",)))
    assert np.bincount(mined.labels[mined.training]).tolist() == [54, 54]
    assert np.bincount(mined.labels[mined.holdout]).tolist() == [6, 6]
    mined.check_of(TASK)


def test_rows_that_train_no_label_are_refused(index: CorpusIndex) -> None:
    mined = mine(index, TASK, SMALL)
    with pytest.raises(DataError, match="All rows of 'good' are held out"):
        replace(mined, holdout=np.flatnonzero(mined.labels == 1)).check_of(TASK)


@pytest.mark.parametrize("formats", [("context",), ("prompted", "context")])
def test_a_neighbour_that_overlaps_is_not_taken(formats: tuple[MineFormat, ...]) -> None:
    # GO-C5
    fox = "the quick brown fox jumped over a lazy dog and then it slept very well"
    texts = write_texts(360)[0]
    documents = [
        f"{fox if at % 2 else texts[at]}. {('great', 'awful')[at % 4 // 2]} {texts[120 + at]}. "
        f"{texts[240 + at] if at % 3 else fox}."
        for at in range(120)
    ]
    index = CorpusIndex.build(documents)
    settings = MineSettings(per_class=60, formats=formats)
    assert any("brown fox" in text for text in mine(index, TASK, settings).texts)
    mined = mine(index, TASK, settings, overlapping=index.overlapping([fox]))
    assert len(mined) == (100 if formats == ("context",) else 120)  # a sixth of the documents has nothing else
    assert "context" in mined.formats
    assert not any("brown fox" in text for text in mined.texts)
    assert all(mined.texts)


def test_what_is_left_out_is_counted() -> None:
    fox = "the quick brown fox jumped over a lazy dog and then it slept very well"
    good = [f"the {at}one of {at}two was great in {at}three way" for at in "abcdefghij"]
    bad = [f"the {at}one of {at}two was awful in {at}three way" for at in "klmnopqrst"]
    odd = [
        "this one was not really great in any way",
        "it isn't awful at all if you ask some people",
        "one half was great and the other half was awful",
        "The AONE of atwo was great in athree way!",
        f"{fox} as it was great",
        "a sentence without any word that would say more",
    ]
    index = CorpusIndex.build([*good, *bad, *odd])
    overlapping = index.overlapping([f"someone said {fox} at night"])
    settings = MineSettings(per_class=50, formats=("prompted",))
    with pytest.warns(UserWarning, match="Only 10 sentences were found for 'bad'"):
        report = mine(index, TASK, settings, overlapping=overlapping).report
    assert (report.ambiguous, report.negated, report.overlapping, report.per_class) == (1, 2, 1, 10)
    assert report.words == {"bad": {"terrible": 0, "awful": 10}, "good": {"great": 10, "lovely": 0}}
    assert report.duplicates == 1
    assert report.examples["awful"] == bad[0]
    assert "awful: 10  the kone of ktwo" in str(report)
    with pytest.warns(UserWarning, match="Only"):
        assert mine(index, TASK, MineSettings(per_class=50, formats=("prompted",), window=0)).report.negated == 0


def test_a_sentence_alone_has_no_context() -> None:
    documents = [f"this number{at} was {word} in any way" for at in range(60) for word in ("great", "awful")]
    index = CorpusIndex.build(documents)
    assert set(mine(index, TASK, MineSettings(per_class=50)).formats) == {"prompted"}
    with pytest.raises(DataError, match="'bad' has 0 usable sentences"):
        mine(index, TASK, MineSettings(per_class=50, formats=("context",)))


def test_a_label_that_is_never_found(index: CorpusIndex) -> None:
    task = Task(["bad", "good", "neutral"], {"bad": ["terrible"], "good": ["great"], "neutral": ["mediocre"]})
    with pytest.raises(DataError, match="'neutral' has 0 usable sentences among 600, for: mediocre") as error:
        mine(index, task, SMALL, suggest=lambda label: ["ordinary", "plain"] if label == "neutral" else [])
    assert error.value.hint == "Give it words of this corpus, such as ordinary, plain."
