"""RAPQ against snapped and real scales: the same network, images and bits; scales and rounding differ."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from modicum.core import catalogue
from modicum.core.method import Arm, Comparison, Job, Measurement, Method, Metric, Source
from modicum.core.safeload import read_members
from modicum.core.safeload.limits import MAX_BYTES
from modicum.core.seeding import numpy_generator
from modicum.core.small import CIFAR_CLASSES, cifar10_files, digits, in_halves
from modicum.core.splits import Among, at_rows
from modicum.errors import ConfigError, DataError, ModelError
from modicum.quantize.codes import ActivationGrid, FloatWeightCode, WeightCode
from modicum.quantize.configuration import COMPARISON, ComparisonSettings, RAPQConfig
from modicum.quantize.doors import LITE0, RESNET20, images_below
from modicum.quantize.functional import Rounding
from modicum.quantize.graph.graph import Graph, folded
from modicum.quantize.graph.placement import Site, bits_of_weights, simulated, sites
from modicum.quantize.graph.trace import trace
from modicum.quantize.hessian.layers import Choice, Recipe, quantize_layers
from modicum.quantize.hessian.search import Solution, solve
from modicum.quantize.inspect.certificate import power_of_two_channels
from modicum.quantize.model import QuantizedModel
from modicum.quantize.networks import IMAGENET, Opened, logits, open_network, right, train_digits
from modicum.quantize.polish import distance
from modicum.quantize.quantizer import quantize
from modicum.quantize.scales import choose_grid, search_scales

_T = TypeVar("_T")
_DIGITS = "digits"
_FLOAT_BITS = 32
_IMAGENET_CLASSES = 1000
_CALIBRATION, _MEMBERS = 200, 1000  # images of nips2017-224 for calibration, and the most that its archive may have


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A network and its images."""

    network: nn.Module  # trained, in evaluation mode
    calibration: Tensor  # training images that were drawn by the seed, shape (n, channels, height, width)
    test: Tensor  # images that neither training nor quantization saw
    labels: Tensor  # of the test, shape (m,)
    among: Among | None = None  # which rows they are, where each seed tests others


def setup(job: Job) -> Problem:
    """Train on digits in the demo, else read a user's images, CIFAR-10 (JPEG) or images of ImageNet's classes."""
    settings: ComparisonSettings = job.settings
    if job.data is not None and settings.network == _DIGITS:
        raise ConfigError(
            "Pictures of your own need a network.",
            hint="Write --option network=resnet20, efficientnet-lite0 or a folder of a transformers classifier.",
        )
    if job.data is not None or job.budget == "full":
        kind = _imagenet if settings.network == LITE0 else _cifar10
        kind = kind if job.data is None else partial(_own, job.data)
        posed = kind(job.seed, settings.calibration, settings.network)
        return replace(posed, network=posed.network.to(job.device), calibration=posed.calibration.to(job.device))
    if settings.network != _DIGITS:
        raise ConfigError(f"The demo trains its own network, got {settings.network!r}.", hint="Add --budget full.")
    return _digits(job.seed, settings.calibration)


def _config(job: Job) -> RAPQConfig:
    settings: ComparisonSettings = job.settings
    return RAPQConfig(
        weight_bits=settings.weight_bits,
        activation_bits=settings.activation_bits,
        iterations=settings.iterations,
        activation_iterations=settings.iterations,
        p_slope=settings.p_slope,
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
        among=(split.rows["test"], len(train) + len(test)),
    )


def _cifar10(seed: int, count: int, name: str) -> Problem:
    opened = open_network(name)
    known, _ = cifar10_files("train")
    test, labels = cifar10_files("test")
    prepared = opened.preparation
    calibration = prepared.normalised(prepared.images(_drawn(known, count, seed)))
    _check_classes(opened, calibration)
    return Problem(
        network=opened.network,
        calibration=calibration,
        test=prepared.normalised(prepared.images(test)),
        labels=labels,
    )


