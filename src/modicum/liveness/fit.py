"""Training, fitting to a new place by own genuine faces, and the detectors to compare with: one way for all."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modicum.core.progress import Progress, silent
from modicum.core.seeding import numpy_generator, seeded_globally, torch_generator
from modicum.core.splits import folds, hold_out
from modicum.errors import ConfigError, DataError
from modicum.liveness import functional as F  # noqa: N812
from modicum.liveness.configuration import FGHVConfig
from modicum.liveness.modeling import FGHVForLiveness

HELD_OUT = 0.2  # of the people, or of the faces where people are not known, to calibrate on
NEIGHBOURS = 5
ALPHA = 0.05  # of genuine faces, that a calibrated threshold may refuse
Rows: TypeAlias = npt.NDArray[np.int64]
# Of the rows of own genuine faces and of those to score: higher is more genuine.
OwnScorer: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def calibration_rows(labels: npt.ArrayLike, groups: Sequence[str] | None, seed: int) -> tuple[Rows, Rows]:
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
    learn, held = calibration_rows(labels.numpy(), groups, seed)
    own = torch.as_tensor(held)
    genuine = own[labels[own] == 1]
    if len(genuine) < 5 or len(genuine) == len(own):
        raise DataError(
            f"{len(genuine)} genuine faces and {len(own) - len(genuine)} attacks were held out, expected 5 and 1.",
            hint="Give more faces, of more people.",
        )
    model = _new(model, seed) if isinstance(model, FGHVConfig) else model
    if model.config.preset == "paper":
        warnings.warn(
            "The bare losses of the paper's figures collapse: all real hypotheses become one ray, and neither "
            "verification says more than the score. Use preset='modicum' for hypotheses that stay apart.",
            UserWarning,
            stacklevel=2,
        )
    model.eval()  # a frozen backbone is one that scores, not one that trains
    if inputs.ndim == 4 and not model.config.train_backbone:
        inputs = features_of(model, inputs)
    if inputs.ndim == 2:
        known = inputs[learn]
        model.input_mean.copy_(known.mean(0))
        model.input_std.copy_(known.std(0).clamp(min=1e-6))
    model.train()
    frozen = set() if model.config.train_backbone or model.backbone is None else set(model.backbone.parameters())
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each not in frozen], lr=rate, fused=True)
    latents, batches = torch_generator(seed, "latents"), _batches(labels, domains, learn, batch, seed)
    for step, rows in enumerate(itertools.islice(batches, steps), start=1):
        output = model(inputs[rows], labels[rows], generator=latents)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == steps:
            progress(step, steps, "update")
    model.eval()
    model.refresh()
    calibrating = inputs[genuine]
    model.calibrate_sides(model.verify(features_of(model, calibrating) if calibrating.ndim == 4 else calibrating))
    return model


def _new(config: FGHVConfig, seed: int) -> FGHVForLiveness:
    if config.backbone in {"depthnet", "transformers"} and not config.train_backbone:
        raise ConfigError(
            f"The backbone {config.backbone} of a configuration has random weights, and it is not to be trained.",
            hint="Give FGHVForLiveness.from_backbone(name) in place of a configuration, or train_backbone=True.",
        )
    with seeded_globally(seed, "initialisation"):
        return FGHVForLiveness(config)


def _batches(labels: Tensor, domains: Sequence[str] | None, rows: Rows, batch: int, seed: int) -> Iterator[Tensor]:
    """Draw half a batch of each label without end, as many of each domain."""
    order = numpy_generator(seed, "order")
    names = np.asarray(domains if domains is not None else [""] * len(labels))[rows]
    of = labels.numpy()[rows]
    strata = [[rows[(of == label) & (names == name)] for name in sorted(set(names[of == label]))] for label in (1, 0)]
    while True:
        drawn = [
            part[order.integers(len(part), size=max(1, batch // 2 // len(parts)))] for parts in strata for part in parts
        ]
        yield torch.as_tensor(np.concatenate(drawn))


@torch.no_grad()
def features_of(model: FGHVForLiveness, crops: Tensor) -> Tensor:
    """Run a frozen backbone."""
    return torch.cat([model.extract(part) for part in crops.split(64)])


def logistic(features: npt.ArrayLike, labels: npt.ArrayLike) -> Any:
    """Fit the logistic regression that everything is compared with."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(features, labels)


def nearest_neighbours(reference: Tensor, features: Tensor) -> Tensor:
    """Score features by their negative distance to the nearest genuine ones, the mean over five."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(reference))).fit(reference.numpy())
    return -torch.as_tensor(near.kneighbors(features.numpy())[0].mean(1))


def mahalanobis(reference: Tensor, features: Tensor, own: Tensor | None = None) -> Tensor:
    """Score features by their negative squared distance to the mean, in units of the shrunk covariance."""
    # Own faces are too few for a covariance: they move the mean.
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf().fit(reference.double().numpy())
    fitted.location_ = (reference if own is None else own).double().mean(0).numpy()
    return -torch.as_tensor(fitted.mahalanobis(features.double().numpy()))


def updated(model: FGHVForLiveness, own: Tensor) -> FGHVForLiveness:
    """Copy a model, with hypotheses that agree on own genuine faces too (E4)."""
    after = copy.deepcopy(model)
    features, variance = after.embed(own).double(), float(after.source_variance)
    after.set_covariance(F.bayesian_update(after.covariance.double(), features, variance))
    # Own faces are the measure of both from now on, in V each as if it had not been there. By the measure of the source
    # V would never be too large here, and s would decide alone.
    direction = (after.real_mean - after.attack_mean).double()
    score, known = F.closed_form(features, direction, after.factor.double())
    after.measure_by(score, F.left_out_variance(known, variance * len(own) / features.shape[1]))
    return after


def halves(groups: Sequence[str] | None, total: int, seed: int) -> tuple[Rows, Rows]:
    """Split own faces into those to update by and those that set the threshold: by person where there are four."""
    if groups is not None and len(set(groups)) >= 4:
        first, second = folds(np.zeros(total, int), 2, seed, "own", groups=np.asarray(groups))[0]
        return first, second
    order = numpy_generator(seed, "own").permutation(total)
    return order[: total // 2], order[total // 2 :]


def attainable(alpha: float, count: int) -> float:
    """Give the level of a conformal threshold from so many faces: p-values below 1 / (count + 1) do not occur."""
    return max(alpha, 1 / (count + 1))


def refused_when_left_out(
    scorer: OwnScorer, total: int, groups: Sequence[str] | None, *, alpha: float = ALPHA, seed: int = 0
) -> int:
    """Count own genuine faces that a detector refuses when it is calibrated on the others, by person if known."""
    named = groups is not None and len(set(groups)) >= 5
    people = list(groups) if groups is not None and named else [str(row) for row in range(total)]
    refused = 0
    for rest, test in folds(np.zeros(total, int), 5, seed, "left out", groups=np.asarray(people)):
        near, held = (rest[part] for part in halves([people[row] for row in rest], len(rest), seed))
        scores = scorer(torch.as_tensor(near), torch.as_tensor(np.concatenate([held, test])))
        level = attainable(alpha, len(held))
        refused += int((F.conformal_p_values(scores[len(held) :], scores[: len(held)]) <= level + 1e-9).sum())
    return refused
