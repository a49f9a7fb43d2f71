"""What is neutral in a text afterwards, and what must survive."""

from __future__ import annotations

import pytest

from modicum.sarcasm.data.examples import Example, Pair
from modicum.sarcasm.data.preparation import DIALECTS, Preparation, clean, language_of


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ("Oh  great,\n\nanother\tMonday ", "Oh great, another Monday"),
        ("@bob and @Alice_9, hi", "USER and USER, hi"),
        ("write to bob@example.org", "write to bob@example.org"),
        ("see https://t.co/Ab1Cd2.", "see URL."),
        ("(www.example.org/a?b=c#d)", "(URL)"),
        ("https://example.org/@bob/1", "URL"),
        ("ماشي https://t.co/abcيا سلام", "ماشي URLيا سلام"),
        ("cut off https://…", "cut off URL…"),
        ("tea &amp; cake &lt;3", "tea & cake <3"),
        ("&amp;lt; is resolved once", "&lt; is resolved once"),
        ("#NotAtAll #1 fan", "NotAtAll 1 fan"),
        ("# alone and C# stay", "# alone and C# stay"),
        ("#يوم_سعيد", "يوم_سعيد"),
        ("يوم\u00a0\r\nجديد", "يوم جديد"),
    ],
)
def test_a_text_is_made_neutral(written: str, cleaned: str) -> None:
    assert clean(written) == cleaned


def test_a_text_of_which_nothing_is_left_stays_as_it_is() -> None:
    assert clean(" &nbsp; ") == "&nbsp;"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("just what I needed", "en"),
        ("يا سلام", "ar"),
        ("يا سلام https://t.co/averylongaddress @someone_with_a_long_name", "ar"),
        ("ok يا سلام", "ar"),
        ("we said سلام and left", "en"),
        ("😂😂 123", "en"),
        ("ab سل", "en"),
        ("پ گ", "ar"),
    ],
)
def test_the_language_is_that_of_more_letters(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_known_dialect_stands_before_text_and_rephrase(dialect: str) -> None:
    example = Example(text="يا\nسلام", rephrase="هذا  سيء", language="ar", dialect=dialect, sarcastic=1)
    prepared = Preparation().example(example)
    assert prepared.text == Preparation().text(example) == f"{dialect}: يا سلام"
    assert prepared.rephrase == f"{dialect}: هذا سيء"
    assert (prepared.sarcastic, prepared.dialect) == (1, dialect)


@pytest.mark.parametrize("dialect", [None, "", "martian"])
def test_an_unknown_dialect_gives_no_prefix(dialect: str | None) -> None:
    assert Preparation().text(Example(text="يا سلام", language="ar", dialect=dialect)) == "يا سلام"


def test_both_switches_off_leave_the_text_alone() -> None:
    plain = Preparation(clean=False, dialect_prefix=False)
    example = Example(text=" @a\nb ", rephrase="#c", language="ar", dialect="nile")
    assert plain.example(example) == example


def test_pairs_are_prepared_as_examples_are() -> None:
    pair = Pair(texts=("a\nb", "@c"), language="ar", dialect="gulf", sarcastic=1)
    prepared = Preparation().pair(pair)
    assert prepared == Pair(texts=("gulf: a b", "gulf: USER"), language="ar", dialect="gulf", sarcastic=1)
