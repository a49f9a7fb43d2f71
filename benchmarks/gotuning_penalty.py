"""The penalty of the Go-head, chosen on labelled texts that test nothing: SST-2's dev part and news of ALPS.

Run: python benchmarks/gotuning_penalty.py [--json]

Rows are mined from unlabelled film reviews and from the news that are not scored, with the settings of
``modicum compare gotuning`` in evidence/make.py. Texts that stand in a test set of the comparison are left out; TREC,
BBC, Subj and vader-gold are not looked at.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

import numpy as np
import torch

from modicum.core import catalogue
from modicum.core.environment import this_run
from modicum.core.splits import shuffled
from modicum.zeroshot import CorpusIndex, GoTuner, MineSettings
from modicum.zeroshot.comparison import METHOD, by_cosine
from modicum.zeroshot.data import labelled, named_task, read_published
from modicum.zeroshot.head import fit_head

PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
NEWS = ("World", "Sports", "Business", "Sci/Tech")


def read(name: str, texts: int) -> tuple[list[str], list[str], np.ndarray]:
    """Give documents to mine, texts to score and the numbers of their labels."""
    sets = ("sst2", "mr") if name == "sentiment" else ("ag",)
    tested = {text.strip() for one in sets for text, _ in labelled(one, named_task(name))}
    if name == "sentiment":
        path = catalogue.fetch("zero-shot/sentiment_dataset") / "stsa.binary.dev"
        rows = [line.partition(" ")[::2] for line in path.read_text(encoding="utf-8").split("\n") if line]
        found = [(text, int(label)) for label, text in rows]
        settings: Any = METHOD.comparison.settings_for("full", {"task": name, "texts": "1"})
        documents = read_published(settings).documents
    else:
        path = catalogue.fetch("zero-shot/alps_agnews") / "dev.tsv"
        lines = [line.rpartition("\t")[::2] for line in path.read_text(encoding="utf-8").split("\n") if line]
        found = [(text, NEWS.index(label)) for text, label in lines if label in NEWS]
        documents = []
    found = [found[at] for at in shuffled(len(found), 0, "penalty").tolist()]
    kept = [each for each in found if each[0].strip() not in tested][:texts]
    if not documents:
        scored = {text for text, _ in kept}
        documents = [text for text, _ in found if text not in scored]
    return documents, [text for text, _ in kept], np.array([label for _, label in kept])


def main() -> None:
    """Score all penalties."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--texts", type=int, default=800, help="texts of each set at most")
    parser.add_argument("--seeds", type=int, default=5, help="draws of mined rows")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name in ("sentiment", "ag"):
        documents, texts, truth = read(name, options.texts)
        task, index = named_task(name), CorpusIndex.build(documents)
        tuner = GoTuner(task=task, mining=MineSettings(per_class=1500))
        features = tuner.encoder.features(texts)
        right = lambda scores, truth=truth: float((scores.argmax(1).numpy() == truth).mean())
        heads: dict[float, list[float]] = {c: [] for c in PENALTIES}
        for seed in range(options.seeds):
            mined = tuner.mine(index, evaluation=texts, seed=seed)
            rows = tuner.encoder.features([mined.plain[row] for row in mined.training])
            labels = torch.from_numpy(mined.labels[mined.training])
            for c in PENALTIES:
                heads[c].append(right(fit_head(rows, labels, c).scores(features)))
        found[name] = {
            "texts": len(texts),
            "cosine": right(by_cosine(tuner.encoder, task, features)[0]),
            "accuracy": {str(c): {"mean": statistics.fmean(values), "seeds": values} for c, values in heads.items()},
        }
        if not options.json:
            print(name, found[name], flush=True)
    means = {c: statistics.fmean(found[name]["accuracy"][str(c)]["mean"] for name in found) for c in PENALTIES}
    best = max(means, key=lambda c: means[c])
    if options.json:
        print(json.dumps({"sets": found, "mean": means, "chosen": best, "environment": this_run()}))
    else:
        print("chosen", best, {c: round(mean, 4) for c, mean in means.items()})


if __name__ == "__main__":
    main()
