"""Noisy rewards over many seeds as one ensemble, and how fast the ensemble and the cloning are.

Run: python benchmarks/peerpl.py [--part rewards|labels|iqm|speed] [--json]

``rewards`` trains the arms of ``modicum compare peerpl --option task=rewards`` for all seeds at once, for each noise
and both kinds of reward, and compares them pair by pair. ``labels`` trains a linear classifier of film reviews on the
sign of one rater's judgement, with and without the peer term, and scores it by the mean of all raters (catalogue:
vader-gold). ``iqm`` reads the reports of ``modicum compare`` and gives interquartile means with bootstrap intervals,
stratified by report, of returns scaled so that the baseline of each has 0 and its best arm 1. ``speed`` measures, in
processor seconds of this process with one thread and in turns, steps of the ensemble against one run of it and against
DQN of Stable-Baselines3 with the same network, and cloned samples against a loop over a DataLoader, as in imitation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import trim_mean
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from torch import nn
from torch.nn.functional import cross_entropy

from modicum.core import catalogue
from modicum.core.environment import this_run
from modicum.core.intervals import bootstrap_interval, mean_interval
from modicum.core.report import load
from modicum.core.seeding import numpy_generator, torch_generator
from modicum.core.splits import hold_out
from modicum.weakpolicy import Demonstrations, PeerBC, PeerLoss, Run, sweep
from modicum.weakpolicy.comparison import runs

BASELINE, CONTROLS, BC = "noisy reward", ("two updates", "high start"), "BC"


def rewards(kinds: list[str], seeds: int, steps: int, noises: list[float]) -> list[dict[str, Any]]:
    """Train all arms on all seeds; give means, interquartile means and paired differences."""
    rows: list[dict[str, Any]] = []
    for reward in kinds:
        for noise in noises:
            arms = [runs(seed, noise, reward) for seed in range(seeds)]
            names = list(arms[0])
            flat = [run for each in arms for run in each.values()]
            began = time.perf_counter()
            done = sweep(flat, steps=steps, task="cartpole" if reward == "constant" else "centre")
            print(f"{reward} {noise}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
            metrics = {
                "return while training": np.array([np.mean(returns) for returns in done.returns]),
                "last ten episodes": np.array([np.mean(returns[-10:]) for returns in done.returns]),
                "greedy episodes": done.greedy.double().numpy(),
            }
            for metric, flat_values in metrics.items():
                values = dict(zip(names, flat_values.reshape(seeds, len(names)).T, strict=True))
                rows += [
                    {"reward": reward, "noise": noise, "metric": metric, "arm": name, **described(values, name)}
                    for name in names
                ]
    return rows


def described(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Describe an arm, and its paired differences to the baseline and to two controls."""
    mine = values[name]
    row = {
        "mean": mine.mean(),
        "iqm": trim_mean(mine, 0.25),
        "iqm_interval": bootstrap_interval(mine, iqm),
        "values": [round(float(value), 3) for value in mine],
    }
    for versus in (BASELINE, *CONTROLS):
        if name != versus:
            row[f"gain over {versus}"] = described_gain(mine - values[versus])
    return row


def described_gain(gain: Any) -> dict[str, Any]:
    """Describe paired differences."""
    low, high, p_value = mean_interval(gain)
    return {"mean": float(gain.mean()), "interval": (low, high), "p": p_value}


