"""Which split is for what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.fusion.made_up import recordings

from modicum.errors import ConfigError, DataError
from modicum.fusion import Recordings
from modicum.fusion.recordings import by_role

TRAIN, OTHER = recordings(8, classes=2), recordings(6, seed=1, classes=2)


def test_names_say_it() -> None:
    assert by_role({"test": OTHER, "train": TRAIN}) == (TRAIN, None, OTHER)
    assert by_role({"train": TRAIN, "valid": OTHER, "test": OTHER}) == (TRAIN, OTHER, OTHER)


def test_names_are_known_in_any_spelling_and_what_is_not_used_is_said() -> None:  # case 09
    assert by_role({"Training": TRAIN, "validation": OTHER}) == (TRAIN, OTHER, None)
    with pytest.raises(DataError, match="There are two splits of valid, and one of them is dev"):
        by_role({"train": TRAIN, "val": OTHER, "dev": OTHER})
    with pytest.warns(UserWarning, match="Not used, .*: test_2"):
        assert by_role({"train": TRAIN, "test_2": OTHER}) == (TRAIN, None, None)


@pytest.mark.parametrize("name", ["train", "valid", "test", "all"])
def test_what_is_trained_on_is_never_scored(name: str) -> None:
    assert by_role({name: TRAIN}) == (TRAIN, None, None)


def test_a_test_split_needs_no_labels() -> None:
    assert by_role({"train": TRAIN, "test": replace(OTHER, labels=None, classes=())})[2] is not None


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({}, "There are the splits none, and which to train on is not given"),
        ({"valid": TRAIN, "test": OTHER}, "There are the splits valid, test, and"),
        ({"all": replace(TRAIN, labels=None, classes=())}, "The split train has no labels"),
        ({"train": TRAIN, "valid": replace(OTHER, labels=None, classes=())}, "The split valid has no labels"),
        ({"train": TRAIN, "test": OTHER.take([])}, "The split test has no sample"),
        (
            {"train": TRAIN, "test": replace(OTHER, streams={"audio": OTHER.streams["audio"]})},
            "test has the streams audio of 3 values, and train audio of 3 values, video of 2 values",
        ),
        (
            {"train": TRAIN, "test": recordings(6, classes=3)},
            "classes of test are mood 0, mood 1, mood 2, those of train mood 0, mood 1",
        ),
    ],
)
def test_splits_that_do_not_go_together_are_refused(splits: dict[str, Recordings], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        by_role(splits)
