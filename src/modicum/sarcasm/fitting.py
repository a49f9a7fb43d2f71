"""From examples to a system: folds, models, and decisions that are made on what the models did not see."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modicum.core.seeding import derive
from modicum.errors import ConfigError, ModelError
from modicum.sarcasm.calibration import CalibrationName
from modicum.sarcasm.decisions import Rule, check_rule, decide
from modicum.sarcasm.examples import Example, Language
from modicum.sarcasm.folds import grouped_folds, grouped_split
from modicum.sarcasm.metrics import score_a
from modicum.sarcasm.robustness import Robustness
from modicum.sarcasm.scoring import Learner, Outputs, TextModel, compare_texts
from modicum.sarcasm.system import SarcasmSystem

_LOGGER = logging.getLogger(__name__)
_HELD_SHARE = 0.2  # ours, where there are no folds


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A system and what it was chosen on."""

    system: SarcasmSystem  # ready to read
    held: tuple[Example, ...]  # the examples that some model had not seen, prepared as they were scored
    outputs: Outputs  # of those models for them
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


def fit_system(
    examples: Sequence[Example],
    learner: Learner,
    *,
    robustness: Robustness,
    rule: Rule = "oof_f1",
    calibration: CalibrationName = "temperature+bias",
    folds: int = 5,
    seed: int = 0,
    joined: Callable[[Sequence[TextModel]], TextModel] | None = None,
    title: str = "",
) -> Fitted:
    """Fit a system; nothing of it is chosen on texts that its models were trained on."""
    if folds < 1:
        raise ConfigError(f"The number of folds is {folds}.", hint="Give 1 or more.")
    check_rule(rule)  # not after hours of training
    # Whether a part is held out must not depend on how texts are prepared: the arms of a comparison share it.
    known = _with_strays([it for it in examples if it.sarcastic is not None], least=max(folds, 2))
    parts = grouped_folds(known, folds, seed) if folds > 1 else [grouped_split(known, _HELD_SHARE, seed)]
    models: list[TextModel] = []
    held: list[Example] = []
    found: list[Outputs] = []
    margins: list[np.ndarray | None] = []
    for number, (train, out) in enumerate(parts):
        _LOGGER.info("Fitting %spart %d of %d", title, number + 1, len(parts))
        shown = robustness.train([known[at] for at in train], seed=derive(seed, f"crop {number}"))
        models.append(learner.fit(shown, seed=derive(seed, f"model {number}")))
        chosen = robustness.choose([known[at] for at in out], seed=derive(seed, f"held {number}"))
        held += chosen
        found.append(models[-1]([it.text for it in chosen]))
        margins.append(_margins(models[-1], chosen))
    outputs = _together(found)
    if joined is None and folds > 1:
        _LOGGER.info("Fitting %sall examples", title)
        model = learner.fit(robustness.train(known, seed=derive(seed, "crop")), seed=derive(seed, "model"))
    else:
        model = joined(models) if joined else models[0]
    decision = decide(outputs, held, rule=rule, calibration=calibration)
    system = SarcasmSystem(model=model, preparation=robustness.preparation, decision=decision)
    return Fitted(system=system, held=tuple(held), outputs=outputs, margins=_joined(margins))


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