def labels(seeds: int, xis: tuple[float, ...] = (0.2, 0.5)) -> list[dict[str, Any]]:
    """Train on one rater's labels, drawn by the seed, and score by the mean of all raters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, ratings = film_reviews()
    truth = three_classes(np.array([np.mean(each) for each in ratings]))
    losses: dict[str, nn.Module] = {f"PeerLoss xi={xi}": PeerLoss(xi=xi) for xi in xis}
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        draws = numpy_generator(seed, "raters")
        noisy = three_classes(np.array([draws.choice(each) for each in ratings]))
        train, test = hold_out(len(texts), 0.3, seed)
        words = TfidfVectorizer(max_features=4000, sublinear_tf=True).fit(texts[row] for row in train)
        found_words: Any = words.transform(texts)
        inputs = torch.from_numpy(found_words.toarray()).float()
        shares = np.bincount(noisy[train], minlength=3) / len(train)
        arms: dict[str, tuple[Any, Any]] = {
            "cross-entropy": (nn.CrossEntropyLoss(), noisy),
            **{name: (loss, noisy) for name, loss in losses.items()},
            "class-balanced cross-entropy": (nn.CrossEntropyLoss(torch.from_numpy(1 / (3 * shares)).float()), noisy),
            "cross-entropy, all raters": (nn.CrossEntropyLoss(), truth),
        }
        for name, (loss, given) in arms.items():
            model = linear_model(inputs[train], torch.from_numpy(given[train]), loss, seed)
            predicted = model(inputs[test]).argmax(dim=1).numpy()
            for metric, score in (("accuracy", accuracy_score), ("balanced accuracy", balanced_accuracy_score)):
                found.setdefault(f"{metric}/{name}", []).append(float(score(truth[test], predicted)))
    rows: list[dict[str, Any]] = []
    for key, scores in found.items():
        metric, name = key.split("/")
        gain = np.array(scores) - found[f"{metric}/cross-entropy"]
        row = {"metric": metric, "arm": name, "mean": float(np.mean(scores)), "values": scores}
        if name != "cross-entropy":
            row["gain over cross-entropy"] = described_gain(gain)
        rows.append(row)
    return rows


def film_reviews() -> tuple[list[str], list[list[int]]]:
    """Read 10,605 snippets of film reviews and the ratings of each, -4 to 4, by some 20 people."""
    path = catalogue.fetch("vader-gold") / "additional_resources" / "hutto_ICWSM_2014.tar.gz"
    with tarfile.open(path) as archive:
        read = {
            part: archive.extractfile(f"hutto_ICWSM_2014/movieReviewSnippets_{part}.txt").read().decode("utf-8-sig")  # type: ignore[union-attr]
            for part in ("GroundTruth", "anonDataRatings")
        }
    texts = dict(line.split("\t")[::2] for line in read["GroundTruth"].splitlines() if line.strip())
    ratings = {
        number: json.loads(given)
        for number, _, _, given in (line.split("\t") for line in read["anonDataRatings"].splitlines() if line.strip())
    }
    return [texts[number] for number in texts], [ratings[number] for number in texts]


def three_classes(judgement: Any) -> Any:
    """Turn judgements into negative, neutral and positive."""
    return 1 + (judgement >= 0.5).astype(np.int64) - (judgement <= -0.5)


def linear_model(inputs: torch.Tensor, targets: torch.Tensor, loss: nn.Module, seed: int) -> nn.Linear:
    """Train a linear classifier; the same steps in the same order for all losses."""
    model = nn.Linear(inputs.shape[1], 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.0)
    order = torch_generator(seed, "order")
    for _ in range(5):
        for rows in torch.randperm(len(inputs), generator=order).split(256):
            optimizer.zero_grad()
            loss(model(inputs[rows]), targets[rows]).backward()
            optimizer.step()
    return model


def interquartile(files: list[Path]) -> list[dict[str, Any]]:
    """Give rliable's interquartile mean of each arm over all runs of some reports, and its stratified bootstrap."""
    reports = [report for path in files for report in load(path)]
    scaled: dict[str, list[Any]] = {}
    for report in reports:
        values = {arm.name: np.array(arm.values) for arm in report.arms}
        base = values[BC].mean()
        span = max(mean.mean() for mean in values.values()) - base
        for name, mine in values.items():
            scaled.setdefault(name, []).append((mine - base) / span)
    draws = numpy_generator(0, "bootstrap")
    rows: list[dict[str, Any]] = []
    for name, runs_of in scaled.items():
        resampled = [
            trim_mean(np.concatenate([draws.choice(each, len(each)) for each in runs_of]), 0.25) for _ in range(2000)
        ]
        low, high = np.quantile(resampled, [0.025, 0.975])
        rows.append({"arm": name, "iqm": float(trim_mean(np.concatenate(runs_of), 0.25)), "interval": [low, high]})
    return rows


def iqm(values: Any, axis: int = -1) -> Any:
    """Take the mean of the middle half."""
    return trim_mean(values, 0.25, axis=axis)


