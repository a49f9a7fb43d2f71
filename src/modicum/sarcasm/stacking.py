"""From systems that were fitted alike to one that reads with all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from modicum.errors import ConfigError
from modicum.sarcasm.calibration import CalibrationName
from modicum.sarcasm.decisions import Rule, decide
from modicum.sarcasm.examples import LANGUAGES, Language
from modicum.sarcasm.fitting import Fitted
from modicum.sarcasm.scoring import Outputs
from modicum.sarcasm.stacked import StackedModel, Weights, mean_categories
from modicum.sarcasm.system import SarcasmSystem


def stack(
    parts: Sequence[Fitted], *, rule: Rule = "oof_f1", calibration: CalibrationName = "temperature+bias"
) -> Fitted:
    """Join systems of different models by logistic regression on their outputs for held-out texts."""
    # Each language has its weights: what an English encoder says of an Arabic text counts less than what it says of an
    # English one. Weights, calibration and thresholds are chosen on the same held-out texts, so that held-out scores
    # flatter a little more than those of one model.
    if not parts or any(
        (it.held, it.system.preparation) != (parts[0].held, parts[0].system.preparation) for it in parts
    ):
        raise ConfigError(
            "The systems were not fitted on the same examples.", hint="Fit all with the same folds, preset and seed."
        )
    held, languages = parts[0].held, np.array([it.language for it in parts[0].held])
    weights: dict[Language, Weights] = {it: _weights(parts, languages == it) for it in LANGUAGES if it in languages}
    model = StackedModel(members=tuple(it.system.model for it in parts), weights=weights)
    each = np.array([model.weights_of(it.text).sarcastic for it in held])  # by the script, as in use
    outputs = Outputs(
        sarcastic=(_columns(parts) * each).sum(axis=1),
        categories=mean_categories([it.outputs for it in parts]),
    )
    system = SarcasmSystem(
        model=model,
        preparation=parts[0].system.preparation,
        decision=decide(outputs, held, rule=rule, calibration=calibration),
    )
    return Fitted(system=system, held=held, outputs=outputs, margins=_joint_margins(parts, model))


def _weights(parts: Sequence[Fitted], chosen: np.ndarray) -> Weights:
    labels = np.array([it.sarcastic for it in parts[0].held])[chosen]
    fitted = LogisticRegression(class_weight="balanced").fit(_columns(parts)[chosen], labels)
    margins = _margins(parts)
    if margins is None:
        return Weights(sarcastic=tuple(fitted.coef_[0].tolist()))
    known = ~np.isnan(margins).any(axis=1)
    here = margins[known & chosen] if (known & chosen).any() else margins[known]
    both, second = np.concatenate([here, -here]), np.repeat([1, 0], len(here))
    ranked = LogisticRegression(fit_intercept=False).fit(both, second)
    return Weights(sarcastic=tuple(fitted.coef_[0].tolist()), rank=tuple(ranked.coef_[0].tolist()))


def _joint_margins(parts: Sequence[Fitted], model: StackedModel) -> np.ndarray | None:
    margins = _margins(parts)
    if margins is None:
        return None
    each = [model.weights_of(it.text, it.rephrase or it.text).rank for it in parts[0].held]
    return (margins * np.array(each)).sum(axis=1)


def _columns(parts: Sequence[Fitted]) -> np.ndarray:
    return np.stack([it.outputs.sarcastic for it in parts], axis=1)


def _margins(parts: Sequence[Fitted]) -> np.ndarray | None:
    given = [it.margins for it in parts if it.margins is not None]
    return np.stack(given, axis=1) if len(given) == len(parts) else None
