"""A corpus tokenised once: arrays mapped from disk, so that the sentences of any word are found in milliseconds."""

from __future__ import annotations

import re
import unicodedata
import warnings
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.core.environment import tree_digest
from modicum.core.files import new_folder
from modicum.core.progress import Progress, counted, silent
from modicum.core.seeding import numpy_generator
from modicum.core.splits import shuffled
from modicum.core.storage import Format
from modicum.core.tables import FORMS, read_records, read_text
from modicum.errors import DataError
from modicum.zeroshot.task import words_of

Ints: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

GRAM = 13  # words in a row that make an overlap with an evaluation text, as is usual since GPT-3
_PHRASE = 5  # ours: words of a text that are not found in a row by chance
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_BREAK = re.compile(r"\s*<br\s*/?>\s*", re.IGNORECASE)
_SHORTEST, _LONGEST = 30, 400  # characters of a sentence that is kept
_BANDS, _ROWS, _ALIKE = 4, 3, 0.8  # of MinHash, and the Jaccard similarity from which a sentence is a duplicate
_BLOCK = 1 << 20  # tokens hashed at a time
_ARRAYS = ("tokens", "starts", "documents", "text", "text_starts", "positions", "word_starts", "duplicate")
_FORMAT = Format(
    name="modicum.zeroshot.index",
    version=1,
    what="index of a corpus",
    hint="Delete its folder, and have it made again.",
)


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    words: list[str]
    corpus: str = ""  # hash of the file or folder; of none if documents were given


