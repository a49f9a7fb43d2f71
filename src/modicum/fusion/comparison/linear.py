"""The linear control: a regression on all frames of all streams, side by side in their order."""

from __future__ import annotations

from typing import Any

import numpy as np

from modicum.fusion.batches import BoolArray, Scaling
from modicum.fusion.comparison.problem import Problem, score
from modicum.fusion.fitting import LONGEST
from modicum.fusion.recordings import FloatArray, Ragged, Recordings

PENALTIES = (1e5, 1e4, 1e3, 1e2, 1e1)  # where several do as well on validation, the strongest is taken


class Linear:
    """A logistic regression of classes, a ridge regression of estimates; its penalty is chosen on validation."""

    def __init__(self, problem: Problem) -> None:
        from sklearn.linear_model import LogisticRegression, Ridge

        train, labels = problem.train, np.asarray(problem.train.labels)
        self.classes = 0 if labels.dtype.kind not in "iu" else len(train.classes) or int(labels.max()) + 1
        self.scaling = Scaling.fit(train)
        self.longest = {name: min(LONGEST, int(it.lengths.max())) for name, it in train.streams.items()}

        def fitted(penalty: float) -> Any:
            model: Any = LogisticRegression(C=1 / penalty, max_iter=1000) if self.classes else Ridge(penalty)
            return model.fit(self._rows(train), labels)

        models = [fitted(penalty) for penalty in PENALTIES]
        rows = self._rows(problem.valid)
        self.model = max(models, key=lambda model: score(problem.valid, self._predict(model, rows)))
        self.parameters = self.model.coef_.size + self.model.intercept_.size

    def predict(self, recordings: Recordings, present: BoolArray) -> FloatArray:
        """Predict from the streams that are present; the others are as their means in training."""
        return self._predict(self.model, self._rows(recordings, present))

    def _rows(self, recordings: Recordings, present: BoolArray | None = None) -> FloatArray:
        streams = self.scaling.apply(recordings).streams
        parts = [frames_in_order(streams[name], longest) for name, longest in self.longest.items()]
        if present is not None:
            parts = [part * there[:, None] for part, there in zip(parts, present.T, strict=True)]
        return np.concatenate(parts, axis=1)

    def _predict(self, model: Any, rows: FloatArray) -> FloatArray:
        if not self.classes:
            return model.predict(rows)
        found = np.zeros((len(rows), self.classes), dtype=np.float32)
        found[:, model.classes_] = model.predict_proba(rows)  # of those that are in the training split
        return found


def frames_in_order(stream: Ragged, longest: int) -> FloatArray:
    """Join the first frames of each sample to a row; those that it lacks are zeros."""
    starts = stream.lengths.cumsum() - stream.lengths
    places = np.arange(len(stream.values)) - np.repeat(starts, stream.lengths)
    rows = np.zeros((len(stream), longest, stream.size), dtype=np.float32)
    rows[np.arange(longest) < stream.lengths[:, None]] = stream.values[places < longest]
    return rows.reshape(len(stream), -1)
