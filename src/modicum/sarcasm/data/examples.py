"""What is learnt from: texts with the author's own label, and pairs of a text and its plain rephrase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from modicum.errors import DataError

Language: TypeAlias = Literal["en", "ar"]
Category: TypeAlias = Literal["sarcasm", "irony", "satire", "understatement", "overstatement", "rhetorical_question"]

LANGUAGES: tuple[Language, ...] = ("en", "ar")
CATEGORIES: tuple[Category, ...] = (
    "sarcasm",
    "irony",
    "satire",
    "understatement",
    "overstatement",
    "rhetorical_question",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One text.

    Args:
        text: as written, not empty.
        language: "en" or "ar".
        sarcastic: 1 if its author meant it so, 0 if not, None if unknown.
        rephrase: the author's plain wording of a sarcastic text.
        dialect: of an Arabic text: "msa", "nile", "levant", "gulf" or "magreb" in the shared task.
        categories: six of 0 and 1 in the order of `CATEGORIES`; None if unknown. All 0 where it is not sarcastic.

    Raises:
        DataError: if the text is empty, or a label is none.
    """

    text: str
    language: Language
    sarcastic: int | None = None
    rephrase: str | None = None
    dialect: str | None = None
    categories: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise DataError("A text is empty.", hint="Leave the row out, or write the text.")
        if self.language not in LANGUAGES:
            raise DataError(f"The language is {self.language!r}.", hint=f"Use one of: {', '.join(LANGUAGES)}.")
        if self.sarcastic not in {None, 0, 1}:
            raise DataError(f"A label is {self.sarcastic!r}.", hint="Use 1 for sarcastic and 0 for not.")
        if self.categories is not None and (
            len(self.categories) != len(CATEGORIES) or not set(self.categories) <= {0, 1}
        ):
            raise DataError(
                f"The categories are {self.categories!r}.", hint=f"Give 0 or 1 for each of {', '.join(CATEGORIES)}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two texts that mean the same, of which one is sarcastic.

    Args:
        texts: the two.
        language: "en" or "ar".
        sarcastic: 0 or 1, which of them is it; None if unknown.
        dialect: of Arabic texts.

    Raises:
        DataError: if a text is empty, or the label is none.
    """

    texts: tuple[str, str]
    language: Language
    sarcastic: int | None = None
    dialect: str | None = None

    def __post_init__(self) -> None:
        if not all(text.strip() for text in self.texts):
            raise DataError("A text of a pair is empty.", hint="Leave the row out, or write the text.")
        if self.language not in LANGUAGES:
            raise DataError(f"The language is {self.language!r}.", hint=f"Use one of: {', '.join(LANGUAGES)}.")
        if self.sarcastic not in {None, 0, 1}:
            raise DataError(f"A label is {self.sarcastic!r}.", hint="Use 0 for the first text and 1 for the second.")
