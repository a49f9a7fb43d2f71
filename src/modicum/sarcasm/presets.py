"""Which preset a system is fitted with: by what n-grams tell of held-out texts, and of texts like those to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.metrics import roc_auc_score

from modicum.core.seeding import derive
from modicum.errors import DataError
from modicum.sarcasm.data.examples import LANGUAGES, Example
from modicum.sarcasm.data.folds import held_out_parts
from modicum.sarcasm.data.preparation import PRESETS, Robustness
from modicum.sarcasm.evaluate.audit import shifts
from modicum.sarcasm.linear import LinearLearner


def choose_preset(
    known: Sequence[Example], like: Sequence[Example] | None, *, folds: int, seed: int
) -> tuple[str, str]:
    """Give the preset of a system, and why it was chosen, in words."""
    # "modicum" where texts like those to be read are told from the training texts of a language, by the remark "shift"
    # of `audit`; else the preset with the higher area under the ROC curve on held-out training texts.
    told = "Give texts of the kind that will be read (like=, --like) to check whether they resemble these."
    if like is not None:
        rows = shifts(known, like, seed=seed)
        if not rows:
            raise DataError(
                f"Of the {len(like)} texts like those to be read, no two are in a language of the training.",
                hint="Give more (like=, --like), or name the preset.",
            )
        areas = ", ".join(f"{row.train:.2f} in {row.language}" for row in rows)
        apart = any(row.remark for row in rows)
        told = f"The {len(like):,} texts like those to be read are {'' if apart else 'not '}told from training texts"
        if apart:
            return "modicum", f"{told} (AUC {areas}): preset modicum."
        told = f"{told} (AUC {areas})."
    found = {name: _held_out_area(known, robustness, folds, seed) for name, robustness in PRESETS.items()}
    best = max(found, key=lambda name: found[name])  # of equals the first, plain
    measured = ", ".join(f"{area:.3f} with {name}" for name, area in found.items())
    return best, f"On held-out texts n-grams have AUC {measured}: preset {best}. {told}"


def _held_out_area(known: Sequence[Example], robustness: Robustness, folds: int, seed: int) -> float:
    """Give the area on entire held-out texts, as they are in use, the mean of the languages."""
    scores = np.full(len(known), np.nan)
    for number, (train, out) in enumerate(held_out_parts(known, folds, seed)):
        shown = robustness.train([known[at] for at in train], seed=derive(seed, f"crop {number}"))
        # The first head alone: the others learn from categories and rephrases.
        model = LinearLearner().fit([replace(it, categories=None, rephrase=None) for it in shown])
        scores[out] = model([robustness.preparation.text(known[at]) for at in out]).sarcastic
    areas: list[float] = []
    for language in LANGUAGES:
        held = [at for at, it in enumerate(known) if it.language == language and not np.isnan(scores[at])]
        if held:
            areas.append(float(roc_auc_score([known[at].sarcastic for at in held], scores[held])))
    return float(np.mean(areas))
