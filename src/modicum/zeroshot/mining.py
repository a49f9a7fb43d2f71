"""Rows for training out of raw text: sentences that hold a word of one label, with the word taken out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn.functional import normalize

from modicum.core.seeding import numpy_generator
from modicum.core.splits import hold_out
from modicum.errors import ConfigError, DataError
from modicum.zeroshot.configuration import MineSettings
from modicum.zeroshot.index import CorpusIndex, Flags, Ints
from modicum.zeroshot.task import Task

Suggest: TypeAlias = Callable[[str], Sequence[str]]

MASK = "{mask}"
_FREQUENT, _RARE, _CLEARER = 20_000, 5, 0.05  # words of a corpus, occurrences, and cosine to another label's word
_FEW = 50  # rows of a class from which on nobody is warned
_NEGATIONS = (
    *("not", "no", "never", "neither", "nor", "without", "hardly", "barely", "cannot", "nothing", "nobody", "too"),
    *("t", "cant", "dont", "doesnt", "didnt", "isnt", "wasnt", "arent", "werent", "wont", "wouldnt"),  # t is from n't
)


@dataclass(frozen=True, kw_only=True)
class MineReport:
    """What was found in a corpus."""

    sentences: int  # in the corpus
    words: dict[str, dict[str, int]]  # sentences of each word of each label that can be used
    usable: dict[str, int]  # sentences of each label
    per_class: int  # rows taken of each label
    ambiguous: int  # sentences left out with words of several labels
    negated: int  # those with a negation before the word
    duplicates: int  # those much like another one
    overlapping: int  # those that share 13 words in a row with an evaluation text, or all of a shorter one
    examples: dict[str, str] = field(default_factory=dict)  # a sentence of each word

    def __str__(self) -> str:
        lines = [
            f"{self.sentences:,} sentences, {self.per_class:,} rows taken of each label; left out: {self.ambiguous:,} "
            f"with words of several labels, {self.negated:,} with a negation, {self.duplicates:,} duplicates, "
            f"{self.overlapping:,} that overlap with evaluation texts."
        ]
        for label, words in self.words.items():
            lines.append(f"{label}: {self.usable[label]:,} sentences")
            lines += [f"  {word}: {count:,}  {self.examples.get(word, '')}".rstrip() for word, count in words.items()]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class MinedSet:
    """Rows that were mined for a task: balanced, and drawn by a seed.

    Args:
        texts: of each row, without its label word; with "{mask}" in its place where the format is "inplace".
        labels: the number of each row's label, int64.
        formats: "inplace", "prompted" (the sentence) or "context" (the sentences before and after it).
        words: the label word of each row.
        holdout: the rows that are held out, rising.
        report: what was found.
    """

    texts: list[str]
    labels: Ints
    formats: list[str]
    words: list[str]
    holdout: Ints
    report: MineReport

    def __len__(self) -> int:
        return len(self.texts)

    def check_of(self, task: Task) -> None:
        """Refuse rows that were mined for other labels, or for the same ones in another order, or lack one to train."""
        if tuple(self.report.words) != task.labels:
            raise ConfigError(
                f"The rows were mined for {', '.join(self.report.words)}, but the task has {', '.join(task.labels)}.",
                hint="Mine them again for this task.",
            )
        for number in np.setdiff1d(np.arange(len(task.labels)), self.labels[self.training]):
            raise DataError(
                f"All rows of {task.labels[number]!r} are held out.", hint="Mine more documents, or with another seed."
            )

    @property
    def training(self) -> Ints:
        """The rows that are not held out."""
        return np.setdiff1d(np.arange(len(self)), self.holdout)

    @property
    def plain(self) -> list[str]:
        """The texts as an encoder reads them, without masks."""
        return [" ".join(text.replace(MASK, " ").split()) for text in self.texts]


@dataclass(frozen=True, slots=True)
class _Found:
    """Sentences of one label."""

    sentences: Ints
    words: npt.NDArray[np.int64]  # of the verbalizer, by its number


def mine(
    index: CorpusIndex,
    task: Task,
    settings: MineSettings,
    *,
    seed: int = 0,
    overlapping: Flags | None = None,
    suggest: Suggest | None = None,
) -> MinedSet:
    """Mine balanced rows for a task; ``overlapping`` marks sentences to leave out."""
    found, report = find(index, task, settings.window, overlapping)
    allowed = np.ones(len(index), dtype=bool) if overlapping is None else ~overlapping
    with_neighbours = _neighbours(index, allowed)
    if settings.formats == ("context",):
        found = [_kept(each, with_neighbours[each.sentences]) for each in found]
    _check_found(index, task, [len(each.sentences) for each in found], suggest)
    fewest = min(len(each.sentences) for each in found)
    count = min(settings.per_class, fewest)
    if fewest < min(_FEW, settings.per_class):
        smallest = task.labels[int(np.argmin([len(each.sentences) for each in found]))]
        warnings.warn(
            f"Only {fewest} sentences were found for {smallest!r}, and each label has as few rows: give it more words.",
            stacklevel=3,
        )
    generator = numpy_generator(seed, "mine")
    chosen = [generator.permutation(len(each.sentences))[:count] for each in found]
    sentences = np.concatenate([each.sentences[rows] for each, rows in zip(found, chosen, strict=True)])
    words = np.concatenate([each.words[rows] for each, rows in zip(found, chosen, strict=True)])
    labels = np.repeat(np.arange(len(found)), count)
    formats = [settings.formats[at % len(settings.formats)] for at in range(count)] * len(found)
    rest = [each for each in settings.formats if each != "context"]
    for at in np.flatnonzero(~with_neighbours[sentences]):
        if formats[at] == "context":
            formats[at] = rest[at % len(rest)]
    texts = list(_texts(index, task, sentences, labels, formats, allowed))
    groups = _groups(index.documents[sentences], sentences, labels, settings.holdout)
    _, holdout = hold_out(len(labels), settings.holdout, seed, "mined", labels=labels, groups=groups)
    verbalizer = [task.verbalizer[label] for label in task.labels]
    names = [verbalizer[int(label)][int(word)] for label, word in zip(labels, words, strict=True)]
    return MinedSet(
        texts=texts,
        labels=labels,
        formats=formats,
        words=names,
        holdout=holdout,
        report=replace(report, per_class=count),
    )


def find(
    index: CorpusIndex, task: Task, window: int, overlapping: Flags | None = None
) -> tuple[list[_Found], MineReport]:
    """Find the sentences with words of exactly one label, none of them negated, that are new and allowed."""
    negations = np.zeros(len(index.words) + 1, dtype=bool)
    negations[[index.numbers.get(word, -1) for word in _NEGATIONS]] = True
    negations[-1] = False
    anchors = [_anchors(index, task.verbalizer[label]) for label in task.labels]
    seen = np.zeros(len(index), dtype=np.uint16)
    negated = np.zeros(len(index), dtype=bool)
    for places, sentences, _ in anchors:
        seen[np.unique(sentences)] += 1
        for back in range(1, window + 1):
            before = places - back
            inside = before >= index.starts[sentences]
            inside[inside] = negations[index.tokens[before[inside]]]
            negated[sentences[inside]] = True
    single = seen == 1
    forbidden = np.zeros(len(index), dtype=bool) if overlapping is None else overlapping
    usable = single & ~negated & ~index.duplicate & ~forbidden
    found: list[_Found] = []
    for _, sentences, words in anchors:
        unique, first = np.unique(sentences, return_index=True)
        found.append(_kept(_Found(unique, words[first]), usable[unique]))
    single &= ~negated
    report = MineReport(
        sentences=len(index),
        words={},
        usable={label: len(each.sentences) for label, each in zip(task.labels, found, strict=True)},
        per_class=0,
        ambiguous=int((seen > 1).sum()),
        negated=int(((seen == 1) & negated).sum()),
        duplicates=int((single & index.duplicate).sum()),
        overlapping=int((single & ~index.duplicate & forbidden).sum()),
    )
    for label, each in zip(task.labels, found, strict=True):
        counts = np.bincount(each.words, minlength=len(task.verbalizer[label]))
        report.words[label] = {word: int(n) for word, n in zip(task.verbalizer[label], counts, strict=True)}
        for number, word in enumerate(task.verbalizer[label]):
            if counts[number]:
                report.examples[word] = index.sentence(int(each.sentences[each.words == number][0]))
    return found, report


def _anchors(index: CorpusIndex, words: Sequence[str]) -> tuple[Ints, Ints, Ints]:
    """Give where the words of a label occur, in which sentences, and which word it is, in the order of the corpus."""
    places = [index.occurrences(word) for word in words]
    numbers = np.repeat(np.arange(len(words)), [len(each) for each in places])
    joined = np.concatenate(places)
    order = np.argsort(joined, kind="stable")
    return joined[order], index.sentences(joined[order]), numbers[order]


def _kept(found: _Found, flags: Flags) -> _Found:
    return _Found(found.sentences[flags], found.words[flags])


def _neighbours(index: CorpusIndex, allowed: Flags) -> Flags:
    """Tell which sentences have another one of the same document beside them that may be taken."""
    same = np.asarray(index.documents[1:]) == index.documents[:-1]
    return np.append(same & allowed[1:], False) | np.append(False, same & allowed[:-1])


def _groups(documents: Ints, sentences: Ints, labels: Ints, share: float) -> Ints:
    """Give what is held out entire: documents, or parts of them where a label has so few that one is far too much."""
    each = np.bincount(labels)
    few = min(len(np.unique(documents[labels == label])) for label in range(len(each)))
    if few > 1 and round(share * few):
        return documents
    # Runs of rows, a tenth of a label's at most, so that each label is in two of them or more.
    order = np.argsort(sentences)
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - np.searchsorted(documents[order], documents[order])
    return documents.astype(np.int64) * len(labels) + rank // -(-each.min() // 10)


def _texts(
    index: CorpusIndex, task: Task, sentences: Ints, labels: Ints, formats: Sequence[str], allowed: Flags
) -> Iterator[str]:
    patterns = [word_pattern(task.verbalizer[label]) for label in task.labels]
    for number, label, form in zip(sentences.tolist(), labels.tolist(), formats, strict=True):
        if form == "context":
            owner, last = index.documents[number], len(index) - 1
            near = (n for n in (number - 1, number + 1) if 0 <= n <= last and index.documents[n] == owner)
            beside = [n for n in near if allowed[n]]
            text = " ".join(index.sentence(n) for n in beside)
        else:
            text = index.sentence(number)
        if form == "inplace":
            text = patterns[label].sub(MASK, text, count=1)
        # All words of the label: one that stays would give the label away.
        yield " ".join(patterns[label].sub(" ", text).split())


def word_pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Give an expression that finds whole words as the index does, in any case."""
    spelt = (r"\W+".join(map(re.escape, re.findall(r"\w+", word))) for word in words)
    return re.compile(rf"\b(?:{'|'.join(sorted(spelt, key=len, reverse=True))})\b", re.IGNORECASE)


