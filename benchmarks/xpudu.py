"""Time a sarcasm encoder on the English test texts: length buckets against padding to 128 and against the collator.

Run: python benchmarks/xpudu.py [--json]

All three ways tokenise and compute the same texts with the packaged MiniLM and three heads, on one thread. "pad to
128" pads every text to 128 tokens; "collator" pads the batches of the file's order to their longest text, as
transformers' DataCollatorWithPadding does; "buckets" is `EncoderModel`. The ways take turns within each round, in an
order that rotates; a ratio is taken within its round, of processor seconds of this process, so that time that other
processes take is not counted. The logits of all three must be equal to 1e-5. Data: the catalogue's isarcasmeval.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, DataCollatorWithPadding

from modicum.core import catalogue
from modicum.core.environment import this_run
from modicum.core.pretrained import OFFLINE, encoder_source
from modicum.sarcasm.encoder.batches import budget_batches
from modicum.sarcasm.encoder.model import EncoderModel
from modicum.sarcasm.encoder.modeling import SarcasmModel

LONGEST = 128
OURS = "buckets"
GOALS = {"pad to 128": 4.0, "collator": 1.7}
Way = Callable[[], np.ndarray]


def read(count: int) -> list[str]:
    """Read the first texts of the English test set of task A."""
    path = catalogue.fetch("isarcasmeval") / "test" / "task_A_En_test.csv"
    with path.open(encoding="utf-8", newline="") as file:
        texts = [" ".join(row["text"].split()) for row in csv.DictReader(file)]
    return texts[: count or None]


def ways(model: EncoderModel, texts: Sequence[str], batch: int) -> dict[str, Way]:
    """Give a function for each way; it takes the texts and returns the logits of the first head."""
    tokenizer: Any = model.tokenizer
    collator = DataCollatorWithPadding(tokenizer)
    parts = [list(texts[start : start + batch]) for start in range(0, len(texts), batch)]
    cut = {"truncation": True, "max_length": LONGEST}

    @torch.inference_mode()
    def computed(tensors: Any) -> np.ndarray:
        return model.model(**tensors).sarcastic.double().numpy()

    def padded() -> np.ndarray:
        return np.concatenate(
            [computed(tokenizer(part, padding="max_length", return_tensors="pt", **cut)) for part in parts]
        )

    def collated() -> np.ndarray:
        columns = tokenizer(list(texts), **cut)
        rows = [{name: column[place] for name, column in columns.items()} for place in range(len(texts))]
        return np.concatenate([computed(collator(rows[start : start + batch])) for start in range(0, len(rows), batch)])

    return {"pad to 128": padded, "collator": collated, OURS: lambda: model(texts).sarcastic}


def slots(model: EncoderModel, texts: Sequence[str], batch: int) -> dict[str, int]:
    """Count the token slots that each way computes, and the tokens of the distinct texts."""
    tokenizer: Any = model.tokenizer
    count = lambda texts: [len(it) for it in tokenizer(list(texts), truncation=True, max_length=LONGEST)["input_ids"]]
    lengths, distinct = count(texts), count(dict.fromkeys(texts))
    parts = [lengths[start : start + batch] for start in range(0, len(lengths), batch)]
    buckets = budget_batches(distinct, model.budget)
    return {
        "pad to 128": LONGEST * len(lengths),
        "collator": sum(max(part) * len(part) for part in parts),
        OURS: sum(len(places) * max(distinct[place] for place in places) for places in buckets),
        "tokens": sum(distinct),
    }


def measure(run: dict[str, Way], rounds: int) -> tuple[dict[str, list[float]], float]:
    """Time all ways; give the processor seconds of each round, and the largest difference of a logit from ours."""
    names = list(run)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    found: dict[str, np.ndarray] = {}
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            begin = time.process_time()
            found[name] = run[name]()
            seconds[name].append(time.process_time() - begin)
    return seconds, max(float(np.abs(logits - found[OURS]).max()) for logits in found.values())


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--texts", type=int, default=700, help="texts of the file, from its first; 0 for all 1,400")
    parser.add_argument("--batch", type=int, default=64, help="texts of a batch of the two other ways")
    parser.add_argument("--rounds", type=int, default=5, help="paired rounds; the median of their ratios is reported")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser.parse_args()


def main() -> None:
    """Measure, check that the logits are equal, and print the ratios."""
    options = parse()
    torch.set_num_threads(1)
    network = SarcasmModel.from_encoder(OFFLINE, pooling="mean", length=LONGEST, learnt=("sarcastic",))
    model = EncoderModel(network, AutoTokenizer.from_pretrained(encoder_source(OFFLINE)))
    texts = read(options.texts)
    run = ways(model, texts, options.batch)
    model(texts[:8])  # the first call allocates
    seconds, difference = measure(run, options.rounds)
    assert difference < 1e-5, f"the logits differ by {difference}"
    counted = slots(model, texts, options.batch)
    results: list[dict[str, Any]] = []
    for name, times in seconds.items():
        ratios = [peer / own for own, peer in zip(seconds[OURS], times, strict=True)]
        result = {"way": name, "texts a second": len(texts) / statistics.median(times), "slots": counted[name]}
        result |= {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
        results.append(result | {"goal": GOALS.get(name)})
    summary = {"texts": len(texts), "tokens": counted["tokens"], "largest difference": difference}
    if options.json:
        print(json.dumps({"environment": this_run(), **vars(options), **summary, "results": results}, indent=2))
        return
    print(f"{summary}, one thread, torch {torch.__version__}, {options.rounds} paired rounds")
    for result in results:
        goal = f", goal {result['goal']}x" if result["goal"] else ""
        print(
            f"{result['way']:12} {result['texts a second']:7.1f} texts/s {result['slots']:8} slots  ours is "
            f"{result['ratio']:.2f}x ({result['lowest']:.2f}..{result['highest']:.2f}){goal}"
        )


if __name__ == "__main__":
    main()
