"""Learners by name: n-grams, a frozen encoder, or an encoder that is fine-tuned."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from modicum.core.devices import check_device
from modicum.core.training import reporting
from modicum.sarcasm.configuration import NGRAMS, EncoderSettings, Settings
from modicum.sarcasm.examples import Example
from modicum.sarcasm.fitting import Fitted, fit_system
from modicum.sarcasm.linear.learner import LinearLearner
from modicum.sarcasm.robustness import find_preset
from modicum.sarcasm.scoring import Learner, TextModel
from modicum.sarcasm.stacking import stack

if TYPE_CHECKING:
    from modicum.sarcasm.encoder.model import EncoderModel

_LOGGER = logging.getLogger(__name__)


def fit(examples: Sequence[Example], settings: Settings) -> Fitted:
    """Fit a system by its settings; how far it is is logged (`logging`, level INFO).

    Args:
        examples: labelled.
        settings: of model and texts.

    Returns:
        The system, and what it was chosen on.

    Raises:
        ConfigError: if there is no such preset, rule or encoder, or no fold.
        DataError: if a language has too few texts of one of the labels.
        MissingExtraError: if a library that the model needs is not installed.
    """
    check_device(settings.device)
    models = models_of(settings.model)
    if len(models) == 1:
        return _fit(examples, settings)
    parts = [_fit(examples, replace(settings, model=model), title=f"{model}, ") for model in models]
    return stack(parts, rule=settings.rule)


def models_of(name: str) -> list[str]:
    """Give the two models of "ngrams+ENCODER", or the one that is named."""
    first, plus, encoder = name.partition("+")
    return [first, encoder] if first == NGRAMS and plus else [name]


def _fit(examples: Sequence[Example], settings: Settings, *, title: str = "") -> Fitted:
    encoder = settings.model != NGRAMS
    learner: Learner = (
        fine_tuning(settings.model, settings, device=settings.device, title=title) if encoder else LinearLearner()
    )
    return fit_system(
        examples,
        learner,
        robustness=find_preset(settings.preset),
        rule=settings.rule,
        folds=settings.folds,
        seed=settings.seed,
        joined=mean_of if encoder else None,
        title=title,
    )


def fine_tuning(place: str, settings: EncoderSettings, *, device: str, title: str | None = None) -> Learner:
    """Make the learner that fine-tunes an encoder on all tasks, and logs how far it is if it has a title."""
    from modicum.sarcasm.encoder.learner import EncoderLearner
    from modicum.sarcasm.encoder.training import Recipe

    tell = lambda words: _LOGGER.info("Fitting %s%s", title, words)
    return EncoderLearner(
        encoder=place,
        pooling=settings.pooling,
        recipe=Recipe(epochs=settings.epochs, batch=settings.batch, rate=settings.rate),
        device=device,
        callbacks=tuple if title is None else lambda: [reporting(tell, extra="text")],
    )


def mean_of(models: Sequence[TextModel]) -> TextModel:
    """Join the encoders of the folds by the mean of their logits."""
    from modicum.sarcasm.encoder.model import EnsembleModel

    return EnsembleModel(tuple(cast("EncoderModel", model) for model in models))
