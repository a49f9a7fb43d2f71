from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modicum.errors import ConfigError, DataError, UnsafeFileError
from modicum.weakpolicy import Demonstrations, published_demonstrations, read_demonstrations


@pytest.mark.data("demonstrations/overcooked")
def test_the_human_play_of_the_catalogue() -> None:
    # PEERPL-P13
    play = published_demonstrations("overcooked-train")
    assert play.observations.shape == (19128, 57)
    assert play.discrete() == 6
    assert np.bincount(play.actions).tolist() == [1019, 628, 1064, 1079, 13845, 1493]
    assert play.starts is not None
    assert play.starts.sum() == 16  # two cooks in each of eight games
    assert len(published_demonstrations("overcooked-test")) == 19252


@pytest.mark.data("demonstrations/stable-baselines")
def test_the_experts_of_the_catalogue() -> None:
    cartpole = published_demonstrations("cartpole")
    assert (len(cartpole), cartpole.observations.shape[1], cartpole.discrete()) == (49527, 4, 2)
    assert cartpole.starts is not None
    assert cartpole.returns is not None
    assert cartpole.starts.sum() == len(cartpole.returns) == 100
    assert cartpole.returns.mean() == pytest.approx(495.27)
    pendulum = published_demonstrations("pendulum")
    assert pendulum.actions.shape == (20000, 1)
    with pytest.raises(ConfigError, match=r"Discrete actions are needed, but these are float32"):
        pendulum.discrete()


def test_transitions_of_imitation(tmp_path: Path) -> None:
    obs = np.arange(10.0).reshape(5, 2)
    dones = np.array([False, True, False, False, True])
    infos = np.array([{}] * 5, dtype=object)  # pickled, and never opened
    np.savez(tmp_path / "a.npz", obs=obs, next_obs=obs + 1, acts=np.array([0, 1, 1, 0, 1]), dones=dones, infos=infos)
    found = read_demonstrations(tmp_path / "a.npz")
    assert np.array_equal(found.observations, obs)
    assert found.starts is not None
    assert found.starts.tolist() == [True, False, True, False, False]
    assert found.discrete() == 2


def test_trajectories_of_imitation_lose_the_observation_after_the_last_action(tmp_path: Path) -> None:
    obs = np.arange(7.0)[:, None]  # 2 + 1 and 3 + 1
    np.savez(tmp_path / "a.npz", obs=obs, acts=np.array([0, 1, 2, 2, 2]), indices=np.array([2]), terminal=[True, True])
    found = read_demonstrations(tmp_path / "a.npz")
    assert found.observations[:, 0].tolist() == [0, 1, 3, 4, 5]
    assert found.starts is not None
    assert found.starts.tolist() == [True, False, True, False, False]
    np.savez(tmp_path / "b.npz", obs=obs[:6], acts=np.array([0, 1, 2, 2, 2]), indices=np.array([2]))
    with pytest.raises(DataError, match="5 actions in 2 trajectories, which need 7 observations, but there are 6"):
        read_demonstrations(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"trial": np.zeros(4)}, "has trial but no step"),
        ({"dones": np.zeros((4, 1), dtype=bool)}, r"dones in .* must have the shape \(N,\), it has \(4, 1\)"),
        ({"indices": np.array(2)}, r"indices in .* must have the shape \(N,\), it has \(\)"),
    ],
)
def test_what_says_where_episodes_start_is_checked(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", obs=np.zeros((4, 2)), acts=np.array([0, 1, 0, 1]), **arrays)  # pyright: ignore
    with pytest.raises(DataError, match=message):
        read_demonstrations(tmp_path / "a.npz")


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", obs=np.array([{}, {}], dtype=object), acts=np.array([0, 1]))
    with pytest.raises(UnsafeFileError, match=r"obs.npy in .*a.npz holds pickled objects"):
        read_demonstrations(tmp_path / "a.npz")


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", states=np.zeros(3))
    with pytest.raises(DataError, match="needs the arrays obs and actions"):
        read_demonstrations(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"no archive")
    with pytest.raises(DataError):
        read_demonstrations(tmp_path / "b.npz")
    with pytest.raises(ConfigError, match="There are no demonstrations 'pong'"):
        published_demonstrations("pong")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("observations", "actions", "count", "message"),
    [
        (np.zeros((3, 2)), np.array([0, 1]), None, "must have one length, at least 1, got 3, 2"),
        (np.zeros((0, 2)), np.array([], dtype=int), None, "must have one length, at least 1"),
        (np.array([[0.0], [np.nan]]), np.array([0, 1]), None, "must be finite, but row 1 has"),
        (np.zeros((2, 1)), np.array([0, 4]), 4, "Actions must be from 0 to 3, got 0 to 4"),
        (np.zeros((2, 1)), np.array([0.5, 1.5]), None, r"integers of the shape \(N,\) or vectors"),
        (np.zeros((2, 1)), np.array([-1, 1]), 2, "Actions must be from 0 to 1, got -1 to 1"),
        (np.zeros((2, 1)), np.array([-1, 1]), None, "Actions must be from 0 to 1, got -1 to 1"),
        (np.array(3.0), np.array(1), None, "must have one length, at least 1, got 0, 0"),
        (np.zeros((2, 1)), np.array([[0], [1]]), None, r"must have the shape \(N,\), got \(2, 1\)"),
        (np.array([["a"], ["b"]]), np.array([0, 1]), None, "Numbers were expected"),
    ],
)
def test_arrays_are_refused(observations: np.ndarray, actions: np.ndarray, count: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Demonstrations(observations, actions, action_count=count)
