"""Buffers that hand peer rewards to unmodified agents of Stable-Baselines3."""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from modicum.core.extras import require
from modicum.errors import StateError
from modicum.weakpolicy.rewards import Form, PeerReward, Terminal

if TYPE_CHECKING:
    from stable_baselines3.common.buffers import ReplayBuffer, RolloutBuffer
    from stable_baselines3.common.type_aliases import ReplayBufferSamples
    from stable_baselines3.common.vec_env import VecNormalize
else:
    _buffers = require("stable_baselines3.common.buffers", extra="rl", purpose="A peer buffer")
    ReplayBuffer, RolloutBuffer = _buffers.ReplayBuffer, _buffers.RolloutBuffer


class PeerReplayBuffer(ReplayBuffer):
    """A replay buffer for DQN, SAC, TD3 and other off-policy agents, with peer rewards in what it samples.

    The rewards are stored as they came, and the running mean is that of the moment when they are sampled.

    Args:
        *args: of ``stable_baselines3.common.buffers.ReplayBuffer``.
        xi: weight of the peer.
        form: of `PeerReward`.
        gamma: that of the agent; Stable-Baselines3 does not pass it on.
        terminal: of `PeerReward`.
        **kwargs: of ``ReplayBuffer``.

    Raises:
        ConfigError: as for `PeerReward`.

    Example:
        ``DQN("MlpPolicy", env, replay_buffer_class=PeerReplayBuffer, replay_buffer_kwargs={"xi": 0.2})``
    """

    def __init__(
        self,
        *args: Any,
        xi: float = 0.2,
        form: Form = "target",
        gamma: float = 0.99,
        terminal: Terminal = "absorbing",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.peer = PeerReward(xi, form, gamma=gamma, terminal=terminal)

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Store a step and take its rewards into the mean, as of ``ReplayBuffer``."""
        self.peer.update(reward)
        super().add(obs, next_obs, action, reward, done, infos)

    def _get_samples(self, batch_inds: NDArray[Any], env: VecNormalize | None = None) -> ReplayBufferSamples:
        samples = super()._get_samples(batch_inds, env)
        mean = float(self._normalize_reward(np.array(self.peer.mean), env))  # rewards of VecNormalize have its unit
        # dones are 0 at time limits already.
        return samples._replace(rewards=self.peer(samples.rewards, samples.dones, mean=mean))


class PeerRolloutBuffer(RolloutBuffer):
    """A rollout buffer for PPO, A2C and other on-policy agents, whose returns are those of peer rewards (target form).

    Args:
        *args: of ``stable_baselines3.common.buffers.RolloutBuffer``.
        xi: weight of the peer.
        terminal: of `PeerReward`.
        **kwargs: of ``RolloutBuffer``.

    Raises:
        ConfigError: as for `PeerReward`.

    Example:
        ``PPO("MlpPolicy", env, rollout_buffer_class=PeerRolloutBuffer, rollout_buffer_kwargs={"xi": 0.2})``
    """

    def __init__(self, *args: Any, xi: float = 0.2, terminal: Terminal = "absorbing", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.peer = PeerReward(xi, gamma=self.gamma, terminal=terminal)

    def reset(self) -> None:
        """Empty the buffer, as of ``RolloutBuffer``; the mean of the rewards stays."""
        super().reset()
        self.terminated = np.zeros((self.buffer_size, self.n_envs), dtype=np.float32)

    def add(
        self,
        obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        episode_start: NDArray[Any],
        value: torch.Tensor,
        log_prob: torch.Tensor,
    ) -> None:
        """Store a step, as of ``RolloutBuffer``; only ``collect_rollouts`` of Stable-Baselines3 may call."""
        dones, infos = _step_of_caller()
        truncated = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
        # At a time limit the agent has added its value estimate, which is no reward.
        self.peer.update(np.asarray(reward)[~truncated])
        self.terminated[self.pos] = dones & ~truncated
        super().add(obs, action, reward, episode_start, value, log_prob)

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: NDArray[Any]) -> None:
        """Compute returns and advantages of the peer rewards, as of ``RolloutBuffer``."""
        rewards, terminated = torch.from_numpy(self.rewards), torch.from_numpy(self.terminated)
        self.rewards = self.peer(rewards, terminated).numpy()
        super().compute_returns_and_advantage(last_values, dones)


def _step_of_caller() -> tuple[NDArray[np.bool], list[dict[str, Any]]]:
    """Read which episodes ended, and how, from the agent that adds the step."""
    # A rollout buffer is told where episodes start, not whether the last one ended or was cut; there is no other way.
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        names = frame.f_locals
        if "infos" in names and "dones" in names:
            return np.asarray(names["dones"], dtype=bool), names["infos"]
        frame = frame.f_back
    raise StateError(
        "PeerRolloutBuffer must be filled by collect_rollouts of an agent of Stable-Baselines3.",
        hint="Pass it as rollout_buffer_class.",
    )
