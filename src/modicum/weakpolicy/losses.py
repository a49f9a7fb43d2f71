"""Losses with a peer term, and schedules of its weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import cross_entropy

from modicum.errors import ConfigError
from modicum.weakpolicy.functional import (
    clipped_log_softmax,
    gaussian_nll,
    peer_cross_entropy,
    peer_gaussian,
    without_own_pairs,
)

Mode = Literal["exact", "exact_distinct", "shuffle"]
_AS_TENSOR = "Pass torch.as_tensor(actions)."
Shape = Literal["constant", "increasing", "decreasing", "triangular"]
Outputs = Tensor | Normal


def checked_xi(xi: float, *, below_one: bool = False) -> float:
    """Refuse a weight of the peer term that no equation takes."""
    if not isinstance(xi, Real) or not 0 <= float(xi) < math.inf:
        raise ConfigError(f"xi must be a number from 0 on, got {xi!r}.", hint="Use a value such as 0.2.")
    if below_one and xi >= 1:
        raise ConfigError(
            f"xi must be below 1 in the loss-difference form, got {xi}: the loss has no minimum from 1 on.",
            hint="Use a smaller value such as 0.2, or the target form.",
        )
    return float(xi)


class PeerLoss(nn.Module):
    """Score a policy by its agreement with weak labels, minus xi times that with unrelated ones.

    With ``base="ce"`` it is also the loss of an ordinary classifier whose labels are noisy.

    Args:
        base: "ce" (logits and integers), "gaussian" (a `torch.distributions.Normal` and vectors), or a function from
            (outputs, actions) to one loss a row, whose exact modes cost N x N rows.
        xi: weight of the peer term, at least 0; may be changed between steps, see `XiSchedule`.
        mode: "exact" (the mean over all pairs of a state and an action, in closed form), "exact_distinct" (pairs of
            different samples alone) or "shuffle" (one permutation of the batch, as published).
        clip: added to the probabilities in the peer term of "ce", which bounds it at -log(clip).
        generator: of the permutations, on the CPU; None for torch's global one.

    Raises:
        ConfigError: if ``xi`` or ``clip`` is negative, or ``base`` or ``mode`` is none of these.

    Example:
        >>> loss = PeerLoss(xi=0.5)
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> round(loss(logits, torch.tensor([0, 1])).item(), 3)  # .127 - .5 * 1.127
        -0.437

    Source:
        Wang, Guo, Zhu and Liu 2021 (arXiv:2010.01748); Liu and Guo, "Peer Loss Functions" (ICML 2020).
    """

    def __init__(
        self,
        base: Literal["ce", "gaussian"] | Callable[[Tensor, Tensor], Tensor] = "ce",
        xi: float = 0.2,
        mode: Mode = "exact",
        clip: float = 1e-8,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if mode not in get_args(Mode):
            raise ConfigError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}.", hint="Use exact.")
        if base not in {"ce", "gaussian"} and not callable(base):
            raise ConfigError(f"base must be ce, gaussian or a function, got {base!r}.", hint="Use ce for actions.")
        if not 0 <= clip < 1:
            raise ConfigError(f"clip must be from 0 to below 1, got {clip}.", hint="Use 1e-8.")
        self.base, self.mode, self.clip, self.generator = base, mode, clip, generator
        self.xi = xi

    @property
    def xi(self) -> float:
        """The weight of the peer term."""
        return self._xi

    @xi.setter
    def xi(self, value: float) -> None:
        self._xi = checked_xi(value)

    def forward(self, outputs: Outputs, actions: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            outputs: logits, shape (N, A); or a Normal of shape (N, D); or what the function of ``base`` takes.
            actions: integers in [0, A), shape (N,); or vectors, shape (N, D).

        Returns:
            A scalar; negative values are ordinary.

        Raises:
            ConfigError: if shapes or dtypes do not fit, or an action is outside the logits.
        """
        if not isinstance(actions, Tensor):
            raise ConfigError(f"A tensor of actions was expected, got {type(actions).__name__}.", hint=_AS_TENSOR)
        if self.base == "ce":
            _check_logits(outputs, actions)
            actions = actions.long()
        elif self.base == "gaussian":
            shape = tuple(outputs.mean.shape) if isinstance(outputs, Normal) else ()
            if len(shape) != 2 or tuple(actions.shape) != shape or 0 in shape:
                raise ConfigError(
                    f"A Normal of shape (N, D) and actions of its shape were expected, got {type(outputs).__name__} of "
                    f"{shape} and {tuple(actions.shape)}.",
                    hint="Pass torch.distributions.Normal(mean, std); add an axis to real numbers, [:, None].",
                )
        return self.unchecked(outputs, actions)

    def unchecked(self, outputs: Outputs, actions: Tensor) -> Tensor:
        """Compute the loss of a batch that is known to fit."""
        own = self._rows(outputs, actions)
        if self.xi == 0 or (len(actions) == 1 and self.mode == "exact_distinct"):
            return own.mean()  # one sample has no other
        if self.mode != "shuffle":
            return own.mean() - self.xi * self._exact(outputs, actions)
        order = torch.randperm(len(actions), generator=self.generator).to(actions.device)
        return own.mean() - self.xi * self._rows(outputs, actions[order], clip=self.clip).mean()

    def _rows(self, outputs: Any, actions: Tensor, clip: float = 0.0) -> Tensor:
        """Compute the loss of each row; the agreement term is never clipped, the peer term is."""
        if self.base == "gaussian":
            return gaussian_nll((actions - outputs.mean).square(), outputs.stddev)
        if callable(self.base):
            return self.base(outputs, actions)
        if clip == 0:
            return cross_entropy(outputs, actions, reduction="none")
        return -clipped_log_softmax(outputs, clip).gather(1, actions[:, None])[:, 0]

    def _exact(self, outputs: Any, actions: Tensor) -> Tensor:
        """Average the peer term over all pairs."""
        distinct = self.mode == "exact_distinct"
        if self.base == "ce":
            return peer_cross_entropy(outputs, actions, self.clip, distinct=distinct)
        if self.base == "gaussian":
            mean = peer_gaussian(outputs.mean, outputs.stddev, actions)
        else:
            count = len(actions)
            rows = torch.arange(count, device=actions.device).repeat_interleave(count)
            mean = self._rows(outputs[rows], actions.repeat(count, *[1] * (actions.ndim - 1))).mean()
        return without_own_pairs(mean, self._rows(outputs, actions)) if distinct else mean


