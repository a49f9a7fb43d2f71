"""NSGD as the comparison sees it: its question, and optimizers that train one network over rates and input scales."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from modicum.core.method import Arm, Comparison, Job, Measurement, Method, Metric, Role, Source
from modicum.core.resnet import resnet20
from modicum.core.seeding import torch_generator
from modicum.core.small import Split, cifar10, digits, in_quarters
from modicum.core.training import train_classifier
from modicum.optim.configuration import COMPARISON, ComparisonSettings
from modicum.optim.data import own_data
from modicum.optim.optimizer import NSGD

MOMENTUM = 0.9
MILESTONES = (0.4, 0.6, 0.8)  # of the steps; 79, 119 and 159 of 200 epochs in the published schedule
DECAY_FACTOR = 0.2
STEP = 0.5  # decades between two rates
TOLERANCE = 0.05  # of accuracy, that a rate may lose and still be as good

# Makes an optimizer of a network, a rate, a weight decay and the first batch.
Factory: TypeAlias = Callable[[nn.Module, float, float, Tensor], torch.optim.Optimizer]


def setup(job: Job) -> Split:
    """Read the data that all arms of a seed share."""
    if job.data is not None:
        split = own_data(job.data, job.seed)
    else:
        split = in_quarters(*digits(), job.seed) if job.budget == "demo" else cifar10(job.seed)
    for part in (split.inputs, split.labels):
        part["train"] = part["train"][: job.settings.train_size or None]
    return split


def run(job: Job, split: Split, *, make: Factory, top: float, standardise: bool = False) -> Measurement:
    """Count the rates that are as good at all scales of the inputs as the arm's best rate is at the first of them."""
    plan: ComparisonSettings = job.settings
    home, *others = (scaled(split, scale, job.device, standardise=standardise) for scale in plan.scales)
    found = {rate: train(home, make, rate=rate, job=job) for rate in rates(top, plan.trials)}
    tuned = max(found, key=lambda rate: found[rate]["validation"])
    best = found[tuned]["test"]
    useful = {rate for rate, scores in found.items() if scores["test"] >= best - TOLERANCE}
    at_scales = [best]
    for inputs in others:  # a rate that failed at one scale is not tried at the next
        scores = {rate: train(inputs, make, rate=rate, job=job)["test"] for rate in sorted(useful | {tuned})}
        useful = {rate for rate in useful if scores[rate] >= best - TOLERANCE}
        at_scales.append(scores[tuned])
    gains = [train(home, make, rate=tuned, job=job, gain=gain)["test"] if gain != 1 else best for gain in plan.gains]
    return Measurement(
        value=STEP * len(useful),
        secondary={
            "test accuracy, tuned": best,
            "tuned rate, all scales": fmean(at_scales),
            "tuned rate, all initial gains": fmean(gains),
        },
    )


def rates(top: float, trials: int) -> list[float]:
    """Give the rates that an arm tries, half a decade apart."""
    return [top * 10 ** (-STEP * step) for step in range(trials)]


def scaled(split: Split, scale: float, device: str, *, standardise: bool) -> Split:
    """Multiply the inputs by a scale, and standardise them where an arm does."""
    inputs = {part: values.to(device) * scale for part, values in split.inputs.items()}
    if standardise:
        std, mean = torch.std_mean(inputs["train"], dim=0)  # a constant column or pixel becomes 0
        std = torch.where(std > 1e-6 * mean.abs(), std, torch.ones_like(std))  # rounding gives a constant a std
        inputs = {part: (values - mean) / std for part, values in inputs.items()}
    labels = {part: values.to(device) for part, values in split.labels.items()}
    return Split(inputs=inputs, labels=labels, classes=split.classes)


def train(split: Split, make: Factory, *, rate: float, job: Job, gain: float = 1.0) -> dict[str, float]:
    """Train one network, whose initial weights are multiplied by the gain, and score it."""
    # Initial weights, order of the examples and augmentation depend on the seed alone, so that all arms share them.
    plan: ComparisonSettings = job.settings
    network = build(split, seed=job.seed).to(job.device)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(gain)
    inputs, labels = split.inputs["train"], split.labels["train"]
    optimizer = make(network, rate, plan.decay, inputs[: plan.batch])
    steps = plan.epochs * max(1, len(inputs) // plan.batch)
    milestones = [round(share * steps) for share in MILESTONES] if plan.schedule == "steps" else []
    train_classifier(
        network,
        inputs,
        labels,
        optimizer,
        torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=DECAY_FACTOR),
        epochs=plan.epochs,
        batch=plan.batch,
        order=torch_generator(job.seed, "order"),
        drop_last=True,
        augment=_augmented if job.budget == "full" and job.data is None else None,
    )
    return {part: _accuracy(network, split, part) for part in ("validation", "test")}


def make(network: nn.Module, rate: float, decay: float, _: Tensor, *, kind: Any, **settings: Any) -> Any:
    """Make an optimizer that treats all parameters alike."""
    trained: Any = network if kind is NSGD else network.parameters()
    return kind(trained, lr=rate, weight_decay=decay, **settings)


def first_batch_power(network: nn.Module, rate: float, decay: float, batch: Tensor) -> torch.optim.Optimizer:
    """Make SGD with one constant factor a layer: NSGD's divisor on the first batch, frozen."""
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


class UnitGradient(torch.optim.SGD):
    """SGD on g / ||g||, over all parameters together: the other method that is called normalised SGD."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Normalise the gradients in place, then step."""
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients).clamp_min(1e-12)
        for gradient in gradients:
            gradient.div_(norm)
        super().step(closure)