def suggest(
    index: CorpusIndex, task: Task, label: str, vectors: Callable[[Sequence[str]], Tensor], count: int
) -> list[str]:
    """Give frequent words of a corpus whose static embeddings are near those of a label and not of another one."""
    frequent = np.argsort(-index.counts, kind="stable")[:_FREQUENT]
    words = [index.words[at] for at in frequent if index.counts[at] >= _RARE and index.words[at].isalpha()]
    own = task.verbalizer.get(label, (label,))
    others = [word for name, given in task.verbalizer.items() if name != label for word in given]
    words = [word for word in words if len(word) > 2 and word not in {*own, *others}]
    if not words:
        return []
    # Centred, since all embeddings share one large direction.
    found = vectors(words)
    near, *rest = (
        normalize(found - found.mean(0), dim=1) @ normalize(vectors(given).mean(0) - found.mean(0), dim=0)
        for given in (own, *([word] for word in others))
    )
    for other in rest:
        near = near.where(near - other > _CLEARER, -1.0)
    return [words[at] for at in near.argsort(descending=True, stable=True)[:count] if near[at] > 0]


def _check_found(index: CorpusIndex, task: Task, counts: Sequence[int], suggest: Suggest | None) -> None:
    for label, count in zip(task.labels, counts, strict=True):
        if count < 2:
            words = ", ".join(task.verbalizer[label])
            better = [] if suggest is None else list(suggest(label))
            hint = f"Give it words of this corpus, such as {', '.join(better)}." if better else "Give it other words."
            raise DataError(
                f"The label {label!r} has {count} usable sentences among {len(index):,}, for: {words}.",
                hint=hint,
            )
