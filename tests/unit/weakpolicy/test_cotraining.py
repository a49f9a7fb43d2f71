from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.utils import obs_as_tensor

from modicum.errors import ConfigError, StateError
from modicum.weakpolicy import PeerCoTraining, ViewMask, XiSchedule

CARTPOLE = spaces.Box(-1, 1, (4,), np.float32)


def ppo(view: Any, env: str = "CartPole-v1", **settings: Any) -> PPO:
    sight = {"features_extractor_class": ViewMask, "features_extractor_kwargs": {"view": view}}
    defaults: dict[str, Any] = {"n_steps": 64, "n_epochs": 1, "seed": 1, "device": "cpu"}
    return PPO("MlpPolicy", env, policy_kwargs={"net_arch": [8], **sight}, **{**defaults, **settings})


@pytest.mark.parametrize(("view", "hidden"), [("even", [1]), ("odd", [0]), ([2, 3], [2, 3])])
def test_views_of_vectors(view: Any, hidden: list[int]) -> None:
    # PEERPL-P8
    seen = ViewMask(CARTPOLE, view)(torch.ones(2, 4))
    expected = torch.ones(2, 4)
    expected[:, hidden] = 0
    assert torch.equal(seen, expected)


@pytest.mark.parametrize(("view", "first"), [("even", 0.0), ("odd", 1.0)])
def test_views_of_images_are_stripes(view: Any, first: float) -> None:
    # PEERPL-P8
    keep = ViewMask(spaces.Box(0, 255, (4, 84, 84), np.uint8), view).keep
    assert isinstance(keep, torch.Tensor)
    assert keep.mean() == 0.5
    assert (keep == keep[:, :1]).all()
    assert keep[0, 0, :4].tolist() == [first, 1 - first, first, 1 - first]


@pytest.mark.parametrize("view", ["left", [4], [-1], []])
def test_other_views_are_refused(view: Any) -> None:
    with pytest.raises(ConfigError, match="A view is even, odd, or indices of a vector"):
        ViewMask(CARTPOLE, view)


def test_a_saved_agent_keeps_its_view(tmp_path: Path) -> None:
    ppo("odd").save(tmp_path / "agent")
    policy = PPO.load(tmp_path / "agent", device="cpu").policy
    one, two = torch.zeros(1, 4), torch.tensor([[9.0, 0, 0, 0]])
    action = torch.tensor([0])
    assert torch.equal(policy.get_distribution(one).log_prob(action), policy.get_distribution(two).log_prob(action))


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_two_agents_learn_and_imitate_each_other(env: str) -> None:
    pair = PeerCoTraining(ppo("even", env), ppo("odd", env, seed=2), XiSchedule("triangular", 0.3), gate=False)
    assert pair.learn(128).imitations == [2, 2]
    assert [agent.num_timesteps for agent in pair.agents] == [128, 128]


@pytest.mark.parametrize(
    ("scores", "imitations"), [((1.0, 500.0), [1, 0]), ((500.0, 1.0), [0, 1]), ((7.0, 7.0), [0, 0])]
)
def test_only_the_worse_agent_imitates(
    scores: tuple[float, float], imitations: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = PeerCoTraining(ppo("even"), ppo("odd", seed=2), 0.2)
    known = dict(zip(map(id, pair.agents), scores, strict=True))
    monkeypatch.setattr("modicum.weakpolicy.cotraining._recent_return", lambda agent: known[id(agent)])
    assert pair.learn(64).imitations == imitations


def test_imitation_makes_the_others_actions_likelier() -> None:
    pair = PeerCoTraining(ppo("even"), ppo("odd", seed=2), 0.0, gate=False, learning_rate=1e-2)
    pair.learn(64)
    buffer = pair.agents[1].rollout_buffer
    observations = obs_as_tensor(buffer.observations.reshape(-1, 4), torch.device("cpu"))
    actions = torch.as_tensor(buffer.actions.reshape(-1))
    assert isinstance(observations, torch.Tensor)

    def likelihood() -> float:
        with torch.no_grad():
            return pair.agents[0].policy.get_distribution(observations).log_prob(actions).mean().item()

    before = likelihood()
    for _ in range(5):
        pair._imitate(0, 0.0)
    assert likelihood() > before


def test_what_cannot_be_cotrained_is_refused() -> None:
    with pytest.raises(ConfigError, match="two on-policy agents, got DQN"):
        PeerCoTraining(ppo("even"), DQN("MlpPolicy", "CartPole-v1", buffer_size=10))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="Both agents need the same spaces"):
        PeerCoTraining(ppo("even"), ppo("odd", "Pendulum-v1"))
    with pytest.raises(ConfigError, match="xi must be a number from 0 on"):
        PeerCoTraining(ppo("even"), ppo("odd"), -0.1)
    one, two = (PPO("MlpPolicy", Switches(), n_steps=64, device="cpu") for _ in range(2))
    with pytest.raises(ConfigError, match=r"one discrete action or real vectors, the space is MultiDiscrete"):
        PeerCoTraining(one, two)


def test_agents_without_an_environment_learn_nothing(tmp_path: Path) -> None:
    ppo("odd").save(tmp_path / "agent")
    pair = PeerCoTraining(ppo("even"), PPO.load(tmp_path / "agent", device="cpu"))
    with pytest.raises(StateError, match="Both agents need an environment"):
        pair.learn(64)
    assert pair.agents[0].num_timesteps == 0


class Switches(gymnasium.Env):
    """Take two switches at once."""

    observation_space, action_space = CARTPOLE, spaces.MultiDiscrete([2, 2])
