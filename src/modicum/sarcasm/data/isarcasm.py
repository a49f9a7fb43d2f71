"""The data of the shared task iSarcasmEval, in which authors say themselves whether they were sarcastic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from modicum.core import catalogue
from modicum.core.tables import read_records
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import CATEGORIES, LANGUAGES, Example, Language, Pair
from modicum.sarcasm.data.tables import Table, read_rows, require_columns

Task: TypeAlias = Literal["A", "B", "C"]
Split: TypeAlias = Literal["train", "test"]

DATA_SET = "isarcasmeval"
_SHORT: dict[Language, str] = {"en": "En", "ar": "Ar"}
_DIALECT: dict[Language, tuple[str, ...]] = {"en": (), "ar": ("dialect",)}
_ANNOTATORS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Votes:
    """What five outside readers said of the test texts, in the order of the test file."""

    labels: npt.NDArray[np.int64]  # of the author, shape (n,)
    votes: npt.NDArray[np.int64]  # how many readers took the text for sarcastic, 0 to 5
    aggregated: npt.NDArray[np.int64]  # what the majority said


@overload
def load_isarcasm(
    root: Path | None = None, *, task: Literal["A", "B"] = "A", language: Language = "ar", split: Split = "train"
) -> list[Example]: ...
@overload
def load_isarcasm(
    root: Path | None = None, *, task: Literal["C"], language: Language = "ar", split: Split = "train"
) -> list[Pair]: ...
@overload
def load_isarcasm(
    root: Path | None = None, *, task: Task, language: Language = "ar", split: Split = "train"
) -> list[Example] | list[Pair]: ...
def load_isarcasm(
    root: Path | None = None, *, task: Task = "A", language: Language = "ar", split: Split = "train"
) -> list[Example] | list[Pair]:
    """Load the data of one task.

    Never tune on the test split; and 91 of the 200 English test pairs of task C are test texts of task A.

    Args:
        root: the folder with ``train`` and ``test``; None for the catalogue's.
        task: "A" sarcastic or not, "B" six categories (English), "C" which of two texts is sarcastic.
        language: "en" or "ar".
        split: "train" or "test".

    Returns:
        Examples, or for task C pairs, in the order of the file. To train on, A and B have the same rows, and C has
        each sarcastic text with its author's rephrase, the sarcastic one first and second in turn.

    Raises:
        ConfigError: if there is no such task, language or split, or task B is asked for in Arabic.
        DataError: if a file is missing or broken.
        MissingDataError: if the catalogue cannot find or fetch the files.

    Example:
        >>> load_isarcasm(task="B", language="ar")
        Traceback (most recent call last):
        modicum.errors.ConfigError: Task B has no Arabic data. Use language "en".
    """
    _check_choice("task", task, ("A", "B", "C"))
    _check_choice("language", language, LANGUAGES)
    _check_choice("split", split, ("train", "test"))
    if task == "B" and language == "ar":
        raise ConfigError("Task B has no Arabic data.", hint='Use language "en".')
    folder = catalogue.fetch(DATA_SET) if root is None else root
    match task, split:
        case "C", "train":
            return training_pairs(read_train(folder, language))
        case "C", _:
            return read_pairs(folder, language)
        case _, "train":
            return read_train(folder, language)
        case "B", _:
            return read_categories(folder)
        case _:
            return read_texts(folder, language)


def read_train(folder: Path, language: Language) -> list[Example]:
    """Read the training texts: 3,467 in English, 867 of them sarcastic, and 3,102 in Arabic, 745 of them sarcastic."""
    # They are sorted, all sarcastic ones first. The one row without a text (English) is left out.
    text, others = ("tweet", CATEGORIES) if language == "en" else ("text", _DIALECT["ar"])
    path = folder / "train" / f"train.{_SHORT[language]}.csv"
    return _table(path, language, (text, "sarcastic", "rephrase", *others), skip_empty=True).examples


def read_texts(folder: Path, language: Language) -> list[Example]:
    """Read the 1,400 test texts of task A, 200 of them sarcastic."""
    path = _test_file(folder, "A", language)
    return _table(path, language, ("text", "sarcastic", *_DIALECT[language])).examples


def read_categories(folder: Path) -> list[Example]:
    """Read the 1,400 test texts of task B: the English ones of task A, in another order."""
    return _table(_test_file(folder, "B", "en"), "en", ("text", *CATEGORIES)).examples


def read_pairs(folder: Path, language: Language) -> list[Pair]:
    """Read the 200 test pairs of task C."""
    path = _test_file(folder, "C", language)
    return _table(path, language, ("text_0", "text_1", "sarcastic_id", *_DIALECT[language])).pairs


def read_vote_file(path: Path, task: Literal["A", "C"]) -> Votes:
    """Read what five outside readers said of the test texts of task A, or of the pairs of task C."""
    # The rows are those of the test file, in its order: join by row, because the texts differ in their line ends. The
    # dialects of this file are not those of the test file.
    names = {
        "A": ("sarcasm_ref", "#humans_sarcasm", "human_aggregated"),
        "C": ("sarcastic_id_ref", "human_votes", "human_aggregated"),
    }[task]
    columns, records = read_records(path)
    require_columns(path, columns, names)
    table = np.empty((3, len(records)), dtype=np.int64)
    for place, record in enumerate(records):
        for part, (name, most) in enumerate(zip(names, (1, _ANNOTATORS, 1), strict=True)):
            cell = record.cells[name].strip()
            if cell not in map(str, range(most + 1)):
                raise DataError(
                    f"{path}, line {record.line} has {cell!r} in {name!r}, expected 0 to {most}.",
                    hint="Fetch the file again.",
                )
            table[part, place] = int(cell)
    return Votes(labels=table[0], votes=table[1], aggregated=table[2])


def training_pairs(examples: Iterable[Example]) -> list[Pair]:
    """Make pairs of sarcastic texts and their rephrases."""
    pairs: list[Pair] = []
    for example in examples:
        if example.rephrase is None:
            continue
        second = len(pairs) % 2
        texts = (example.rephrase, example.text) if second else (example.text, example.rephrase)
        pairs.append(Pair(texts=texts, language=example.language, sarcastic=second, dialect=example.dialect))
    return pairs


def _test_file(folder: Path, task: Task, language: Language) -> Path:
    return folder / "test" / f"task_{task}_{_SHORT[language]}_test.csv"


def _table(path: Path, language: Language, needed: Sequence[str], *, skip_empty: bool | None = None) -> Table:
    require_columns(path, read_records(path)[0], needed)
    table = read_rows(path, language=language, skip_empty=skip_empty)
    for row in table:
        if _lacks_label(row.content, needed):
            raise DataError(f"{path}, line {row.line} lacks a label.", hint="Fetch the file again.")
    return table


def _lacks_label(content: Example | Pair, needed: Sequence[str]) -> bool:
    if content.sarcastic is None and not {"sarcastic", "sarcastic_id"}.isdisjoint(needed):
        return True
    return isinstance(content, Example) and content.categories is None and CATEGORIES[0] in needed


def _check_choice(what: str, chosen: str, choices: Sequence[str]) -> None:
    if chosen not in choices:
        raise ConfigError(f"There is no {what} {chosen!r}.", hint=f"Use one of: {', '.join(choices)}.")
