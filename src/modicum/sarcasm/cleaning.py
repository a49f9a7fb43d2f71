"""Texts as the models see them: without what tells the training tweets from the test texts, and with their dialect."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace

from modicum.sarcasm.examples import Example, Language, Pair

DIALECTS = ("msa", "nile", "levant", "gulf", "magreb")  # as the shared task spells them

# Printable ASCII alone: Arabic is often written right after an address. What ends it is a letter, a digit or a slash.
_URL = re.compile(r"(?:https?://|www\.)(?:[!-~]*[a-z0-9_/])?", re.IGNORECASE)
_MENTION = re.compile(r"(?<![a-z0-9_@])@[a-z0-9_]+", re.IGNORECASE)
_HASH = re.compile(r"#(?=\w)")
_ARABIC = re.compile(r"[\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f\u08a0-\u08c9\ufb50-\ufdff\ufe70-\ufefc]")
_DIALECT = re.compile(rf"(?:{'|'.join(DIALECTS)}): ")
_LATIN = re.compile(r"[a-z\u00c0-\u024f]", re.IGNORECASE)


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
