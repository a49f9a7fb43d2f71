from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics
from scipy.stats import chisquare
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from modicum.errors import ConfigError, MissingExtraError
from modicum.weakpolicy import (
    ConfusionNoise,
    NoisyReward,
    NoisyVectorReward,
    SurrogateReward,
    is_class_independent,
    make_atari,
)
from modicum.weakpolicy.functional import NoiseKind
from modicum.weakpolicy.noise import ConfusionEstimator

PENDULUM = tuple(range(-16, 1))


@pytest.mark.parametrize("kind", ["uniform", "anti_identity", "norm_all", "norm_one", "two_extremes"])
def test_drawn_levels_follow_the_matrix(kind: NoiseKind) -> None:
    # PEERPL-P9
    noise = ConfusionNoise.of_kind(kind, (-1, 0, 2), 0.4, seed=5)
    generator = np.random.default_rng(1)
    for level, row in zip(noise.levels, noise.matrix, strict=True):
        drawn = noise.corrupt(np.full(5000, level), generator)
        counts = np.array([(drawn == each).sum() for each in noise.levels])
        possible = row > 0
        assert counts[~possible].sum() == 0
        if possible.sum() > 1:
            assert chisquare(counts[possible], 5000 * row[possible]).pvalue > 1e-3


def test_a_reward_belongs_to_the_level_above_if_asked_for() -> None:
    noise = ConfusionNoise.of_kind("uniform", PENDULUM, 0.0, discretise=True)
    assert noise.corrupt([-15.2, -0.5, -3.0, 0.0, -20.0], np.random.default_rng(0)).tolist() == [-15, 0, -3, 0, -16]
    with pytest.raises(ConfigError, match=r"at most 0.0, the highest level, got 1.0"):
        noise.level_of(1.0)
    with pytest.raises(ConfigError, match="must be finite"):
        noise.level_of(np.nan)


def test_a_reward_that_is_no_level_is_refused() -> None:
    noise = ConfusionNoise.binary(0.0, levels=(-1.0, 0.1))
    assert noise.level_of(np.array([0.1, -1.0], dtype=np.float32)).tolist() == [1, 0]
    for reward in (0.0, 1.0, -5.0, np.nan):
        with pytest.raises(ConfigError, match=rf"must be one of the levels \[-1.0, 0.1\], got {reward}"):
            noise.corrupt([0.1, reward], np.random.default_rng(0))
    env = SurrogateReward(gymnasium.make("CartPole-v1"), (-1, 0), [[1, 0], [0.3, 0.7]])
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=r"must be one of the levels \[-1.0, 0.0\], got 1.0"):
        env.step(0)


def test_which_noise_the_theorem_covers() -> None:
    covered = (ConfusionNoise.binary(0.3, 0.1), ConfusionNoise.of_kind("uniform", PENDULUM, 0.4))
    assert all(is_class_independent(noise.matrix) for noise in covered)
    other = (ConfusionNoise.of_kind(kind, PENDULUM, 0.4) for kind in ("anti_identity", "norm_all", "norm_one"))
    assert not any(is_class_independent(noise.matrix) for noise in other)


def test_the_true_reward_stays_in_info_and_in_statistics_within() -> None:
    env = NoisyReward(RecordEpisodeStatistics(gymnasium.make("CartPole-v1")), ConfusionNoise.binary(0.3), seed=2)
    env.reset(seed=1)
    noisy, total, done = [], 0.0, False
    info: dict[str, Any] = {}
    while not done:
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert info["true_reward"] == 1.0
        noisy.append(reward)
        total += info["true_reward"]
        done = terminated or truncated
    assert set(noisy) <= {-1.0, 1.0}
    assert info["episode"]["r"] == total


def test_a_seed_gives_the_same_noise_whatever_the_environment_draws() -> None:
    runs = []
    for start in (1, 2):
        noise = ConfusionNoise.of_kind("uniform", PENDULUM, 1.0, discretise=True)
        env = NoisyReward(gymnasium.make("Pendulum-v1"), noise, seed=7)
        env.reset(seed=start)
        runs.append([env.step(np.zeros(1))[1] for _ in range(20)])
    assert runs[0] == runs[1]  # with weight 1 the level says nothing of the true reward


def test_copies_for_stable_baselines3_have_noise_of_their_own_and_log_true_returns() -> None:
    noise = ConfusionNoise.binary(0.3)
    # As the page and the hint have it.
    envs = DummyVecEnv([lambda i=i: NoisyReward(Monitor(gymnasium.make("CartPole-v1")), noise, seed=i) for i in (0, 1)])
    envs.reset()
    rewards, logged = [], []
    for step in range(60):
        _, reward, _, infos = envs.step(np.full(2, step % 2))
        rewards.append(reward.copy())
        logged += [info["episode"] for info in infos if "episode" in info]
    one, two = np.transpose(rewards)
    assert (one != two).any()
    assert logged
    assert all(episode["r"] == episode["l"] for episode in logged)  # a step is worth 1


