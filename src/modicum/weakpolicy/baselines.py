"""Stable-Baselines3 with peer rewards: buffers for its agents as they are, and DQN on the difference of two losses."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.core.extras import require
from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError, StateError
from modicum.weakpolicy.functional import difference_loss, td_target
from modicum.weakpolicy.losses import XiSchedule, checked_xi, xi_at
from modicum.weakpolicy.rewards import Form, PeerReward, Terminal

require("stable_baselines3.common.buffers", extra="rl", purpose="A peer buffer or PeerDQN")
# This module is imported when it is used.
import gymnasium  # noqa: E402, TID253
from stable_baselines3 import DQN  # noqa: E402, TID253
from stable_baselines3.common.buffers import ReplayBuffer, RolloutBuffer  # noqa: E402, TID253
from stable_baselines3.common.type_aliases import ReplayBufferSamples  # noqa: E402, TID253


class PeerReplayBuffer(ReplayBuffer):
    """A replay buffer for DQN, SAC, TD3 and other off-policy agents, with peer rewards in what it samples.

    Args:
        buffer_size: of ``stable_baselines3.common.buffers.ReplayBuffer``.
        observation_space: of ``ReplayBuffer``; no dictionary.
        *args: of ``ReplayBuffer``.
        xi: weight of the peer.
        form: of `PeerReward`.
        gamma: that of the agent; None to read it from the agent that makes the buffer.
        terminal: of `PeerReward`.
        **kwargs: of ``ReplayBuffer``.

    Raises:
        ConfigError: if there is no agent to read gamma from, or it has another one or ``n_steps`` above 1, or if
            observations are dictionaries.

    Example:
        ``DQN("MlpPolicy", env, replay_buffer_class=PeerReplayBuffer, replay_buffer_kwargs={"xi": 0.2})``
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: Any,
        *args: Any,
        xi: float = 0.2,
        form: Form = "target",
        gamma: float | None = None,
        terminal: Terminal = "absorbing",
        **kwargs: Any,
    ) -> None:
        super().__init__(buffer_size, _checked_space(observation_space), *args, **kwargs)
        agent = _agent_of_caller()
        _check_one_step(getattr(agent, "n_steps", 1))
        agents = None if agent is None else float(agent.gamma)
        if gamma is None and agents is None:
            raise ConfigError("The discount of the agent is not known.", hint="Give gamma, such as gamma=0.99.")
        if gamma is not None and agents is not None and gamma != agents:
            raise ConfigError(
                f"gamma is {gamma}, but the agent has {agents}.", hint="Leave gamma out: it is read from the agent."
            )
        gamma = agents if gamma is None else gamma
        assert gamma is not None  # noqa: S101
        # What is stored are the rewards as they came; the mean is that of the moment when they are sampled.
        self.peer = PeerReward(xi, form, gamma=gamma, terminal=terminal)

    def add(self, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any, infos: Any) -> None:
        """Store a step and take its rewards into the mean, as of ``ReplayBuffer``."""
        self.peer.update(reward)
        super().add(obs, next_obs, action, reward, done, infos)

    def _get_samples(self, batch_inds: NDArray[Any], env: Any = None) -> ReplayBufferSamples:
        samples = super()._get_samples(batch_inds, env)
        mean = float(self._normalize_reward(np.array(self.peer.mean), env))  # rewards of VecNormalize have its unit
        # dones are 0 at time limits already.
        return samples._replace(rewards=self.peer(samples.rewards, samples.dones, mean=mean))


class PeerRolloutBuffer(RolloutBuffer):
    """A rollout buffer for PPO, A2C and other on-policy agents, whose returns are those of peer rewards (target form).

    Args:
        buffer_size: of ``stable_baselines3.common.buffers.RolloutBuffer``.
        observation_space: of ``RolloutBuffer``; no dictionary.
        *args: of ``RolloutBuffer``.
        xi: weight of the peer.
        terminal: of `PeerReward`.
        **kwargs: of ``RolloutBuffer``.

    Raises:
        ConfigError: if observations are dictionaries.

    Example:
        ``PPO("MlpPolicy", env, rollout_buffer_class=PeerRolloutBuffer, rollout_buffer_kwargs={"xi": 0.2})``
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: Any,
        *args: Any,
        xi: float = 0.2,
        terminal: Terminal = "absorbing",
        **kwargs: Any,
    ) -> None:
        super().__init__(buffer_size, _checked_space(observation_space), *args, **kwargs)
        self.peer = PeerReward(xi, gamma=self.gamma, terminal=terminal)

    def reset(self) -> None:
        """Empty the buffer, as of ``RolloutBuffer``; the mean of the rewards stays."""
        super().reset()
        self.terminated = np.zeros((self.buffer_size, self.n_envs), dtype=np.float32)

    def add(self, obs: Any, action: Any, reward: Any, episode_start: Any, value: Any, log_prob: Any) -> None:
        """Store a step, as of ``RolloutBuffer``; only ``collect_rollouts`` of Stable-Baselines3 may call."""
        dones, infos = _step_of_caller()
        truncated = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
        # At a time limit the agent has added its value estimate, which is no reward.
        self.peer.update(np.asarray(reward)[~truncated])
        self.terminated[self.pos] = dones & ~truncated
        super().add(obs, action, reward, episode_start, value, log_prob)

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Compute returns and advantages of the peer rewards, as of ``RolloutBuffer``."""
        rewards, terminated = torch.from_numpy(self.rewards), torch.from_numpy(self.terminated)
        self.rewards = self.peer(rewards, terminated).numpy()
        super().compute_returns_and_advantage(last_values, dones)


