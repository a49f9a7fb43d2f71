"""Time and weigh an iteration of HyPe against fine-tuning with dropout off, on a BERT-shaped encoder.

Run: python benchmarks/hype.py [--compile] [--memory] [--json]

One iteration is forward, backward, AdamW step and zero_grad on random tokens. The arms share one process and one
thread and take turns within each round, in an order that rotates; a ratio is taken within its round. Times are
processor seconds of this process, so that time that other processes take is not counted. With --memory each arm runs
in a process of its own, which tells its largest resident size.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import kl_div
from transformers import BertConfig, BertForSequenceClassification
from transformers.integrations.neftune import neftune_post_forward_hook

from modicum.core.environment import this_run
from modicum.core.seeding import torch_generator
from modicum.perturb import HyPe, HyPeConfig

PEER = "dropout off"
ARMS: dict[str, HyPeConfig | None] = {
    PEER: None,
    "HyPe-N": HyPeConfig(noise="normal"),
    "HyPe-U": HyPeConfig(noise="uniform"),
    "HyPe-N relative": HyPeConfig(noise="normal", sigma_mode="relative"),
    "dropout 0.1": None,
    "R-Drop": None,
    "NEFTune": None,
}


def prepare(name: str, options: argparse.Namespace) -> Callable[[], float]:
    """Make a function that runs one iteration of an arm and returns its seconds."""
    rate = 0.1 if name in {"dropout 0.1", "R-Drop"} else 0.0
    sizes: dict[str, Any] = {
        "hidden_size": options.width,
        "num_hidden_layers": options.layers,
        "intermediate_size": 4 * options.width,
    }
    heads = options.width // 64
    rates: dict[str, Any] = {"hidden_dropout_prob": rate, "attention_probs_dropout_prob": rate}
    model = BertForSequenceClassification(BertConfig(num_attention_heads=heads, vocab_size=1000, **sizes, **rates))
    model.train()
    shape = (options.batch, options.tokens)
    tokens = torch.randint(1000, shape, generator=torch_generator(0, "tokens"))
    labels = torch.randint(2, (options.batch,), generator=torch_generator(0, "labels"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, foreach=True)
    if config := ARMS[name]:
        HyPe(model, config).attach()
    if name == "NEFTune":
        table = model.get_input_embeddings()
        setattr(table, "neftune_noise_alpha", 5.0)  # noqa: B010 - where the hook of transformers looks for it
        table.register_forward_hook(neftune_post_forward_hook)
    if options.compile:
        model.compile()

    def loss() -> Tensor:
        output = model(input_ids=tokens, labels=labels)
        if name != "R-Drop":
            return output.loss
        again = model(input_ids=tokens, labels=labels)
        one, two = output.logits.log_softmax(-1), again.logits.log_softmax(-1)
        apart = kl_div(one, two, log_target=True, reduction="batchmean")
        apart = apart + kl_div(two, one, log_target=True, reduction="batchmean")
        return output.loss + again.loss + apart / 2

    def iterate() -> float:
        start = time.process_time()
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.process_time() - start

    return iterate


def measure(options: argparse.Namespace) -> dict[str, list[float]]:
    """Time all arms; give the seconds of an iteration for each round, the fastest of its repeats."""
    iterations = {name: prepare(name, options) for name in options.arms}
    for iterate in iterations.values():
        iterate()  # compilation, states of the optimizer, memory of the allocator
        iterate()
    names = list(iterations)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(options.rounds):
        start = turn % len(names)
        best = dict.fromkeys(names, float("inf"))
        for _ in range(options.repeats):
            for name in names[start:] + names[:start]:
                best[name] = min(best[name], iterations[name]())
        for name in names:
            seconds[name].append(best[name])
    return seconds


def weigh(options: argparse.Namespace) -> dict[str, int]:
    """Give the largest resident size of a process that runs one arm, in KiB."""
    sizes: dict[str, int] = {}
    for name in options.arms:
        command = [sys.executable, __file__, "--weigh", name]
        for size in ("batch", "tokens", "width", "layers"):
            command += [f"--{size}", str(getattr(options, size))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        sizes[name] = int(done.stdout.split()[-1])
    return sizes


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=8, help="sentences in a batch")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of a sentence")
    parser.add_argument("--width", type=int, default=768, help="features of a hidden state, a multiple of 64")
    parser.add_argument("--layers", type=int, default=2, help="layers; the ratio hardly depends on them")
    parser.add_argument("--rounds", type=int, default=7, help="paired rounds; the median of their ratios is reported")
    parser.add_argument("--repeats", type=int, default=2, help="iterations of an arm in a round; the fastest counts")
    parser.add_argument("--compile", action="store_true", help="compile each model with inductor")
    parser.add_argument("--memory", action="store_true", help="also weigh each arm, in a process of its own")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS), help=f"with {PEER!r} among them")
    parser.add_argument("--weigh", choices=list(ARMS), help="run one arm and print its size in KiB")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def main() -> None:
    """Measure and print the ratios."""
    options = parse()
    torch.set_num_threads(1)
    if options.weigh:
        iterate = prepare(options.weigh, options)
        for _ in range(3):
            iterate()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    # First, while this process is small: a new process inherits the largest size of the one that starts it.
    sizes = weigh(options) if options.memory else {}
    seconds = measure(options)
    results = []
    for name, times in seconds.items():
        ratios = [mine / peer for mine, peer in zip(times, seconds[PEER], strict=True)]
        result: dict[str, Any] = {"arm": name, "seconds": statistics.median(times), "ratio": statistics.median(ratios)}
        result |= {"lowest": min(ratios), "highest": max(ratios)}
        if sizes:
            result |= {"memory_mib": sizes[name] / 1024, "memory_ratio": sizes[name] / sizes[PEER]}
        results.append(result)
    if options.json:
        print(json.dumps({"peer": PEER, "environment": this_run(), **vars(options), "results": results}, indent=2))
        return
    mode = "compiled" if options.compile else "eager"
    print(
        f"BERT of {options.layers} layers, width {options.width}, batch {options.batch} x {options.tokens}, {mode}, "
        f"one thread, torch {torch.__version__}, {options.rounds} paired rounds"
    )
    for result in results:
        memory = f"  memory {result['memory_ratio']:.3f}x" if sizes else ""
        print(
            f"{result['arm']:16} {result['seconds'] * 1000:8.1f} ms  {result['ratio']:.3f}x "
            f"({result['lowest']:.3f}..{result['highest']:.3f}){memory}"
        )


if __name__ == "__main__":
    main()
