"""From settings and examples to a system: folds, models, and decisions that are made on what the models did not see."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modicum.core.devices import check_device
from modicum.core.seeding import derive
from modicum.core.training import reporting
from modicum.errors import ConfigError, ModelError
from modicum.sarcasm.configuration import AUTO, FROZEN, NGRAMS, Settings
from modicum.sarcasm.data.examples import Example, Language
from modicum.sarcasm.data.folds import held_out_parts
from modicum.sarcasm.data.preparation import Robustness, find_preset
from modicum.sarcasm.decisions import Rule, check_rule, decide
from modicum.sarcasm.evaluate.scores import score_a
from modicum.sarcasm.linear import LinearLearner
from modicum.sarcasm.models import Learner, Outputs, TextModel, compare_texts
from modicum.sarcasm.presets import choose_preset
from modicum.sarcasm.stack import StackedModel, mean_categories, stack_weights
from modicum.sarcasm.system import SarcasmSystem

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A system and what it was chosen on."""

    system: SarcasmSystem  # ready to read
    held: tuple[Example, ...]  # the examples that some model had not seen, prepared as they were scored
    outputs: Outputs  # of those models for them
    entire: np.ndarray  # logits of "sarcastic" of the same texts as they are read in use, not cropped
    margins: np.ndarray | None = None

    def held_out(self, language: Language) -> dict[str, Any]:
        """Sum up what was held out of a language: F1 flatters, since the threshold was chosen on these texts."""
        places = [place for place, example in enumerate(self.held) if example.language == language]
        gold = [self.held[place].sarcastic or 0 for place in places]
        labels = self.system.decision.labels(self.outputs, [example.language for example in self.held])[places]
        found = {
            "texts": len(places),
            "sarcastic": sum(gold),
            "threshold": self.system.decision.thresholds[language],
            "held-out F1": score_a(gold, labels).f1,
        }
        margins = np.empty(0) if self.margins is None else self.margins[places]
        margins = margins[~np.isnan(margins)]
        return found | ({"held-out accuracy of pairs": float((margins > 0).mean())} if len(margins) else {})


def fit(examples: Sequence[Example], settings: Settings, *, like: Sequence[Example] | None = None) -> Fitted:
    """Fit a system by its settings; how far it is is logged (`logging`, level INFO).

    Args:
        examples: labelled.
        settings: of model and texts.
        like: texts of the kind that will be read, unlabelled; preset "auto" looks whether they resemble the examples.

    Returns:
        The system, and what it was chosen on.

    Raises:
        ConfigError: if there is no such preset, rule or encoder, or no fold, or `like` comes with a preset.
        DataError: if a language has too few texts of one of the labels, or `like` has too few texts.
        MissingExtraError: if a library that the model needs is not installed.
    """
    check_device(settings.device)
    known = _with_strays([it for it in examples if it.sarcastic is not None], least=max(settings.folds, 2))
    preset, why = settings.preset, ""
    if preset == AUTO:
        _LOGGER.info("Fitting n-grams to choose the preset")
        preset, why = choose_preset(known, like, folds=settings.folds, seed=settings.seed)
        _LOGGER.info(why)
    elif like is not None:
        raise ConfigError(f"The preset is {preset!r} already.", hint="Leave it out, or leave out like (--like).")
    models = models_of(settings.model)
    titles = [f"{model}, " if len(models) > 1 else "" for model in models]
    parts = [
        fit_system(
            known,
            _learner(model, settings, title),
            robustness=find_preset(preset),
            rule=settings.rule,
            folds=settings.folds,
            seed=settings.seed,
            title=title,
        )
        for model, title in zip(models, titles, strict=True)
    ]
    fitted = parts[0] if len(parts) == 1 else stack(parts, rule=settings.rule)
    return replace(fitted, system=replace(fitted.system, preset=preset, why=why))


def models_of(name: str) -> list[str]:
    """Give the two models of "ngrams+ENCODER", or the one that is named."""
    first, plus, encoder = name.partition("+")
    return [first, encoder] if first == NGRAMS and plus else [name]


def _learner(model: str, settings: Settings, title: str) -> Learner:
    if model == NGRAMS:
        return LinearLearner()
    if model.startswith(FROZEN):
        from modicum.sarcasm.encoder.model import FrozenEncoder

        return LinearLearner(features=FrozenEncoder(model.removeprefix(FROZEN)))
    from modicum.sarcasm.encoder.training import EncoderLearner

    tell = lambda words: _LOGGER.info("Fitting %s%s", title, words)
    callbacks = lambda: [reporting(tell, extra="text")]
    return EncoderLearner(encoder=model, settings=settings, device=settings.device, callbacks=callbacks)