def speed(rounds: int, many: int) -> list[dict[str, Any]]:
    """Time the ensemble and the cloning against their peers, in turns."""
    arms: dict[str, tuple[Callable[[], float], str]] = {
        f"ensemble of {many}": (lambda: ensemble(many, 60), "ensemble"),
        "one run of the ensemble": (lambda: ensemble(1, 300), "ensemble"),
        "Stable-Baselines3 DQN": (baselines, "ensemble"),
        "PeerBC": (peer_cloning, "cloning"),
        "loop over a DataLoader": (loader_cloning, "cloning"),
    }
    rates: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, (measure, _) in arms.items():
            rates[name].append(measure())
    fastest = {"ensemble": f"ensemble of {many}", "cloning": "PeerBC"}
    return [
        {
            "arm": name,
            "unit": "steps of runs a second" if kind == "ensemble" else "samples a second",
            "rate": statistics.median(rates[name]),
            "ratio": statistics.median(
                ours / mine for ours, mine in zip(rates[fastest[kind]], rates[name], strict=True)
            ),
        }
        for name, (_, kind) in arms.items()
    ]


def ensemble(count: int, steps: int) -> float:
    """Give the steps of all runs that a second takes, without the start."""
    many = [Run(learner="target", seed=seed, noise=0.3) for seed in range(count)]
    return count * steps / (seconds(lambda: sweep(many, steps=steps + 100)) - seconds(lambda: sweep(many, steps=100)))


def baselines() -> float:
    """Give the steps a second of DQN with the same network, batch and update in each step."""
    from stable_baselines3 import DQN

    agent = DQN(
        "MlpPolicy",
        "CartPole-v1",
        policy_kwargs={"net_arch": [16, 16, 16]},
        learning_starts=10,
        batch_size=32,
        train_freq=1,
        gradient_steps=1,
        target_update_interval=1,
        tau=0.01,
        device="cpu",
        seed=0,
    )
    agent.learn(100)
    return 400 / seconds(lambda: agent.learn(400, reset_num_timesteps=False))


def demonstrations() -> Demonstrations:
    """Make states and actions of the size of CartPole's; only their number matters here."""
    draws = np.random.default_rng(0)
    return Demonstrations(draws.standard_normal((20_000, 4)).astype(np.float32), draws.integers(0, 2, 20_000))


def peer_cloning() -> float:
    """Give the samples a second of the trained form, its exact peer term included."""
    shown = demonstrations()
    return 500 * 128 / seconds(lambda: PeerBC(xi=0.2, steps=500).fit(shown))


def loader_cloning() -> float:
    """Give the samples a second of a loop over shuffled batches of a DataLoader, with plain cross-entropy."""
    shown = demonstrations()
    data = torch.utils.data.TensorDataset(torch.from_numpy(shown.observations), torch.from_numpy(shown.actions))
    network = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(network.parameters())
    loader = torch.utils.data.DataLoader(data, batch_size=128, shuffle=True, drop_last=True)

    def epoch() -> None:
        for observations, actions in loader:
            optimizer.zero_grad()
            cross_entropy(network(observations), actions).backward()
            optimizer.step()

    return len(loader) * 128 / seconds(epoch)


def seconds(work: Callable[[], object]) -> float:
    """Time something in processor seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", choices=["rewards", "labels", "iqm", "speed"], default="speed")
    parser.add_argument("--seeds", type=int, default=50, help="of rewards and labels")
    parser.add_argument("--steps", type=int, default=10_000, help="of rewards, in the environment, of each run")
    parser.add_argument("--rewards", nargs="+", default=["constant", "centre"], help="kinds of true rewards")
    parser.add_argument("--noises", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.4])
    parser.add_argument("--rounds", type=int, default=5, help="of speed; medians are reported")
    parser.add_argument("--many", type=int, default=140, help="runs of the ensemble whose speed is taken")
    parser.add_argument("--reports", type=Path, nargs="+", default=[], help="of iqm: report.json files")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    match options.part:
        case "rewards":
            rows = rewards(options.rewards, options.seeds, options.steps, options.noises)
        case "labels":
            rows = labels(options.seeds)
        case "iqm":
            rows = interquartile(options.reports)
        case _:
            rows = speed(options.rounds, options.many)
    if options.json:
        environment = this_run()
        print(
            json.dumps(
                {
                    "results": rows,
                    **{name: value for name, value in vars(options).items() if name != "reports"},
                    "environment": environment,
                },
                indent=1,
            )
        )
        return
    for row in rows:
        shown = {name: value for name, value in row.items() if name != "values"}
        print(
            "  ".join(
                f"{name}: {value:.4g}" if isinstance(value, float) else f"{value}" for name, value in shown.items()
            )
        )


if __name__ == "__main__":
    main()