def test_the_vector_form_leaves_steps_that_only_reset() -> None:
    env = NoisyVectorReward(gymnasium.make_vec("CartPole-v1", num_envs=50), ConfusionNoise.binary(0.4), seed=2)
    env.reset(seed=3)
    ended, seen, flipped = np.zeros(50, dtype=bool), 0, 0
    for _ in range(60):
        _, rewards, terminated, truncated, info = env.step(np.ones(50, dtype=np.int64))
        assert (rewards[ended] == 0).all()
        assert (info["true_reward"][~ended] == 1).all()
        flipped += (rewards[~ended] == -1).sum()
        seen += (~ended).sum()
        ended = terminated | truncated
    assert flipped / seen == pytest.approx(0.4, abs=0.04)


def test_the_known_surrogate_has_the_true_reward_as_its_mean() -> None:
    # PEERPL-P6
    noise = ConfusionNoise.binary(0.3)
    env = SurrogateReward(NoisyReward(gymnasium.make("CartPole-v1"), noise), (-1, 1), noise.matrix)
    assert env.rewards.tolist() == pytest.approx([-1.0, 1.3 / 0.7])
    rewards = run(env, 3000)
    assert np.mean(rewards) == pytest.approx(1.0, abs=0.08)


def test_the_estimated_surrogate_comes_near() -> None:
    noisy = NoisyReward(gymnasium.make("CartPole-v1"), ConfusionNoise.binary(0.2))
    env = SurrogateReward(noisy, (-1, 1), edges=[[0.0], [], [0.0], []])
    assert env.rewards.tolist() == [-1.0, 1.0]
    run(env, 1500)
    assert env.rewards[1] == pytest.approx(1.2 / 0.8, abs=0.1)


def run(env: gymnasium.Env, steps: int) -> list[float]:
    env.action_space.seed(0)
    env.reset(seed=0)
    rewards: list[float] = []
    for _ in range(steps):
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        rewards.append(float(reward))
        if terminated or truncated:
            env.reset()
    return rewards


def test_an_estimate_needs_observations_and_levels_that_fit() -> None:
    estimator = ConfusionEstimator((-1, 1), edges=[[0.0]])
    for noisy in (1.0, 1.0, 1.0, -1.0):
        estimator.add([0.5], 0, noisy)
    estimator.add([-0.5], 0, -1.0)
    assert estimator.matrix().tolist() == [[1.0, 0.0], [0.25, 0.75]]
    with pytest.raises(ConfigError, match="An observation of 1 numbers"):
        estimator.add([0.5, 0.1], 0, 1.0)
    with pytest.raises(ConfigError, match=r"got 1 numbers and 0\.5"):
        estimator.add([0.5], 0, 0.5)


def test_bad_matrices_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"sum to 1, got sums \[0.9, 1.0\]"):
        ConfusionNoise((-1, 1), [[0.9, 0.0], [0.5, 0.5]])
    with pytest.raises(ConfigError, match="are from 0 to 1"):
        ConfusionNoise((-1, 1), [[1.2, -0.2], [0.5, 0.5]])
    with pytest.raises(ConfigError, match=r"has the shape \(2, 2\), got \(1, 2\)"):
        ConfusionNoise((-1, 1), [[1.0, 0.0]])
    with pytest.raises(ConfigError, match="The confusion matrix is singular"):
        ConfusionNoise((-1, 1), [[0.5, 0.5], [0.5, 0.5]]).surrogate()
    with pytest.raises(ConfigError, match="Discrete actions are needed to estimate the noise"):
        SurrogateReward(gymnasium.make("Pendulum-v1"), PENDULUM)
    with pytest.raises(ConfigError, match="rising numbers"):
        ConfusionNoise((1, -1), np.eye(2))
    with pytest.raises(ConfigError, match="Noise is uniform"):
        ConfusionNoise.of_kind("uniform", (-1, 1), 1.5)


def test_an_atari_game_as_the_paper_has_it() -> None:
    envs = make_atari("pong", 1)
    seen, _ = envs.reset(seed=0)
    assert seen.shape == (1, 4, 84, 84)
    assert envs.single_action_space.n == 6
    seen, reward, *_ = envs.step(np.array([2]))
    assert reward.shape == (1,)
    envs.close()


def test_games_and_roms_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no Atari game 'chess'"):
        make_atari("chess")
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"The ROM of pong is missing .*modicum\[atari\]"):
        make_atari("pong")


def test_what_is_no_noise_or_no_vector_environment_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"noise must be a ConfusionNoise, got 0\.3"):
        NoisyReward(gymnasium.make("CartPole-v1"), 0.3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="A vector environment of gymnasium was expected, got TimeLimit") as caught:
        NoisyVectorReward(gymnasium.make("CartPole-v1"), ConfusionNoise.binary(0.3))
    assert "seed=i" in caught.value.hint
    with pytest.raises(ConfigError, match=r"are from 0 to 1, got -0\.5 to 1\.5"):
        ConfusionNoise.binary(1.5)
