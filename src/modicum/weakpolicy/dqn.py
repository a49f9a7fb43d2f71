"""DQN with the difference of two losses, as in the released code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from modicum.core.extras import require
from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError
from modicum.weakpolicy.functional import difference_loss, td_target
from modicum.weakpolicy.losses import XiSchedule, checked_xi, xi_at
from modicum.weakpolicy.rewards import PeerReward, Terminal

if TYPE_CHECKING:
    from stable_baselines3 import DQN
else:
    DQN = require("stable_baselines3", extra="rl", purpose="PeerDQN").DQN


class PeerDQN(DQN):
    """DQN on the loss to its own targets, minus xi times the loss to targets with another sample's reward.

    Args:
        policy: of ``stable_baselines3.DQN``.
        env: of ``stable_baselines3.DQN``; its actions are discrete.
        xi: weight of the peer loss, below 1, or its schedule over the training.
        two_steps: take two optimizer steps for each batch, on the loss and on the negative peer loss, and update the
            target network after both, as the released code does. It thereby trains twice as often: compare it with
            a DQN that does so too (``gradient_steps=2``). False for one step on the difference.
        terminal: of `PeerReward`.
        **kwargs: of ``stable_baselines3.DQN``.

    Raises:
        ConfigError: if ``xi`` is outside [0, 1), or the actions are continuous.

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
        gymnasium = require("gymnasium", extra="rl", purpose="PeerDQN")
        env = gymnasium.make(env) if isinstance(env, str) else env
        space = getattr(env, "action_space", None)
        if space is not None and not isinstance(space, gymnasium.spaces.Discrete):
            raise ConfigError(
                f"PeerDQN needs discrete actions, the space is {space}.",
                hint="Use SAC or TD3 with replay_buffer_class=PeerReplayBuffer.",
            )
        super().__init__(policy, env, **kwargs)
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
            values, target, peer_target, observations, actions = self._batch(batch_size)
            if self.two_steps:
                losses.append(self._step(difference_loss(values, target, target, 0.0)))
                if xi:
                    self._soft_update()
                    values = self.q_net(observations).gather(1, actions)
                    self._step(-xi * difference_loss(values, peer_target, target, 0.0))
            else:
                losses.append(self._step(difference_loss(values, target, peer_target, xi)))
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", np.mean(losses))
        self.logger.record("train/xi", xi)

    def _batch(self, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        if self.replay_buffer is None:
            raise ConfigError("PeerDQN needs a replay buffer.", hint="Build it with an environment.")
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
        actions = samples.actions.long()
        return self.q_net(samples.observations).gather(1, actions), target, peer_target, samples.observations, actions

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
