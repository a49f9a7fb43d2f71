"""Time the verification of FGHV beside its backbone, scoring by samples, and the pipeline from file to decision.

Run: python benchmarks/fghv.py [--json]

Times are processor seconds of this process, which runs one thread, the fastest of several rounds in which all parts
take turns. The model has the sizes of the default and random weights: times do not depend on them. The pipeline reads
frames of nuaa-sample where MODICUM_DATA has it: reading, YuNet, crop, MiniFASNetV2-SE and decision.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import normalize

from modicum.core import catalogue
from modicum.core.environment import this_run
from modicum.core.seeding import torch_generator
from modicum.liveness import FGHVConfig, FGHVForLiveness, LivenessDetector, functional
from modicum.liveness.data import read_photos

BATCHES = (1, 8, 32)


def fastest(parts: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Time all parts in turns."""
    best = dict.fromkeys(parts, float("inf"))
    for _ in range(rounds + 1):
        for name, part in parts.items():
            start = time.process_time()
            part()
            best[name] = min(best[name], time.process_time() - start)
    return best


@torch.no_grad()
def verification(rounds: int) -> dict[str, Any]:
    """Compare backbone, verification in closed form and verification by 20 samples."""
    model = FGHVForLiveness(FGHVConfig()).eval()
    model.refresh()
    paper = FGHVForLiveness(FGHVConfig("paper")).eval()
    paper.refresh()
    direction = model.real_mean - model.attack_mean
    found: dict[str, Any] = {}
    features = torch.empty(0)
    for batch in BATCHES:
        images = torch.randint(256, (batch, 128, 128, 3), generator=torch_generator(0, "images"), dtype=torch.uint8)
        inputs = model.extract(images)
        features = model.embed(inputs)
        latents = _latents(model, 0)

        def exact(features: torch.Tensor = features) -> object:
            return functional.closed_form(features, direction, model.factor)

        def sampled(features: torch.Tensor = features, latents: torch.Tensor = latents) -> object:
            real, attack = (features @ part.T for part in model.hypotheses(latents))
            return functional.relative_correlation(real, attack), real.var(1)

        seconds = fastest(
            {
                "backbone": lambda images=images: model.extract(images),
                "verification with encoder and change of KL": lambda inputs=inputs: model.verify(inputs),
                "all of it by 20 samples and 10 steps": lambda inputs=inputs: paper.verify(inputs, "sampled", 20),
                "score and variance, closed form": exact,
                "score and variance, 20 samples": sampled,
            },
            rounds,
        )
        found[f"batch {batch}"] = {
            "seconds": seconds,
            "verification over backbone": seconds["verification with encoder and change of KL"] / seconds["backbone"],
            "samples and steps over verification": seconds["all of it by 20 samples and 10 steps"]
            / seconds["verification with encoder and change of KL"],
            "samples over closed form": seconds["score and variance, 20 samples"]
            / seconds["score and variance, closed form"],
        }
    draws = torch.stack(
        [(features @ normalize(model.real_generator(_latents(model, seed))).T).var(1) for seed in range(100)]
    )
    found["relative std of the variance over draws of 20"] = float((draws.std(0) / draws.mean(0)).mean())
    found["relative std of the closed form"] = 0.0
    return found


def _latents(model: FGHVForLiveness, seed: int) -> torch.Tensor:
    return torch.randn(20, model.config.latent_size, generator=torch_generator(seed, "latents"))


def pipeline(count: int, rounds: int) -> dict[str, Any] | str:
    """Time files to decisions."""
    if catalogue.status("nuaa-sample") == "absent":
        return "not run: nuaa-sample is not there"
    photos = read_photos(catalogue.fetch("nuaa-sample"))
    known = [photo for label in ("bona_fide", "attack") for photo in [p for p in photos if p.label == label][:30]]
    detector = LivenessDetector().fit(known, steps=5)
    paths = [photo.path for photo in photos[:: max(1, len(photos) // count)]][:count]
    seconds = fastest({"all": lambda: detector.score(paths)}, rounds)["all"]
    return {"images": len(paths), "seconds": seconds, "images a second": len(paths) / seconds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="rounds, of which the fastest counts")
    parser.add_argument("--images", type=int, default=24, help="frames of the pipeline")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        "verification": verification(given.rounds),
        "pipeline": pipeline(given.images, 2),
        "environment": this_run(),
    }
    if given.json:
        json.dump(found, sys.stdout, indent=1)
        return
    for name, part in found["verification"].items():
        print(name, part)
    print("pipeline", found["pipeline"])


if __name__ == "__main__":
    main()
