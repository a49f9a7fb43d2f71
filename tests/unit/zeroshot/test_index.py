from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from modicum.core import catalogue
from modicum.errors import ConfigError, DataError
from modicum.zeroshot import CorpusIndex, Task
from modicum.zeroshot.mining import find

DOCUMENTS = [
    "This film was great from the first to the last minute!<br /><br />I would not call it a GREAT-looking one.",
    "Greatness is not what I would look for in here. It's the real estate agent who is terrible in it, isn't it?",
    "Real people, estate agents and others: all of them came to see it. Short one. " + "far too long " * 40,
]


def sentences(index: CorpusIndex, phrase: str) -> list[str]:
    return [index.sentence(int(at)) for at in index.sentences(index.occurrences(phrase))]


def test_words_and_phrases() -> None:
    index = CorpusIndex.build(DOCUMENTS)
    assert len(index) == 5
    assert [text[:9] for text in sentences(index, "great")] == ["This film", "I would n"]
    assert len(sentences(index, "Real Estate")) == 1
    assert sentences(index, "estate real") == sentences(index, "nowhere") == sentences(index, "-") == []
    assert index.counts[index.numbers["it"]] == 5
    assert index.documents.tolist() == [0, 0, 1, 1, 2]


@pytest.mark.data("zero-shot/sentiment_dataset")
def test_look_up_equals_a_scan() -> None:
    # GO-C5
    file = catalogue.fetch("zero-shot/sentiment_dataset") / "panglee" / "rt-polarity.all"
    lines = file.read_text(encoding="latin-1").split("\n")[:4000:3]
    index = CorpusIndex.build(line[2:] for line in lines)
    assert len(index) > 1000
    texts = [index.sentence(at) for at in range(1000)]
    task = Task(["bad", "good"], {"bad": ["bad", "terrible", "waste of time"], "good": ["good", "great"]})
    found, report = find(index, task, window=0)
    patterns = [re.compile(rf"\b({'|'.join(task.verbalizer[label])})\b") for label in task.labels]
    for own, (pattern, other) in zip(found, (patterns, patterns[::-1]), strict=True):
        scan = [at for at, text in enumerate(texts) if pattern.search(text.lower()) and not other.search(text.lower())]
        assert [at for at in own.sentences if at < 1000] == [at for at in scan if not index.duplicate[at]]
        assert len(scan) > 5
    assert sum(report.usable.values()) == sum(len(each.sentences) for each in found)


def test_mapped_from_disk_as_in_memory(tmp_path: Path) -> None:
    built = CorpusIndex.build(DOCUMENTS, tmp_path / "index")
    memory = CorpusIndex.build(DOCUMENTS)
    assert isinstance(built.tokens.base, np.memmap)
    assert sentences(built, "great") == sentences(memory, "great")
    assert np.array_equal(built.overlapping(DOCUMENTS[:1]), memory.overlapping(DOCUMENTS[:1]))
    with pytest.raises(ConfigError, match="has files in it"):
        CorpusIndex.build(DOCUMENTS, tmp_path / "index")


def test_damaged_index(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with pytest.raises(DataError):
        CorpusIndex.open(folder)
    CorpusIndex.build(DOCUMENTS, folder)
    np.save(folder / "tokens.npy", np.zeros(3, np.uint32))
    with pytest.raises(DataError, match="do not fit together"):
        CorpusIndex.open(folder)
    (folder / "tokens.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="damaged"):
        CorpusIndex.open(folder)


def test_near_duplicates() -> None:
    text = "the quick brown fox jumps over the lazy dog and then it sleeps under an old tree for a while"
    other = "nothing of this was ever said about the cat that lives in the house next to the river bank"
    corpus = [text, other, text.upper() + "!", text.replace("brown", "red"), other.replace("cat", "cow")]
    assert CorpusIndex.build(corpus).duplicate.tolist() == [False, False, True, True, True]


def test_overlap_crosses_sentences_of_a_document() -> None:
    words = [f"word{number}" for number in range(40)]
    document = " ".join(words[:10]) + ". " + " ".join(words[10:20]) + ". " + " ".join(words[20:])
    index = CorpusIndex.build([document, "a sentence of other words that nobody has written"])
    assert index.overlapping([" ".join(words[5:18])]).tolist() == [True, True, False, False]
    assert not index.overlapping([" ".join(words[5:17])]).any()  # twelve
    assert not index.overlapping([" ".join([*words[5:11], "unknown", *words[11:17]]), ""]).any()


def test_short_evaluation_texts_are_sought_whole() -> None:
    whole = "It was so bad and so boring, that it was fascinating."
    index = CorpusIndex.build([f"{whole} {whole[:-1]} in the end.", "Nobody liked the ending of it at all, I fear."])
    assert index.overlapping([whole.upper()]).tolist() == [True, True, False]
    assert index.overlapping(["I fear", "of it at all I"]).tolist() == [False, False, True]
    assert not index.overlapping(["the ending of it", "nobody liked the ending of all"]).any()


def test_letters_with_accents_are_the_same_however_they_are_written() -> None:
    index = CorpusIndex.build(["We went to the cafe\u0301 around the corner."])
    assert len(index.occurrences("caf\u00e9")) == len(index.occurrences("cafe\u0301")) == 1
    assert "caf\u00e9" in index.sentence(0)


def test_rows_without_a_text_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "raw.jsonl"
    rows = [{"text": "a sentence that is long enough for a row"}, {"text": None}, {"text": ""}, {"other": "x"}]
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(UserWarning, match=r"raw\.jsonl: 3 of 4 rows have no text, and are left out"):
        assert len(CorpusIndex.build(file)) == 1
    file.write_text('{"text": 5}')
    with pytest.raises(DataError, match=r"raw\.jsonl, line 1: text is 5"):
        CorpusIndex.build(file)
    (tmp_path / "notes.pdf").write_text("no text")
    with pytest.raises(DataError, match=r"ending '\.pdf'.*\.txt"):
        CorpusIndex.build(tmp_path)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one document in one file with a word.\nIts second line is long enough, too.")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "another document of a table of texts"}) + "\n")
    assert len(CorpusIndex.build(tmp_path)) == 3
    assert len(CorpusIndex.build(str(tmp_path / "a.txt"))) == 2
    (tmp_path / "b.jsonl").write_text('{"content": "no such column"}\n')
    with pytest.raises(DataError, match="none called text"):
        CorpusIndex.build(tmp_path)
    (tmp_path / "b.jsonl").unlink()
    (tmp_path / "a.txt").write_bytes("ein Satz mit Umlauten: schöne Grüße".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.txt, line 1 is not UTF-8"):
        CorpusIndex.build(tmp_path)


def test_bad_corpora(tmp_path: Path) -> None:
    for corpus in ([], ["", "short"]):
        with pytest.raises(DataError, match="no sentence"):
            CorpusIndex.build(corpus)
    with pytest.raises(DataError, match="Document 2 of the corpus is NoneType"):
        CorpusIndex.build(["a text", None])  # type: ignore[list-item]
    with pytest.raises(DataError, match="has no file"):
        CorpusIndex.build(tmp_path)
