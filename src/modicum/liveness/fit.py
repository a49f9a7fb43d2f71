"""The one way to train: command, detector and comparison call `fit`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modicum.core.progress import Progress, silent
from modicum.core.seeding import numpy_generator, seeded_globally, torch_generator
from modicum.core.splits import hold_out
from modicum.errors import DataError
from modicum.liveness.configuration import FGHVConfig
from modicum.liveness.modeling import FGHVForLiveness

COLLAPSED = 1e-3  # a spread below it is one ray
HELD_OUT = 0.2  # of the people, or of the faces where people are not known, to calibrate on


def calibration_rows(
    labels: npt.ArrayLike, groups: Sequence[str] | None, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split what is known into what is fitted and what calibrates: by person where there are at least four."""
    labels = np.asarray(labels)
    if groups is None or len(set(groups)) < 4:
        return hold_out(len(labels), HELD_OUT, seed, "calibration", labels=labels)
    return hold_out(len(labels), HELD_OUT, seed, "calibration", groups=np.asarray(groups))


def fit(
    model: FGHVForLiveness | FGHVConfig,
    inputs: Tensor,
    labels: Tensor,
    *,
    groups: Sequence[str] | None = None,
    domains: Sequence[str] | None = None,
    steps: int = 400,
    batch: int = 96,
    rate: float = 1e-3,
    seed: int = 0,
    progress: Progress = silent,
) -> FGHVForLiveness:
    """Train a model, or a new one, on genuine faces (label 1) and known attacks, and calibrate its sides."""
    # Inputs are features of the backbone, or uint8 crops, of which a frozen backbone makes features once. Groups are
    # people, so that nobody is both fitted and calibrated on; a batch has as many of each domain.
    for label, name in ((1, "genuine faces"), (0, "attacks")):
        if int((labels == label).sum()) < 10:
            raise DataError(
                f"{int((labels == label).sum())} {name} were given, expected 10 or more.",
                hint="Give genuine faces and attacks of at least one kind; see the layouts of folders in the docs.",
            )
    with seeded_globally(seed, "initialisation"):
        model = FGHVForLiveness(model) if isinstance(model, FGHVConfig) else model
    if model.config.preset == "paper":
        warnings.warn(
            "The bare losses of the paper's figures collapse: all real hypotheses become one ray, and neither "
            "verification says more than the score. Use preset='modicum' for hypotheses that stay apart.",
            UserWarning,
            stacklevel=2,
        )
    if inputs.ndim == 4 and not model.config.train_backbone:
        inputs = torch.cat([model.extract(part) for part in inputs.split(64)])
    learn, held = calibration_rows(labels.numpy(), groups, seed)
    if inputs.ndim == 2:
        known = inputs[learn]
        model.input_mean.copy_(known.mean(0))
        model.input_std.copy_(known.std(0).clamp(min=1e-6))
    _train(model, inputs, labels, _strata(labels, domains, learn), steps, batch, rate, seed, progress)
    model.eval()
    model.refresh()
    own = torch.as_tensor(held)
    genuine = own[labels[own] == 1]
    if len(genuine) < 5 or len(genuine) == len(own):
        raise DataError(
            f"{len(genuine)} genuine faces and {len(own) - len(genuine)} attacks were held out, expected 5 and 1.",
            hint="Give more faces, of more people.",
        )
    model.calibrate_sides(model.verify(inputs[genuine]))
    return model


def _strata(labels: Tensor, domains: Sequence[str] | None, rows: npt.NDArray[np.int64]) -> list[list[Tensor]]:
    """List the rows of each label by domain."""
    names = np.asarray(domains if domains is not None else [""] * len(labels))[rows]
    of = labels.numpy()[rows]
    return [
        [torch.as_tensor(rows[(of == label) & (names == name)]) for name in sorted(set(names[of == label]))]
        for label in (1, 0)
    ]


def _train(
    model: FGHVForLiveness,
    inputs: Tensor,
    labels: Tensor,
    strata: list[list[Tensor]],
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    progress: Progress,
) -> None:
    model.train()
    latents, order = torch_generator(seed, "latents"), numpy_generator(seed, "order")
    frozen = set() if model.config.train_backbone or model.backbone is None else set(model.backbone.parameters())
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each not in frozen], lr=rate, fused=True)
    for step in range(steps):
        rows = torch.cat(
            [
                part[order.integers(len(part), size=max(1, batch // 2 // len(parts)))]
                for parts in strata
                for part in parts
            ]
        )
        output = model(inputs[rows], labels[rows], generator=latents)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        if step % 50 == 49 or step + 1 == steps:
            progress(step + 1, steps, "update")
