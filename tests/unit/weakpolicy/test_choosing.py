from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modicum.core.export import open_onnx
from modicum.errors import ConfigError
from modicum.weakpolicy import Demonstrations
from modicum.weakpolicy.choosing import Compared, clone_and_compare
from modicum.weakpolicy.plots import draw, learning_curves


def shown() -> Demonstrations:
    """Give a rule that balances a pole, wrong three times in ten."""
    draws = np.random.default_rng(0)
    states = draws.uniform(-0.1, 0.1, size=(3000, 4)).astype(np.float32)
    right = (states[:, 2] + 0.5 * states[:, 3] > 0).astype(np.int64)
    return Demonstrations(states, np.where(draws.random(3000) < 0.3, 1 - right, right))


@pytest.fixture(scope="module")
def played() -> Compared:
    settings = {"updates": 150, "episodes": 20, "seed": 0, "device": "cpu"}
    return clone_and_compare(shown(), None, (0.2, 0.5), "CartPole-v1", **settings)  # type: ignore[arg-type]


def test_the_policy_that_plays_best_is_shipped_if_it_does_so_again(played: Compared) -> None:
    assert played.best == max(played.rows, key=lambda name: played.rows[name]["return"])
    assert played.chosen == played.best != "BC"  # sharpening must help where three actions in ten are wrong
    assert played.gain is not None
    mean, low, high = played.gain
    assert 0 < low <= mean <= high
    assert played.sentence().startswith(f"Ship {played.best}: +")
    assert set(played.to_dict()) == {"policies", "chosen", "best", "gain"}


def test_a_gain_that_fresh_episodes_do_not_show_is_no_reason_to_ship(played: Compared) -> None:
    unsure = Compared(played.rows, played.returns, played.best, (3.0, -1.0, 7.0), played.policy, played.example)
    assert unsure.chosen == "BC"
    assert unsure.sentence() == (
        f"Ship BC: {played.best} has +3.0 against BC in fresh episodes (95 % interval -1.0 to +7.0)."
    )


def test_the_lines_of_the_plot_are_the_rows_of_the_table(played: Compared, tmp_path: Path) -> None:
    lines, levels = played.path()
    assert set(lines) == {"PeerBC", "BC sharpened"}
    assert set(levels) == {"BC", "greedy BC", "class-balanced BC", "logit adjustment"}
    xis, middle, low, high = lines["PeerBC"]
    assert xis.tolist() == [0.2, 0.5]
    assert middle.tolist() == [played.rows[f"PeerBC xi={xi}"]["return"] for xi in (0.2, 0.5)]
    assert (low <= middle).all()
    assert (middle <= high).all()
    draw(tmp_path / "lines.svg", lines, across="xi", up="return", levels=levels)
    assert "<svg" in (tmp_path / "lines.svg").read_text()


def test_the_onnx_file_gives_the_probabilities_of_the_policy(played: Compared, tmp_path: Path) -> None:
    played.write_onnx(tmp_path / "policy.onnx")
    seen = shown().observations[:7]
    (found,) = open_onnx(tmp_path / "policy.onnx")(torch.from_numpy(seen))
    torch.testing.assert_close(found, played.policy.probabilities(seen), rtol=0, atol=1e-5)


def test_without_an_environment_the_choice_is_by_balanced_accuracy() -> None:
    given = shown()
    rare = Demonstrations(given.observations, np.where(np.arange(3000) % 5 == 0, given.actions, 0), action_count=3)
    settings = {"updates": 50, "episodes": 1, "seed": 0, "device": "cpu"}
    found = clone_and_compare(rare, None, (0.5,), None, **settings)  # type: ignore[arg-type]
    assert "class-balanced BC" not in found.rows  # action 2 never occurs
    assert found.gain is None
    assert found.best == max(found.rows, key=lambda name: found.rows[name]["balanced accuracy"])
    assert "That is no return" in found.sentence()


def test_vectors_are_no_actions_to_clone_here() -> None:
    given = Demonstrations(np.zeros((5, 2)), np.zeros((5, 1)))
    settings = {"updates": 1, "episodes": 1, "seed": 0, "device": "cpu"}
    with pytest.raises(ConfigError, match="Discrete actions"):
        clone_and_compare(given, None, (0.5,), None, **settings)  # type: ignore[arg-type]


def test_demonstrations_of_another_task_judge_nothing() -> None:
    other = Demonstrations(np.zeros((5, 3)), np.zeros(5, int))
    settings = {"updates": 1, "episodes": 1, "seed": 0, "device": "cpu"}
    with pytest.raises(ConfigError, match=r"judge by have observations of shape \(3,\) and 1 actions"):
        clone_and_compare(shown(), other, (0.5,), None, **settings)  # type: ignore[arg-type]


def test_a_learning_curve_is_the_mean_of_the_latest_episodes() -> None:
    across, middle, low, high = learning_curves({"a": [([10.0, 30.0], [50, 50]), ([20.0, 40.0], [50, 50])]}, 100)["a"]
    assert across[[49, 99]].tolist() == [50, 100]
    assert np.isnan(middle[:49]).all()
    assert middle[[49, 98, 99]].tolist() == [15, 15, 25]
    assert (low[99], high[99]) == (20, 30)
