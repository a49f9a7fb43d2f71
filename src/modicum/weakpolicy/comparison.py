"""PeerPL as the comparison sees it: cloning a weak expert or human play, and learning from noisy rewards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from scipy.stats import trim_mean

from modicum.core.method import Arm, Comparison, Job, Measurement, Method, Metric, Role, Source
from modicum.core.settings import refuse_idle
from modicum.errors import ConfigError
from modicum.weakpolicy.cloning import PeerBC
from modicum.weakpolicy.configuration import COMPARISON, ComparisonSettings
from modicum.weakpolicy.demonstrations import Demonstrations, published_demonstrations, read_demonstrations
from modicum.weakpolicy.functional import absorbing_value
from modicum.weakpolicy.play import (
    CRAMPED_ROOM,
    agreement,
    check_fits,
    choices,
    hold_out_episodes,
    play,
    weak_expert,
    with_noise,
)
from modicum.weakpolicy.sweep import GAMMA, Run, sweep

XIS = (0.2, 0.5)
# What the arms clone: the environment, and after how many steps PPO is still weak in it.
_EXPERTS = {"cartpole": ("CartPole-v1", 10_240), "acrobot": ("Acrobot-v1", 32_768)}


@dataclass(frozen=True)
class Cloned:
    """What the arms of a seed share: the fit of ordinary cloning, and what it was fitted to."""

    environment: str
    shown: Demonstrations
    held_out: Demonstrations
    plain: PeerBC


def clone(job: Job) -> Cloned:
    """Make or read demonstrations, and clone them."""
    settings: ComparisonSettings = job.settings
    if (settings.task == "own") != (job.data is not None):
        raise ConfigError("task=own and --data belong together.", hint="Give both, or neither.")
    idle = ["reward", "steps"]
    if settings.task != "own":
        idle.append("environment")
    if settings.task not in _EXPERTS:
        idle += ["expert_steps", "trajectories"]
    refuse_idle(settings, COMPARISON[job.budget], idle, where=f"with task={settings.task}")
    if job.data is not None:
        environment = settings.environment
        recorded = read_demonstrations(job.data)
        check_fits(recorded, environment)
        shown, held_out = hold_out_episodes(recorded, 0.2, job.seed)
    elif settings.task == "overcooked":
        environment = CRAMPED_ROOM
        shown, held_out = published_demonstrations("overcooked-train"), published_demonstrations("overcooked-test")
    else:
        environment, enough = _EXPERTS[settings.task]
        steps = settings.expert_steps or enough
        _, recorded = weak_expert(environment, steps, settings.trajectories, job.seed)
        shown, held_out = hold_out_episodes(recorded, 0.2, job.seed)
    shown = with_noise(shown, settings.noise, job.seed)
    return Cloned(environment, shown, held_out, _fit(job, shown, balanced=False))


def _fit(job: Job, shown: Demonstrations, *, balanced: bool) -> PeerBC:
    weight = "balanced" if balanced else None
    return PeerBC(class_weight=weight, steps=job.settings.updates, seed=job.seed, device=job.device).fit(shown)


def act(job: Job, cloned: Cloned, *, name: str) -> Measurement:
    """Score one policy."""
    policy = choices(XIS)[name](cloned.plain, partial(_fit, job, cloned.shown, balanced=True))
    returns, _ = play(policy, cloned.environment, job.settings.episodes, job.seed)
    found = agreement(policy, cloned.held_out)
    return Measurement(
        value=float(returns.mean()),
        secondary={
            "IQM of the episodes": float(trim_mean(returns, 0.25)),
            "accuracy": found.accuracy,
            "balanced accuracy": found.balanced_accuracy,
            "probability of the action": found.probability,
            "entropy": found.entropy,
        },
    )


def _arms(run: Callable[..., Measurement], *rows: tuple[str, Role, str]) -> tuple[Arm, ...]:
    return tuple(
        Arm(name=name, role=role, run=partial(run, name=name), summary=summary) for name, role, summary in rows
    )


_CLONING = _arms(
    act,
    ("BC", "baseline", "behavioural cloning, actions drawn"),
    ("PeerBC xi=0.2", "method", "the optimum of the peer objective, from the same fit"),
    ("PeerBC xi=0.5", "method", "the same with more weight on the peer"),
    ("BC sharpened as xi=0.2", "control", "p^b with the mean entropy of PeerBC: is it sharpening that helps?"),
    ("BC sharpened as xi=0.5", "control", "the same for xi=0.5"),
    ("greedy BC", "control", "the most probable action of BC: sharpened to the end"),
    ("class-balanced BC", "control", "actions weighted by the inverse of their frequency: does rarity explain it?"),
    ("logit adjustment", "control", "probabilities divided by marginals to the power 0.3, after the fit"),
)


def runs(seed: int, noise: float, reward: str) -> dict[str, Run]:
    """Give the run of each arm."""
    xi = XIS[0]
    # What the constant of the target form comes to, if all true rewards are high.
    shift = xi * ((1 - 2 * noise) if reward == "constant" else 1 - noise)
    plain = Run(seed=seed, noise=noise, xi=xi)
    return {
        "noisy reward": plain,
        "PeerRL target": replace(plain, learner="target"),
        "PeerRL target, end 0": replace(plain, learner="target", terminal="zero"),
        "PeerRL difference": replace(plain, learner="difference"),
        "PeerRL two steps": replace(plain, learner="two_steps"),
        "two updates": replace(plain, updates=2),
        "high start": replace(plain, start_value=absorbing_value(shift, GAMMA)),
        "surrogate reward": replace(plain, learner="surrogate"),
        "true reward": replace(plain, learner="true"),
    }


def learn(job: Job) -> dict[str, Measurement]:
    """Train all arms of a seed as one ensemble."""
    settings: ComparisonSettings = job.settings
    if job.data is not None:
        raise ConfigError("task=rewards reads no data of your own.", hint="Leave --data out, or write task=own.")
    idle = ["environment", "expert_steps", "trajectories", "updates", "episodes"]
    refuse_idle(settings, COMPARISON[job.budget], idle, where="with task=rewards")
    arms = runs(job.seed, settings.noise, settings.reward)
    task = "cartpole" if settings.reward == "constant" else "centre"
    done = sweep(list(arms.values()), steps=settings.steps, task=task)
    found: dict[str, Measurement] = {}
    for name, training, greedy in zip(arms, done.returns, done.greedy.tolist(), strict=True):
        secondary = {"last ten episodes": fmean(training[-10:]), "greedy episodes": greedy}
        found[name] = Measurement(value=fmean(training), secondary=secondary)
    return found


def returned(_: Job, learned: dict[str, Measurement], *, name: str) -> Measurement:
    """Give what came of one arm."""
    return learned[name]


_REWARDS = _arms(
    returned,
    ("noisy reward", "baseline", "DQN on the rewards as they come"),
    ("PeerRL target", "method", "r - xi m, xi=0.2; the end of an episode is worth that constant for ever"),
    ("PeerRL target, end 0", "method", "the same with ends that are worth 0, as published"),
    ("PeerRL difference", "method", "one step on the difference of two losses, xi=0.2"),
    ("PeerRL two steps", "method", "two optimiser steps a batch, as released, xi=0.2"),
    ("two updates", "control", "the noisy reward with as many updates as the released code takes"),
    ("high start", "control", "the noisy reward from values as high as those of the target form are in relation"),
    ("surrogate reward", "control", "the noise undone in expectation, its matrix being known"),
    ("true reward", "control", "without noise"),
)

_REWARDS_COMPARISON = Comparison(
    method="peerpl",
    question="Do peer rewards help DQN to learn from noisy rewards?",
    metric=Metric(name="return while training", digits=1),
    arms=_REWARDS,
    secondary=(Metric(name="last ten episodes", digits=1), Metric(name="greedy episodes", digits=1)),
    settings=COMPARISON,
    setup=learn,
    data=dict.fromkeys(("demo", "full"), "CartPole with episodes of 200 steps and flipped rewards, many carts at once"),
)


def _asked(settings: ComparisonSettings) -> Comparison | None:
    return _REWARDS_COMPARISON if settings.task == "rewards" else None


_CLONING_COMPARISON = Comparison(
    method="peerpl",
    question="Does a peer term help to clone an imperfect demonstrator?",
    metric=Metric(name="return", digits=1),
    arms=_CLONING,
    secondary=(
        Metric(name="IQM of the episodes", digits=1),
        Metric(name="accuracy"),
        Metric(name="balanced accuracy"),
        Metric(name="probability of the action"),
        Metric(name="entropy", higher_is_better=False, unit="nats"),
    ),
    settings=COMPARISON,
    setup=clone,
    variant=_asked,
    data={
        "demo": "a PPO on CartPole-v1 that is stopped early, trained in the job, and cloned from 50 episodes",
        "full": "a PPO on CartPole-v1 or Acrobot-v1 that is stopped early, trained in the job, and cloned from 100 "
        "episodes; or human play in Overcooked's cramped room (demonstrations/overcooked)",
    },
    own_data="An .npz file of demonstrations with obs and actions, of which a fifth is held out (with task=own and "
    "environment).",
)

METHOD = Method(
    name="peerpl",
    title="PeerPL: policies from noisy rewards and imperfect demonstrations",
    saves="clean rewards and expert demonstrations",
    sources=(
        Source(
            authors="Wang, Guo, Zhu and Liu",
            year=2021,
            title="Policy Learning Using Weak Supervision",
            address="https://arxiv.org/abs/2010.01748",
        ),
        Source(
            authors="Wang, Guo, Zhu and Liu",
            year=2021,
            title="Code of PeerPL, commit 33d4a74",
            address="https://github.com/wangjksjtu/PeerPL",
        ),
    ),
    comparison=_CLONING_COMPARISON,
)
