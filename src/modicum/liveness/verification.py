"""A fitted model in a new place: the update by own faces, a threshold, and the detectors to compare with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modicum.core.seeding import numpy_generator
from modicum.core.splits import folds
from modicum.liveness import functional as F  # noqa: N812
from modicum.liveness.modeling import FGHVForLiveness

NEIGHBOURS = 5
ALPHA = 0.05  # of genuine faces, that a calibrated threshold may refuse
# Of the features of own genuine faces and of those to score: higher is more genuine.
OwnScorer: TypeAlias = Callable[[Tensor, Tensor], Tensor]


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


def halves(groups: Sequence[str] | None, total: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
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
    scorer: OwnScorer, own: Tensor, groups: Sequence[str] | None, *, alpha: float = ALPHA, seed: int = 0
) -> int:
    """Count own genuine faces that a detector refuses when it is calibrated on the others, by person if known."""
    named = groups is not None and len(set(groups)) >= 5
    people = list(groups) if groups is not None and named else [str(row) for row in range(len(own))]
    refused = 0
    for rest, test in folds(np.zeros(len(own), int), 5, seed, "left out", groups=np.asarray(people)):
        near, held = (rest[part] for part in halves([people[row] for row in rest], len(rest), seed))
        scores = scorer(own[near], torch.cat([own[held], own[test]]))
        level = attainable(alpha, len(held))
        refused += int((F.conformal_p_values(scores[len(held) :], scores[: len(held)]) <= level + 1e-9).sum())
    return refused
