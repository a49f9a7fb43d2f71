"""Compare the presets where use resembles training, and see which is chosen: n-grams, on iSarcasmEval.

Run: python benchmarks/xpudu_presets.py [--seeds 3] [--json]

A fifth of the training files is held out; a text and its rephrase stay on one side. Each system is fitted as
`modicum sarcasm train` does, on the other four fifths of both languages. The shifted case, the official test files, is
that of xpudu_official.py; here they and the held-out fifth are given, without labels, as texts like those to be read.
Data: the catalogue's isarcasmeval.
"""

from __future__ import annotations

import argparse
import itertools
import json
from typing import Any

import numpy as np
from sklearn.metrics import brier_score_loss, roc_auc_score

from modicum.core import catalogue
from modicum.core.environment import this_run
from modicum.sarcasm import Settings, fit
from modicum.sarcasm.data.examples import LANGUAGES, Example
from modicum.sarcasm.data.folds import grouped_split
from modicum.sarcasm.data.isarcasm import read_texts, read_train
from modicum.sarcasm.evaluate.audit import shifts
from modicum.sarcasm.evaluate.scores import score_a
from modicum.sarcasm.presets import choose_preset

PRESETS = ("plain", "modicum")


def split(seed: int) -> list[list[Example]]:
    """Give four fifths of the training files, and the fifth that the seed holds out."""
    folder = catalogue.fetch("isarcasmeval")
    known = [it for language in LANGUAGES for it in read_train(folder, language)]
    return [[known[at] for at in part] for part in grouped_split(known, 0.2, seed)]


def run(preset: str, seed: int) -> dict[str, Any]:
    """Fit on four fifths and score on the fifth that the seed holds out, each language by itself."""
    train, held = split(seed)
    found = fit(train, Settings(preset=preset, seed=seed)).system.read(held)
    scores: dict[str, Any] = {"preset": preset, "seed": seed}
    for language in LANGUAGES:
        places = [at for at, it in enumerate(held) if it.language == language]
        truth = np.array([held[at].sarcastic for at in places])
        probabilities, share = found.probabilities[places], float(truth.mean())
        scores[language] = {
            "texts": len(places),
            "AUC": float(roc_auc_score(truth, probabilities)),
            "F1": score_a(truth, found.labels[places]).f1,
            "Brier": float(brier_score_loss(truth, probabilities)),
            "Brier of a constant": share * (1 - share),
            "mean probability": float(probabilities.mean()),
            "share of sarcastic": share,
        }
    return scores


def choices(seed: int) -> list[dict[str, Any]]:
    """Choose a preset for the held-out fifth and for the official test files, whose labels are not looked at."""
    train, held = split(seed)
    folder = catalogue.fetch("isarcasmeval")
    official = [it for language in LANGUAGES for it in read_texts(folder, language)]
    found: list[dict[str, Any]] = []
    for name, like in {"a held-out fifth": held, "official test files": official}.items():
        preset, _ = choose_preset(train, like, folds=5, seed=seed)
        areas = {row.language: row.train for row in shifts(train, like, seed=seed)}
        found.append({"like": name, "preset": preset, "seed": seed, "told apart, AUC": areas})
    return found


def main() -> None:
    """Run all seeds of both presets and print their scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3, help="splits, each with both presets")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    options = parser.parse_args()
    results = [run(preset, seed) for preset, seed in itertools.product(PRESETS, range(options.seeds))]
    chosen = [it for seed in range(options.seeds) for it in choices(seed)]
    if options.json:
        print(json.dumps({"environment": this_run(), "runs": results, "choices": chosen}, indent=2))
        return
    for it in chosen:
        print(it)
    for preset, language in itertools.product(PRESETS, LANGUAGES):
        each = [it[language] for it in results if it["preset"] == preset]
        means = {name: float(np.mean([it[name] for it in each])) for name in each[0]}
        print(preset, language, "  ".join(f"{name} {it:.3f}" for name, it in means.items()))


if __name__ == "__main__":
    main()
