"""Where probabilities become labels; a threshold is reached by what is equal to it or more."""

from __future__ import annotations

import numpy as np

from modicum.errors import ConfigError, DataError


def best_threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Give the threshold with the highest F1 of the positive class; of several such the highest."""
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if probabilities.shape != labels.shape or not labels.any():
        raise DataError(
            f"A threshold needs a label for each probability and a positive one, got {int(labels.sum())} positives, "
            f"shapes {probabilities.shape} and {labels.shape}.",
            hint="Give out-of-fold probabilities of examples with labels.",
        )
    cuts, hits, kept = _cuts(probabilities, labels)
    return float(cuts[np.argmax(2 * hits / (kept + labels.sum()))])


def expected_f1_threshold(probabilities: np.ndarray) -> float:
    """Give the threshold with the highest F1 to be expected, without a label."""
    cuts, hits, kept = _cuts(probabilities, probabilities)
    return float(cuts[np.argmax(2 * hits / (kept + probabilities.sum()))])


def top_share_threshold(probabilities: np.ndarray, share: float) -> float:
    """Give the threshold that a share of the texts at hand reaches."""
    count = round(share * len(probabilities)) if 0 < share < 1 else 0
    if not count:
        raise ConfigError(
            f"The highest {share:.1%} of {len(probabilities)} texts cannot be labelled.",
            hint='Label more texts at once, or use the rule "oof_f1" or "half".',
        )
    return float(np.sort(probabilities)[-count])


def guarded_thresholds(
    probabilities: np.ndarray, labels: np.ndarray, *, least_positives: int = 20
) -> tuple[float, ...]:
    """Give the threshold of each label, drawn to the common one where there are few positives."""
    # t_k = w_k t*_k + (1 - w_k) t*, w_k = min(1, n_k / least_positives): t*_k is the best of the label, t* that of all
    # labels as one, n_k counts the label's positives. A label without a positive has t*.
    if least_positives < 1:
        raise ConfigError(f"least_positives must be > 0, got {least_positives}.", hint="Use 20.")
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    common = best_threshold(probabilities.ravel(), labels.ravel())
    thresholds: list[float] = []
    for column, wanted in zip(probabilities.T, labels.T, strict=True):
        weight = min(1.0, wanted.sum() / least_positives)
        own = best_threshold(column, wanted) if weight else 0.0
        thresholds.append(float(weight * own + (1 - weight) * common))
    return tuple(thresholds)


def _cuts(probabilities: np.ndarray, gains: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the distinct probabilities from the highest on, and the gains and the number of texts that reach each."""
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    return ordered[ends], np.cumsum(gains[order])[ends], ends + 1.0
