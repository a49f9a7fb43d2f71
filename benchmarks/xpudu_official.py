"""Fit sarcasm systems on iSarcasmEval and score them on its official test files.

Run: python benchmarks/xpudu_official.py [--model offline --device cuda] [--json]

Where several rates or epochs are named, one combination is chosen first: by held-out training texts of seed 0
under the first preset, the mean of task A's F1 and task C's accuracy over the languages. The test files are read after
that. Each system is fitted as `modicum sarcasm train` does, with five folds; one fit is read under each rule of labels.
Data: the catalogue's isarcasmeval.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from modicum.core import catalogue
from modicum.core.engine import open_engine
from modicum.core.environment import this_run
from modicum.sarcasm.configuration import NGRAMS, Settings
from modicum.sarcasm.data.examples import LANGUAGES
from modicum.sarcasm.data.external import read_arsarcasm, without_overlap
from modicum.sarcasm.data.isarcasm import read_categories, read_pairs, read_texts, read_train
from modicum.sarcasm.decisions import Decision, Rule
from modicum.sarcasm.evaluate.scores import Interval, score_a, score_interval
from modicum.sarcasm.fitting import Fitted, fit, models_of, stack
from modicum.sarcasm.system import SarcasmSystem


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A system that is to be fitted, and whether it is scored on the test files."""

    model: str
    preset: str
    seed: int
    epochs: int
    rate: float
    pooling: str
    folds: int
    device: str
    tested: bool
    external: bool


def run(job: Job) -> list[dict[str, Any]]:
    """Fit the models of a system; give held-out scores and, if tested, official ones, of each alone and of all."""
    folder = catalogue.fetch("isarcasmeval")
    train = [it for language in LANGUAGES for it in read_train(folder, language)]
    if job.external:
        train += without_overlap(read_arsarcasm(catalogue.fetch("arsarcasm-v2")), train).kept
    fitted = {it: fit(train, settings_of(job, it)) for it in models_of(job.model)}
    if len(fitted) > 1:
        fitted[job.model] = stack(list(fitted.values()))
    results: list[dict[str, Any]] = []
    for name, one in fitted.items():
        result = asdict(replace(job, model=name)) | {"held": held_scores(one)}
        if job.tested:
            found = test_scores(one.system, folder)
            result["test"] = {rule: {name: it.value for name, it in each.items()} for rule, each in found.items()}
            result["intervals"] = {
                rule: {name: [it.low, it.high] for name, it in each.items()} for rule, each in found.items()
            }
        results.append(result)
    return results


def settings_of(job: Job, model: str) -> Settings:
    """Give the settings with which `modicum sarcasm train` fits one model of a job."""
    names = ("preset", "folds", "seed", "epochs", "rate", "pooling", "device")
    return Settings(model=model, **{name: getattr(job, name) for name in names})


def held_scores(fitted: Fitted) -> dict[str, float]:
    """Score tasks A and C on held-out texts, prepared as those of the training part are, and their rephrases."""
    labels = fitted.system.decision.labels(fitted.outputs, [it.language for it in fitted.held])
    margins = fitted.margins if fitted.margins is not None else np.full(len(labels), np.nan)
    scores: dict[str, float] = {}
    for language in LANGUAGES:
        places = [at for at, it in enumerate(fitted.held) if it.language == language]
        gold = [fitted.held[at].sarcastic or 0 for at in places]
        scores[f"A {language} F1"] = score_a(gold, labels[places]).f1
        known = margins[places][~np.isnan(margins[places])]
        scores[f"C {language} accuracy"] = float((known > 0).mean())
    return scores


