"""The settings of the comparison of PeerPL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Lt

from modicum.core.method import Budget
from modicum.core.settings import Help


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings:
    """What ``modicum compare peerpl`` can change, the same for all arms."""

    task: Annotated[
        Literal["cartpole", "acrobot", "overcooked", "own", "rewards"],
        Help("clone a weak expert (cartpole, acrobot), human play (overcooked) or --data, or learn from noisy rewards"),
    ] = "cartpole"
    environment: Annotated[str, Help("id of gymnasium in which --data was recorded (task=own)")] = ""
    noise: Annotated[
        float,
        Help("share of actions that are replaced (cloning), or chance that a reward flips (rewards)"),
        Ge(0),
        Lt(1),
    ] = 0.0
    expert_steps: Annotated[
        int, Help("steps of the PPO that is cloned; 0 for as many as leave it weak in the task"), Ge(0)
    ] = 0
    trajectories: Annotated[int, Help("episodes of the expert, of which a fifth is held out"), Ge(5)]
    updates: Annotated[int, Help("optimiser steps of a cloned network"), Ge(1)] = 1500
    episodes: Annotated[int, Help("episodes that score a policy"), Ge(1)]
    reward: Annotated[
        Literal["constant", "centre"],
        Help("true rewards of task=rewards: 1 for each step, or 1 near the centre of the track and 0 elsewhere"),
    ] = "constant"
    steps: Annotated[int, Help("environment steps of a DQN (task=rewards)"), Ge(1)] = 10_000


COMPARISON: Mapping[Budget, ComparisonSettings] = {
    "demo": ComparisonSettings(trajectories=50, episodes=50),
    "full": ComparisonSettings(trajectories=100, episodes=100),
}
