"""One training of the comparison: a network, an optimizer, a rate and an input scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from modicum.core.method import Job
from modicum.core.resnet import resnet20
from modicum.core.seeding import torch_generator
from modicum.optim.configuration import ComparisonSettings
from modicum.optim.data import Split

MOMENTUM = 0.9
MILESTONES = (0.4, 0.6, 0.8)  # of the steps; 79, 119 and 159 of 200 epochs in the published schedule
DECAY_FACTOR = 0.2

Factory: TypeAlias = Callable[[nn.Module, float, float, Tensor], torch.optim.Optimizer]


def train(split: Split, make: Factory, *, rate: float, job: Job) -> dict[str, float]:
    """Train one network and score it."""
    # Initial weights, order of the examples and augmentation depend on the seed alone, so that all arms share them.
    plan: ComparisonSettings = job.plan
    augment = job.budget == "full" and job.data is None
    network = build(split, seed=job.seed).to(job.device)
    order = torch_generator(job.seed, "order")
    inputs, labels = split.inputs["train"], split.labels["train"]
    optimizer = make(network, rate, plan.decay, inputs[: plan.batch])
    per_epoch = max(1, len(inputs) // plan.batch)
    steps = plan.epochs * per_epoch
    milestones = [round(share * steps) for share in MILESTONES] if plan.schedule == "steps" else []
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=DECAY_FACTOR)
    network.train()
    for _ in range(plan.epochs):
        shuffled = torch.randperm(len(inputs), generator=order).to(job.device).split(plan.batch)
        for index in shuffled[:per_epoch]:
            batch = _augmented(inputs[index], order) if augment else inputs[index]
            optimizer.zero_grad()
            F.cross_entropy(network(batch), labels[index]).backward()
            optimizer.step()
            schedule.step()
        if not all(parameter.isfinite().all() for parameter in network.parameters()):
            break
    return {part: _accuracy(network, split, part) for part in ("validation", "test")}


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