def _check_logits(logits: Outputs, actions: Tensor) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or actions.shape != logits.shape[:1] or not len(actions):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError(
            f"Logits (N, A) and actions (N,) were expected, got {got} and {tuple(actions.shape)}.",
            hint="Flatten other axes into N.",
        )
    if not logits.is_floating_point():
        raise ConfigError(
            f"Logits must be floating-point numbers, got {logits.dtype}.", hint="Pass what a network gives."
        )
    if actions.is_floating_point():
        raise ConfigError(
            f"Integer actions were expected, got {actions.dtype}: the action space is continuous.",
            hint="Use PeerLoss(base='gaussian') for vectors of real numbers.",
        )
    # On a GPU a look at the values would wait for it, and its own kernel refuses them.
    if actions.device.type == "cpu" and (actions.min() < 0 or actions.max() >= logits.shape[1]):
        raise ConfigError(
            f"Actions must be from 0 to {logits.shape[1] - 1}, got {actions.min()} to {actions.max()}.",
            hint="Give the policy one logit for each action.",
        )


@dataclass(frozen=True)
class XiSchedule:
    """The weight of the peer term over a training, as a function of its progress.

    Args:
        shape: "constant", "increasing" (from 0), "decreasing" (to 0) or "triangular" (0, peak in the middle, 0).
        peak: the largest weight.
        start: progress from which on the schedule runs; the weight is 0 before it.
        end: progress at which it ends; the weight is 0 after it.
        steps: equal parts of the time between start and end with a fixed weight each, in place of shape and peak.

    Raises:
        ConfigError: if a weight is negative, the shape is unknown, or not 0 <= start < end <= 1.

    Example:
        >>> XiSchedule(steps=(0.1, 0.2, 0.3, 0.2, 0.1))(0.5)
        0.3

    Source:
        The released code: schedules of alpha of its peer DQN, and of its co-training.
    """

    shape: Shape = "constant"
    peak: float = 0.2
    start: float = 0.0
    end: float = 1.0
    steps: Sequence[float] = ()

    def __post_init__(self) -> None:
        for xi in (self.peak, *self.steps):
            checked_xi(xi)
        if self.shape not in get_args(Shape) or not 0 <= self.start < self.end <= 1:
            raise ConfigError(
                f"A schedule is {', '.join(get_args(Shape))} with 0 <= start < end <= 1, got {self.shape!r} from "
                f"{self.start} to {self.end}.",
                hint='Use XiSchedule("triangular", 0.2).',
            )

    @property
    def highest(self) -> float:
        """The largest weight that the schedule gives."""
        return max(self.steps, default=self.peak)

    def __call__(self, progress: float) -> float:
        """Give the weight when a share of the training, from 0 to 1, is done."""
        if not self.start <= progress <= self.end:
            return 0.0
        share = (progress - self.start) / (self.end - self.start)
        if self.steps:
            # The published steps begin after their edge: 0.2 is still in the first fifth.
            return self.steps[max(0, math.ceil(share * len(self.steps) - 1e-9) - 1)]
        factors = {"increasing": share, "decreasing": 1 - share, "triangular": 1 - 2 * abs(share - 0.5)}
        return self.peak * factors.get(self.shape, 1.0)


def xi_at(xi: float | XiSchedule, progress: float) -> float:
    """Read a weight that may have a schedule."""
    return xi(progress) if isinstance(xi, XiSchedule) else xi
