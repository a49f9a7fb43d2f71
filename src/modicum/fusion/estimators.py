# ruff: noqa: N803 - X is the name of scikit-learn
"""CubeMLP as scikit-learn has estimators: streams as arrays in, targets or classes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted

from modicum.errors import DataError
from modicum.fusion.configuration import StreamEncoder
from modicum.fusion.fitting import configure, fit
from modicum.fusion.functional import Norm
from modicum.fusion.recordings import Recordings
from modicum.fusion.training import Recipe

Given: TypeAlias = Mapping[str, npt.ArrayLike] | Recordings
Labels: TypeAlias = npt.ArrayLike | None
Lengths: TypeAlias = Mapping[str, npt.ArrayLike] | None


class _Estimator(BaseEstimator):
    """What the two share: their settings, and the system that they are fitted to."""

    # A part of the training samples is split off to choose the epoch by; of the streams, text is not among them. The
    # defaults are ours, for some hundred samples.

    def __init__(  # noqa: PLR0913 - scikit-learn wants each setting by its name
        self,
        *,
        encoder: StreamEncoder = "gru",
        layers: int = 1,
        channels: int = 32,
        norm: Norm = "pre",
        dropout: float = 0.1,
        modality_dropout: float = 0.0,
        epochs: int = 30,
        batch: int = 16,
        rate: float = 1e-2,
        weight_decay: float = 0.0,
        patience: int | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.encoder: StreamEncoder = encoder
        self.layers = layers
        self.channels = channels
        self.norm: Norm = norm
        self.dropout = dropout
        self.modality_dropout = modality_dropout
        self.epochs = epochs
        self.batch = batch
        self.rate = rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.seed = seed
        self.device = device

    def _fit(self, recordings: Recordings) -> Self:
        config = configure(
            recordings,
            encoder=self.encoder,
            layers=self.layers,
            channels=self.channels,
            norm=self.norm,
            dropouts=(self.dropout,) * 3,
            modality_dropout=self.modality_dropout,
        )
        names = ("epochs", "batch", "rate", "weight_decay", "patience")
        recipe = Recipe(**{name: getattr(self, name) for name in names}, schedule="linear")
        self.system_ = fit(recordings, config=config, recipe=recipe, seed=self.seed, device=self.device)
        return self


class CubeMLPRegressor(RegressorMixin, _Estimator):
    """Estimates one target or several; see `_Estimator` for the settings.

    Targets are brought to mean 0 and std 1 for training, and back in predictions.

    Attributes:
        system_: the `FusionSystem`, which gives targets before they are brought back.
        mean_: of the targets.
        std_: of the targets, 1 for one that never changes.

    Example:
        >>> import numpy as np
        >>> draw = np.random.default_rng(0)
        >>> y = draw.normal(size=24)
        >>> X = {name: y[:, None, None] + draw.normal(size=(24, 5, 2)) for name in ("audio", "video")}
        >>> CubeMLPRegressor(epochs=2, channels=8).fit(X, y).predict(X).shape
        (24,)
    """

    def fit(self, X: Given, y: Labels = None, *, lengths: Lengths = None, groups: Labels = None) -> Self:
        """Fit.

        Args:
            X: streams by name, each of shape (n, frames, size); or recordings.
            y: targets, shape (n,) or (n, targets); None takes the labels of recordings.
            lengths: frames of each sample by stream, shape (n,); without them all are the sample's. 0 is a stream that
                the sample lacks.
            groups: what stays on one side when the validation part is split off, shape (n,).

        Returns:
            Itself.

        Raises:
            ConfigError: if a setting is wrong.
            DataError: if shapes disagree, a value is not finite, or a sample has no frame.
        """
        recordings = to_recordings(X, lengths=lengths, groups=groups)
        targets = _given(recordings, y).astype(np.float32)
        self.mean_ = targets.mean(axis=0)
        std = targets.std(axis=0)
        self.std_ = np.where(std > 0, std, np.float32(1))
        return self._fit(replace(recordings, labels=(targets - self.mean_) / self.std_, classes=()))

    def predict(self, X: Given, *, lengths: Lengths = None) -> npt.NDArray[np.float32]:
        """Estimate the targets, shape (n,) or (n, targets), of the streams of `fit`."""
        check_is_fitted(self)
        return self.system_.predict(to_recordings(X, lengths=lengths)) * self.std_ + self.mean_

    def score(self, X: Given, y: Labels = None, *, lengths: Lengths = None) -> float:  # pyright: ignore
        """Give the coefficient of determination, R2, of at least 2 samples."""
        recordings = to_recordings(X, lengths=lengths)
        return float(r2_score(_given(recordings, y), self.predict(recordings)))


class CubeMLPClassifier(ClassifierMixin, _Estimator):
    """Tells classes apart; see `_Estimator` for the settings.

    Attributes:
        system_: the `FusionSystem`.
        classes_: in the order of the probabilities.
    """

    def fit(self, X: Given, y: Labels = None, *, lengths: Lengths = None, groups: Labels = None) -> Self:
        """Fit to classes ``y`` of any kind, shape (n,), at least two; all else is as for `CubeMLPRegressor.fit`."""
        recordings = to_recordings(X, lengths=lengths, groups=groups)
        self.classes_, numbers = np.unique(_given(recordings, y), return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"All samples are of the class {self.classes_[0]!r}.", hint="Give two classes or more.")
        return self._fit(replace(recordings, labels=numbers.astype(np.int64), classes=()))

    def predict_proba(self, X: Given, *, lengths: Lengths = None) -> npt.NDArray[np.float32]:
        """Give the probabilities of the classes, shape (n, classes)."""
        check_is_fitted(self)
        return self.system_.predict(to_recordings(X, lengths=lengths))

    def predict(self, X: Given, *, lengths: Lengths = None) -> npt.NDArray[Any]:
        """Give the likeliest class of each sample, shape (n,)."""
        return self.classes_[self.predict_proba(X, lengths=lengths).argmax(axis=1)]

    def score(self, X: Given, y: Labels = None, *, lengths: Lengths = None) -> float:  # pyright: ignore
        """Give the accuracy."""
        recordings = to_recordings(X, lengths=lengths)
        return float(accuracy_score(_given(recordings, y), self.predict(recordings)))


def to_recordings(streams: Given, *, lengths: Lengths = None, groups: Labels = None) -> Recordings:
    """Take arrays apart into the frames that each sample has."""
    if isinstance(streams, Recordings):
        if lengths is not None or groups is not None:
            raise DataError("Recordings have lengths and groups of their own.", hint="Leave those arguments out.")
        return replace(streams, words=None)
    return Recordings.from_arrays(streams, lengths=lengths, groups=groups)


def _given(recordings: Recordings, y: Labels) -> npt.NDArray[Any]:
    labels = np.asarray(recordings.labels if y is None else y)
    if labels.ndim == 0 or len(labels) != len(recordings):
        raise DataError(
            f"There are {len(recordings)} samples, and the labels have the shape {labels.shape}.",
            hint="Give a label for each sample.",
        )
    if labels.dtype.kind == "O":
        labels = np.where(np.equal(labels, np.array(None)), np.nan, labels)
    known = np.isfinite(labels) if labels.dtype.kind == "f" else np.equal(labels, labels)
    if unknown := np.flatnonzero(~known.reshape(len(labels), -1).astype(bool).all(axis=1)).tolist():
        raise DataError(
            f"The label of {recordings.ids[unknown[0]]} is {labels[unknown[0]]}.",
            hint="Correct it, or leave the sample out.",
        )
    return labels
