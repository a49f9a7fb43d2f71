"""Episodes of a policy in an environment, weak experts that are cloned, and how well a policy does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray

from modicum.core.extras import require
from modicum.core.seeding import derive, legacy_seed, numpy_generator, seeded_globally
from modicum.core.splits import hold_out
from modicum.errors import ConfigError
from modicum.weakpolicy.cloning import ClonedPolicy, PeerBC
from modicum.weakpolicy.cramped_room import CrampedRoom
from modicum.weakpolicy.demonstrations import Demonstrations
from modicum.weakpolicy.functional import mean_entropy

CRAMPED_ROOM = "cramped_room"
LOGIT_ADJUSTMENT = 0.3  # the best of the specification's on human play
_ENVIRONMENTS = 8  # of the PPO whose training is cut short

# Gives a policy of a fit of ordinary cloning, and of one with class weights.
Choice: TypeAlias = Callable[[PeerBC, Callable[[], PeerBC]], ClonedPolicy]


def choices(xis: tuple[float, ...]) -> dict[str, Choice]:
    """Give the policies that are compared, by name: ordinary cloning, PeerBC for each xi, and what would explain it."""
    policies: dict[str, Choice] = {"BC": lambda plain, _: plain.policy()}
    for xi in xis:
        policies[f"PeerBC xi={xi:g}"] = lambda plain, _, xi=xi: plain.policy(xi)
    for xi in xis:
        policies[f"BC sharpened as xi={xi:g}"] = lambda plain, _, xi=xi: plain.sharpened(xi)
    policies["greedy BC"] = lambda plain, _: plain.greedy()
    policies["class-balanced BC"] = lambda _, balanced: balanced().policy()
    policies["logit adjustment"] = lambda plain, _: plain.adjusted(LOGIT_ADJUSTMENT)
    return policies


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a policy agrees with demonstrations that it was not fitted to."""

    accuracy: float  # of its most probable action
    balanced_accuracy: float  # the same, as a mean over the actions
    probability: float  # that it does what was done
    entropy: float  # nats


def agreement(policy: ClonedPolicy, shown: Demonstrations) -> Agreement:
    """Compare a policy with demonstrations."""
    chances, actions = policy.probabilities(shown.observations), torch.from_numpy(shown.actions.astype(np.int64))
    right = (chances.argmax(dim=1) == actions).double()
    return Agreement(
        accuracy=right.mean().item(),
        balanced_accuracy=float(np.mean([right[actions == action].mean().item() for action in actions.unique()])),
        probability=chances.gather(1, actions[:, None]).double().mean().item(),
        entropy=mean_entropy(chances.double()).item(),
    )


def hold_out_episodes(shown: Demonstrations, share: float, seed: int) -> tuple[Demonstrations, Demonstrations]:
    """Split demonstrations by episode, or by row if their episodes are not known."""
    if len(shown) < 2:
        raise ConfigError("At least 2 steps are needed to hold some out.", hint="Give more demonstrations.")
    groups = None if shown.starts is None or not shown.starts[1:].any() else np.cumsum(shown.starts)
    kept, held = (_rows(shown, np.sort(rows)) for rows in hold_out(len(shown), share, seed, groups=groups))
    return kept, held


def _rows(shown: Demonstrations, rows: NDArray[np.int64]) -> Demonstrations:
    starts = None if shown.starts is None else shown.starts[rows]
    return Demonstrations(shown.observations[rows], shown.actions[rows], starts, action_count=shown.action_count)


def with_noise(shown: Demonstrations, share: float, seed: int) -> Demonstrations:
    """Replace a share of the actions by random ones, each as likely."""
    draws = numpy_generator(seed, "label noise")
    replaced = draws.random(len(shown)) < share
    actions = np.where(replaced, draws.integers(0, shown.discrete(), len(shown)), shown.actions)
    return Demonstrations(shown.observations, actions, shown.starts, action_count=shown.action_count)


