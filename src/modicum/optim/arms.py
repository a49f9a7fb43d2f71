"""The arms of the comparison: optimizers that train the same network on the same inputs, over rates and scales."""

from __future__ import annotations

import copy
import math
from statistics import fmean

import torch
from torch import Tensor, nn

from modicum.core.method import Job, Measurement
from modicum.optim.configuration import ComparisonSettings
from modicum.optim.data import Split, cifar10, digits, own_data
from modicum.optim.optimizer import NSGD
from modicum.optim.training import MOMENTUM, Factory, train


def sgd(job: Job) -> Measurement:
    """Run plain SGD with momentum."""
    return _grid(job, _sgd)


def nsgd_l2(job: Job) -> Measurement:
    """Run NSGD with the power of the input."""
    return _grid(job, lambda network, rate, decay, _: NSGD(network, rate, MOMENTUM, weight_decay=decay))


def nsgd_l1(job: Job) -> Measurement:
    """Run NSGD with the absolute sum of the input."""
    return _grid(job, lambda network, rate, decay, _: NSGD(network, rate, MOMENTUM, weight_decay=decay, norm="l1"))


def adam(job: Job) -> Measurement:
    """Run Adam, the usual answer to scales; with decoupled weight decay."""
    return _grid(job, lambda network, rate, decay, _: torch.optim.AdamW(network.parameters(), rate, weight_decay=decay))


def first_batch_power(job: Job) -> Measurement:
    """Run SGD with one constant factor a layer: NSGD's divisor on the first batch, frozen."""
    return _grid(job, _first_batch_power)


def sgd_standardised(job: Job) -> Measurement:
    """Run SGD on inputs that were standardised over the training part."""
    return _grid(job, _sgd, standardise=True)


def unit_gradient(job: Job) -> Measurement:
    """Run SGD on gradients of unit norm: the other method that is called normalised SGD."""
    return _grid(job, lambda network, rate, decay, _: _UnitGradient(network.parameters(), rate, MOMENTUM, decay))


def _sgd(network: nn.Module, rate: float, decay: float, _: Tensor) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), rate, MOMENTUM, weight_decay=decay)


def _first_batch_power(network: nn.Module, rate: float, decay: float, batch: Tensor) -> torch.optim.Optimizer:
    probed = copy.deepcopy(network).train()
    probe = NSGD(probed, rate)
    probed(batch).sum().backward()
    probe.step()
    readings = probe.powers()
    # lr (g / n + decay w) is (lr / n) (g + n decay w): a constant divisor is a group with its own rate and decay.
    groups = [
        {"params": [parameter], "lr": own, "weight_decay": decay * rate / own}
        for name, parameter in network.named_parameters()
        for own in [readings[name].learning_rate[0] if name in readings else rate]
    ]
    return torch.optim.SGD(groups, rate, MOMENTUM)


class _UnitGradient(torch.optim.SGD):
    """SGD on g / ||g||, over all parameters together."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Normalise the gradients in place, then step."""
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients).clamp_min(1e-12)
        for gradient in gradients:
            gradient.div_(norm)
        super().step(closure)


def _grid(job: Job, make: Factory, *, standardise: bool = False) -> Measurement:
    """Train once a cell of (rate, scale); the primary metric is the mean test accuracy over all cells."""
    plan: ComparisonSettings = job.plan
    split = _limited(_load(job), plan.train_size)
    cells = {
        (rate, scale): train(_scaled(split, scale, job.device, standardise=standardise), make, rate=rate, job=job)
        for scale in plan.scales
        for rate in plan.rates
    }

    def mean_at(rate: float, part: str) -> float:
        return fmean(cells[rate, scale][part] for scale in plan.scales)

    # All three rates are chosen on validation: at scale 1 alone, over all scales, and for each scale.
    home = min(plan.scales, key=lambda scale: abs(math.log(scale)))
    tuned = max(plan.rates, key=lambda rate: cells[rate, home]["validation"])
    shared = max(plan.rates, key=lambda rate: mean_at(rate, "validation"))
    own = {scale: max(plan.rates, key=lambda rate: cells[rate, scale]["validation"]) for scale in plan.scales}
    return Measurement(
        value=fmean(cell["test"] for cell in cells.values()),
        beside={
            "rate tuned at scale 1": mean_at(tuned, "test"),
            "one rate for all scales": mean_at(shared, "test"),
            "own rate for each scale": fmean(cells[rate, scale]["test"] for scale, rate in own.items()),
        },
    )


def _load(job: Job) -> Split:
    if job.data is not None:
        return own_data(job.data, job.seed)
    return digits(job.seed) if job.budget == "demo" else cifar10(job.seed)


def _limited(split: Split, count: int) -> Split:
    if not count:
        return split
    return Split(
        inputs={**split.inputs, "train": split.inputs["train"][:count]},
        labels={**split.labels, "train": split.labels["train"][:count]},
        classes=split.classes,
    )


def _scaled(split: Split, scale: float, device: str, *, standardise: bool) -> Split:
    inputs = {part: values.to(device) * scale for part, values in split.inputs.items()}
    if standardise:
        # A column of a table has a unit of its own; all pixels of an image share one. A constant column becomes 0.
        axes = (0,) if inputs["train"].ndim == 2 else None
        std, mean = torch.std_mean(inputs["train"], dim=axes)
        std = torch.where(std > 1e-6 * mean.abs(), std, torch.ones_like(std))  # rounding gives a constant a std
        inputs = {part: (values - mean) / std for part, values in inputs.items()}
    labels = {part: values.to(device) for part, values in split.labels.items()}
    return Split(inputs=inputs, labels=labels, classes=split.classes)
