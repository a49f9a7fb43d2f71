"""Which policy of one cloning to ship: all of them side by side, and the best one played again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from modicum.core.export import largest_difference, open_onnx, write_onnx
from modicum.core.files import aside
from modicum.core.intervals import bootstrap_interval
from modicum.core.progress import Progress, silent
from modicum.core.seeding import derive
from modicum.errors import ConfigError
from modicum.weakpolicy.cloning import ClonedPolicy, PeerBC
from modicum.weakpolicy.demonstrations import Demonstrations, Published, published_demonstrations, read_demonstrations
from modicum.weakpolicy.play import agreement, check_fits, choices, hold_out_episodes, play
from modicum.weakpolicy.plots import Line

_PLAIN = "BC"


def open_demonstrations(name: str) -> Demonstrations:
    """Read a file, or demonstrations of the catalogue."""
    return published_demonstrations(name) if name in get_args(Published) else read_demonstrations(name)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Compared:
    """The policies of one cloning, and the one that is chosen."""

    rows: Mapping[str, Mapping[str, float]]  # by policy
    returns: Mapping[str, NDArray[np.float64]]  # of its episodes; empty without an environment
    best: str  # by return, or by balanced accuracy
    gain: tuple[float, float, float] | None  # over plain cloning in fresh episodes: mean and 95 % interval
    policy: ClonedPolicy  # the chosen one
    example: NDArray[Any]  # observations

    @property
    def chosen(self) -> str:
        """The best policy, or plain cloning where fresh episodes do not show that it is better."""
        return self.best if self.gain is None or self.gain[1] > 0 else _PLAIN

    def sentence(self) -> str:
        """Say which policy to ship, and how sure that is."""
        if self.gain is None:
            mine, plain = (self.rows[name]["balanced accuracy"] for name in (self.best, _PLAIN))
            return (
                f"By balanced accuracy on held-out steps ship {self.best} ({mine:.3f}; BC {plain:.3f}). That is no "
                "return: with --env the policies play."
            )
        mean, low, high = self.gain
        found = f"{mean:+.1f} against BC in fresh episodes (95 % interval {low:+.1f} to {high:+.1f})"
        if self.best == _PLAIN:
            return "Ship BC: no other policy returns more."
        return f"Ship {self.best}: {found}." if self.chosen == self.best else f"Ship BC: {self.best} has {found}."

    def path(self) -> tuple[dict[str, Line], dict[str, float]]:
        """Give the lines over xi with 95 % bands, and the other policies as levels."""
        score = "return" if self.returns else "balanced accuracy"
        levels: dict[str, float] = {}
        points: dict[str, list[tuple[float, ...]]] = {}
        for name, row in self.rows.items():
            family, xi, number = name.partition(" xi=")
            if not xi:
                levels[name] = row[score]
                continue
            band = bootstrap_interval(self.returns[name], np.mean) if self.returns else (row[score], row[score])
            points.setdefault(family.removesuffix(" as"), []).append((float(number), row[score], *band))
        return {family: np.array(sorted(found)).T for family, found in points.items()}, levels

    def to_dict(self) -> dict[str, Any]:
        """Give all of it for programs."""
        return {"policies": self.rows, "chosen": self.chosen, "best": self.best, "gain": self.gain}

    def write_onnx(self, path: Path) -> None:
        """Write the chosen policy: from observations to probabilities of the actions."""
        import torch

        module = self.policy.as_module()
        with aside(path) as part:
            given = torch.from_numpy(self.example.astype(np.float32))
            write_onnx(module, {"observations": given}, part, outputs=("probabilities",), free_axes=1)
            (found,) = open_onnx(part)(given)
            assert largest_difference(found, module(given)) < 1e-4  # noqa: S101


def clone_and_compare(
    shown: Demonstrations,
    held_out: Demonstrations | None,
    xis: tuple[float, ...],
    environment: str | None,
    *,
    updates: int,
    episodes: int,
    seed: int,
    device: str,
    progress: Progress = silent,
) -> Compared:
    """Fit once, let all policies play, and let the best and plain cloning play again."""
    shown.discrete()
    if environment is not None:
        check_fits(shown, environment)
    if held_out is None:
        shown, held_out = hold_out_episodes(shown, 0.2, seed)
    elif held_out.observations.shape[1:] != shown.observations.shape[1:] or held_out.discrete() > shown.discrete():
        raise ConfigError(
            f"The demonstrations to judge by have observations of shape {held_out.observations.shape[1:]} and "
            f"{held_out.action_count} actions, those to learn from {shown.observations.shape[1:]} and "
            f"{shown.action_count}.",
            hint="Give demonstrations of the same task.",
        )
    settings: dict[str, Any] = {"steps": updates, "seed": seed, "device": device}
    policies = choices(xis)
    progress(0, len(policies) + 1, "fit")
    plain = PeerBC(**settings).fit(shown)
    balanced = cache(lambda: PeerBC(class_weight="balanced", **settings).fit(shown))
    if np.bincount(shown.actions, minlength=shown.discrete()).min() == 0:
        del policies["class-balanced BC"]  # an action that never occurs has no weight
    rows: dict[str, dict[str, float]] = {}
    returns: dict[str, NDArray[np.float64]] = {}
    for done, (name, choose) in enumerate(policies.items()):
        policy = choose(plain, balanced)
        rows[name] = {}
        if environment is not None:
            returns[name], _ = play(policy, environment, episodes, derive(seed, "choice"))
            rows[name]["return"] = float(returns[name].mean())
        for column, value in asdict(agreement(policy, held_out)).items():
            rows[name][column.replace("_", " ")] = value
        progress(done + 1, len(policies) + 1, name)
    best = max(rows, key=lambda name: rows[name]["return" if returns else "balanced accuracy"])
    gain = None
    if environment is not None:
        again, before = (
            play(policies[name](plain, balanced), environment, episodes, derive(seed, "fresh episodes"))[0]
            for name in (best, _PLAIN)
        )
        gain = (float((again - before).mean()), *bootstrap_interval(again - before, np.mean))
    compared = Compared(rows, returns, best, gain, policies[best](plain, balanced), held_out.observations[:2])
    return compared if compared.chosen == best else replace(compared, policy=plain.policy())