def play(policy: Any, environment: str, episodes: int, seed: int) -> tuple[NDArray[np.float64], Demonstrations | None]:
    """Play episodes side by side; give their returns, and what was seen and done (not of the cramped room)."""
    if isinstance(policy, ClonedPolicy):
        policy.reseed(seed)  # all that is random in the cramped room; the arms of the comparison have this seed already
    if environment == CRAMPED_ROOM:
        return CrampedRoom(rooms=episodes).score(policy), None
    envs = make_environments(environment, episodes)
    seen, _ = envs.reset(seed=legacy_seed(seed, "episodes"))
    going, returns = np.ones(episodes, dtype=bool), np.zeros(episodes)
    steps: list[tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]] = []
    while going.any():
        actions, _ = policy.predict(seen)
        steps.append((seen[going].copy(), actions[going], np.flatnonzero(going)))
        seen, rewards, terminated, truncated, _ = envs.step(actions)
        returns += rewards * going
        going &= ~(terminated | truncated)
    envs.close()
    observations, done, owners = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    order = np.argsort(owners, kind="stable")  # episode by episode
    starts = np.diff(owners[order], prepend=-1) > 0
    count = int(envs.single_action_space.n)
    return returns, Demonstrations(observations[order], done[order], starts, action_count=count)


def make_environments(environment: str, count: int, *, discrete: bool = True) -> Any:
    """Make copies of an environment with arrays as observations and, if asked for, discrete actions."""
    gymnasium = require("gymnasium", extra="rl", purpose="Playing in an environment")
    try:
        envs = gymnasium.make_vec(environment, num_envs=count)
    except (gymnasium.error.Error, ImportError) as error:
        raise ConfigError(
            f"There is no environment {environment!r} ({error}).",
            hint=f"Give an id of gymnasium, such as CartPole-v1 or my_module:My-v0, or {CRAMPED_ROOM}.",
        ) from error
    actions, seen = envs.single_action_space, envs.single_observation_space
    kinds = (gymnasium.spaces.Discrete, *([] if discrete else [gymnasium.spaces.Box]))
    if not isinstance(actions, kinds) or not isinstance(seen, gymnasium.spaces.Box):
        raise ConfigError(
            f"{environment} must have discrete actions and arrays as observations, it has {actions} and {seen}.",
            hint="Wrap it, or choose another environment.",
        )
    if getattr(actions, "start", 0):
        raise ConfigError(
            f"The actions of {environment} must start at 0, they are {actions}.",
            hint="Wrap it in gymnasium.wrappers.TransformAction, and count the actions of demonstrations from 0.",
        )
    return envs


def check_fits(shown: Demonstrations, environment: str) -> None:
    """See whether demonstrations are of an environment."""
    if environment == CRAMPED_ROOM:
        wanted: tuple[int, ...] = CrampedRoom().observe().shape[2:]
        count = 6
    else:
        envs = make_environments(environment, 1)
        wanted, count = envs.single_observation_space.shape, int(envs.single_action_space.n)
        envs.close()
    if shown.observations.shape[1:] != wanted or shown.discrete() > count:
        raise ConfigError(
            f"{environment} has observations of shape {wanted} and {count} actions, the demonstrations "
            f"{shown.observations.shape[1:]} and {shown.action_count}.",
            hint="Give the environment that was demonstrated.",
        )


def weak_expert(
    environment: str, steps: int, trajectories: int, seed: int
) -> tuple[NDArray[np.float64], Demonstrations]:
    """Stop PPO of Stable-Baselines3 after so many steps, and let its agent act as it did while it learned."""
    baselines = require("stable_baselines3", extra="rl", purpose="Training an expert")
    vectors = require("stable_baselines3.common.env_util", extra="rl", purpose="Training an expert")
    number = legacy_seed(seed, "expert")
    with seeded_globally(seed, "expert"):
        envs = vectors.make_vec_env(environment, n_envs=_ENVIRONMENTS, seed=number % 2**31)
        expert = baselines.PPO("MlpPolicy", envs, n_steps=256, batch_size=64, seed=number, device="cpu")
        recorded = play(expert.learn(steps), environment, trajectories, derive(seed, "demonstrations"))
    return recorded[0], cast("Demonstrations", recorded[1])
