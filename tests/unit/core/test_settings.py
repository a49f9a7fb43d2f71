from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field

from modicum.core.settings import Help, as_json, as_texts, change, entries
from modicum.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Mine:
    """Settings of each kind."""

    epochs: Annotated[int, Help("passes over the data"), Ge(1)] = 3
    rate: Annotated[float, Help("learning rate"), Field(gt=0)] = 1e-3
    share: Annotated[float, Help("of the samples"), Ge(0), Lt(1)] = 0.5
    rates: Annotated[tuple[Annotated[float, Gt(0)], ...], Help("of the grid")] = (0.1, 1.0)
    bits: Annotated[int | None, Help("of the weights"), Ge(2), Le(8)] = 4
    norm: Annotated[Literal["l1", "l2"], Help("of the input")] = "l2"
    task: Annotated[str, Help("by name")] = ""


TEXTS = {"epochs": "3", "rate": "0.001", "share": "0.5", "rates": "0.1,1", "bits": "4", "norm": "l2", "task": ""}


def test_text_becomes_typed_values() -> None:
    typed = {"epochs": "12", "rate": "2.5e-3", "rates": "1,2e1", "bits": "none", "norm": "l1", "task": "none"}
    assert change(Mine(), typed) == Mine(epochs=12, rate=0.0025, rates=(1.0, 20.0), bits=None, norm="l1", task="none")


def test_values_are_taken_as_they_are_and_nothing_changes_nothing() -> None:
    assert change(Mine(), {"epochs": 12, "rates": [1, 2], "bits": None}) == Mine(epochs=12, rates=(1, 2), bits=None)
    assert change(Mine(), {}) == Mine()
    assert change(None, {}) is None


def test_settings_are_written_as_they_are_typed_and_as_json() -> None:
    assert as_texts(Mine()) == TEXTS
    assert change(Mine(epochs=9), TEXTS) == Mine()
    assert as_texts(Mine(bits=None))["bits"] == "none"
    assert as_json(Mine(bits=None)) == {**as_json(Mine()), "bits": None}
    assert as_json(Mine())["rates"] == [0.1, 1.0]
    assert (as_json(None), as_texts(None)) == (None, {})


def test_a_table_says_what_is_allowed() -> None:
    table = {entry.name: (entry.help, entry.allowed, entry.default) for entry in entries(Mine())}
    assert table == {
        "epochs": ("passes over the data", "an integer from 1 on", "3"),
        "rate": ("learning rate", "a number above 0", "0.001"),
        "share": ("of the samples", "a number from 0 to less than 1", "0.5"),
        "rates": ("of the grid", "a number above 0, or several with commas between them", "0.1,1"),
        "bits": ("of the weights", "an integer from 2 to 8 or none", "4"),
        "norm": ("of the input", "one of l1, l2", "l2"),
        "task": ("by name", "a text", ""),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("epochs", text) for text in ("0", "-1", "2.5", "many", "", "none")],
        *[("rate", text) for text in ("0", "-1", "nan", "inf", "fast", "")],
        *[("share", text) for text in ("1", "-0.1", "nan")],
        *[("rates", text) for text in ("", "0.1,", "0.1,nan", "0.1,0", "0.1;1")],
        *[("bits", text) for text in ("1", "9", "2.5", "None")],
        ("norm", "l3"),
        ("epochs", 0),
        ("epochs", None),
        ("norm", 2),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed_and_the_default(name: str, value: Any) -> None:
    (allowed,) = (entry.allowed for entry in entries(Mine()) if entry.name == name)
    with pytest.raises(ConfigError) as caught:
        change(Mine(), {name: value}, write="--set")
    assert caught.value.what == f"{name} must be {allowed}, got {value!r}."
    assert caught.value.hint == f"Write --set {name}={TEXTS[name]}, or leave it out: that is the default."


def test_an_unknown_name_is_told_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"^Mine has no option 'epoch'\. Use one of these.*: epochs=3, rate=0\.001"):
        change(Mine(), {"epoch": "3"}, owner="Mine")
    with pytest.raises(ConfigError, match=r"^Mine has no option 'epoch'\. Leave it out"):
        change(None, {"epoch": "3"}, owner="Mine")