def _checked_space(space: Any) -> Any:
    if isinstance(space, gymnasium.spaces.Dict):
        raise ConfigError(
            f"Peer buffers need arrays as observations, the space is {space}.",
            hint="Wrap the environment in gymnasium.wrappers.FlattenObservation and use MlpPolicy.",
        )
    return space


def _check_one_step(n_steps: int) -> None:
    if n_steps > 1:
        raise ConfigError(
            f"Peer rewards are of single steps, but n_steps is {n_steps}.", hint="Leave n_steps out, or give n_steps=1."
        )


def _agent_of_caller() -> Any:
    """Give the agent that makes the buffer, for its discount; Stable-Baselines3 passes it to rollout buffers alone."""
    for frame, _ in traceback.walk_stack(sys._getframe(2)):
        agent: Any = frame.f_locals.get("self")
        if hasattr(agent, "replay_buffer_class") and hasattr(agent, "gamma"):
            return agent
    return None


def _step_of_caller() -> tuple[NDArray[np.bool], list[dict[str, Any]]]:
    """Read which episodes ended, and how, from the agent that adds the step."""
    # A rollout buffer is told where episodes start, not whether the last one ended or was cut; there is no other way.
    for frame, _ in traceback.walk_stack(sys._getframe(2)):
        names = frame.f_locals
        if "infos" in names and "dones" in names:
            return np.asarray(names["dones"], dtype=bool), names["infos"]
    raise StateError(
        "PeerRolloutBuffer must be filled by collect_rollouts of an agent of Stable-Baselines3.",
        hint="Pass it as rollout_buffer_class.",
    )


class PeerDQN(DQN):
    """DQN on the loss to its own targets, minus xi times the loss to targets with another sample's reward.

    Args:
        policy: of ``stable_baselines3.DQN``.
        env: of ``stable_baselines3.DQN``; its actions are discrete.
        xi: weight of the peer loss, below 1, or its schedule over the training.
        two_steps: take two optimizer steps for each batch, on the loss and on the negative peer loss, and update the
            target network after both, as released; compare it with a DQN that trains as often (``gradient_steps=2``).
            False for one step on the difference.
        terminal: of `PeerReward`.
        **kwargs: of ``stable_baselines3.DQN``.

    Raises:
        ConfigError: if ``xi`` is outside [0, 1), the actions are continuous, or ``n_steps`` is above 1.

    Source:
        The released code of Wang, Guo, Zhu and Liu 2021. Departures: the gradient is clipped as in Stable-Baselines3,
        and by default the end of an episode has the value of an absorbing state, where theirs has none.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        xi: float | XiSchedule = 0.2,
        two_steps: bool = False,
        terminal: Terminal = "absorbing",
        **kwargs: Any,
    ) -> None:
        checked_xi(xi.highest if isinstance(xi, XiSchedule) else xi, below_one=True)
        env = gymnasium.make(env) if isinstance(env, str) else env
        space = getattr(env, "action_space", None)
        if space is not None and not isinstance(space, gymnasium.spaces.Discrete):
            raise ConfigError(
                f"PeerDQN needs discrete actions, the space is {space}.",
                hint="Use SAC or TD3 with replay_buffer_class=PeerReplayBuffer.",
            )
        super().__init__(policy, env, **kwargs)
        _check_one_step(getattr(self.replay_buffer, "n_steps", 1))  # has it been given, the buffer is of n steps
        self.xi, self.two_steps = xi, two_steps
        self.peer = PeerReward(xi_at(xi, 0.0), "difference", gamma=self.gamma, terminal=terminal)
        self._batches = 0

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Learn from some batches, as of ``DQN``."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        self.peer.xi = xi = xi_at(self.xi, 1 - self._current_progress_remaining)
        losses: list[float] = []
        for _ in range(gradient_steps):
            samples, target, peer_target = self._batch(batch_size)
            weight = 0.0 if self.two_steps else xi
            losses.append(self._step(difference_loss(self._values(samples), target, peer_target, weight)))
            if self.two_steps and xi:
                self._soft_update()
                self._step(-xi * difference_loss(self._values(samples), peer_target, target, 0.0))
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", np.mean(losses))
        self.logger.record("train/xi", xi)

    def _values(self, samples: ReplayBufferSamples) -> Tensor:
        return self.q_net(samples.observations).gather(1, samples.actions.long())

    def _batch(self, size: int) -> tuple[ReplayBufferSamples, Tensor, Tensor]:
        assert self.replay_buffer is not None  # noqa: S101 - what learns has been filling it
        samples = self.replay_buffer.sample(size, env=self._vec_normalize_env)
        # The mean over sampled rewards is that over the buffer, in the unit of VecNormalize.
        self.peer.update(samples.rewards.numpy(force=True))
        order = torch.randperm(size, generator=torch_generator(self.seed or 0, f"peers/{self._batches}"))
        self._batches += 1
        with torch.no_grad():
            following = self.q_net_target(samples.next_observations).amax(dim=1, keepdim=True)
            end = self.peer.terminal_value()
            target, peer_target = (
                td_target(rewards, following, samples.dones, self.gamma, end)
                for rewards in (samples.rewards, samples.rewards[order.to(samples.rewards.device)])
            )
        return samples, target, peer_target

    def _step(self, loss: Tensor) -> float:
        self.policy.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        return loss.item()

    def _soft_update(self) -> None:
        """Move the target network between the two steps; the agent itself moves it after the second."""
        if self.tau < 1:
            with torch.no_grad():
                for target, source in zip(self.q_net_target.parameters(), self.q_net.parameters(), strict=True):
                    target.lerp_(source, self.tau)