class CorpusIndex:
    """The sentences of a corpus with an inverted list from each word to where it occurs.

    Words are runs of letters and digits in lower case, whatever model is tuned: one index serves all of them.

    Args:
        words: the vocabulary.
        arrays: what `build` makes of a corpus, in memory or mapped from disk.
    """

    def __init__(self, words: list[str], arrays: dict[str, npt.NDArray[Any]]) -> None:
        self.words = words
        # As plain arrays on the same memory: a slice of a memmap takes ten times as long.
        plain = [np.asarray(arrays[name]) for name in _ARRAYS]
        self.tokens, self.starts, self.documents, self._text, self._text_starts = plain[:5]
        self._positions, self._word_starts, self.duplicate = plain[5:]

    @classmethod
    def build(
        cls, corpus: Iterable[str] | Path | str, folder: Path | str | None = None, *, progress: Progress = silent
    ) -> CorpusIndex:
        """Split documents into sentences of 30 to 400 characters and index their words.

        Args:
            corpus: documents; or a file (.txt with a document a line; CSV, TSV or JSONL with a column text), or a
                folder of such files and of .txt files that are a document each.
            folder: a new folder, from which the arrays are then mapped into memory; None keeps them in memory.
            progress: called a thousand documents.

        Returns:
            The index.

        Raises:
            DataError: if there is no sentence, or a file cannot be read.
        """
        documents = read_corpus(corpus) if isinstance(corpus, Path | str) else corpus
        words, arrays = _indexed(documents, counted(progress))
        if folder is None:
            return cls(words, arrays)
        with new_folder(Path(folder)) as part:
            for name, values in arrays.items():
                np.save(part / f"{name}.npy", values)
            made_of = tree_digest(Path(corpus)) if isinstance(corpus, Path | str) else ""
            _FORMAT.write(part / "index.json", {"words": words, "corpus": made_of})
        return cls.open(folder)

    @classmethod
    def check_corpus(cls, folder: Path | str, corpus: Path | str) -> None:
        """Refuse an index that was made of other files, or of the same ones before they changed.

        Args:
            folder: of the index.
            corpus: a file or folder.

        Raises:
            DataError: if it is another corpus, or there is none, or the index is damaged.
        """
        if not Path(corpus).exists():
            raise DataError(f"There is no {corpus}.", hint="Name a file or a folder of raw text.")
        made_of = _FORMAT.read(Path(folder) / "index.json", _Vocabulary).corpus
        if made_of and made_of != tree_digest(Path(corpus)):
            raise DataError(
                f"The index {folder} was made of another corpus than {corpus}, or that has changed since.",
                hint="Name another folder for the index of this corpus, or delete the old one.",
            )

    @classmethod
    def open(cls, folder: Path | str) -> CorpusIndex:
        """Map an index that `build` wrote.

        Args:
            folder: where it is.

        Returns:
            The index.

        Raises:
            DataError: if there is none, or it is damaged.
        """
        path = Path(folder)
        words = _FORMAT.read(path / "index.json", _Vocabulary).words
        try:
            arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
        except (OSError, ValueError) as error:
            raise DataError(f"The index {path} is damaged ({error}).", hint=_FORMAT.hint) from error
        sizes = {name: len(values) for name, values in arrays.items()}
        same = sizes["starts"] == sizes["text_starts"] == sizes["documents"] + 1 == sizes["duplicate"] + 1
        if not same or sizes["tokens"] != sizes["positions"] or sizes["word_starts"] != len(words) + 1:
            raise DataError(f"The index {path} is damaged: its arrays do not fit together.", hint=_FORMAT.hint)
        return cls(words, arrays)

    def __len__(self) -> int:
        return len(self.documents)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words)}

    @property
    def counts(self) -> Ints:
        """How often each word occurs."""
        return np.diff(self._word_starts)

    def sentence(self, number: int) -> str:
        """Give the text of a sentence."""
        first, last = self._text_starts[number : number + 2]
        return self._text[first:last].tobytes().decode()

    def sample(self, count: int, seed: int) -> list[str]:
        """Draw the texts of so many sentences, or of all."""
        return [self.sentence(int(at)) for at in shuffled(len(self), seed, "sample", count=count)]

    def occurrences(self, phrase: str) -> Ints:
        """Give the indices of the first tokens of a word or of several in a row."""
        found = [self.numbers.get(word) for word in words_of(phrase)]
        if not found or None in found:
            return np.empty(0, np.int64)
        first, *others = (number for number in found if number is not None)
        start, end = self._word_starts[first : first + 2]
        places = np.asarray(self._positions[start:end], dtype=np.int64)
        for offset, number in enumerate(others, start=1):
            places = places[places + offset < len(self.tokens)]
            places = places[self.tokens[places + offset] == number]
            places = places[self.sentences(places) == self.sentences(places + offset)]
        return places

    def sentences(self, places: Ints) -> Ints:
        """Give the sentence that each token is in."""
        return np.searchsorted(self.starts, places, side="right") - 1

    def overlapping(self, texts: Iterable[str]) -> Flags:
        """Mark the sentences that share 13 words in a row with a text, across sentences of a document, too."""
        # A text of 5 to 12 words marks the sentences that hold all of it, a shorter one those that are nothing else.
        marked = np.zeros(len(self), dtype=bool)
        grams: list[Ints] = []
        for text in texts:
            known = [self.numbers.get(word, -1) for word in words_of(text)]
            numbers = np.array(known, dtype=np.int64)
            if len(numbers) >= GRAM:
                whole = np.lib.stride_tricks.sliding_window_view(numbers, GRAM).min(1) >= 0
                grams.append(_grams(numbers)[whole])
                continue
            same = self.sentences(self.occurrences(text))
            marked[same if len(numbers) >= _PHRASE else same[np.diff(self.starts)[same] == len(numbers)]] = True
        if not grams:
            return marked
        wanted = np.unique(np.concatenate(grams))
        table = np.zeros(1 << 20, dtype=bool)  # a look-up of 20 bits decides nearly all, long before a search
        table[wanted >> np.uint64(44)] = True
        for start in range(0, len(self.tokens), _BLOCK):
            found = _grams(self.tokens[start : start + _BLOCK + GRAM - 1])
            hits = np.flatnonzero(table[found >> np.uint64(44)])
            hits = start + hits[np.isin(found[hits], wanted)]
            for offset in range(GRAM):
                marked[self.sentences(hits + offset)] = True
        return marked


def read_corpus(source: Path | str) -> Iterator[str]:
    """Read the documents of a file or of a folder of files."""
    path = Path(source)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if not files:
        raise DataError(f"The folder {path} has no file.", hint="Put raw text into it: .txt, .csv, .tsv or .jsonl.")
    for file in files:
        if file.suffix.lower() == ".txt":
            text = read_text(file)
            yield from [text] if path.is_dir() else text.split("\n")
            continue
        if file.suffix.lower() not in FORMS:
            raise DataError(
                f"{file} has the ending {file.suffix!r}.",
                hint=f"A corpus is of files that end in .txt, {', '.join(FORMS)}; have nothing else in its folder.",
            )
        columns, records = read_records(file)
        if "text" not in columns:
            raise DataError(
                f"{file} has the columns {', '.join(columns)} and none called text.", hint="Rename that of the texts."
            )
        found = [(record.line, record.cells.get("text")) for record in records]
        texts = [(line, text) for line, text in found if text is not None and text != ""]
        if missing := len(found) - len(texts):
            warnings.warn(f"{file}: {missing:,} of {len(found):,} rows have no text, and are left out.", stacklevel=2)
        for line, text in texts:
            if not isinstance(text, str):
                raise DataError(f"{file}, line {line}: text is {text!r}.", hint="Write it in quotation marks.")
            yield text


