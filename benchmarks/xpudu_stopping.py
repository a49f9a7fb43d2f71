"""Ask whether each head of a sarcasm encoder should be stopped by its own held-out loss (English, iSarcasmEval).

Run: python benchmarks/xpudu_stopping.py [--folds 5] [--epochs 3] [--json]

After every epoch the encoder is scored on the fold that is held out. The groups of that fold are halved: the epoch of
least loss of a head on one half is scored on the other, and the other way round, so that the gain over the last epoch
is not that of choosing. The official test files are not read. Data: the catalogue's isarcasmeval.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import bootstrap
from sklearn.metrics import log_loss, roc_auc_score
from transformers import TrainerCallback

from modicum.core import catalogue
from modicum.core.environment import this_run
from modicum.core.seeding import derive, numpy_generator
from modicum.sarcasm.configuration import EncoderSettings
from modicum.sarcasm.data.examples import Example
from modicum.sarcasm.data.folds import groups, held_out_parts
from modicum.sarcasm.data.isarcasm import read_train
from modicum.sarcasm.data.preparation import find_preset
from modicum.sarcasm.encoder.model import EncoderModel, open_tokenizer
from modicum.sarcasm.encoder.training import EncoderLearner

ENCODER = "offline"


@dataclass
class Watch(TrainerCallback):
    """Keeps the scores of held-out texts and their rephrases after every epoch."""

    held: Sequence[Example]
    sarcastic: list[np.ndarray] = field(default_factory=list)  # logits of each text
    margins: list[np.ndarray] = field(default_factory=list)  # of each text over its rephrase, NaN without one

    def on_epoch_end(self, *_: Any, **given: Any) -> None:
        """Score what is held out; Trainer puts the model back to training."""
        model = EncoderModel(given["model"], open_tokenizer(ENCODER))
        paired = [at for at, it in enumerate(self.held) if it.rephrase and it.sarcastic]
        found = model([it.text for it in self.held])
        rephrased = model([self.held[at].rephrase or "" for at in paired])
        assert found.rank is not None
        assert rephrased.rank is not None
        margins = np.full(len(self.held), np.nan)
        margins[paired] = found.rank[paired] - rephrased.rank
        self.sarcastic.append(found.sarcastic)
        self.margins.append(margins)


def run(number: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train without one fold, and give what each text of it has at the last epoch and at the epoch of its head."""
    known = read_train(catalogue.fetch("isarcasmeval"), "en")
    train, out = held_out_parts(known, 5, 0)[number]
    robustness = find_preset("modicum")
    held = robustness.choose([known[at] for at in out], seed=derive(0, f"held {number}"))
    watch = Watch(held)
    EncoderLearner(
        encoder=ENCODER,
        settings=EncoderSettings(epochs=options.epochs, rate=options.rate, pooling="mean"),
        callbacks=lambda: [watch],
    ).fit(
        robustness.train([known[at] for at in train], seed=derive(0, f"crop {number}")), seed=derive(0, f"m {number}")
    )
    labels = np.array([it.sarcastic for it in held])
    logits, margins = np.array(watch.sarcastic), np.array(watch.margins)
    members = groups(held)
    half = numpy_generator(number, "halves").integers(0, 2, members.max() + 1)[members]
    paired = ~np.isnan(margins[0])
    # The mean loss of both heads over a set of texts, epoch by epoch: class-balanced as in training, and of pairs.
    weight = np.where(labels == 1, (labels == 0).sum() / (labels == 1).sum(), 1.0)
    sarcastic = lambda at: [
        log_loss(labels[at], expit(it[at]), sample_weight=weight[at], labels=[0, 1]) for it in logits
    ]
    rank = lambda at: [float(np.logaddexp(0, -it[at & paired]).mean()) for it in margins]
    chosen: dict[str, list[int]] = {}
    stopped = {"sarcastic": np.zeros(len(held)), "rank": np.full(len(held), np.nan)}
    for name, loss, scores in (("sarcastic", sarcastic, logits), ("rank", rank, margins)):
        chosen[name] = [int(np.argmin(loss(half == side))) for side in (0, 1)]
        for side in (0, 1):  # an epoch that one half chose is scored on the other
            stopped[name][half != side] = scores[chosen[name][side]][half != side]
    return {
        "fold": number,
        "loss by epoch": {"sarcastic": sarcastic(half >= 0), "rank": rank(half >= 0)},
        "A AUC by epoch": [float(roc_auc_score(labels, it)) for it in logits],
        "C accuracy by epoch": [float((it[paired] > 0).mean()) for it in margins],
        "epochs chosen by the halves": {name: [it + 1 for it in each] for name, each in chosen.items()},
        # The halves are ranked apart, since two epochs do not share a scale.
        "A AUC": {
            name: [float(roc_auc_score(labels[half == side], it[half == side])) for side in (0, 1)]
            for name, it in (("last", logits[-1]), ("stopped", stopped["sarcastic"]))
        },
        "C right": {
            "last": (margins[-1][paired] > 0).tolist(),
            "stopped": (stopped["rank"][paired] > 0).tolist(),
        },
    }


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Give the means, and the differences of stopping to the last epoch with intervals over halves and over pairs."""
    areas = {name: np.concatenate([it["A AUC"][name] for it in found]) for name in ("last", "stopped")}
    right = {name: np.concatenate([it["C right"][name] for it in found]) for name in ("last", "stopped")}
    told: dict[str, Any] = {}
    for title, each in (("A AUC", areas), ("C accuracy", {name: it.astype(float) for name, it in right.items()})):
        gains = each["stopped"] - each["last"]
        # The halves of folds are few, so that the interval of A is a rough one.
        interval = (
            bootstrap((gains,), np.mean, rng=0).confidence_interval
            if gains.any()
            else (0.0, 0.0)  # all epochs the same
        )
        told[title] = {name: float(it.mean()) for name, it in each.items()} | {
            "gain": float(gains.mean()),
            "95 %": [float(it) for it in interval],
            "n": len(gains),
        }
    return told


def main() -> None:
    """Run the folds and print what stopping brings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folds", type=int, default=5, help="of five, how many are held out in turn")
    parser.add_argument("--epochs", type=int, default=3, help="of each training")
    parser.add_argument("--rate", type=float, default=5e-5, help="of AdamW")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    options = parser.parse_args()
    found = [run(number, options) for number in range(options.folds)]
    told = summary(found)
    if options.json:
        print(
            json.dumps({"environment": this_run(), "options": vars(options), "summary": told, "folds": found}, indent=2)
        )
        return
    for it in found:
        print({name: value for name, value in it.items() if name != "C right"})
    print(told)


if __name__ == "__main__":
    main()
