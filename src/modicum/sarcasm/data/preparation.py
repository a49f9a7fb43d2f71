"""Texts as the models see them: without what tells the training tweets from the test texts, with their dialect."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from modicum.errors import ConfigError, DataError
from modicum.sarcasm.configuration import AUTO
from modicum.sarcasm.data.examples import CATEGORIES, LANGUAGES, Example, Language, Pair

DIALECTS = ("msa", "nile", "levant", "gulf", "magreb")  # as the shared task spells them

# Printable ASCII alone: Arabic is often written right after an address. What ends it is a letter, a digit or a slash.
_URL = re.compile(r"(?:https?://|www\.)(?:[!-~]*[a-z0-9_/])?", re.IGNORECASE)
_MENTION = re.compile(r"(?<![a-z0-9_@])@[a-z0-9_]+", re.IGNORECASE)
_HASH = re.compile(r"#(?=\w)")
_ARABIC = re.compile(r"[\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f\u08a0-\u08c9\ufb50-\ufdff\ufe70-\ufefc]")
_DIALECT = re.compile(rf"(?:{'|'.join(DIALECTS)}): ")
_LATIN = re.compile(r"[a-z\u00c0-\u024f]", re.IGNORECASE)
_WORD = re.compile(r"\S+")


def clean(text: str) -> str:
    """Make a text neutral: English training tweets have mentions, addresses and hashtags, the test texts hardly any."""
    # HTML entities are resolved once; @name becomes USER and an address URL; of a hashtag the word is kept and the sign
    # is not; newlines and other runs of white space become one space, and none is left at the ends.
    plain = _HASH.sub("", _MENTION.sub("USER", _URL.sub("URL", html.unescape(text))))
    return " ".join(plain.split()) or text.strip()


def language_of(text: str) -> Language:
    """Tell Arabic from English by the script: which of the two has more letters, mentions and addresses left out."""
    plain = _MENTION.sub(" ", _URL.sub(" ", text))
    return "ar" if len(_ARABIC.findall(plain)) > len(_LATIN.findall(plain)) else "en"


def language_of_prepared(text: str) -> Language:
    """Tell Arabic from English as `language_of` does, of a text that may have its dialect in front."""
    # The dialect's Latin letters would outnumber those of a short Arabic text.
    found = _DIALECT.match(text)
    return language_of(text[found.end() :] if found else text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """What is done to a text before a model sees it, alike in training and in use."""

    clean: bool = True  # whether texts are made neutral, as `clean` does
    dialect_prefix: bool = True  # whether the dialect stands in front of an Arabic text, as in "nile: text"

    def text(self, example: Example) -> str:
        """Give the text of an example as a model wants it."""
        return self._prepared(example.text, example.dialect)

    def example(self, example: Example) -> Example:
        """Give an example with its text and its rephrase prepared, and all else as it is."""
        rephrase = None if example.rephrase is None else self._prepared(example.rephrase, example.dialect)
        return replace(example, text=self.text(example), rephrase=rephrase)

    def pair(self, pair: Pair) -> Pair:
        """Give a pair with both of its texts prepared."""
        first, second = (self._prepared(text, pair.dialect) for text in pair.texts)
        return replace(pair, texts=(first, second))

    def _prepared(self, text: str, dialect: str | None) -> str:
        prepared = clean(text) if self.clean else text
        return f"{dialect}: {prepared}" if self.dialect_prefix and dialect in DIALECTS else prepared


def length_matched(examples: Sequence[Example], seed: int) -> list[Example]:
    """Crop texts that are not sarcastic to as many words as sarcastic ones have."""
    # Each is given a number of words drawn from the sarcastic texts of its language, and from a random word on keeps
    # that many as they stand; a text that has no more stays as it is.
    from modicum.core.seeding import numpy_generator  # and torch, which reading does without

    generator = numpy_generator(seed, "crop")
    lengths = {
        language: np.array([len(it.text.split()) for it in examples if it.language == language and it.sarcastic])
        for language in LANGUAGES
    }
    return [
        replace(it, text=_cropped(it, lengths[it.language], generator)) if it.sarcastic == 0 else it for it in examples
    ]


def with_rephrases(examples: Sequence[Example]) -> list[Example]:
    """Add the rephrase of each sarcastic text as an example that is not."""
    # It has the language and the dialect of its parent and no category.
    return [*examples, *(_plain(it, it.rephrase) for it in examples if it.sarcastic and it.rephrase)]


def _cropped(example: Example, lengths: np.ndarray, generator: np.random.Generator) -> str:
    if not len(lengths):
        raise DataError(
            f"No text of {example.language!r} is sarcastic, so there is no length to crop the others to.",
            hint="Give sarcastic examples of that language, too.",
        )
    words = list(_WORD.finditer(example.text))
    kept = int(generator.choice(lengths))
    if kept >= len(words):
        return example.text
    first = int(generator.integers(len(words) - kept + 1))
    return example.text[words[first].start() : words[first + kept - 1].end()]


def _plain(example: Example, rephrase: str) -> Example:
    categories = None if example.categories is None else (0,) * len(CATEGORIES)
    return Example(
        text=rephrase, language=example.language, sarcastic=0, dialect=example.dialect, categories=categories
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Robustness:
    """What is done to texts."""

    preparation: Preparation = field(default_factory=Preparation)  # of every text, in training and in use
    match_lengths: bool = True  # crop training texts that are not sarcastic to the lengths of those that are
    rephrases: bool = True  # learn the author's plain wording as an example that is not sarcastic

    def train(self, examples: Sequence[Example], *, seed: int) -> list[Example]:
        """Give what a model is trained on, prepared, from the training part of a split as it was written."""
        shown = self._cropped(examples, seed)
        return self._with_dialects(with_rephrases(shown) if self.rephrases else shown)

    def choose(self, examples: Sequence[Example], *, seed: int) -> list[Example]:
        """Give what calibration and thresholds are chosen on, prepared, from the part that is held out as written."""
        # It has the lengths of the training part, since a threshold that was chosen with the shortcut is wrong without.
        return self._with_dialects(self._cropped(examples, seed))

    def _cropped(self, examples: Sequence[Example], seed: int) -> list[Example]:
        cleaned = [replace(self.preparation, dialect_prefix=False).example(it) for it in examples]
        return length_matched(cleaned, seed) if self.match_lengths else cleaned

    def _with_dialects(self, examples: Sequence[Example]) -> list[Example]:
        # Last: a crop would cut the dialect off texts that are not sarcastic, and its absence would tell them.
        return [replace(self.preparation, clean=False).example(it) for it in examples]


PRESETS: Mapping[str, Robustness] = {
    "plain": Robustness(
        preparation=Preparation(clean=False, dialect_prefix=False), match_lengths=False, rephrases=False
    ),
    "modicum": Robustness(),
}


def find_preset(name: str) -> Robustness:
    """Give the switches of a preset: "plain" has all off, "modicum" all on."""
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}.", hint=f"Use one of: {AUTO}, {', '.join(PRESETS)}.")
    return PRESETS[name]