def _imagenet(seed: int, count: int, name: str) -> Problem:
    """Calibrate on some of those images whose names have the least hashes, and test on all others."""
    folder = catalogue.fetch("nips2017-224")
    with (folder / "dev_dataset.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["ImageId"]: int(row["TrueLabel"]) - 1 for row in csv.DictReader(file)}
    members = read_members(folder / "images.tar", max_members=_MEMBERS, max_bytes=MAX_BYTES)
    content = {Path(name).stem: BytesIO(data) for name, data in members}
    order = sorted(content, key=lambda name: sha256(name.encode()).digest())
    prepared = replace(IMAGENET, resize=None)  # they are of 224 x 224 pixels

    def read(names: Sequence[str]) -> Tensor:
        return prepared.normalised(prepared.images([content[name] for name in names]))

    tested = order[_CALIBRATION:]
    return Problem(
        network=open_network(name).network,
        calibration=read(_drawn(order[:_CALIBRATION], count, seed)),
        test=read(tested),
        labels=torch.tensor([labels[name] for name in tested]),
    )


def _own(folder: Path, seed: int, count: int, name: str) -> Problem:
    """Read pictures to calibrate with from one folder, and those of each class for the test from its folder."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder.", hint="Give one with pictures in calibration and test/CLASS.")
    opened = open_network(name)
    config: Any = getattr(opened.network, "config", None)
    classes = CIFAR_CLASSES if name == RESNET20 else map(str, range(_IMAGENET_CLASSES))
    numbers = dict(zip(classes, range(_IMAGENET_CLASSES), strict=False)) if config is None else config.label2id
    known, test = images_below(folder / "calibration"), images_below(folder / "test")
    for path in test:
        if path.parent.name not in numbers:
            raise DataError(
                f"{path.parent} is no class of {name}.",
                hint=f"Put the pictures of each class into test/CLASS, as in test/{next(iter(numbers))}.",
            )
    prepared = opened.preparation
    return Problem(
        network=opened.network,
        calibration=prepared.normalised(prepared.images(_drawn(known, count, seed))),
        test=prepared.normalised(prepared.images(test)),
        labels=torch.tensor([numbers[path.parent.name] for path in test]),
    )


@torch.no_grad()
def _check_classes(opened: Opened, images: Tensor) -> None:
    classes = logits(opened.network, images[:2]).shape[1]
    if classes != len(CIFAR_CLASSES):
        raise ModelError(
            f"{opened.name} tells {classes} classes apart, but CIFAR-10 has {len(CIFAR_CLASSES)}.",
            hint="Train one with examples/rapq_train.py.",
        )


def _drawn(known: Sequence[_T], count: int, seed: int) -> list[_T]:
    _check_count(count, len(known))
    drawn = numpy_generator(seed, "calibration").choice(len(known), count, replace=False)
    return [known[index] for index in drawn.tolist()]


def _check_count(count: int, available: int) -> None:
    if count > available:
        raise ConfigError(
            f"calibration is {count}, but there are {available} images for it.",
            hint=f"Write --option calibration={min(256, available)}.",
        )


def _float_network(_: Job, problem: Problem) -> Measurement:
    """Quantize nothing."""
    parameters = sum(parameter.numel() for parameter in problem.network.parameters())
    scores = right(problem.network, problem.test, problem.labels)
    return Measurement(
        value=fmean(scores),
        items=at_rows(scores, problem.among),
        secondary={"whole channels": 0.0},
        costs={"kB": 4 * parameters / 1000, "weight bits": float(_FLOAT_BITS)},
    )


def _quantized(job: Job, problem: Problem, **changed: Any) -> Measurement:
    return _measure(quantize(problem.network, problem.calibration, replace(_config(job), **changed)), problem)


def _snapped(job: Job, problem: Problem, *, correcting: bool) -> Measurement:
    config = _config(job)
    graph = folded(trace(problem.network, problem.calibration[:2]))
    with torch.no_grad():
        wanted = logits(problem.network, problem.calibration)
        tried = [_snap(graph, problem, config, zeros, correcting=correcting) for zeros in get_args(ZeroTreatment)]
        # The best treatment of zero points is chosen as a user could: by the outputs on the calibration images.
        best = min(tried, key=lambda model: distance(wanted, model(problem.calibration)))
    return _measure(best, problem)


def _snap(
    graph: Graph, problem: Problem, config: RAPQConfig, zeros: ZeroTreatment, *, correcting: bool
) -> QuantizedModel:
    found = quantize_layers(
        graph,
        problem.calibration,
        Recipe(
            bits=bits_of_weights(graph, config),
            sites=sites(graph, config),
            choice=snap_to_nearest(zeros),
            power=True,
            grid_choice=snap_grid,
            correcting=correcting,
        ),
    )
    shape = tuple(problem.calibration.shape[1:])
    return QuantizedModel(
        simulated(found.corrected, found.codes, found.grids), found.codes, found.grids, config=config, shape=shape
    ).eval()


def _measure(model: QuantizedModel, problem: Problem) -> Measurement:
    codes = model.codes
    channels = sum(len(code.codes) for code in codes.values())
    whole = sum(_whole(model.graph.layers[name].weight, code) for name, code in codes.items())
    bits = sum(code.bits * code.codes.numel() for code in codes.values())
    scores = right(model, problem.test, problem.labels)
    return Measurement(
        value=fmean(scores),
        items=at_rows(scores, problem.among),
        secondary={"whole channels": whole / channels},
        costs={
            "kB": sum(_bytes(code) for code in codes.values()) / 1000,
            "weight bits": bits / sum(code.codes.numel() for code in codes.values()),
        },
    )


def _bytes(code: WeightCode | FloatWeightCode) -> float:
    """Count packed weights, and for each channel a bias, a scale and a zero point (one byte each where whole)."""
    beside = 4 + (1 + 1 if isinstance(code, WeightCode) else 4 + 1)
    return code.bits * code.codes.numel() / 8 + beside * len(code.codes)


def _whole(weight: Tensor, code: WeightCode | FloatWeightCode) -> int:
    return int(power_of_two_channels(weight, code).sum())


_COMPARISON = Comparison(
    method="rapq",
    question="Does a network whose scales are all powers of two keep more accuracy than one whose scales are snapped?",
    metric=Metric(name="test accuracy", digits=4, margin=0.01),
    arms=(
        Arm(
            name="snap, corrected",
            role="baseline",
            run=partial(_snapped, correcting=True),
            summary="scales of least error, snapped to powers of two, with RAPQ's targets, biases and rounding",
        ),
        Arm(
            name="RAPQ hessian",
            role="method",
            run=_quantized,
            summary="all exponents with all zero points under second moments, mantissas absorbed, exponents polished",
        ),
        Arm(
            name="RAPQ paper",
            role="method",
            run=partial(_quantized, method="paper", initial="mse"),
            summary="unit-wise reconstruction by gradient descent from the published start",
        ),
        Arm(
            name="hessian, then paper",
            role="control",
            run=partial(_quantized, method="paper"),
            summary="the same from RAPQ hessian, whose exponents stay: does its start matter, and does it add to ours?",
        ),
        Arm(
            name="naive snap",
            role="control",
            run=partial(_snapped, correcting=False),
            summary="the snap rounded by GPTQ to the weights as they are: how much is making up for earlier errors?",
        ),
        Arm(
            name="float scales",
            role="control",
            run=partial(_quantized, scales="float"),
            summary="RAPQ hessian with real scales: what do powers of two cost?",
        ),
        Arm(name="float network", role="control", run=_float_network, summary="nothing is quantized"),
    ),
    secondary=(Metric(name="whole channels", digits=3),),
    costs=(
        Metric(name="kB", higher_is_better=False, digits=1),
        Metric(name="weight bits", higher_is_better=False, digits=2),
    ),
    settings=COMPARISON,
    setup=setup,
    data={
        "demo": "scikit-learn's digits: a small residual network is trained on half, the other half is the test",
        "full": "cifar10-jpeg with the public ResNet-20, or --option network: calibration by the seed, all tested; "
        "of efficientnet-lite0 nips2017-224: calibration from 200 images by the seed, 711 others for the test",
    },
    own_data="A folder with pictures to calibrate with in calibration, and those for the test in test/CLASS (with "
    "network, whose classes they are).",
)

METHOD = Method(
    name="rapq",
    title="RAPQ: power-of-two low-bit post-training quantization",
    saves="bits",
    sources=(
        Source(
            authors="Yao, Li, Sun, Cheng, Liu, Zhang and Wang",
            year=2022,
            title="RAPQ: Rescuing Accuracy for Power-of-Two Low-bit Post-training Quantization",
            address="https://arxiv.org/abs/2204.12322",
        ),
        Source(
            authors="Frantar, Ashkboos, Hoefler and Alistarh",
            year=2023,
            title="GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
            address="https://arxiv.org/abs/2210.17323",
        ),
        Source(
            authors="Nagel, Amjad, van Baalen, Louizos and Blankevoort",
            year=2020,
            title="Up or Down? Adaptive Rounding for Post-Training Quantization",
            address="https://arxiv.org/abs/2004.10568",
        ),
    ),
    comparison=_COMPARISON,
)


# Of a zero point z0 where a scale s0 becomes s: as it is, as near to z0 s0 / s as whole numbers come, or that itself.
ZeroTreatment = Literal["kept", "rescaled", "real"]


def snap_to_nearest(zeros: ZeroTreatment) -> Choice:
    """Give the choice that searches a real scale by squared error and takes 2^round(log2 s) for it."""

    def choice(weight: Tensor, wanted: Tensor, gram: Tensor, bits: int, *, shared: bool) -> Solution:
        granularity = "tensor" if shared else "channel"
        scale, zero = (it.double().flatten() for it in search_scales(weight.float(), bits, granularity))
        scale, zero = (it.expand(len(weight)) if it.numel() == 1 else it for it in (scale, zero))
        snapped = 2.0 ** torch.round(torch.log2(scale))
        moved = zero if zeros == "kept" else zero * scale / snapped
        if zeros == "rescaled":
            moved = torch.round(moved).clamp(0, 2**bits - 1)
        shape = (1, *wanted.shape[:2])
        return solve(wanted, gram, bits, power=True, scales=snapped.view(shape), zeros=moved.view(shape))

    return choice


def snap_grid(site: Site, wanted: Tensor, given: Tensor, *, rounding: Rounding) -> ActivationGrid:
    """Give the real grid of least squared error, snapped to the nearest power of two."""
    real = choose_grid(site, wanted, given, power=False, rounding=rounding)
    return ActivationGrid(
        bits=real.bits,
        signed=real.signed,
        exponent=round(math.log2(real.scale)),
        ceiling=real.ceiling,
        rounding=rounding,
    )
