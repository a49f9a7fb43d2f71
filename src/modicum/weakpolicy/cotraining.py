"""Two agents that see the same task in part each, and learn from each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from modicum.core.extras import require
from modicum.errors import ConfigError, StateError
from modicum.weakpolicy.losses import PeerLoss, XiSchedule, checked_xi, xi_at

require("stable_baselines3", extra="rl", purpose="PeerCoTraining")
# This module is imported when it is used.
from gymnasium.spaces import Box, Discrete  # noqa: E402, TID253
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm  # noqa: E402, TID253
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, NatureCNN  # noqa: E402, TID253
from stable_baselines3.common.utils import safe_mean  # noqa: E402, TID253


class ViewMask(BaseFeaturesExtractor):
    """Hide a part of each observation from an agent of Stable-Baselines3, as its features extractor.

    What is stored stays complete, so that each agent sees its own part of the other's steps.

    Args:
        observation_space: of the environment.
        view: "even" hides each second pixel from the first on (columns, if the width is even), or number 1 of a vector;
            "odd" hides the other pixels, or number 0 of a vector; or the numbers that are hidden, for a vector.

    Raises:
        ConfigError: if ``view`` is none of these.

    Example:
        ``PPO("MlpPolicy", env, policy_kwargs={"features_extractor_class": ViewMask,
        "features_extractor_kwargs": {"view": "odd"}})``

    Source:
        The released co-training of Wang, Guo, Zhu and Liu 2021.
    """

    def __init__(self, observation_space: Any, view: Literal["even", "odd"] | Sequence[int] = "even") -> None:
        shape = observation_space.shape
        image = len(shape) == 3
        inner: nn.Module = NatureCNN(observation_space) if image else FlattenExtractor(observation_space)
        super().__init__(observation_space, inner.features_dim)  # pyright: ignore[reportArgumentType] - an int
        self.inner = inner
        keep = torch.ones(shape)
        hidden = {"even": [1], "odd": [0]}.get(view, []) if isinstance(view, str) else list(view)
        if view in ("even", "odd") and image:
            pixels = torch.arange(shape[1] * shape[2]).reshape(shape[1:])
            keep[:, pixels % 2 == ("even", "odd").index(view)] = 0
        elif len(shape) == 1 and hidden and all(0 <= index < shape[0] for index in hidden):
            keep[hidden] = 0
        else:
            raise ConfigError(
                f"A view is even, odd, or indices of a vector, got {view!r} for observations of the shape {shape}.",
                hint="Use view='even' for one agent and view='odd' for the other.",
            )
        self.register_buffer("keep", keep)

    def forward(self, observations: Tensor) -> Tensor:
        """Extract features from what is seen."""
        return self.inner(observations * self.keep)  # pyright: ignore[reportOperatorIssue] - a buffer


class PeerCoTraining:
    """Train two on-policy agents in turn, each of which also imitates the other's last steps with a peer loss.

    Args:
        agent_a: PPO, A2C or another on-policy agent of Stable-Baselines3 with an environment of its own.
        agent_b: another, on the same spaces; usually with another `ViewMask`.
        xi: weight of the peer term, or its schedule over the training.
        gate: imitate only an agent whose mean return over its last episodes is higher (CoPiEr); False to imitate
            always, as published.
        learning_rate: of the steps of imitation, which have an Adam of their own.

    Raises:
        ConfigError: if an agent is not on-policy, their spaces differ, actions are neither one integer nor real
            vectors, or ``xi`` is negative.

    Source:
        Wang, Guo, Zhu and Liu 2021 (arXiv:2010.01748), PeerCT; Song et al., "Co-training for Policy Learning" (UAI
        2019) for the gate. Departures from the released code: Adam is not shared with PPO, the agents' own
        schedules run over the whole training, and gradients are clipped as in PPO.
    """

    def __init__(
        self,
        agent_a: OnPolicyAlgorithm,
        agent_b: OnPolicyAlgorithm,
        xi: float | XiSchedule = 0.2,
        *,
        gate: bool = True,
        learning_rate: float = 2.5e-4,
    ) -> None:
        checked_xi(xi.highest if isinstance(xi, XiSchedule) else xi)
        if agent_a is agent_b:
            raise ConfigError("Co-training needs two agents, got the same one twice.", hint="Build another one.")
        if not 0 < learning_rate < math.inf:
            raise ConfigError(f"learning_rate must be positive, got {learning_rate}.", hint="Use 2.5e-4.")
        for agent in (agent_a, agent_b):
            if not isinstance(agent, OnPolicyAlgorithm):
                raise ConfigError(
                    f"Co-training needs two on-policy agents, got {type(agent).__name__}.", hint="Use PPO or A2C."
                )
        spaces = [(agent.observation_space, agent.action_space) for agent in (agent_a, agent_b)]
        if spaces[0] != spaces[1]:
            raise ConfigError(
                f"Both agents need the same spaces, got {spaces[0]} and {spaces[1]}.",
                hint="Build both on the same environment; the view belongs into policy_kwargs.",
            )
        if not isinstance(agent_a.action_space, (Discrete, Box)):
            raise ConfigError(
                f"Co-training imitates one discrete action or real vectors, the space is {agent_a.action_space}.",
                hint="Use a Discrete or a Box space of actions.",
            )
        self.agents, self.xi, self.gate = (agent_a, agent_b), xi, gate
        self.imitations = [0, 0]  # steps of each agent
        self._optimizers = [torch.optim.Adam(agent.policy.parameters(), learning_rate) for agent in self.agents]

    def learn(self, total_timesteps: int) -> PeerCoTraining:
        """Train both agents for so many steps, at least 1, each in its own environment."""
        if total_timesteps < 1:
            raise ConfigError(f"total_timesteps must be 1 or more, got {total_timesteps}.", hint="Use 100_000, say.")
        if any(agent.env is None for agent in self.agents):
            raise StateError(
                "Both agents need an environment, and one has none.",
                hint="Load it with PPO.load(path, env=env), or call set_env(env).",
            )
        callbacks = [agent._setup_learn(total_timesteps)[1] for agent in self.agents]
        for callback in callbacks:
            callback.on_training_start({}, {})
        while all(agent.num_timesteps < total_timesteps for agent in self.agents):
            for agent, callback in zip(self.agents, callbacks, strict=True):
                environment: Any = agent.env
                agent.collect_rollouts(environment, callback, agent.rollout_buffer, agent.n_steps)
                agent._update_current_progress_remaining(agent.num_timesteps, total_timesteps)
                agent.train()
            xi = xi_at(self.xi, min(1.0, self.agents[0].num_timesteps / total_timesteps))
            returns = [_recent_return(agent) for agent in self.agents]
            for learner in (0, 1):
                # No return is known before an episode has ended, and NaN is never higher.
                if not self.gate or returns[1 - learner] > returns[learner]:
                    self._imitate(learner, xi)
        for callback in callbacks:
            callback.on_training_end()
        return self

    def _imitate(self, learner: int, xi: float) -> None:
        """Take one step on all of the other's last rollout."""
        agent, buffer = self.agents[learner], self.agents[1 - learner].rollout_buffer
        observations = torch.as_tensor(buffer.observations.reshape(-1, *buffer.obs_shape), device=agent.device)
        actions = torch.as_tensor(buffer.actions.reshape(len(observations), -1), device=agent.device)
        agent.policy.set_training_mode(True)
        distribution = agent.policy.get_distribution(observations).distribution
        if isinstance(distribution, Categorical):
            loss = PeerLoss("ce", xi)(distribution.logits, actions[:, 0].long())
        else:
            loss = PeerLoss("gaussian", xi)(distribution, actions)
        self._optimizers[learner].zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.policy.parameters(), agent.max_grad_norm)
        self._optimizers[learner].step()
        self.imitations[learner] += 1


def _recent_return(agent: OnPolicyAlgorithm) -> float:
    return float(safe_mean([episode["r"] for episode in agent.ep_info_buffer or []]))
