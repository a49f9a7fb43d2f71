"""Stable-Baselines3 as it is, with the buffers of weakpolicy; and PeerDQN."""

from __future__ import annotations

import copy
import importlib
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from torch import nn

from modicum.core.engine import open_engine
from modicum.core.progress import silent
from modicum.errors import ConfigError, MissingExtraError, StateError
from modicum.weakpolicy import (
    ConfusionNoise,
    Demonstrations,
    PeerBC,
    PeerDQN,
    PeerReplayBuffer,
    PeerRolloutBuffer,
    XiSchedule,
)
from modicum.weakpolicy.agents import Training, train_all
from modicum.weakpolicy.functional import difference_loss

SPACE = spaces.Box(-1, 1, (3,), np.float32)
SMALL: dict[str, Any] = {"net_arch": [8]}


@pytest.mark.parametrize("agent", [DQN, SAC])
def test_off_policy_agents_learn_from_peer_rewards(agent: Any, tmp_path: Path) -> None:
    env = "CartPole-v1" if agent is DQN else "Pendulum-v1"
    model = agent(
        "MlpPolicy",
        env,
        replay_buffer_class=PeerReplayBuffer,
        replay_buffer_kwargs={"xi": 0.3},
        policy_kwargs=dict(SMALL),
        learning_starts=20,
        buffer_size=200,
        seed=0,
        device="cpu",
    )
    model.learn(60)
    buffer = model.replay_buffer
    assert isinstance(buffer, PeerReplayBuffer)
    assert buffer.peer.count == 60
    assert buffer.peer.mean == pytest.approx(buffer.rewards[:60].mean(), rel=1e-5)
    model.save_replay_buffer(tmp_path / "buffer")