def test_scores(system: SarcasmSystem, folder: Path) -> dict[str, dict[str, Interval]]:
    """Score the five official files; what depends on the rule of labels is given for each rule."""
    scores: dict[str, dict[str, Interval]] = {rule: {} for rule in get_args(Rule)}
    for language in LANGUAGES:
        texts, pairs = read_texts(folder, language), read_pairs(folder, language)
        outputs = system.model([system.preparation.text(it) for it in texts])
        compared = score_interval("C", [it.sarcastic or 0 for it in pairs], (system.compare(pairs) > 0.5).astype(int))
        for rule in get_args(Rule):
            labels = _under(system.decision, rule).labels(outputs, [it.language for it in texts])
            scores[rule][f"A {language} F1"] = score_interval("A", [it.sarcastic or 0 for it in texts], labels)
            scores[rule][f"C {language} accuracy"] = compared
    texts = read_categories(folder)
    outputs = system.model([system.preparation.text(it) for it in texts])
    if system.decision.categories is None:
        return scores
    for rule in get_args(Rule):
        labels = _under(system.decision, rule).category_labels(outputs, [it.language for it in texts])
        scores[rule]["B macro F1"] = score_interval("B", [it.categories or () for it in texts], labels)
    return scores


def _under(decision: Decision, rule: Rule) -> Decision:
    return replace(decision, rule=rule)


def choose(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Give the run with the highest mean of its held-out scores."""
    return max(found, key=lambda it: float(np.mean(list(it["held"].values()))))


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--model", default=NGRAMS, help="ngrams, an encoder (hub id, folder, offline), or ngrams+ENCODER"
    )
    parser.add_argument("--presets", nargs="+", default=["modicum", "plain"], help="of what is done to texts")
    parser.add_argument("--seeds", type=int, default=3, help="systems of each preset")
    parser.add_argument("--folds", type=int, default=5, help="of each system, at least 2")
    parser.add_argument("--epochs", type=int, nargs="+", default=[5], help="of an encoder; one is chosen of several")
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-5], help="of an encoder; likewise")
    parser.add_argument("--pooling", default="mean", help="of an encoder: mean or cls")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--workers", type=int, help="processes; as many as cores if not given")
    parser.add_argument("--external", action="store_true", help="train on arsarcasm-v2, too, without what overlaps")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser.parse_args()


def main() -> None:
    """Choose, fit, score and print."""
    options = parse()
    base = Job(
        model=options.model,
        preset=options.presets[0],
        seed=0,
        epochs=options.epochs[0],
        rate=options.rates[0],
        pooling=options.pooling,
        folds=options.folds,
        device=options.device,
        tested=False,
        external=options.external,
    )
    grid = [replace(base, epochs=it, rate=rate) for it, rate in itertools.product(options.epochs, options.rates)]
    with open_engine("local", workers=options.workers) as engine:
        tried = gather(engine, grid) if len(grid) > 1 else []
        best = choose(tried) if tried else asdict(base)
        chosen = replace(base, epochs=best["epochs"], rate=best["rate"], tested=True)
        each = itertools.product(options.presets, range(options.seeds))
        tested = gather(engine, [replace(chosen, preset=preset, seed=seed) for preset, seed in each])
    if options.json:
        print(json.dumps({"environment": this_run(options.device), "tried": tried, "tested": tested}, indent=2))
        return
    print("held-out scores of what was tried:")
    for it in tried:
        print(f"  epochs {it['epochs']}, rate {it['rate']:g}: {_words(it['held'])}")
    for it in tested:
        print(f"{it['model']}, {it['preset']}, seed {it['seed']}, epochs {it['epochs']}, rate {it['rate']:g}")
        for name, scores in {"held out": it["held"], **it["test"]}.items():
            print(f"  {name:12} {_words(scores)}")


def _words(scores: dict[str, float]) -> str:
    return "  ".join(f"{name} {score:.4f}" for name, score in scores.items())


def gather(engine: Any, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Run the jobs, each told when it ends; give the results in order, or raise the first error."""
    found: list[Any] = [[]] * len(jobs)
    for done in engine.run(run, jobs):
        if done.error is not None:
            raise done.error
        found[done.index] = done.value
        print(json.dumps(done.value), file=sys.stderr, flush=True)
    return [result for each in found for result in each]


if __name__ == "__main__":
    main()
