"""The noise schedule of each target position, learned from the training loss there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch import distributed as ranks

from modicum.errors import ConfigError
from modicum.textdiffusion import functional

Sampler = Literal["dpmpp_2m", "ddim", "ddpm"]
PosteriorVariance = Literal["correct", "released"]

_HIGHEST = 0.5  # loss of the last bin before anything is recorded


class TokenNoiseSchedule(nn.Module):
    """abar for each time and target position, with the losses from which it is learned.

    All of it are buffers, saved with the weights of the model: a network is only good with the schedule that it was
    trained on. They stay in float64 whatever type the model is cast to.

    Args:
        num_steps: times T.
        length: positions S of the canvas.
        bins: of time in which losses are averaged; divides T.

    Raises:
        ConfigError: if a number is below 1, or ``bins`` is below 2 or does not divide ``num_steps``.

    Source:
        Yuan et al. 2024 (arXiv:2212.10325). Departures: losses are summed over ranks at an update alone, and neither
        evaluation nor another micro-batch of the same step moves the schedule.
    """

    alphas_cumprod: Tensor
    loss_sum: Tensor
    loss_count: Tensor

    def __init__(self, num_steps: int = 2000, length: int = 64, bins: int = 100) -> None:
        super().__init__()
        if num_steps < 1 or length < 1 or bins < 2 or num_steps % bins:
            raise ConfigError(
                f"num_steps is {num_steps}, length {length} and bins {bins}, which must divide num_steps.",
                hint="Use num_steps=2000, bins=100 and the positions of the canvas.",
            )
        self.num_steps, self.length, self.bins = num_steps, length, bins
        self.timesteps: tuple[int, ...] = ()
        for name, rows in (("alphas_cumprod", num_steps), ("loss_sum", bins), ("loss_count", bins)):
            self.register_buffer(name, torch.empty(rows, length, dtype=torch.float64))
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Go back to the initial schedule of the paper, the same for all positions, with nothing recorded."""
        self.alphas_cumprod.copy_(functional.sqrt_alphas_cumprod(self.num_steps)[:, None])
        self._forget()

    @torch.no_grad()
    def record(self, t: Tensor, loss: Tensor, mask: Tensor) -> None:
        """Add the losses of a batch to the bins of their times.

        Args:
            t: times, integers in [0, T), shape (B,).
            loss: squared errors, mean over dimensions, shape (B, S) or of fewer positions.
            mask: 1 where a position counts, 0 at padding; the same shape.
        """
        bins, positions = t * self.bins // self.num_steps, loss.shape[1]
        counts = mask.to(self.loss_sum)
        # Not masked by a product: what stands at padding may be anything.
        self.loss_sum[:, :positions].index_add_(0, bins, torch.where(mask.bool(), loss, 0).to(self.loss_sum))
        self.loss_count[:, :positions].index_add_(0, bins, counts)

    @torch.no_grad()
    def update(self, *, shared: bool = False) -> None:
        """Make the schedule one of equal steps in the recorded loss, for all positions but the first, and forget it.

        Call it once for a step of the optimizer, on all ranks.

        Args:
            shared: learn one schedule for all positions, the first too, from their mean loss; what the published one
                is compared with.
        """
        if ranks.is_available() and ranks.is_initialized() and ranks.get_world_size() > 1:
            prior, one = self._prior(), 1.0  # it counts once, not once a rank
            recorded = torch.stack([self.loss_sum - prior, self.loss_count - one])
            ranks.all_reduce(recorded)
            self.loss_sum.copy_(recorded[0] + prior)
            self.loss_count.copy_(recorded[1] + one)
        total, count, first = self.loss_sum, self.loss_count, 1
        if shared:
            total, count = (part.sum(dim=1, keepdim=True).expand_as(part) for part in (total, count))
            first = 0
        learned = functional.equal_difficulty(self.alphas_cumprod, total / count)
        self.alphas_cumprod[:, first:] = learned[:, first:]
        self._forget()

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Bring a clean sequence to a time, each position by its own schedule.

        Args:
            x0: shape (B, S, E) or of fewer positions.
            noise: standard normal, the same shape.
            t: integers in [0, T), shape (B,).

        Returns:
            Shape (B, S, E).

        Raises:
            ConfigError: if there are more positions than the schedule has.
        """
        return functional.add_noise(x0, noise, self._levels(t, x0))

    def set_timesteps(self, n: int) -> tuple[int, ...]:
        """Choose the times of a sampler: n intervals of equal length, which are of equal difficulty once learned.

        Args:
            n: network calls, from 1 to T; T takes every time.

        Returns:
            Falling times, the first of them T - 1; also kept as ``timesteps`` for `step`.

        Raises:
            ConfigError: if n is below 1 or above T.
        """
        if not 1 <= n <= self.num_steps:
            raise ConfigError(
                f"Sampling takes from 1 to {self.num_steps} steps, got {n}.",
                hint="Use 20, or the number that was best on validation data.",
            )
        self.timesteps = tuple((2 * left * self.num_steps + n) // (2 * n) - 1 for left in range(n, 0, -1))
        return self.timesteps

    def step(
        self,
        prediction: Tensor,
        t: int,
        sample: Tensor,
        *,
        sampler: Sampler = "ddpm",
        previous: Tensor | None = None,
        noise: Tensor | None = None,
        posterior_variance: PosteriorVariance = "correct",
    ) -> Tensor:
        """Go from a time to the next one of `set_timesteps`, behind the last of which is the prediction itself.

        Args:
            prediction: of the clean sequence by the network, shape (B, S, E).
            t: one of ``timesteps``.
            sample: the sequence at that time, the same shape.
            sampler: "ddpm" draws from the posterior, "ddim" does not draw, "dpmpp_2m" also looks at the prediction
                of the step before.
            previous: that prediction, for "dpmpp_2m"; None for a step of order 1.
            noise: standard normal, the same shape, for "ddpm".
            posterior_variance: of "ddpm"; "released" is that of the released code, see
                `functional.released_variance`.

        Returns:
            The sequence at the next time, the same shape.

        Raises:
            ConfigError: if ``t`` is none of the times, "ddpm" has no noise, or the released variance is asked for with
                fewer than all times, where the released code fails.
        """
        if t not in self.timesteps:
            raise ConfigError(f"The time {t} is none of those chosen.", hint="Call set_timesteps(n) before step.")
        index = self.timesteps.index(t)
        abar = self._levels(t, sample)
        if index + 1 == len(self.timesteps):
            return prediction
        following = self._levels(self.timesteps[index + 1], sample)
        if sampler == "ddim":
            return functional.ddim_step(sample, prediction, abar, following)
        if sampler == "dpmpp_2m":
            before = None if previous is None else (previous, self._levels(self.timesteps[index - 1], sample))
            return functional.dpmpp_2m_step(sample, prediction, abar, following, before)
        if noise is None:
            raise ConfigError("The sampler ddpm draws noise, got none.", hint="Pass noise=torch.randn_like(sample).")
        clean, noisy, variance = functional.posterior(abar, following)
        if posterior_variance == "released":
            if len(self.timesteps) != self.num_steps:
                raise ConfigError(
                    f"The released variance is defined for all {self.num_steps} steps, got {len(self.timesteps)}.",
                    hint="Use posterior_variance='correct', or as many steps as the schedule has.",
                )
            variance = functional.released_variance(self.alphas_cumprod)[t].to(sample.dtype)
        return clean * prediction + noisy * sample + variance.sqrt() * noise

    def _levels(self, t: Tensor | int, sample: Tensor) -> Tensor:
        """Look abar up, shape (B, S, 1) or (S, 1), in the type and for the positions of a sequence."""
        if sample.shape[1] > self.length:
            raise ConfigError(
                f"The schedule has {self.length} positions, got a sequence of {sample.shape[1]}.",
                hint="Shorten the sequence, or train with a longer canvas.",
            )
        return self.alphas_cumprod[t, : sample.shape[1], None].to(sample.dtype)

    def _prior(self) -> Tensor:
        rising = torch.linspace(0, _HIGHEST, self.bins, dtype=torch.float64, device=self.loss_sum.device)
        return rising[:, None].expand_as(self.loss_sum)

    def _forget(self) -> None:
        self.loss_sum.copy_(self._prior())
        self.loss_count.fill_(1.0)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TokenNoiseSchedule:  # noqa: FBT001, FBT002 - torch's
        # Half precision would leave three digits of 1 - abar: only the device of the buffers changes.
        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor[:0])
            return torch.empty_like(tensor, device=moved.device) if tensor.is_meta else tensor.to(moved.device)

        result: Any = super()._apply(move, recurse)
        return result
