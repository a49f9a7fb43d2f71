"""The arms of the comparison: the same texts; what reads them and what is done to them differ."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from modicum.core.extras import require
from modicum.core.method import Job, Measurement
from modicum.sarcasm.examples import Example, Language
from modicum.sarcasm.fitting import fit_system
from modicum.sarcasm.learners import fine_tuning, mean_of
from modicum.sarcasm.linear.frozen import FrozenEncoder
from modicum.sarcasm.linear.learner import LinearLearner
from modicum.sarcasm.metrics import score_a, score_b, score_c
from modicum.sarcasm.plan import TINY, Plan
from modicum.sarcasm.problem import Problem, pose
from modicum.sarcasm.robustness import PRESETS, Preset
from modicum.sarcasm.scoring import Learner, TextModel
from modicum.sarcasm.system import SarcasmSystem
from modicum.sarcasm.tiny import make_tiny_encoder

Join = Callable[[Sequence[TextModel]], TextModel]


def ngrams(job: Job) -> Measurement:
    """Fit logistic regressions on character n-grams, one for each language."""
    return _measure(job, lambda *_: LinearLearner(), preset="plain", together=False)


def ngrams_robust(job: Job) -> Measurement:
    """Do the same with everything that is done against shortcuts."""
    return _measure(job, lambda *_: LinearLearner(), preset="modicum", together=False)


def frozen_encoder(job: Job) -> Measurement:
    """Fit logistic regressions on the mean of an encoder's last layer, which is not trained."""
    return _measure(job, _frozen, preset="plain", together=False)


def monolingual(job: Job) -> Measurement:
    """Fine-tune one encoder for each language."""
    return _measure(job, _encoder, preset="plain", together=False, joined=mean_of)


def joint(job: Job) -> Measurement:
    """Fine-tune one encoder with three heads on both languages."""
    return _measure(job, _encoder, preset="plain", together=True, joined=mean_of)


def joint_robust(job: Job) -> Measurement:
    """Do the same with everything that is done against shortcuts."""
    return _measure(job, _encoder, preset="modicum", together=True, joined=mean_of)


def _measure(
    job: Job,
    learner: Callable[[Plan, str, Job], Learner],
    *,
    preset: Preset,
    together: bool,
    joined: Join | None = None,
) -> Measurement:
    plan, posed = Plan.of(job), pose(job)
    groups: list[tuple[Language, ...]] = (
        [posed.languages] if together else [(language,) for language in posed.languages]
    )
    systems: dict[Language, SarcasmSystem] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = _place(plan, posed, Path(folder), job) if learner in {_encoder, _frozen} else ""
        for languages in groups:
            fitted = fit_system(
                [it for it in posed.train if it.language in languages],
                learner(plan, place, job),
                robustness=PRESETS[preset],
                rule=plan.rule,
                folds=plan.folds,
                seed=job.seed,
                joined=joined,
            )
            for language in languages:
                systems[language] = fitted.system
        return _scored(systems, posed)


def _place(plan: Plan, posed: Problem, folder: Path, job: Job) -> str:
    if plan.model != TINY:
        return plan.model
    require("transformers", extra="text", purpose="The encoders of this comparison")
    texts = [text for it in posed.train for text in (it.text, it.rephrase) if text]
    return str(make_tiny_encoder(folder, texts, seed=job.seed))


def _frozen(plan: Plan, place: str, job: Job) -> Learner:
    del plan, job
    return LinearLearner(features=FrozenEncoder(place))


def _encoder(plan: Plan, place: str, job: Job) -> Learner:
    return fine_tuning(
        place, epochs=plan.epochs, batch=plan.batch, rate=plan.rate, pooling=plan.pooling, device=job.device
    )


def _scored(systems: Mapping[Language, SarcasmSystem], posed: Problem) -> Measurement:
    main: dict[str, float] = {}
    beside: dict[str, float] = {}
    for language, texts in posed.texts.items():
        found = systems[language].read(texts).labels
        main[f"A {language} F1"] = score_a([it.sarcastic or 0 for it in texts], found).f1
    for language, pairs in posed.pairs.items():
        second = (systems[language].compare(pairs) > 0.5).astype(np.int64)
        beside[f"C {language} accuracy"] = score_c([it.sarcastic or 0 for it in pairs], second).accuracy
    return Measurement(
        value=float(np.mean(list(main.values()))),
        beside=main | _categories(systems, posed.categories) | beside,
        costs={"models": float(sum(map(_models, {id(it): it for it in systems.values()}.values())))},
    )


def _models(system: SarcasmSystem) -> int:
    return len(getattr(system.model, "members", (system.model,)))  # those of the folds, where they are an ensemble


def _categories(systems: Mapping[Language, SarcasmSystem], examples: Sequence[Example]) -> dict[str, float]:
    gold, found = [], []
    for language, system in systems.items():
        known = [it for it in examples if it.language == language]
        labels = system.read(known).category_labels if known else None
        if labels is not None:
            gold += [it.categories for it in known]
            found.append(labels)
    return {"B macro F1": score_b(gold, np.concatenate(found)).macro_f1} if found else {}
