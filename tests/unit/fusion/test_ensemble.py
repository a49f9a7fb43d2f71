"""Several seeds of one system."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.fusion.made_up import recordings

from modicum.errors import ConfigError, DataError
from modicum.fusion import FusionEnsemble, fit_seeds
from modicum.fusion.fitting import configure
from modicum.fusion.training import Recipe

SHORT = Recipe(epochs=1, batch=8, rate=5e-3)
DRAWN, TEST = recordings(24), recordings(9, seed=1)
CONFIG = configure(DRAWN, encoder="linear", channels=4)


@pytest.fixture(scope="module")
def ensemble() -> FusionEnsemble:
    return fit_seeds(DRAWN, None, config=CONFIG, seeds=[3, 0], recipe=SHORT)


def test_seeds_are_trained_one_by_one_and_logged(ensemble: FusionEnsemble, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="modicum"):
        again = fit_seeds(DRAWN, None, config=CONFIG, seeds=[3], recipe=SHORT)
    (said,) = caplog.messages
    assert said.startswith("Seed 3: epoch ")
    assert list(ensemble.systems) == [3, 0]
    assert np.array_equal(again.predict(TEST), ensemble.systems[3].predict(TEST))
    assert not np.allclose(ensemble.systems[0].predict(TEST), ensemble.systems[3].predict(TEST))


def test_the_prediction_is_the_mean_of_the_systems(ensemble: FusionEnsemble) -> None:
    present = np.tile([True, False], (len(TEST), 1))
    for chosen in (None, present):
        each = [system.predict(TEST, present=chosen) for system in ensemble.systems.values()]
        assert np.allclose(ensemble.predict(TEST, present=chosen), (each[0] + each[1]) / 2, atol=1e-7)


def test_a_score_is_told_with_its_spread(ensemble: FusionEnsemble) -> None:
    first, second = (system.score(TEST)["mae"] for system in ensemble.systems.values())
    spread = ensemble.score(TEST)["mae"]
    assert spread.values == (first, second)
    assert spread.mean == pytest.approx((first + second) / 2)
    assert spread.std == pytest.approx(abs(first - second) / np.sqrt(2))  # of two, with n - 1
    one = FusionEnsemble({3: ensemble.systems[3]}).score(TEST)["mae"]
    assert (one.mean, one.std, one.values) == (first, 0.0, (first,))
    with pytest.raises(DataError, match="no labels to score by"):
        ensemble.score(replace(TEST, labels=None))


def test_a_folder_is_the_same_ensemble(ensemble: FusionEnsemble, tmp_path: Path) -> None:
    ensemble.save(tmp_path / "new" / "ensemble")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"ensemble"}
    again = FusionEnsemble.load(tmp_path / "new" / "ensemble")
    assert list(again.systems) == [0, 3]
    assert np.allclose(again.predict(TEST), ensemble.predict(TEST), atol=1e-6)
    with pytest.raises(ConfigError, match="has files in it"):
        ensemble.save(tmp_path / "new" / "ensemble")


def test_a_single_system_is_an_ensemble_of_one(ensemble: FusionEnsemble, tmp_path: Path) -> None:
    ensemble.systems[3].save(tmp_path / "system")
    (one,) = FusionEnsemble.load(tmp_path / "system").systems.values()
    assert np.allclose(one.predict(TEST), ensemble.systems[3].predict(TEST), atol=1e-6)


def test_what_breaks_half_way_leaves_nothing(ensemble: FusionEnsemble, tmp_path: Path) -> None:
    first, second = ensemble.systems.values()
    name: Any = b"no JSON"
    broken = FusionEnsemble({0: first, 1: replace(second, classes=(name,))})
    with pytest.raises(TypeError, match="not JSON serializable"):  # when the first is written, and the second's model
        broken.save(tmp_path / "ensemble")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1]])
def test_seeds_that_are_none_are_refused(seeds: list[int]) -> None:
    with pytest.raises(ConfigError, match="Give one or more from 0 on, each once"):
        fit_seeds(DRAWN, None, config=CONFIG, seeds=seeds)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no folder"):
        FusionEnsemble.load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be read"):
        FusionEnsemble.load(tmp_path)
