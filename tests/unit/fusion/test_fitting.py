"""Configurations and splits that are made of the recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.unit.fusion.made_up import recordings, write_encoder

from modicum.errors import ConfigError, DataError
from modicum.fusion.fitting import configure, fit, split_off
from modicum.fusion.training import Recipe

SHORT = Recipe(epochs=2, batch=16, rate=5e-3)


def test_a_configuration_has_the_sizes_of_the_recordings() -> None:
    config = configure(recordings(20), channels=16, per_word=["audio"])
    assert [(it.name, it.size, it.per_word) for it in config.modalities] == [("audio", 3, True), ("video", 2, False)]
    assert config.d_ins == [6, 2, 16]
    assert config.d_hiddens == config.d_outs == [[3, 2, 16], [2, 2, 8]]
    assert (config.loss, config.outputs) == ("mae", 1)


def test_labels_say_what_the_head_gives() -> None:
    classes = configure(recordings(20, classes=4))
    assert (classes.loss, classes.outputs) == ("cross_entropy", 4)
    targets = configure(replace(recordings(5), labels=np.zeros((5, 3), np.float32)), loss="ccc")
    assert (targets.loss, targets.outputs) == ("ccc", 3)
    with pytest.raises(DataError, match="no labels"):
        configure(replace(recordings(5), labels=None))


def test_text_comes_first_and_brings_its_encoder(tmp_path: Path) -> None:
    config = configure(recordings(5, words=True), text=write_encoder(tmp_path), frozen_layers=1)
    assert next((it.name, it.size, it.text) for it in config.modalities) == ("text", 16, True)
    assert config.d_ins[:2] == [100, 3]
    assert config.frozen_layers == 1
    with pytest.raises(ConfigError, match="do not agree"):
        fit(recordings(5, words=True), config=config)


def test_groups_stay_whole() -> None:
    drawn = recordings(40)
    rest, part = split_off(drawn, seed=0)
    assert not set(rest.groups) & set(part.groups)
    assert sorted(rest.ids + part.ids) == sorted(drawn.ids)
    assert split_off(drawn, seed=0)[1].ids == part.ids
    assert split_off(drawn, seed=1)[1].ids != part.ids


def test_classes_keep_their_shares() -> None:
    drawn = replace(recordings(40), groups=(), labels=np.repeat([0, 1], [30, 10]))
    _, part = split_off(drawn, seed=0, share=0.2)
    assert part.labels is not None
    assert np.bincount(part.labels.astype(int)).tolist() == [6, 2]
    rare = replace(drawn, labels=np.repeat([0, 1], [39, 1]))
    assert len(split_off(rare, seed=0, share=0.2)[1]) == 8


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(DataError, match="of 1 group, of which none"):
        split_off(recordings(4), seed=0)
    with pytest.raises(DataError, match="of 1 samples"):
        split_off(replace(recordings(1), groups=()), seed=0)


def test_the_scaling_is_of_the_training_part_alone() -> None:
    drawn = recordings(24)
    system = fit(drawn, config=configure(drawn, channels=8), recipe=SHORT)
    rest, _ = split_off(drawn, seed=0)
    assert system.scaling.means["audio"] == pytest.approx(rest.streams["audio"].values.mean(axis=0), abs=1e-6)


def test_other_classes_in_validation_are_refused() -> None:
    three, two = recordings(16, classes=3), recordings(16, classes=2)
    with pytest.raises(ConfigError, match="classes of validation are mood 0, mood 1"):
        fit(three, two, config=configure(three))


def test_the_task_goes_by_the_loss() -> None:
    drawn, classes = recordings(16), recordings(16, classes=2)
    tasks = [
        fit(drawn, drawn, config=configure(drawn, channels=8), recipe=SHORT).task,
        fit(drawn, drawn, config=configure(drawn, channels=8, loss="ccc"), recipe=SHORT).task,
        fit(classes, classes, config=configure(classes, channels=8), recipe=SHORT).task,
        fit(drawn, drawn, config=configure(drawn, channels=8), recipe=SHORT, task="depression").task,
    ]
    assert tasks == ["sentiment", "depression", "classes", "depression"]
