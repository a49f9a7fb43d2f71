"""Texts a second at 14 labels against a loop over labels, and how long a new label set takes to mine.

Run: python benchmarks/gotuning.py [--sentences N] [--rounds N] [--json]

``labels``: `ZeroShotClassifier` encodes a text once and compares it with 14 labels; the other way is what the zero-shot
pipeline of Hugging Face does, a forward pass for each pair of a text and a label, here with the same encoder in like
batches. ``mining``: an index of N sentences of random words, with two label words in as many sentences as "great" and
"terrible" are of film reviews, is asked for a new label set of two words; the other way is a regular expression over
the same sentences. Both are processor seconds of this process on one thread, in turns, and a ratio is taken within its
round. Mining is the look-up with its report, without the draw of rows. The memory of the index is that of its arrays,
and the peak that of the process while it was built.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from modicum.core.environment import this_run
from modicum.core.seeding import numpy_generator
from modicum.zeroshot import CorpusIndex, GoTuner, Task, ZeroShotClassifier
from modicum.zeroshot.data import read_written
from modicum.zeroshot.mining import find

LABELS = [
    *("hotel", "restaurant", "book", "film", "music", "repair", "clothing", "travel", "health", "teaching"),
    *("garden", "phone", "furniture", "sport"),
]
GOALS = {"labels": 8.0, "mining": 0.1}  # times as fast, and seconds
SHARES = {"great": 0.029, "terrible": 0.005}  # of the sentences of film reviews, as counted when this was specified


def corpus(sentences: int) -> list[str]:
    """Write sentences of random words, with label words in the shares of film reviews."""
    generator = numpy_generator(0, "corpus")
    lengths = generator.integers(8, 32, sentences)
    ranks = np.minimum(generator.zipf(1.3, int(lengths.sum())), 50_000)  # as skewed as words are
    words = np.array([f"w{rank}" for rank in range(50_001)])[ranks]
    chosen = {word: generator.random(sentences) < share for word, share in SHARES.items()}
    written: list[str] = []
    start = 0
    for number, length in enumerate(lengths.tolist()):
        own = words[start : start + length].tolist()
        start += length
        own[0] = f"sentence{number}"  # no near-duplicates
        for word, there in chosen.items():
            if there[number]:
                own[length // 2] = word
        written.append(" ".join(own) + ".")
    return [" ".join(written[at : at + 10]) for at in range(0, sentences, 10)]


def labels(texts: list[str]) -> dict[str, Callable[[], object]]:
    """Give both ways to score texts against the labels."""
    tuner = GoTuner(task=Task(LABELS))
    classify, encoder = ZeroShotClassifier(tuner), tuner.encoder
    hypotheses = [f"This example is {label}." for label in LABELS]

    @torch.no_grad()
    def loop() -> None:
        for label in hypotheses:
            for at in range(0, len(texts), 64):
                part = texts[at : at + 64]
                given: Any = encoder.tokenizer(part, [label] * len(part), padding=True, return_tensors="pt")
                encoder.pooled(given)

    return {"encode once": lambda: classify(texts, LABELS), "a pass for each label": loop}


def mining(index: CorpusIndex, sentences: list[str]) -> dict[str, Callable[[], object]]:
    """Give both ways to find the sentences of a new label set."""
    task = Task(["bad", "good"], {"bad": ["terrible"], "good": ["great"]})
    bad, good = (re.compile(rf"\b{word}\b", re.IGNORECASE) for word in ("terrible", "great"))

    def scan() -> int:
        return sum(bool(bad.search(each)) != bool(good.search(each)) for each in sentences)

    return {"index": lambda: find(index, task, 3), "regular expression": scan}


def measure(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, Any]:
    """Time both ways in turns; the first is ours."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run()  # the first call allocates
    for turn in range(rounds):
        for name in list(ways) if turn % 2 else reversed(list(ways)):
            began = time.process_time()
            ways[name]()
            seconds[name].append(time.process_time() - began)
    ours, other = seconds.values()
    return {
        "seconds": {name: statistics.median(found) for name, found in seconds.items()},
        "ratio": statistics.median(b / a for a, b in zip(ours, other, strict=True)),
    }


def main() -> None:
    """Measure, and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sentences", type=int, default=500_000, help="sentences that are indexed")
    parser.add_argument("--rounds", type=int, default=5, help="paired rounds; medians are reported")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    options = parser.parse_args()
    torch.set_num_threads(1)
    texts = read_written().texts
    speed = measure(labels(texts), options.rounds)
    speed["texts a second"] = {name: len(texts) / found for name, found in speed["seconds"].items()}
    began = time.process_time()
    index = CorpusIndex.build(corpus(options.sentences))
    built = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = measure(mining(index, [index.sentence(at) for at in range(len(index))]), options.rounds)
    arrays = [value for value in vars(index).values() if isinstance(value, np.ndarray)]
    size = sum(array.nbytes for array in arrays) / 2**20
    memory = {"sentences": len(index), "build, s": built, "arrays, MiB": size, "peak of the process, MiB": peak}
    if options.json:
        environment = this_run()
        print(
            json.dumps({"goals": GOALS, "labels": speed, "mining": found, "index": memory, "environment": environment})
        )
        return
    print(f"14 labels: {speed['ratio']:.1f} times as fast as a pass for each label (goal {GOALS['labels']:.0f})")
    for name, rate in speed["texts a second"].items():
        print(f"  {name}: {rate:,.0f} texts a second")
    print(
        f"A new label set among {len(index):,} sentences: {1000 * found['seconds']['index']:.0f} ms (goal 100), ",
        end="",
    )
    print(f"a regular expression {found['ratio']:.0f} times as long")
    print(f"Index: {size:,.0f} MiB, built in {built:.0f} s, peak of the process {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
