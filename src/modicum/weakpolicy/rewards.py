"""Peer rewards: two algorithms that share a name in the literature, kept apart by theirs here."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError
from modicum.weakpolicy.functional import absorbing_value, difference_reward, peer_reward
from modicum.weakpolicy.losses import checked_xi

Form = Literal["target", "difference"]
Terminal = Literal["absorbing", "zero"]


class PeerReward:
    """Turn noisy rewards into peer rewards, whose bias by the noise is smaller or, at xi = 1, gone.

    The two forms are different algorithms: the first keeps the scale of the reward and adds no variance, the second
    stretches it and has (1 + xi^2) / (1 - xi)^2 times the variance.

    Args:
        xi: weight of the peer, at least 0, and below 1 for "difference".
        form: "target" is the paper's, r - xi m with the running mean m of all rewards; "difference" is what the two
            squared losses of the released code amount to, (r - xi r') / (1 - xi) with r' from a permutation.
        gamma: discount of the agent, in [0, 1).
        terminal: with "absorbing" an end is worth the constant by which rewards shift for ever, so that none is paid
            or charged for survival (and the target form cannot gain anything in the limit); "zero" as published.
        seed: of the permutations.

    Raises:
        ConfigError: if a setting is none of these.

    Example:
        >>> peer = PeerReward(0.5, gamma=0.9)
        >>> peer.update([1.0, 3.0])
        >>> peer(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])).tolist()  # the end: .9 * (-1 / (1 - .9))
        [0.0, -7.0]

    Source:
        Wang, Guo, Zhu and Liu 2021 (arXiv:2010.01748), PeerRL, and its released code. The running mean and the
        absorbing end are ours.
    """

    def __init__(
        self,
        xi: float = 0.2,
        form: Form = "target",
        *,
        gamma: float = 0.99,
        terminal: Terminal = "absorbing",
        seed: int = 0,
    ) -> None:
        if form not in get_args(Form) or terminal not in get_args(Terminal):
            raise ConfigError(
                f"form is target or difference and terminal is absorbing or zero, got {form!r} and {terminal!r}.",
                hint="Use form='target' and terminal='absorbing'.",
            )
        if not 0 <= gamma < 1:
            raise ConfigError(f"gamma must be from 0 to below 1, got {gamma}.", hint="Use the agent's, such as 0.99.")
        self.xi = checked_xi(xi, below_one=form == "difference")
        self.form, self.gamma, self.terminal = form, gamma, terminal
        self.mean, self.count = 0.0, 0
        self._seed, self._drawn = seed, 0

    def update(self, rewards: ArrayLike) -> None:
        """Take rewards of any shape into the running mean; those that are not finite are refused."""
        values = np.asarray(rewards, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ConfigError(
                "Rewards must be finite, got NaN or infinity.", hint="Clip or drop what the environment returns."
            )
        self.count += values.size
        if values.size:
            self.mean += (values.sum() - values.size * self.mean) / self.count

    def terminal_value(self, mean: float | None = None) -> float:
        """Give the value of states where an episode ended, for rewards of the running or another mean."""
        if self.terminal == "zero":
            return 0.0
        shift = -self.xi * (self.mean if mean is None else mean)
        return absorbing_value(shift / (1 - self.xi) if self.form == "difference" else shift, self.gamma)

    def __call__(self, rewards: Tensor, terminated: Tensor | None = None, *, mean: float | None = None) -> Tensor:
        """Compute the peer rewards of a batch.

        Args:
            rewards: noisy, shape (N,) or (N, 1).
            terminated: 1 where an episode ended (a time limit is no end), the same shape; the discounted value of the
                end is added there.
            mean: of the rewards, if they are in another unit than those of `update`.

        Returns:
            The same shape.
        """
        if self.form == "target":
            shifted = peer_reward(rewards, self.mean if mean is None else mean, self.xi)
        else:
            # A stream of its own for each batch, since a generator would keep replay buffers from being saved.
            generator = torch_generator(self._seed, f"peers/{self._drawn}")
            self._drawn += 1
            order = torch.randperm(len(rewards), generator=generator).to(rewards.device)
            shifted = difference_reward(rewards, rewards[order], self.xi)
        if terminated is None:
            return shifted
        return shifted + self.gamma * self.terminal_value(mean) * terminated.to(rewards.dtype)