def test_sampled_rewards_are_peer_rewards_with_a_value_of_the_end() -> None:
    buffer = PeerReplayBuffer(4, SPACE, spaces.Discrete(2), device="cpu", xi=0.5, gamma=0.9)
    ends = [(False, False), (True, False), (True, True), (False, False)]
    for step, (done, limit) in enumerate(ends):
        seen = np.full((1, 3), step, dtype=np.float32)
        info = [{"TimeLimit.truncated": limit}]
        buffer.add(seen, seen, np.array([0]), np.array([float(step)]), np.array([done]), info)
    samples = buffer._get_samples(np.arange(4))
    shift = -0.5 * 1.5
    expected = [0 + shift, 1 + shift + 0.9 * shift / 0.1, 2 + shift, 3 + shift]  # a time limit is no end
    assert samples.rewards[:, 0].tolist() == pytest.approx(expected)
    assert buffer.rewards[:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("agent", [PPO, A2C])
def test_on_policy_agents_learn_from_peer_rewards(agent: Any) -> None:
    env = gymnasium.make("CartPole-v1", max_episode_steps=12)
    model = agent(
        "MlpPolicy",
        env,
        n_steps=64,
        rollout_buffer_class=PeerRolloutBuffer,
        rollout_buffer_kwargs={"xi": 0.3},
        policy_kwargs=dict(SMALL),
        seed=0,
        device="cpu",
    )
    model.learn(64)
    peer = model.rollout_buffer.peer
    assert peer.mean == 1.0  # the estimate that is added at a time limit is no reward
    assert 50 <= peer.count < 64


def advantages(buffer: RolloutBuffer, rewards: np.ndarray, values: torch.Tensor, ended: np.ndarray) -> np.ndarray:
    """Fill a buffer as collect_rollouts does, which knows how episodes ended."""
    start = np.ones(2, dtype=bool)
    for step, reward in enumerate(rewards):
        dones = ended[step]
        infos: list[dict[str, Any]] = [{}, {}]
        assert len(infos) == len(dones)
        buffer.add(np.zeros((2, 3)), np.zeros((2, 1)), reward, start, values[step], torch.zeros(2))
        start = dones
    buffer.compute_returns_and_advantage(values[-1], ended[-1])
    return buffer.advantages


def test_with_an_absorbing_end_no_advantage_changes() -> None:
    # PEERPL-P10: all values shift by one constant, and what is better than expected stays so.
    generator = np.random.default_rng(3)
    rewards, ended = generator.normal(1.0, 1.0, (20, 2)), generator.random((20, 2)) < 0.2
    values = torch.from_numpy(generator.normal(size=(21, 2)))
    size, gamma, xi = 20, 0.9, 0.4
    plain = RolloutBuffer(size, SPACE, spaces.Discrete(2), "cpu", 0.95, gamma, 2)
    expected = advantages(plain, rewards, values, ended)
    shift = -xi * rewards.mean() / (1 - gamma)
    peer = PeerRolloutBuffer(size, SPACE, spaces.Discrete(2), "cpu", 0.95, gamma, 2, xi=xi)
    assert advantages(peer, rewards, values + shift, ended) == pytest.approx(expected, abs=1e-4)
    zero = PeerRolloutBuffer(size, SPACE, spaces.Discrete(2), "cpu", 0.95, gamma, 2, xi=xi, terminal="zero")
    assert advantages(zero, rewards, values + shift, ended) != pytest.approx(expected, abs=0.1)


def test_a_rollout_buffer_needs_to_know_how_episodes_end() -> None:
    buffer = PeerRolloutBuffer(2, SPACE, spaces.Discrete(2), "cpu", n_envs=1)
    with pytest.raises(StateError, match="must be filled by collect_rollouts"):
        buffer.add(np.zeros((1, 3)), np.zeros((1, 1)), np.ones(1), np.ones(1), torch.zeros(1), torch.zeros(1))


def fixed_dqn(**settings: Any) -> tuple[PeerDQN, Any]:
    """Give a PeerDQN that sees one batch for ever, and the batch."""
    model = PeerDQN(
        "MlpPolicy",
        "CartPole-v1",
        policy_kwargs={"net_arch": [8], **settings.pop("policy", {})},
        seed=0,
        learning_starts=0,
        train_freq=100,
        device="cpu",
        max_grad_norm=1e9,
        terminal="zero",
        **settings,
    )
    model.learn(64)
    assert model.replay_buffer is not None
    batch = model.replay_buffer.sample(32)
    batch = batch._replace(rewards=torch.randn(32, 1, generator=torch.Generator().manual_seed(2)))
    model.replay_buffer.sample = lambda *_, **__: batch  # pyright: ignore[reportAttributeAccessIssue]
    return model, batch


def targets(model: PeerDQN, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute both targets once more, with the permutation that comes next."""
    from modicum.core.seeding import torch_generator

    order = torch.randperm(32, generator=torch_generator(0, f"peers/{model._batches}"))
    with torch.no_grad():
        bootstrap = 0.99 * (1 - batch.dones) * model.q_net_target(batch.next_observations).amax(1, keepdim=True)
    return batch.rewards + bootstrap, batch.rewards[order] + bootstrap


def test_one_step_follows_the_gradient_of_the_difference() -> None:
    # PEERPL-P4
    model, batch = fixed_dqn(xi=0.3, policy={"optimizer_class": torch.optim.SGD}, learning_rate=1.0)
    network = copy.deepcopy(model.q_net)
    target, peer_target = targets(model, batch)
    difference_loss(network(batch.observations).gather(1, batch.actions), target, peer_target, 0.3).backward()
    model.train(1, 32)
    for moved, before in zip(model.q_net.parameters(), network.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(moved, before - before.grad)


def test_two_steps_are_the_released_ones() -> None:
    # PEERPL-P4: two steps of Adam, weighted 1 and -xi, and two soft updates of the target network (one by the agent).
    model, batch = fixed_dqn(xi=0.4, two_steps=True, tau=0.01, policy={"optimizer_kwargs": {"eps": 1e-7}})
    model.policy.optimizer.state.clear()
    network, slow = copy.deepcopy(model.q_net), copy.deepcopy(model.q_net_target)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, eps=1e-7)
    own, peer = targets(model, batch)
    for weight, target in ((1.0, own), (-0.4, peer)):
        optimizer.zero_grad()
        (weight * 0.5 * (network(batch.observations).gather(1, batch.actions) - target).square().mean()).backward()
        optimizer.step()
        if weight == 1.0:
            with torch.no_grad():
                for late, early in zip(slow.parameters(), network.parameters(), strict=True):
                    late.copy_(0.99 * late + 0.01 * early)
    model.train(1, 32)
    pairs: list[tuple[nn.Module, nn.Module]] = [(model.q_net, network), (model.q_net_target, slow)]
    for mine, theirs in pairs:
        for moved, expected in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(moved, expected)


def test_peer_dqn_learns_saves_and_follows_a_schedule(tmp_path: Path) -> None:
    model = PeerDQN(
        "MlpPolicy",
        "CartPole-v1",
        xi=XiSchedule("increasing", 0.4),
        policy_kwargs=dict(SMALL),
        seed=0,
        learning_starts=10,
        train_freq=1,
        buffer_size=200,
        device="cpu",
    )
    model.learn(60)
    assert model.peer.xi == pytest.approx(0.4, abs=0.02)
    model.save(tmp_path / "model")
    assert PeerDQN.load(tmp_path / "model", device="cpu").xi == XiSchedule("increasing", 0.4)


def test_its_tools_evaluate_a_clone() -> None:
    generator = np.random.default_rng(0)
    seen = generator.normal(size=(400, 4)).astype(np.float32)
    did = (seen @ np.array([0, 0.2, 1, 0.5]) > 0).astype(np.int64)  # balances the pole
    policy = PeerBC(steps=100, learning_rate=1e-2).fit(Demonstrations(seen, did)).policy(0.5)
    env = Monitor(gymnasium.make("CartPole-v1"))
    mean, _ = evaluate_policy(policy, env, n_eval_episodes=3, deterministic=True)  # pyright: ignore[reportArgumentType]
    assert isinstance(mean, float)
    assert mean > 60  # chance is about 22


def test_without_stable_baselines_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.buffers", None)
    monkeypatch.delitem(sys.modules, "modicum.weakpolicy.baselines")
    with pytest.raises(MissingExtraError, match=r"needs stable_baselines3, .* pip install 'modicum\[rl\]'"):
        importlib.import_module("modicum.weakpolicy.baselines")


def test_what_peer_dqn_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match="PeerDQN needs discrete actions"):
        PeerDQN("MlpPolicy", "Pendulum-v1")
    for xi in (1.0, XiSchedule("triangular", 1.5)):
        with pytest.raises(ConfigError, match="xi must be below 1 in the loss-difference form"):
            PeerDQN("MlpPolicy", "CartPole-v1", xi=xi)
    with pytest.raises(ConfigError, match="xi must be a number from 0 on"):
        PeerReplayBuffer(4, SPACE, spaces.Discrete(2), xi=-1.0, gamma=0.9)
    with pytest.raises(ConfigError, match="discount of the agent is not known"):
        PeerReplayBuffer(4, SPACE, spaces.Discrete(2))


def test_a_replay_buffer_has_the_discount_of_its_agent() -> None:
    made = {"replay_buffer_class": PeerReplayBuffer, "buffer_size": 8, "gamma": 0.9}
    agent = DQN("MlpPolicy", "CartPole-v1", **made)
    assert isinstance(agent.replay_buffer, PeerReplayBuffer)
    assert agent.replay_buffer.peer.gamma == 0.9
    with pytest.raises(ConfigError, match=r"gamma is 0\.99, but the agent has 0\.9"):
        DQN("MlpPolicy", "CartPole-v1", **made, replay_buffer_kwargs={"gamma": 0.99})


def test_peer_rewards_are_of_single_steps() -> None:
    settings: dict[str, Any] = {"buffer_size": 8, "n_steps": 3}
    with pytest.raises(ConfigError, match="n_steps is 3"):
        PeerDQN("MlpPolicy", "CartPole-v1", **settings)
    with pytest.raises(ConfigError, match="n_steps is 3"), pytest.warns(UserWarning, match="is ignored"):
        DQN("MlpPolicy", "CartPole-v1", replay_buffer_class=PeerReplayBuffer, **settings)


def test_dictionaries_of_observations_are_refused() -> None:
    space = spaces.Dict({"a": SPACE})
    with pytest.raises(ConfigError, match=r"need arrays as observations, the space is Dict"):
        PeerReplayBuffer(4, space, spaces.Discrete(2), gamma=0.9)
    with pytest.raises(ConfigError, match=r"need arrays as observations, the space is Dict"):
        PeerRolloutBuffer(4, space, spaces.Discrete(2))


def test_agents_of_other_settings_keep_their_files(tmp_path: Path) -> None:
    def training(xi: float) -> Training:
        return Training("CartPole-v1", "dqn", "target", ConfusionNoise.binary(0.3), xi, 30, 0, tmp_path)

    names: list[str] = []
    for xi in (0.2, 0.5, 0.2):
        with open_engine("inline") as engine:
            found = train_all([training(xi)], engine, tmp_path, silent)
        names.append(found["target"][0]["agent"])
    assert names[0] == names[2] != names[1]
    saved = [DQN.load(tmp_path / name, device="cpu").replay_buffer_kwargs["xi"] for name in names]
    assert saved == [0.2, 0.5, 0.2]
