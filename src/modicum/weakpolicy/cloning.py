"""Behavioural cloning with a peer term, and the policies that one fit gives."""

# ruff: noqa: ARG002 - predict has the signature of Stable-Baselines3

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from modicum.core.devices import check_device
from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError, StateError
from modicum.weakpolicy.demonstrations import Demonstrations, check_finite
from modicum.weakpolicy.functional import adjust_prior, matching_exponent, mean_entropy, peer_policy, sharpen
from modicum.weakpolicy.losses import PeerLoss, checked_xi

_ROWS = 8192  # a pass without gradients


class ClonedPolicy:
    """A policy over discrete actions, with the ``predict`` of Stable-Baselines3, so that its tools evaluate it.

    Args:
        network: gives logits.
        transform: from the network's probabilities to those of the policy, both of shape (N, A).
        seed: of the actions that are drawn.
        shape: of one observation, so that others are refused and one can be given alone; None if nobody knows.
    """

    def __init__(
        self,
        network: nn.Module,
        transform: Callable[[Tensor], Tensor],
        seed: int = 0,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self._probabilities, self._shape = _Probabilities(network, transform), shape
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Start the stream of the drawn actions anew: the policies of one fit would all draw the same."""
        self._generator = torch_generator(seed, "actions")

    @torch.no_grad()
    def probabilities(self, observations: NDArray[Any]) -> Tensor:
        """Compute the probabilities of the actions, shape (N, A), for finite observations of shape (N, ...)."""
        observations = np.asarray(observations)
        if self._shape is not None and observations.shape[1:] != self._shape:
            raise ConfigError(
                f"Observations must have the shape (N, {', '.join(map(str, self._shape))}), got {observations.shape}.",
                hint="Give what the policy was fitted on; predict takes one observation, too.",
            )
        check_finite(observations)
        return self._probabilities.of_all(_tensor(observations))

    def as_module(self) -> nn.Module:
        """Give a module on the CPU from observations, float32 of shape (N, ...), to probabilities, shape (N, A)."""
        return copy.deepcopy(self._probabilities).cpu().eval()

    def predict(
        self,
        observation: NDArray[Any],
        state: None = None,
        episode_start: object = None,
        *,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.int64], None]:
        """Draw an action for each observation, or for one, as of Stable-Baselines3; the likeliest if deterministic."""
        observation = np.asarray(observation)
        alone = observation.shape == self._shape
        chances = self.probabilities(observation[None] if alone else observation)
        if deterministic:
            actions = chances.argmax(dim=1).numpy()
        else:
            actions = torch.multinomial(chances, 1, generator=self._generator)[:, 0].numpy()
        return actions[0] if alone else actions, None


class PeerBC:
    """Clone a demonstrator from observations and discrete actions, with or without a peer term.

    Fitted with ``xi=0``, ordinary behavioural cloning, it gives the peer policy of every xi by a closed form, see
    `policy`. Fitted with a positive xi, the network itself is trained with `PeerLoss`, as published.

    Args:
        xi: weight of the peer term in the training.
        hidden: widths of the layers of a network with ReLU, before which each observation is standardised.
        network: takes observations and gives logits, in place of such a network; a copy is trained.
        class_weight: "balanced" weighs actions by the inverse of their frequency (a control, with xi=0 alone).
        steps: of the optimizer.
        batch_size: observations a step.
        learning_rate: of Adam; falls to 0 along a cosine.
        seed: of initial weights and batches.
        device: of the training, "cpu" or "cuda".

    Raises:
        ConfigError: if a setting cannot be used.

    Example:
        >>> seen = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
        >>> did = np.array([0] * 45 + [1] * 5 + [0] * 15 + [1] * 35)
        >>> cloning = PeerBC(hidden=(), steps=300, learning_rate=0.1).fit(Demonstrations(seen, did))
        >>> [round(p, 1) for p in cloning.policy(0.5).probabilities(seen[:1])[0].tolist()]  # from .9 and .1
        [1.0, 0.0]

    Source:
        Wang, Guo, Zhu and Liu 2021 (arXiv:2010.01748), PeerBC; the closed form is ours.
    """

    def __init__(
        self,
        xi: float = 0.0,
        *,
        hidden: Sequence[int] = (64, 64),
        network: nn.Module | None = None,
        class_weight: Literal["balanced"] | None = None,
        steps: int = 1500,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        if class_weight not in {None, "balanced"} or (class_weight and xi):
            raise ConfigError(
                f"class_weight is None or balanced, and balanced needs xi=0, got {class_weight!r} with xi={xi}.",
                hint="Choose between the peer term and class weights.",
            )
        check_device(device)
        if (
            not all(isinstance(number, int) for number in (steps, batch_size))
            or steps < 1
            or batch_size < 1
            or not learning_rate > 0
        ):
            raise ConfigError(
                f"steps and batch_size must be positive integers and learning_rate a positive number, got {steps}, "
                f"{batch_size}, {learning_rate}.",
                hint="Use steps=1500, batch_size=128, learning_rate=1e-3.",
            )
        self.xi, self.hidden, self.network, self.class_weight = checked_xi(xi), hidden, network, class_weight
        self.steps, self.batch_size, self.learning_rate, self.seed = steps, batch_size, learning_rate, seed
        self.device, self._loss = device, PeerLoss(xi=xi)
        self._fitted: nn.Module | None = None

    def fit(self, demonstrations: Demonstrations) -> PeerBC:
        """Train the network on discrete actions, each of which must occur for balanced weights; give itself."""
        if not isinstance(demonstrations, Demonstrations):
            raise ConfigError(
                f"Demonstrations were expected, got {type(demonstrations).__name__}.",
                hint="Use read_demonstrations(path) or Demonstrations(observations, actions).",
            )
        count = demonstrations.discrete()
        inputs = _tensor(demonstrations.observations)
        actions = torch.as_tensor(demonstrations.actions.astype(np.int64), device=self.device)
        frequency = torch.bincount(actions, minlength=count).float()
        if self.class_weight and frequency.min() == 0:
            raise ConfigError(
                f"Each of {count} actions must occur for balanced weights, action {int(frequency.argmin())} does not.",
                hint="Give more demonstrations, or leave class_weight.",
            )
        weight = len(actions) / (count * frequency) if self.class_weight else None
        if self.network is not None:
            network = copy.deepcopy(self.network).to(self.device)
            self._check_network(network, inputs, count)
            self._train(network.train(), inputs, actions, weight)
        else:
            scaling, layers = self._build(inputs, count)
            network = nn.Sequential(scaling, layers).to(self.device)
            self._train(layers, scaling(inputs.to(self.device)), actions, weight)  # all of them are scaled once
        self._fitted, self._shape = network.eval(), tuple(inputs.shape[1:])
        with torch.no_grad():
            self._probabilities = _Probabilities(network, nn.Identity()).of_all(inputs)
        # An action that the network never takes would be divided by 0.
        self._marginal = self._probabilities.mean(dim=0).clamp(min=1e-12)
        return self

    def policy(self, xi: float | None = None) -> ClonedPolicy:
        """Give a policy.

        Args:
            xi: of the closed form [p - xi m]_+ / Z, from 0 on, where m is the mean of p over the demonstrations (where
                nothing is left: the actions with the largest p / m); None for the network's own policy.

        Raises:
            ConfigError: if xi is negative.
            StateError: if nothing is fitted yet, or the network was trained with a peer term already.
        """
        if xi is None:
            return self._policy(nn.Identity())
        self._check_plain()
        return self._policy(partial(peer_policy, marginal=self._marginal, xi=checked_xi(xi)))

    def greedy(self) -> ClonedPolicy:
        """Give the control of always taking the most probable action."""
        return self._policy(_most_probable)

    def sharpened(self, xi: float) -> ClonedPolicy:
        """Give the control of `policy` with the same xi: p^b / Z with its mean entropy on the demonstrations."""
        self._check_plain()
        entropy = mean_entropy(peer_policy(self._probabilities, self._marginal, checked_xi(xi))).item()
        return self._policy(partial(sharpen, exponent=matching_exponent(self._probabilities, entropy)))

    def adjusted(self, tau: float) -> ClonedPolicy:
        """Give the control of logit adjustment: p / m^tau, normalised; tau=1 makes all actions equally common."""
        if not 0 <= tau < math.inf:
            raise ConfigError(f"tau must be a number from 0 on, got {tau}.", hint="Use a value such as 0.3.")
        self._check_plain()
        return self._policy(partial(adjust_prior, marginal=self._marginal, tau=tau))

    def _policy(self, transform: Callable[[Tensor], Tensor]) -> ClonedPolicy:
        if self._fitted is None:
            raise StateError("There is no policy before fit.", hint="Call fit(demonstrations) first.")
        return ClonedPolicy(self._fitted, transform, self.seed, self._shape)

    def _check_plain(self) -> None:
        if self._fitted is None or self.xi > 0:
            raise StateError(
                "The closed form starts from a fit of ordinary cloning, "
                + ("and there is none yet." if self._fitted is None else f"this one has xi={self.xi}."),
                hint="Use PeerBC(xi=0).fit(demonstrations), or policy() without xi.",
            )

    def _check_network(self, network: nn.Module, inputs: Tensor, count: int) -> None:
        reason = ""
        try:
            with torch.no_grad():
                shape = tuple(network.eval()(inputs[:2].to(self.device, torch.float32)).shape)
        except (RuntimeError, IndexError, AttributeError, TypeError) as error:
            shape, reason = (), f" ({error})"
        if shape != (len(inputs[:2]), count):
            raise ConfigError(
                f"The network must give {count} logits for each observation of shape {tuple(inputs.shape[1:])}, but "
                f"gives {shape or 'nothing'}{reason}.",
                hint="Fit its first and last layer to the demonstrations.",
            )

    def _build(self, inputs: Tensor, actions: int) -> tuple[nn.Module, nn.Module]:
        generator = torch_generator(self.seed, "initialisation")
        flat = inputs.flatten(1)
        layers: list[nn.Module] = []
        for width, following in pairwise([flat.shape[1], *self.hidden, actions]):
            linear = nn.Linear(width, following)
            nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU()]
        return _Standardise(flat), nn.Sequential(*layers[:-1])

    def _train(self, network: nn.Module, inputs: Tensor, actions: Tensor, weight: Tensor | None) -> None:
        order = torch_generator(self.seed, "order")
        # One kernel for all parameters: on small networks the optimizer takes as long as the passes.
        optimizer = torch.optim.Adam(network.parameters(), self.learning_rate, fused=True)
        batches: list[Tensor] = []
        for step in range(self.steps):
            optimizer.param_groups[0]["lr"] = self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2
            if not batches:
                batches = list(torch.randperm(len(inputs), generator=order).split(self.batch_size))
                if len(batches) > 1 and len(batches[-1]) < self.batch_size:
                    batches.pop()  # the peer term of a few rows is of other rows than that of many
            rows = batches.pop()
            logits, labels = network(inputs[rows].to(self.device, torch.float32)), actions[rows.to(self.device)]
            loss = self._loss.unchecked(logits, labels) if weight is None else cross_entropy(logits, labels, weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


class _Probabilities(nn.Module):
    """A network and what makes a policy of its probabilities."""

    def __init__(self, network: nn.Module, transform: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.transform = network, transform

    def forward(self, *observations: Tensor) -> Tensor:  # as core.export calls a network
        return self.transform(self.network(*observations).softmax(dim=1))

    def of_all(self, observations: Tensor) -> Tensor:
        device = next(self.network.parameters()).device
        parts = [
            self.network(rows.to(device, torch.float32)).softmax(dim=1).cpu() for rows in observations.split(_ROWS)
        ]
        return self.transform(torch.cat(parts))


class _Standardise(nn.Module):
    """Give each column mean 0 and standard deviation 1, by the demonstrations."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        std, mean = torch.std_mean(rows.float(), dim=0, correction=0)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", torch.where(std > 1e-6 * mean.abs() + 1e-12, std, torch.ones_like(std)))

    def forward(self, rows: Tensor) -> Tensor:
        return (rows.flatten(1) - self.mean) / self.scale  # pyright: ignore[reportOperatorIssue] - buffers


def _most_probable(probabilities: Tensor) -> Tensor:
    return one_hot(probabilities.argmax(dim=1), probabilities.shape[1]).to(probabilities.dtype)


def _tensor(observations: NDArray[Any]) -> Tensor:
    # Images stay as bytes until they are in a batch: as float32 they take four times the memory.
    dtype = np.uint8 if observations.dtype == np.uint8 else np.float32
    return torch.from_numpy(np.ascontiguousarray(observations, dtype=dtype))
