"""The Go-head: label rows learnt in closed form from features, by multinomial logistic regression."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from modicum.zeroshot.functional import kkt_residual

_TOLERANCE = 1e-9  # of scikit-learn, for a residual of 1e-8 at most


@dataclass(frozen=True, slots=True)
class GoHead:
    """Label rows and their biases."""

    weight: Tensor  # float32, shape (K, d); the rows add up to 0
    bias: Tensor  # float32, shape (K,)
    residual: float  # of the optimality conditions where the fit ended, see `kkt_residual`

    def scores(self, features: Tensor) -> Tensor:
        """Score features of shape (N, d), in float32."""
        return features.float() @ self.weight.T + self.bias


def fit_head(features: Tensor, labels: Tensor, c: float) -> GoHead:
    """Minimise the objective that `kkt_residual` is the gradient of by scikit-learn, in float64."""
    from sklearn.linear_model import LogisticRegression

    binary = int(labels.max()) == 1
    # For two labels scikit-learn has one row w, which is (-w/2, w/2) here: its penalty is twice ours.
    solver = LogisticRegression(C=2 * c if binary else c, solver="newton-cg", tol=_TOLERANCE, max_iter=1000)
    inputs = features.double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the residual says how far it came
        solver.fit(inputs.numpy(), labels.numpy())
    weight, bias = torch.tensor(solver.coef_), torch.tensor(solver.intercept_)
    if binary:
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    residual = kkt_residual(weight, bias, inputs, labels, c)
    return GoHead(weight.float(), bias.float(), residual)
