"""From logits to probabilities that hold what they promise, fitted on out-of-fold outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
from scipy.special import expit, logit

from modicum.errors import ConfigError, DataError

CalibrationName: TypeAlias = Literal["none", "temperature", "temperature+bias", "isotonic"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """Probabilities sigmoid(logit / temperature + bias)."""

    temperature: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0 and math.isfinite(self.bias)):
            raise ConfigError(
                f"The temperature is {self.temperature} and the bias {self.bias}.",
                hint="Both must be finite, and the temperature > 0.",
            )

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Give probabilities, the same shape."""
        return expit(logits / self.temperature + self.bias)


@dataclass(frozen=True, kw_only=True, slots=True)
class Isotonic:
    """Probabilities that are straight lines between knots, and constant outside of them."""

    logits: tuple[float, ...]  # of the knots, rising
    probabilities: tuple[float, ...]  # at the knots, never falling

    def __post_init__(self) -> None:
        rising = all(first < last for first, last in pairwise(self.logits))
        falling = any(first > last for first, last in pairwise((0.0, *self.probabilities, 1.0)))
        if not self.logits or len(self.logits) != len(self.probabilities) or not rising or falling:
            raise ConfigError(
                f"These {len(self.logits)} knots do not rise from 0 to 1.", hint="Use those that isotonic() gives."
            )

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Give probabilities, the same shape."""
        return np.interp(logits, self.logits, self.probabilities)


Calibration: TypeAlias = Scaling | Isotonic


def temperature(logits: np.ndarray, labels: np.ndarray, *, bias: bool = False) -> Scaling:
    """Choose the temperature by the likelihood of out-of-fold labels."""
    from scipy.optimize import minimize, minimize_scalar

    logits, labels = _checked(logits, labels)
    signs = 1.0 - 2.0 * labels
    bound = math.log(100.0)

    def loss(scale: float, shift: float) -> float:
        return float(np.logaddexp(0.0, signs * (logits * math.exp(-scale) + shift)).mean())

    if bias:
        start = np.array([0.0, float(logit(labels.mean()))])
        limits = [(-bound, bound), (None, None)]
        found = minimize(lambda it: loss(*it), start, bounds=limits, method="L-BFGS-B", options={"ftol": 1e-14})
        return Scaling(temperature=math.exp(found.x[0]), bias=float(found.x[1]))
    found = minimize_scalar(lambda it: loss(it, 0.0), bounds=(-bound, bound), method="bounded", options={"xatol": 1e-9})
    return Scaling(temperature=math.exp(found.x))


def isotonic(logits: np.ndarray, labels: np.ndarray) -> Isotonic:
    """Choose the rising function that fits out-of-fold labels best by least squares."""
    logits, labels = _checked(logits, labels)
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(logits, labels)
    return Isotonic(logits=tuple(fitted.X_thresholds_.tolist()), probabilities=tuple(fitted.y_thresholds_.tolist()))


CALIBRATIONS: dict[CalibrationName, Callable[[np.ndarray, np.ndarray], Calibration]] = {
    "none": lambda _logits, _labels: Scaling(),
    "temperature": temperature,
    "temperature+bias": lambda logits, labels: temperature(logits, labels, bias=True),
    "isotonic": isotonic,
}


def _checked(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if logits.shape != labels.shape or set(np.unique(labels)) != {0.0, 1.0} or not np.isfinite(logits).all():
        raise DataError(
            f"A calibration needs a finite logit for each label and labels of both kinds, got logits of shape "
            f"{logits.shape} and labels {np.unique(labels).tolist()} of shape {labels.shape}.",
            hint="Give out-of-fold logits of examples that are sarcastic and of examples that are not.",
        )
    return logits, labels