def fit_system(
    examples: Sequence[Example],
    learner: Learner,
    *,
    robustness: Robustness,
    rule: Rule = "oof_f1",
    folds: int = 5,
    seed: int = 0,
    title: str = "",
) -> Fitted:
    """Fit a system; nothing of it is chosen on texts that its models were trained on."""
    check_rule(rule)  # not after hours of training
    # Whether a part is held out must not depend on how texts are prepared: the arms of a comparison share it.
    known = [it for it in examples if it.sarcastic is not None]
    parts = held_out_parts(known, folds, seed)
    models: list[TextModel] = []
    held: list[Example] = []
    found: list[Outputs] = []
    entire: list[np.ndarray] = []
    margins: list[np.ndarray | None] = []
    for number, (train, out) in enumerate(parts):
        _LOGGER.info("Fitting %spart %d of %d", title, number + 1, len(parts))
        shown = robustness.train([known[at] for at in train], seed=derive(seed, f"crop {number}"))
        models.append(learner.fit(shown, seed=derive(seed, f"model {number}")))
        chosen = robustness.choose([known[at] for at in out], seed=derive(seed, f"held {number}"))
        held += chosen
        found.append(models[-1]([it.text for it in chosen]))
        uncropped = [robustness.preparation.text(known[at]) for at in out]
        entire.append(models[-1](uncropped).sarcastic if robustness.match_lengths else found[-1].sarcastic)
        margins.append(_margins(models[-1], chosen))
    outputs = _together(found)
    if join := getattr(learner, "join", None):  # the models of the folds are an ensemble
        model = join(models)
    elif folds > 1:
        _LOGGER.info("Fitting %sall examples", title)
        model = learner.fit(robustness.train(known, seed=derive(seed, "crop")), seed=derive(seed, "model"))
    else:
        model = models[0]
    logits = np.concatenate(entire)
    decision = decide(outputs, held, entire=logits, rule=rule)
    system = SarcasmSystem(model=model, preparation=robustness.preparation, decision=decision)
    return Fitted(system=system, held=tuple(held), outputs=outputs, entire=logits, margins=_joined(margins))


def _with_strays(examples: list[Example], *, least: int) -> list[Example]:
    """Read a language that has too few texts as the other: a tweet in other letters stops no training."""
    spoken = Counter(it.language for it in examples)
    if len(spoken) < 2:
        return examples
    (main, _), (few, count) = spoken.most_common()
    labelled = Counter(it.sarcastic for it in examples if it.language == few)
    if 4 * count >= len(examples) or min(labelled[0], labelled[1]) >= least:
        return examples
    first = next(it.text for it in examples if it.language == few)
    warnings.warn(
        f"{count} of {len(examples)} texts are taken for {few!r}, such as {first[:40]!r}: too few to learn "
        f"from, so they are read as {main!r}. To say it yourself, pass languages={main!r} (--language {main}).",
        stacklevel=3,
    )
    return [replace(it, language=main) for it in examples]


def _margins(model: TextModel, examples: Sequence[Example]) -> np.ndarray | None:
    places = [place for place, it in enumerate(examples) if it.sarcastic and it.rephrase]
    margins = np.full(len(examples), np.nan)
    if not places:
        return None
    try:
        margins[places] = compare_texts(model, [(examples[at].rephrase or "", examples[at].text) for at in places])
    except (ConfigError, ModelError):  # it was given no pair to learn from
        return None
    return margins


def _together(parts: Sequence[Outputs]) -> Outputs:
    return Outputs(
        sarcastic=np.concatenate([part.sarcastic for part in parts]),
        categories=_joined([part.categories for part in parts]),
        rank=_joined([part.rank for part in parts]),
    )


def _joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    given = [part for part in parts if part is not None]
    return np.concatenate(given) if len(given) == len(parts) else None


def stack(parts: Sequence[Fitted], *, rule: Rule = "oof_f1") -> Fitted:
    """Join systems of different models by logistic regression on their outputs for held-out texts."""
    # Weights, calibration and thresholds are chosen on the same held-out texts, so that held-out scores flatter a
    # little more than those of one model.
    first = parts[0]
    if any((it.held, it.system.preparation) != (first.held, first.system.preparation) for it in parts):
        raise ConfigError(
            "The systems were not fitted on the same examples.", hint="Fit all with the same folds, preset and seed."
        )
    columns = np.stack([it.outputs.sarcastic for it in parts], axis=1)
    given = [it.margins for it in parts if it.margins is not None]
    margins = np.stack(given, axis=1) if len(given) == len(parts) else None
    model = StackedModel(
        members=tuple(it.system.model for it in parts), weights=stack_weights(columns, margins, first.held)
    )
    each = np.array([model.weights_of(it.text).sarcastic for it in first.held])  # by the script, as in use
    outputs = Outputs(sarcastic=(columns * each).sum(axis=1), categories=mean_categories([it.outputs for it in parts]))
    entire = (np.stack([it.entire for it in parts], axis=1) * each).sum(axis=1)
    decision = decide(outputs, first.held, entire=entire, rule=rule)
    system = SarcasmSystem(model=model, preparation=first.system.preparation, decision=decision)
    if margins is not None:
        ranks = [model.weights_of(it.text, it.rephrase or it.text).rank for it in first.held]
        margins = (margins * np.array(ranks)).sum(axis=1)
    return Fitted(system=system, held=first.held, outputs=outputs, entire=entire, margins=margins)
