"""Presets, and what their switches do to training and held-out texts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modicum.errors import ConfigError
from modicum.sarcasm.data.examples import Example
from modicum.sarcasm.data.preparation import PRESETS, Preparation, Robustness, find_preset

SARCASTIC = Example(
    text="@who  great\nweather", language="ar", sarcastic=1, rephrase=" it rains &amp; pours ", dialect="nile"
)
PLAIN = Example(text=" ".join(f"w{place}" for place in range(30)), language="ar", sarcastic=0, dialect="gulf")
OTHER = Example(text="see https://a.b and go", language="en", sarcastic=0)
ENGLISH = Example(text="wow, sure, of course, yes, indeed", language="en", sarcastic=1)
EXAMPLES = [SARCASTIC, PLAIN, OTHER, ENGLISH]


def test_the_plain_preset_leaves_everything_as_it_was_written() -> None:
    plain = find_preset("plain")
    assert plain.train(EXAMPLES, seed=0) == plain.choose(EXAMPLES, seed=0) == EXAMPLES


def test_the_other_preset_cleans_crops_adds_rephrases_and_puts_dialects_in_front() -> None:
    shown = find_preset("modicum").train(EXAMPLES, seed=0)
    assert [it.sarcastic for it in shown] == [1, 0, 0, 1, 0]
    first, cropped, other, english, rephrase = (it.text for it in shown)
    assert first == "nile: USER great weather"
    assert cropped.startswith("gulf: w")
    assert len(cropped.split()) == 1 + 3, "the dialect is no word of the text"
    assert cropped.removeprefix("gulf: ") in PLAIN.text
    assert other == "see URL and go"  # no longer than the only sarcastic text in English
    assert english == ENGLISH.text
    assert rephrase == "nile: it rains & pours"  # whole, though longer than the sarcastic text
    assert shown[0].rephrase == rephrase


def test_no_crop_takes_the_dialect_from_a_text() -> None:
    shown = find_preset("modicum").train([SARCASTIC, *[PLAIN] * 50], seed=0)
    assert {it.text.split()[0] for it in shown} == {"nile:", "gulf:"}
    assert len({it.text for it in shown}) > 10, "crops begin anywhere"


def test_what_is_held_out_is_cropped_and_prepared_but_gets_no_rephrase() -> None:
    chosen = find_preset("modicum").choose(EXAMPLES, seed=0)
    assert [it.sarcastic for it in chosen] == [1, 0, 0, 1]
    assert len(chosen[1].text.split()) == 1 + 3
    assert chosen[0].text == "nile: USER great weather"


def test_seeds_reproduce_and_differ() -> None:
    modicum = find_preset("modicum")
    assert modicum.train(EXAMPLES, seed=0) == modicum.train(EXAMPLES, seed=0)
    assert len({modicum.train(EXAMPLES, seed=seed)[1].text for seed in range(8)}) > 1


@pytest.mark.parametrize("switch", ["clean", "dialect_prefix", "match_lengths", "rephrases"])
def test_each_switch_is_on_its_own(switch: str) -> None:
    off = PRESETS["plain"]
    if switch in {"clean", "dialect_prefix"}:
        on = replace(off, preparation=replace(off.preparation, **{switch: True}))
    else:
        on = replace(off, **{switch: True})
    shown = on.train(EXAMPLES, seed=0)
    assert ("USER" in shown[0].text) == (switch == "clean")
    assert shown[0].text.startswith("nile: ") == (switch == "dialect_prefix")
    assert (len(shown[1].text.split()) < 30) == (switch == "match_lengths")
    assert (len(shown) > len(EXAMPLES)) == (switch == "rephrases")


def test_presets_are_known_by_name() -> None:
    assert find_preset("modicum") == Robustness(preparation=Preparation(clean=True, dialect_prefix=True))
    with pytest.raises(ConfigError, match=r"There is no preset 'Modicum'. Use one of: auto, plain, modicum"):
        find_preset("Modicum")
