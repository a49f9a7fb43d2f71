"""Noisy rewards over many seeds as one ensemble, and how fast the ensemble and the cloning are.

Run: python benchmarks/peerpl.py [--part rewards|speed] [--json]

``rewards`` trains the arms of ``modicum compare peerpl --option task=rewards`` for all seeds at once, for each noise
and both kinds of reward, and compares them pair by pair. ``speed`` measures, in processor seconds of this process with
one thread and in turns, steps of the ensemble against one run of it and against DQN of Stable-Baselines3 with the same
network, and cloned samples against a loop over a DataLoader, as in imitation.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from scipy.stats import trim_mean
from torch import nn
from torch.nn.functional import cross_entropy

from modicum.core.environment import describe_environment
from modicum.core.intervals import bootstrap_interval, sign_flip_p_value
from modicum.weakpolicy import Demonstrations, PeerBC, Run, sweep
from modicum.weakpolicy.comparison import runs

BASELINE, CONTROL = "noisy reward", "two updates"


def rewards(seeds: int, steps: int, noises: list[float]) -> list[dict[str, Any]]:
    """Train all arms on all seeds; give means, interquartile means and paired differences."""
    rows: list[dict[str, Any]] = []
    for reward in ("constant", "centre"):
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
    """Describe an arm, and its paired differences to the baseline and to the control with as many updates."""
    mine = values[name]
    row = {
        "mean": mine.mean(),
        "iqm": trim_mean(mine, 0.25),
        "iqm_interval": bootstrap_interval(mine, iqm),
        "values": [round(float(value), 3) for value in mine],
    }
    for versus in (BASELINE, CONTROL):
        if name != versus:
            gain = mine - values[versus]
            row[f"gain over {versus}"] = {
                "mean": gain.mean(),
                "interval": bootstrap_interval(gain, np.mean),
                "p": sign_flip_p_value(gain),
            }
    return row


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
    parser.add_argument("--part", choices=["rewards", "speed"], default="speed")
    parser.add_argument("--seeds", type=int, default=50, help="of rewards")
    parser.add_argument("--steps", type=int, default=10_000, help="of rewards, in the environment, of each run")
    parser.add_argument("--noises", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.4])
    parser.add_argument("--rounds", type=int, default=5, help="of speed; medians are reported")
    parser.add_argument("--many", type=int, default=140, help="runs of the ensemble whose speed is taken")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part == "rewards":
        rows = rewards(options.seeds, options.steps, options.noises)
    else:
        rows = speed(options.rounds, options.many)
    if options.json:
        environment = asdict(describe_environment(device="cpu", command=f"python {shlex.join(sys.argv)}"))
        print(json.dumps({"results": rows, **vars(options), "environment": environment}, indent=1))
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