def build(split: Split, *, seed: int) -> nn.Module:
    """Build the network for the shape of the inputs, with weights that depend on the seed alone."""
    # 32 x 32 images get ResNet-20, other images two convolutions without batch normalisation, tables one hidden layer.
    shape = split.inputs["train"].shape[1:]
    generator = torch_generator(seed, "initialisation")
    if tuple(shape) == (3, 32, 32):
        return resnet20(classes=split.classes, generator=generator)
    if len(shape) == 3:
        channels, height, width = shape
        features = 32 * math.ceil(height / 2) * math.ceil(width / 2)
        network = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(features, split.classes),
        )
    else:
        network = nn.Sequential(nn.Linear(shape[0], 64), nn.ReLU(), nn.Linear(64, split.classes))
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(parameter)
    return network


def _accuracy(network: nn.Module, split: Split, part: str) -> float:
    inputs, labels = split.inputs[part], split.labels[part]
    network.eval()
    with torch.no_grad():
        scores = torch.cat([network(batch) for batch in inputs.split(1000)])
    guesses = scores.argmax(dim=1) if scores.isfinite().all() else split.labels["train"].mode().values
    return (guesses == labels).double().mean().item()


def _augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to 4 pixels, zeros coming in, and flip half of them (He et al. 2016, section 4.2)."""
    count, _, height, width = images.shape
    padded = F.pad(images, (4, 4, 4, 4))
    draw = torch.randint(0, 9, (2, count), generator=generator).to(images.device)
    flip = (torch.rand(count, generator=generator) < 0.5).to(images.device)
    rows = draw[0, :, None] + torch.arange(height, device=images.device)
    columns = draw[1, :, None] + torch.arange(width, device=images.device)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    number = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class Clipped(torch.optim.SGD):
    """SGD whose gradient is clipped to a norm of 1."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Clip the gradients in place, then step."""
        torch.nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 1.0)
        super().step(closure)


SGD = partial(make, kind=torch.optim.SGD, momentum=MOMENTUM)
NSGD_L2 = partial(make, kind=NSGD, momentum=MOMENTUM)
NSGD_L1 = partial(NSGD_L2, norm="l1")

# Each arm has a grid of its own, with as many rates as the others: its highest rate is above the best one.
_ARMS: tuple[tuple[str, Role, Callable[..., Measurement], str], ...] = (
    ("SGD", "baseline", partial(run, make=SGD, top=1.0), "momentum 0.9"),
    ("NSGD l2", "method", partial(run, make=NSGD_L2, top=10.0), "each gradient over the power of its layer's input"),
    (
        "NSGD l1",
        "method",
        partial(run, make=NSGD_L1, top=10.0),
        "the same with the sum of absolute inputs",
    ),
    (
        "AdamW",
        "control",
        partial(run, make=partial(make, kind=torch.optim.AdamW), top=0.1),
        "would any adaptive method do?",
    ),
    (
        "constant factors",
        "control",
        partial(run, make=first_batch_power, top=10.0),
        "SGD with NSGD's divisors of the first batch at each scale, frozen: is it more than a rate a layer?",
    ),
    (
        "standardised inputs",
        "control",
        partial(run, make=SGD, top=1.0, standardise=True),
        "SGD on inputs of mean 0 and std 1, each column or pixel: would one line of preprocessing do?",
    ),
    (
        "clipped gradient",
        "control",
        partial(run, make=partial(make, kind=Clipped, momentum=MOMENTUM), top=1.0),
        "SGD, the gradient clipped to a norm of 1",
    ),
    (
        "unit gradient",
        "control",
        partial(run, make=partial(make, kind=UnitGradient, momentum=MOMENTUM), top=1.0),
        "SGD on g / ||g||, the other method of that name",
    ),
)

_COMPARISON = Comparison(
    method="nsgd",
    question="Over how many decades of the learning rate does training work at every scale of the inputs?",
    metric=Metric(name="useful rates at all scales", unit="decades", digits=2),
    arms=tuple(Arm(name=name, role=role, run=arm, summary=summary) for name, role, arm, summary in _ARMS),
    secondary=(
        Metric(name="test accuracy, tuned"),
        Metric(name="tuned rate, all scales"),
        Metric(name="tuned rate, all initial gains"),
    ),
    settings=COMPARISON,
    setup=setup,
    data={
        "demo": "scikit-learn digits: 1,797 images of 8 x 8, half for training, a quarter each for validation and test",
        "full": "cifar10-jpeg: 45,000 training, 5,000 validation and 10,000 test images",
    },
    own_data="A CSV file with a column label and numeric values in all others, or an NPZ file with arrays x and y.",
)

METHOD = Method(
    name="nsgd",
    title="NSGD: SGD normalised by the power of each layer's input",
    saves="learning-rate tuning",
    sources=(
        Source(
            authors="Atici, Pan and Cetin",
            year=2022,
            title="Input Normalized Stochastic Gradient Descent Training of Deep Neural Networks",
            address="https://arxiv.org/abs/2212.09921",
        ),
        Source(
            authors="Atici, Pan and Cetin",
            year=2024,
            title="Input Normalized Stochastic Gradient Descent Training for Deep Neural Networks",
            address="https://openreview.net/forum?id=5TaBxctwRZ",
        ),
    ),
    comparison=_COMPARISON,
)