def _indexed(documents: Iterable[str], step: Any) -> tuple[list[str], dict[str, npt.NDArray[Any]]]:
    numbers: dict[str, int] = {}
    tokens, starts, owners, text_starts, text = array("I"), array("q", [0]), array("I"), array("q", [0]), bytearray()
    for owner, document in enumerate(documents):
        if not isinstance(document, str):
            raise DataError(
                f"Document {owner + 1} of the corpus is {type(document).__name__}, no text.", hint="Give texts."
            )
        if owner % 1000 == 999:
            step(f"{len(owners):,} sentences")
        for sentence in _sentences(unicodedata.normalize("NFC", document)):
            found = words_of(sentence)
            if found:
                tokens.extend([numbers.setdefault(word, len(numbers)) for word in found])
                text += sentence.encode("utf-8", "replace")
                starts.append(len(tokens))
                text_starts.append(len(text))
                owners.append(owner)
    if not owners:
        raise DataError(
            f"The corpus has no sentence of {_SHORTEST} to {_LONGEST} characters.",
            hint="Give raw text: a list of documents, a file or a folder of files.",
        )
    arrays: dict[str, npt.NDArray[Any]] = {
        "tokens": np.frombuffer(tokens, np.uint32),
        "starts": np.frombuffer(starts, np.int64),
        "documents": np.frombuffer(owners, np.uint32),
        "text": np.frombuffer(text, np.uint8),
        "text_starts": np.frombuffer(text_starts, np.int64),
    }
    arrays["positions"] = np.argsort(arrays["tokens"], kind="stable").astype(np.uint32)
    sizes = np.bincount(arrays["tokens"], minlength=len(numbers))
    arrays["word_starts"] = np.concatenate([[0], np.cumsum(sizes)])
    arrays["duplicate"] = _duplicates(arrays["tokens"], arrays["starts"])
    return list(numbers), arrays


def _sentences(document: str) -> Iterator[str]:
    for sentence in _SENTENCE.split(_BREAK.sub(" ", document)):
        if _SHORTEST <= len(sentence) <= _LONGEST:
            yield sentence.strip()


def _duplicates(tokens: npt.NDArray[np.uint32], starts: Ints) -> Flags:
    """Mark each sentence that is much like an earlier one, by MinHash over pairs of neighbouring words."""
    following = np.append(tokens[1:], 0).astype(np.uint64)
    following[starts[1:] - 1] = 1 << 32  # no word
    pairs = _mixed(_mixed(tokens.astype(np.uint64)) + following)
    factors = numpy_generator(0, "MinHash").integers(1 << 63, size=(_BANDS, _ROWS), dtype=np.uint64) | np.uint64(1)
    marked = np.zeros(len(starts) - 1, dtype=bool)
    for band in factors:
        keys = np.zeros(len(marked), dtype=np.uint64)
        for factor in band:
            keys = _mixed(keys + np.minimum.reduceat(pairs * factor >> np.uint64(32), starts[:-1]))
        order = np.argsort(keys, kind="stable")
        first = np.append(True, np.diff(keys[order]) != 0)
        leaders = order[first][np.cumsum(first) - 1]
        for number, leader in zip(order[~first], leaders[~first], strict=True):
            if not marked[number]:
                own, other = (set(tokens[starts[at] : starts[at + 1]].tolist()) for at in (number, leader))
                marked[number] = len(own & other) >= _ALIKE * len(own | other)
    return marked


def _grams(tokens: npt.NDArray[Any]) -> Any:
    """Hash each run of 13 tokens."""
    mixed = _mixed(tokens.astype(np.uint64))
    count = max(len(tokens) - GRAM + 1, 0)
    hashed = np.zeros(count, dtype=np.uint64)
    for offset in range(GRAM):
        hashed = hashed * np.uint64(0x9E3779B97F4A7C15) + mixed[offset : offset + count]
    return _mixed(hashed)


def _mixed(numbers: Any) -> Any:
    # The finaliser of splitmix64 (Steele et al. 2014): all bits of the input reach all bits of the output.
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
