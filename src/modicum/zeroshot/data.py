"""What the comparison reads: a corpus without labels to mine, and labelled texts to score."""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from modicum.core import catalogue
from modicum.core.splits import shuffled
from modicum.core.tables import read_filled, read_records
from modicum.errors import DataError
from modicum.zeroshot.configuration import ComparisonSettings, TaskName
from modicum.zeroshot.index import read_corpus
from modicum.zeroshot.task import Task
from modicum.zeroshot.verdict import numbers_of

# What a task is scored on. Sentiment is tuned once, on film reviews; three of its sets are of other domains.
SETS: dict[TaskName, tuple[str, ...]] = {
    "sentiment": ("sst2", "mr", "imdb", "amazon", "nyt", "tweets"),
    **{name: (name,) for name in ("ag", "bbc", "trec", "subj")},
}
_HERE = Path(__file__).parent
_CLEAR = 1.0  # mean rating of vader-gold from which on a text counts as positive, and below minus that as negative
_LINES = {  # files of "label text", and their encodings
    "sst2": ("stsa.binary.test", "utf-8"),
    "mr": ("panglee/rt-polarity.all", "latin-1"),
    "subj": ("subj.all", "latin-1"),
    "trec": ("TREC.test.all", "latin-1"),
}
_RATED = {"amazon": "amazonReviewSnippets", "nyt": "nytEditorialSnippets", "tweets": "tweets"}


@dataclass(frozen=True, slots=True)
class Data:
    """A task, documents to mine, texts of some sets and the number of each one's label."""

    task: Task
    documents: list[str]
    texts: list[str]
    truth: list[int]
    sets: dict[str, slice]  # which texts are whose


def named_task(name: str) -> Task:
    """Give a task of tasks.yaml."""
    import yaml

    return Task(**yaml.safe_load((_HERE / "tasks.yaml").read_text(encoding="utf-8"))[name])


def read_written() -> Data:
    """Read the sentences that were written for the project."""
    _, records = read_records(_HERE / "written" / "texts.csv")
    cells = [record.cells for record in records]
    task, test = named_task("written"), [each for each in cells if each["use"] == "test"]
    documents = [str(each["text"]) for each in cells if each["use"] == "corpus"]
    truth = [task.labels.index(str(each["label"])) for each in test]
    return Data(task, documents, [str(each["text"]) for each in test], truth, {"written": slice(None)})


def read_published(settings: ComparisonSettings) -> Data:
    """Read the published test sets of a task, or a fixed draw of each, and its corpus."""
    task, sets = named_task(settings.task), {}
    rows: list[tuple[str, int]] = []
    for name in SETS[settings.task]:
        found = list(dict.fromkeys((text, label) for text, label in labelled(name, task) if text.strip()))
        began = len(rows)
        rows += [found[at] for at in shuffled(len(found), 0, "texts", count=settings.texts or None).tolist()]
        sets[name] = slice(began, len(rows))
    documents = list(islice(_corpus(settings.task), settings.documents or None))
    return Data(task, documents, [text for text, _ in rows], [label for _, label in rows], sets)


def read_own(folder: Path, settings: ComparisonSettings) -> Data:
    """Read the folder of a user: a task, raw text to mine, and labelled texts to score."""
    task, test = Task.from_yaml(_only(folder, "task")), _only(folder, "test")
    records = read_filled(test, "text", "label", hint="Call the columns text and label.")
    drawn = shuffled(len(records), 0, "texts", count=settings.texts or None)
    rows = [records[at] for at in drawn.tolist()]
    truth = numbers_of(
        task, [str(each.cells["label"]) for each in rows], [f"{test}, line {each.line}" for each in rows]
    )
    documents = list(islice(read_corpus(_only(folder, "corpus")), settings.documents or None))
    return Data(task, documents, [str(each.cells["text"]) for each in rows], truth.tolist(), {"own": slice(None)})


def _only(folder: Path, name: str) -> Path:
    found = sorted(path for path in folder.iterdir() if path.stem == name) if folder.is_dir() else []
    if len(found) != 1:
        raise DataError(
            f"{folder} must have one {name}, it has {', '.join(path.name for path in found) or 'none'}.",
            hint="Give a folder with task.yaml, a file or folder corpus, and test.csv with columns text and label.",
        )
    return found[0]


def _lines(name: str) -> Iterator[tuple[str, int]]:
    file, encoding = _LINES[name]
    path = catalogue.fetch("zero-shot/sentiment_dataset") / file
    for line in path.read_bytes().decode(encoding).split("\n"):  # other line breaks are inside of texts
        label, _, text = line.partition(" ")
        if text:
            yield text, int(label)


def _rated(name: str) -> Iterator[tuple[str, int]]:
    with tarfile.open(catalogue.fetch("vader-gold") / "additional_resources" / "hutto_ICWSM_2014.tar.gz") as archive:
        file: Any = archive.extractfile(f"hutto_ICWSM_2014/{_RATED[name]}_GroundTruth.txt")
        lines = file.read().decode("utf-8-sig", "replace").split("\n")
    for _, rating, text in (line.split("\t", 2) for line in lines if line.count("\t") >= 2):
        if abs(float(rating)) >= _CLEAR:
            yield text, int(float(rating) > 0)


def _news() -> Iterator[tuple[str, int]]:
    with (catalogue.fetch("zero-shot/ag_news_csv") / "test.csv").open(encoding="utf-8", newline="") as file:
        for label, title, text in csv.reader(file):
            yield f"{title}. {text}".replace("\\", " "), int(label) - 1


def _files(folder: Path, parts: Sequence[str]) -> Iterator[tuple[str, int]]:
    for label, part in enumerate(parts):
        for file in sorted((folder / part).glob("*.txt")):
            yield file.read_bytes().decode("utf-8", "replace"), label


def labelled(name: str, task: Task) -> Iterator[tuple[str, int]]:
    """Give the texts of a test set, each with the number of its label."""
    if name in _LINES:
        return _lines(name)
    if name in _RATED:
        return _rated(name)
    if name == "ag":
        return _news()
    if name == "imdb":
        return _files(catalogue.fetch("zero-shot/imdb") / "test", ("neg", "pos"))
    return _files(catalogue.fetch("zero-shot/bbc") / "bbc", task.labels)


def _corpus(name: TaskName) -> Iterator[str]:
    if name in {"sentiment", "subj"}:
        yield from read_corpus(catalogue.fetch("zero-shot/imdb") / "train" / "unsup")
        return
    if name == "trec":  # the labels are there, and left out
        path = catalogue.fetch("zero-shot/sentiment_dataset") / "TREC.train.all"
        yield from (line.partition(" ")[2] for line in path.read_bytes().decode("latin-1").split("\n"))
        return
    path = catalogue.fetch("zero-shot/alps_agnews") / "dev.tsv"
    yield from (line.rpartition("\t")[0] for line in path.read_bytes().decode("utf-8").split("\n"))
