"""What is taken away, and what is left of the score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.unit.fusion.made_up import recordings, write_encoder

from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError, DataError
from modicum.fusion.degradation import all_subsets, degradation_curve, draw_degradation, draw_present
from modicum.fusion.fitting import configure, fit
from modicum.fusion.system import FusionSystem
from modicum.fusion.training import Recipe

SHORT = Recipe(epochs=6, batch=16, rate=0.02)


@pytest.fixture(name="system", scope="module")
def _system() -> FusionSystem:
    drawn = recordings(48)
    return fit(drawn, config=configure(drawn, channels=8, encoder="linear"), recipe=SHORT)


def test_what_is_missing_at_a_rate_is_missing_at_higher_ones() -> None:
    there = numpy_generator(0, "there").random((400, 3)) < 0.8
    there[:, 0] |= ~there.any(axis=1)
    before = there
    for rate in (0.0, 0.2, 0.5, 0.9, 1.0):
        present = draw_present(there, rate, seed=0)
        assert not (present & ~before).any()
        assert present.any(axis=1).all()
        before = present
    assert (before.sum(axis=1) == 1).all()
    assert np.array_equal(draw_present(there, 0.0, seed=0), there)
    assert not np.array_equal(draw_present(there, 0.5, seed=0), draw_present(there, 0.5, seed=1))


def test_the_rate_is_the_probability_except_for_the_last_one() -> None:
    there = np.ones((20_000, 3), np.bool_)
    present = draw_present(there, 0.3, seed=0)
    # All three are drawn with probability r^3, and then one of them comes back.
    expected = 0.3 - 0.3**3 / 3
    assert 1 - present.mean() == pytest.approx(expected, abs=5 * np.sqrt(0.3 * 0.7 / there.size))
    assert 1 - present.mean(axis=0) == pytest.approx(np.full(3, expected), abs=0.02)


def test_only_what_may_be_missing_is_taken() -> None:
    there = np.array([[True, True], [False, True]])
    assert draw_present(there, 1.0, seed=0, losable=[False, True]).tolist() == [[True, False], [False, True]]
    assert draw_present(there, 1.0, seed=0, losable=[True, False]).tolist() == [[False, True], [False, True]]


def test_a_curve_begins_at_the_score_of_the_whole(system: FusionSystem) -> None:
    test = recordings(40, seed=1)
    curve = degradation_curve(system, test, [0.0, 0.5, 1.0], [0, 1, 2])
    assert curve.scores["mae"].shape == (3, 3)
    assert curve.scores["mae"][0].tolist() == [system.score(test)["mae"]] * 3
    assert (curve.missing[0] == 0).all()
    assert (np.diff(curve.missing, axis=0) > 0).all()
    assert curve.scores["mae"][2].mean() > curve.scores["mae"][0].mean()
    again = degradation_curve(system, test, [0.5], [1], modalities=["audio", "video"])
    assert again.scores["mae"][0, 0] == curve.scores["mae"][1, 1]


def test_a_curve_of_one_modality_ends_at_the_others(system: FusionSystem) -> None:
    test = recordings(40, seed=1)
    has = np.flatnonzero(test.streams["video"].lengths)
    curve = degradation_curve(system, test.take(has), [1.0], [0], modalities=["audio"])
    video = next(it for it in all_subsets(system, test.take(has)) if it.modalities == ("video",))
    assert curve.scores["mae"][0, 0] == pytest.approx(video.scores["mae"], abs=1e-6)


def test_each_subset_is_scored_over_those_that_have_it(system: FusionSystem) -> None:
    test = recordings(40, seed=1)
    found = {it.modalities: it for it in all_subsets(system, test)}
    assert list(found) == [("audio",), ("video",), ("audio", "video")]
    assert found["audio",].samples == found["audio", "video"].samples == 40
    has = np.flatnonzero(test.streams["video"].lengths)
    assert found["video",].samples == len(has) < 40
    expected = system.score(test.take(has), present=np.tile([False, True], (len(has), 1)))
    assert found["video",].scores == pytest.approx(expected, abs=1e-6)
    assert found["audio", "video"].scores == pytest.approx(system.score(test), abs=1e-6)


def test_a_subset_that_no_sample_has_is_left_out(system: FusionSystem) -> None:
    test = recordings(40, seed=1)
    without = test.take(np.flatnonzero(test.streams["video"].lengths == 0))
    assert [it.modalities for it in all_subsets(system, without)] == [("audio",), ("audio", "video")]


def test_text_may_be_missing_too(tmp_path: Path) -> None:
    drawn, place = recordings(24, words=True), write_encoder(tmp_path)
    config = configure(drawn, text=place, channels=8, encoder="linear", frozen_layers=-1, d_ins=[12, 3, 8])
    system = fit(drawn, config=config, recipe=SHORT, text=place)
    assert len(all_subsets(system, drawn)) == 7
    curve = degradation_curve(system, drawn, [0.0, 1.0], [0], modalities=["text"])
    assert curve.scores["mae"][0] != curve.scores["mae"][1]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_curve_is_drawn(system: FusionSystem, tmp_path: Path, suffix: str) -> None:
    curve = degradation_curve(system, recordings(8, seed=1), [0.0, 0.5], [0, 1])
    draw_degradation(tmp_path / f"curve{suffix}", {"CubeMLP": curve}, metric="mae")
    assert (tmp_path / f"curve{suffix}").stat().st_size > 1000
    with pytest.raises(ConfigError, match="has no score 'ccc'"):
        draw_degradation(tmp_path / "curve.png", {"CubeMLP": curve}, metric="ccc")
    with pytest.raises(ConfigError, match="A picture is a"):
        draw_degradation(tmp_path / "curve.txt", {"CubeMLP": curve}, metric="mae")


def test_draws_that_are_none_are_refused(system: FusionSystem) -> None:
    test = recordings(8, seed=1)
    with pytest.raises(ConfigError, match=r"A rate is 1\.5"):
        degradation_curve(system, test, [1.5], [0])
    with pytest.raises(ConfigError, match="no rates, or no seeds"):
        degradation_curve(system, test, [0.5], [])
    with pytest.raises(ConfigError, match="There is no modality 'smell'"):
        degradation_curve(system, test, [0.5], [0], modalities=["smell"])
    with pytest.raises(DataError, match="no labels to score by"):
        all_subsets(system, replace(test, labels=None))
