from __future__ import annotations

import pytest

from modicum.core.options import number, one_of, whole
from modicum.errors import ConfigError


def test_text_becomes_numbers_and_words() -> None:
    assert number("rate", "2.5e-3") == 0.0025
    assert number("rate", "0") == 0
    assert whole("epochs", "12", least=1) == 12
    assert one_of("test", "dev", ("train", "dev")) == "dev"


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "fast", ""])
def test_what_is_no_number_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"rate must be a number from 0 on, got .*Write --option rate=NUMBER"):
        number("rate", text)


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", ""])
def test_what_is_not_whole_or_too_small_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"epochs must be an integer from 1 on, got "):
        whole("epochs", text, least=1)


def test_an_unknown_word_is_told_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"test must be one of train, dev, got 'x'. Write --option test=train"):
        one_of("test", "x", ("train", "dev"))
