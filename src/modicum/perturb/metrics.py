"""The main metrics of GLUE, and the constant prediction of a model that learnt nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

MetricName: TypeAlias = Literal["accuracy", "f1", "matthews", "pearson"]


def main_score(metric: MetricName, predictions: np.ndarray, labels: np.ndarray) -> float:
    """Score predictions with a task's main metric."""
    from scipy import stats
    from sklearn import metrics

    match metric:
        case "accuracy":
            return float(metrics.accuracy_score(labels, predictions))
        case "f1":
            # The stubs know only one of the values that zero_division may have.
            return float(metrics.f1_score(labels, predictions, zero_division=0.0))  # pyright: ignore[reportArgumentType]
        case "matthews":
            return float(metrics.matthews_corrcoef(labels, predictions))
        case "pearson":
            return _correlation(stats.pearsonr, predictions, labels)


def second_score(metric: MetricName, predictions: np.ndarray, labels: np.ndarray) -> float:
    """Give the secondary score: Spearman's correlation for "pearson", else the accuracy."""
    from scipy import stats

    if metric == "pearson":
        return _correlation(stats.spearmanr, predictions, labels)
    return main_score("accuracy", predictions, labels)


def constant_answer(metric: MetricName, train_labels: np.ndarray) -> float:
    """Give the answer of a model that learnt nothing: the most common training class, or the mean training score."""
    return float(train_labels.mean() if metric == "pearson" else np.bincount(train_labels).argmax())


def constant_loss(metric: MetricName, train_labels: np.ndarray) -> float:
    """Give the least training loss of a model that always answers the same."""
    from scipy import stats

    return float(np.var(train_labels) if metric == "pearson" else stats.entropy(np.bincount(train_labels)))


def _correlation(correlate: Callable[..., Any], predictions: np.ndarray, labels: np.ndarray) -> float:
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(correlate(predictions, labels).statistic)
