"""What the arms of the comparison share: a trained network, calibration images, and a test that nothing saw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modicum.core.method import Job
from modicum.core.options import number, whole
from modicum.core.seeding import numpy_generator
from modicum.core.small import CIFAR_CLASSES, cifar10_files, digits, in_halves
from modicum.errors import ConfigError, ModelError
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.networks import train_digits
from modicum.quantize.opening import Opened, logits, open_network

_DIGITS = "digits"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A network and its images."""

    network: nn.Module  # trained, in evaluation mode
    calibration: Tensor  # training images that were drawn by the seed, shape (n, channels, height, width)
    test: Tensor  # images that neither training nor quantization saw
    labels: Tensor  # of the test, shape (m,)


def problem(job: Job) -> Problem:
    """Pose the problem of a job: digits in the demo, else CIFAR-10 (JPEG), prepared as the network's folder says."""
    count = whole("calibration", job.options["calibration"], least=2)
    name = job.options["network"]
    if job.budget == "full":
        return _cifar10(job.seed, count, name)
    if name != _DIGITS:
        raise ConfigError(f"The demo trains its own network, got {name!r}.", hint="Add --budget full.")
    return _digits(job.seed, count)


def settings(job: Job) -> RAPQConfig:
    """Read the bits and iterations of a job."""
    activations = job.options["activation_bits"]
    return RAPQConfig(
        weight_bits=whole("weight_bits", job.options["weight_bits"]),
        activation_bits=None if activations == "none" else whole("activation_bits", activations),
        iterations=whole("iterations", job.options["iterations"]),
        activation_iterations=whole("iterations", job.options["iterations"]),
        p_slope=None if job.options["p_slope"] == "none" else number("p_slope", job.options["p_slope"]),
        seed=job.seed,
    )


def _digits(seed: int, count: int) -> Problem:
    split = in_halves(*digits(), seed)
    train, test = split.inputs["train"], split.inputs["test"]
    _check_count(count, len(train))
    return Problem(
        network=train_digits(train, split.labels["train"], seed=seed),
        calibration=train[:count],
        test=test,
        labels=split.labels["test"],
    )


def _cifar10(seed: int, count: int, name: str) -> Problem:
    opened = open_network(name)
    known, _ = cifar10_files("train")
    test, labels = cifar10_files("test")
    _check_count(count, len(known))
    drawn = numpy_generator(seed, "calibration").choice(len(known), count, replace=False)
    prepared = opened.preparation
    calibration = prepared.normalised(prepared.images([known[place] for place in drawn.tolist()]))
    _check_classes(opened, calibration)
    return Problem(
        network=opened.network,
        calibration=calibration,
        test=prepared.normalised(prepared.images(test)),
        labels=labels,
    )


@torch.no_grad()
def _check_classes(opened: Opened, images: Tensor) -> None:
    classes = logits(opened.network, images[:2]).shape[1]
    if classes != len(CIFAR_CLASSES):
        raise ModelError(
            f"{opened.name} tells {classes} classes apart, but CIFAR-10 has {len(CIFAR_CLASSES)}.",
            hint="Train one with examples/rapq_train.py.",
        )


def _check_count(count: int, there: int) -> None:
    if count > there:
        raise ConfigError(
            f"calibration is {count}, but there are {there} training images.",
            hint=f"Write --option calibration={min(256, there)}.",
        )
