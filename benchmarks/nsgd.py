"""Time an iteration of NSGD against ``torch.optim.SGD(foreach=True)`` on ResNet-20.

Run: python benchmarks/nsgd.py [--json]

One iteration is forward, backward, step and zero_grad on a batch of random images. The arms take turns within each
round, in an order that rotates, so that a busy machine slows all of them; a ratio is taken within its round. Times
are processor seconds of this process, which runs one thread: time that other processes take is not counted. The heap
keeps its pages (glibc's own settings, for all arms alike): else some ten thousand page faults an iteration, which
depend on where a run's blocks happen to lie, drown an effect of a few hundredths.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch.nn.functional import cross_entropy

from modicum.core.environment import this_run
from modicum.core.resnet import resnet20
from modicum.core.seeding import torch_generator
from modicum.optim import NSGD

KEPT_HEAP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TOP_PAD_": str(64 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 10**9),
}
PEER = "torch.optim.SGD(foreach=True)"
ARMS: dict[str, Callable[[torch.nn.Module], torch.optim.Optimizer]] = {
    PEER: lambda model: torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, foreach=True),
    "NSGD l2 batch": partial(NSGD, lr=0.1, momentum=0.9),
    "NSGD l1 batch": partial(NSGD, lr=0.1, momentum=0.9, norm="l1"),
    "NSGD l2 channel": partial(NSGD, lr=0.1, momentum=0.9, reduce="channel"),
    "NSGD l2 sample": partial(NSGD, lr=0.1, momentum=0.9, reduce="sample"),
}


def prepare(name: str, batch: int) -> Callable[[], float]:
    """Make a function that runs one iteration of an arm and returns its seconds."""
    model = resnet20(generator=torch_generator(0, "initialisation"))
    optimizer = ARMS[name](model)
    images = torch.randn(batch, 3, 32, 32, generator=torch_generator(0, "images"))
    labels = torch.randint(10, (batch,), generator=torch_generator(0, "labels"))

    def iterate() -> float:
        start = time.process_time()
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.process_time() - start

    return iterate


def measure(batch: int, rounds: int, repeats: int) -> dict[str, list[float]]:
    """Time all arms; give the seconds of an iteration for each round, the fastest of its repeats."""
    iterations = {name: prepare(name, batch) for name in ARMS}
    for iterate in iterations.values():
        iterate()  # momentum buffers, coverage of the patches, memory of the allocator
    names = list(ARMS)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        start = turn % len(names)
        best = dict.fromkeys(names, float("inf"))
        for _ in range(repeats):
            for name in names[start:] + names[:start]:
                best[name] = min(best[name], iterations[name]())
        for name in names:
            seconds[name].append(best[name])
    return seconds


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=64, help="images in a batch")
    parser.add_argument("--rounds", type=int, default=9, help="paired rounds; the median of their ratios is reported")
    parser.add_argument("--repeats", type=int, default=3, help="iterations of an arm in a round; the fastest counts")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if not KEPT_HEAP.keys() <= os.environ.keys():
        os.execve(
            sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEPT_HEAP}
        )  # read when a process starts
    torch.set_num_threads(1)
    seconds = measure(options.batch, options.rounds, options.repeats)
    results = []
    for name, times in seconds.items():
        ratios = [mine / peer for mine, peer in zip(times, seconds[PEER], strict=True)]
        results.append(
            {
                "arm": name,
                "seconds": statistics.median(times),
                "ratio": statistics.median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
            }
        )
    if options.json:
        environment = this_run()
        print(json.dumps({"peer": PEER, **vars(options), "results": results, "environment": environment}, indent=2))
        return
    print(f"ResNet-20, batch {options.batch}, one thread, torch {torch.__version__}, {options.rounds} paired rounds")
    for result in results:
        print(
            f"{result['arm']:32} {result['seconds'] * 1000:8.1f} ms  {result['ratio']:.3f}x "
            f"({result['lowest']:.3f}..{result['highest']:.3f})"
        )


if __name__ == "__main__":
    main()
