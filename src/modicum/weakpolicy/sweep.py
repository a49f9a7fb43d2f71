"""Many runs of DQN under noisy rewards as one batched ensemble: each has its own network, Adam and random streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError
from modicum.weakpolicy.functional import absorbing_value
from modicum.weakpolicy.losses import checked_xi
from modicum.weakpolicy.noise import ConfusionNoise
from modicum.weakpolicy.rewards import Terminal

Task = Literal["cartpole", "centre"]
Learner = Literal["noisy", "true", "surrogate", "target", "difference", "two_steps"]
LEVELS: dict[Task, tuple[float, float]] = {"cartpole": (-1.0, 1.0), "centre": (0.0, 1.0)}

# The released hyper-parameters of CartPole.
_WIDTHS = (4, 16, 16, 16, 2)
_BATCH, _WARM_UP, GAMMA, _TAU = 32, 10, 0.99, 1e-2
_RATE, _BETAS, _EPS = 1e-3, (0.9, 0.999), 1e-7
_CHUNK = 128  # steps whose random numbers are drawn together
_DRAWS = {"action": 1, "noise": 1, "start": 4, "replay": 2 * _BATCH, "peers": _BATCH}  # uniform numbers a step
# CartPole as gymnasium has it.
_GRAVITY, _POLE, _HALF_LENGTH, _FORCE, _SECONDS = 9.8, 0.1, 0.5, 10.0, 0.02
_TOTAL, _MOMENT = 1.1, _POLE * _HALF_LENGTH
_FARTHEST, _STEEPEST = 2.4, 12 * 2 * torch.pi / 360
_CENTRE = 0.5  # ours: on a quarter of the track there is something to learn besides balance


def start(uniform: Tensor) -> Tensor:
    """Turn four numbers in [0, 1) into a state at which episodes start."""
    return (uniform - 0.5) * 0.1


def advance(state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Take one Euler step of position, velocity, angle and angular velocity; tell which episodes end by it."""
    _, speed, angle, spin = state.unbind(-1)
    cosine, sine = angle.cos(), angle.sin()
    push = (torch.where(action == 1, _FORCE, -_FORCE).to(state.dtype) + _MOMENT * spin.square() * sine) / _TOTAL
    turn = (_GRAVITY * sine - cosine * push) / (_HALF_LENGTH * (4 / 3 - _POLE * cosine.square() / _TOTAL))
    pull = push - _MOMENT * turn * cosine / _TOTAL
    moved = state + _SECONDS * torch.stack([speed, pull, spin, turn], dim=-1)
    return moved, (moved[..., 0].abs() > _FARTHEST) | (moved[..., 2].abs() > _STEEPEST)


def is_high(task: Task, state: Tensor) -> Tensor:
    """Tell where a step to a state is worth the high level of reward: always, or near the centre of the track."""
    return torch.ones_like(state[..., 0], dtype=torch.bool) if task == "cartpole" else state[..., 0].abs() < _CENTRE


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a sweep.

    Args:
        learner: "noisy" (DQN on the rewards as they come), "true" (on the true ones), "surrogate" (unbiased, the noise
            being known), "target" and "difference" (the forms of `PeerReward`) or "two_steps" (as in `PeerDQN`).
        seed: of everything; runs of one seed share start states, initial weights and noise.
        noise: probability with which the high level of reward is seen as the low one, and in the task "centre" the
            low one as the high one.
        xi: weight of the peer.
        updates: batches for each step in the environment; 2 is the control of "two_steps".
        terminal: of `PeerReward`, for "target"; for the other learners ends are worth 0, as released.
        start_value: what all actions are worth before the first step; where "target" with an absorbing end starts in
            relation to "noisy" is all that can make them differ.

    Raises:
        ConfigError: if one of them cannot be used.
    """

    learner: Learner = "noisy"
    seed: int = 0
    noise: float = 0.0
    xi: float = 0.2
    updates: Literal[1, 2] = 1
    terminal: Terminal = "absorbing"
    start_value: float = 0.0

    def __post_init__(self) -> None:
        checked_xi(self.xi, below_one=self.learner in {"difference", "two_steps"})
        known = self.learner in get_args(Learner) and self.terminal in get_args(Terminal) and self.updates in (1, 2)
        doubled = self.updates == 2 and self.learner in {"difference", "two_steps"}
        if not known or doubled or not 0 <= self.noise < 0.5:
            raise ConfigError(
                f"A run has one of the learners {', '.join(get_args(Learner))}, noise from 0 to below 0.5, "
                f"1 or 2 updates (1 for peer losses) and the terminal absorbing or zero, got {self}.",
                hint="Use Run(learner='target', noise=0.3).",
            )


@dataclass(frozen=True)
class Sweep:
    """What came of the runs, in their order.

    Args:
        returns: true returns of the training episodes, one list a run; the last one may be cut.
        greedy: mean true return of ten episodes in which the learned network acts greedily, shape (K,).
    """

    returns: list[list[float]]
    greedy: Tensor


def sweep(runs: Sequence[Run], *, steps: int = 10_000, task: Task = "cartpole", limit: int = 200) -> Sweep:
    """Train all runs side by side.

    Args:
        runs: K of them.
        steps: in the environment, of each run, at most 50,000 (the size of the replay).
        task: "cartpole" (each step is worth 1, seen as -1 under noise) or "centre" (a step is worth 1 near the centre
            of the track and 0 elsewhere, so that the reward depends on the state).
        limit: steps of an episode; the last of them is no end, and bootstraps.

    Returns:
        Training returns and greedy returns.

    Raises:
        ConfigError: if there are no runs, or too many steps.

    Example:
        >>> done = sweep([Run(learner="target", noise=0.3, seed=seed) for seed in range(3)], steps=40)
        >>> [len(returns) > 0 for returns in done.returns]
        [True, True, True]
    """
    if not runs or not 0 < steps <= 50_000 or task not in LEVELS:
        raise ConfigError(
            f"A sweep has at least one run, 1 to 50,000 steps and the task {' or '.join(LEVELS)}, "
            f"got {len(runs)} runs, {steps} steps and {task!r}.",
            hint="Use sweep([Run()], steps=10_000).",
        )
    # Runs with a second update come last, so that it works on a slice.
    order = sorted(range(len(runs)), key=lambda index: _second(runs[index]))
    ensemble = _Ensemble([runs[index] for index in order], steps, task)
    rewards, ended = ensemble.train(limit)
    greedy = ensemble.play(limit)
    back = torch.tensor(order).argsort()
    episodes = [_episodes(rewards[:, index], ended[:, index]) for index in back.tolist()]
    return Sweep(episodes, greedy[back])


def _second(run: Run) -> bool:
    return run.updates == 2 or run.learner == "two_steps"


def _episodes(rewards: Tensor, ended: Tensor) -> list[float]:
    ends = ended.nonzero()[:, 0].tolist()
    lengths = [after - before for before, after in pairwise([-1, *ends, len(rewards) - 1])]
    return [part.sum().item() for part in rewards.split([length for length in lengths if length])]


class Networks:
    """K networks of one shape, their Adam and their slow copies; parameters of a network are a row."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.theta = torch.stack([_initial(seed) for seed in seeds])
        self.slow = self.theta.clone()
        self._first, self._second = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        self._steps = torch.zeros(len(seeds), 1)

    def values(self, theta: Tensor, inputs: Tensor) -> list[Tensor]:
        """Give the outputs of all layers, of shape (K, N, width): the inputs first, the action values last."""
        outputs = [inputs]
        for layer, (weight, bias) in enumerate(_layers(theta), start=2):
            outputs.append(torch.baddbmm(bias, outputs[-1], weight))
            if layer < len(_WIDTHS):
                outputs[-1].relu_()
        return outputs

    def update(self, rows: slice, outputs: list[Tensor], slope: Tensor) -> None:
        """Take a step of Adam, given the slope of each run's loss in its action values, and move the slow copies."""
        gradient = torch.empty_like(self.theta[rows])
        layers = zip(_layers(self.theta[rows]), _layers(gradient), outputs[:-1], strict=True)
        for layer, ((weight, _), (into, bias), inputs) in reversed(list(enumerate(layers))):
            torch.bmm(inputs.mT, slope, out=into)
            bias.copy_(slope.sum(dim=1, keepdim=True))
            if layer:
                slope = torch.bmm(slope, weight.mT).mul_(inputs > 0)
        first, second, count = self._first[rows], self._second[rows], self._steps[rows]
        count += 1
        first.lerp_(gradient, 1 - _BETAS[0])
        second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        root = (second / (1 - _BETAS[1] ** count)).sqrt_().add_(_EPS)
        self.theta[rows].sub_(_RATE / (1 - _BETAS[0] ** count) * first / root)
        self.slow[rows].lerp_(self.theta[rows], _TAU)


class _Ensemble:
    def __init__(self, runs: Sequence[Run], steps: int, task: Task) -> None:
        self.runs, self.steps, self.count = runs, steps, len(runs)
        self.task: Task = task
        self.networks = Networks([run.seed for run in runs])
        for theta in (self.networks.theta, self.networks.slow):
            theta[:, -_WIDTHS[-1] :] += torch.tensor([[run.start_value] for run in runs])
        self.doubled = slice(sum(not _second(run) for run in runs), self.count)
        self.xi = torch.tensor([[run.xi] for run in runs])
        is_of = {name: torch.tensor([[run.learner == name] for run in runs]) for name in get_args(Learner)}
        self.target_xi, self.difference_xi = self.xi * is_of["target"], self.xi * is_of["difference"]
        self.end = torch.zeros(self.count, 1)  # the value of ends
        self.end_xi = self.target_xi * torch.tensor([[run.terminal == "absorbing"] for run in runs])
        self.peer_steps = is_of["two_steps"][self.doubled]
        low_up = [run.noise if task == "centre" else 0.0 for run in runs]
        self.flips = torch.tensor([[up, run.noise] for up, run in zip(low_up, runs, strict=True)])
        # By observed level.
        self.paid = torch.tensor([_paid(run, LEVELS[task], up) for up, run in zip(low_up, runs, strict=True)])
        self.flips[is_of["true"][:, 0]] = 0
        shape = (self.count, steps)
        self.seen, self.then = torch.empty(*shape, 4), torch.empty(*shape, 4)
        self.did, self.got, self.over = torch.empty(shape, dtype=torch.long), torch.empty(shape), torch.empty(shape)

    def train(self, limit: int) -> tuple[Tensor, Tensor]:
        """Train; give true rewards and ends of episodes, shape (steps, K)."""
        low, high = LEVELS[self.task]
        rewards, ended = torch.empty(self.steps, self.count), torch.empty(self.steps, self.count, dtype=torch.bool)
        draws = _uniforms([run.seed for run in self.runs])
        state, age = start(next(draws)["start"].double()), torch.zeros(self.count)
        total, row = torch.zeros(self.count), torch.arange(self.count)
        for step in range(self.steps):
            drawn = next(draws)
            values = self.networks.values(self.networks.theta, state.float()[:, None])[-1][:, 0]
            # Boltzmann exploration at temperature 1.
            action = (drawn["action"][:, 0] < (values[:, 1] - values[:, 0]).sigmoid()).long()
            self.seen[:, step] = state
            state, terminated = advance(state, action)
            good = is_high(self.task, state)
            flipped = drawn["noise"][:, 0] < torch.where(good, self.flips[:, 1], self.flips[:, 0])
            self.then[:, step], self.did[:, step], self.over[:, step] = state, action, terminated
            self.got[:, step] = self.paid[row, (good ^ flipped).long()]
            age += 1
            rewards[step], ended[step] = torch.where(good, high, low), terminated | (age >= limit)
            state = torch.where(ended[step][:, None], start(drawn["start"].double()), state)
            age *= ~ended[step]
            total += self.got[:, step]
            if step > _WARM_UP:
                mean = (total / (step + 1))[:, None]
                self.end = absorbing_value(1.0, GAMMA) * -self.end_xi * mean
                self._learn(step + 1, mean, drawn)
        return rewards, ended

    def _learn(self, filled: int, mean: Tensor, drawn: dict[str, Tensor]) -> None:
        everyone, second = slice(0, self.count), self.doubled
        first, again = drawn["replay"].split(_BATCH, dim=1)
        seen, did, target, bootstrap, got = self._batch(everyone, first, filled, mean)
        peer = bootstrap + got.gather(1, drawn["peers"].argsort(dim=1))
        self._step(everyone, seen, did, lambda q: (q - target) - self.difference_xi * (q - peer))
        if second.start == self.count:
            return
        # Peer runs step on their own batch once more, the controls on another one.
        released = self.peer_steps
        other_seen, other_did, other_target, _, _ = self._batch(second, again[second], filled, mean[second])
        seen = torch.where(released[:, :, None], seen[second], other_seen)
        did, xi = torch.where(released, did[second], other_did), self.xi[second]
        self._step(second, seen, did, lambda q: torch.where(released, -xi * (q - peer[second]), q - other_target))

    def _batch(self, rows: slice, uniform: Tensor, filled: int, mean: Tensor) -> tuple[Tensor, ...]:
        """Sample states, actions, targets, bootstraps and rewards of some runs, shape (runs, batch)."""
        index = (uniform * filled).long()
        wide = index[:, :, None].expand(-1, -1, 4)
        seen, then = self.seen[rows].gather(1, wide), self.then[rows].gather(1, wide)
        did, got, over = (table[rows].gather(1, index) for table in (self.did, self.got, self.over))
        following = self.networks.values(self.networks.slow[rows], then)[-1].amax(dim=2)
        bootstrap = GAMMA * torch.where(over > 0, self.end[rows], following)
        return seen, did, got - self.target_xi[rows] * mean + bootstrap, bootstrap, got

    def _step(self, rows: slice, seen: Tensor, did: Tensor, residual: Callable[[Tensor], Tensor]) -> None:
        outputs = self.networks.values(self.networks.theta[rows], seen)
        chosen = did[:, :, None]
        slope = torch.zeros_like(outputs[-1])
        slope.scatter_(2, chosen, residual(outputs[-1].gather(2, chosen)[:, :, 0])[:, :, None] / _BATCH)
        self.networks.update(rows, outputs, slope)

    def play(self, limit: int, episodes: int = 10) -> Tensor:
        """Give the mean true return of greedy episodes."""
        low, high = LEVELS[self.task]
        starts = [torch.rand(episodes, 4, generator=torch_generator(run.seed, "test")) for run in self.runs]
        state = start(torch.stack(starts).double())
        going, total = torch.ones(self.count, episodes, dtype=torch.bool), torch.zeros(self.count, episodes)
        for _ in range(limit):
            state, terminated = advance(state, self.networks.values(self.networks.theta, state.float())[-1].argmax(2))
            total += torch.where(is_high(self.task, state), high, low) * going
            going &= ~terminated
        return total.mean(dim=1)


def _paid(run: Run, levels: tuple[float, float], low_up: float) -> list[float]:
    """Give what a learner is paid for the low and the high level, as observed."""
    noise = ConfusionNoise.binary(run.noise, low_up, levels)
    return (noise.surrogate() if run.learner == "surrogate" else noise.levels).tolist()


def _layers(theta: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Show rows of parameters as weights, shape (K, inputs, outputs), and biases, shape (K, 1, outputs)."""
    parts: list[tuple[Tensor, Tensor]] = []
    begin = 0
    for before, after in pairwise(_WIDTHS):
        middle, end = begin + before * after, begin + before * after + after
        parts.append((theta[:, begin:middle].unflatten(1, (before, after)), theta[:, None, middle:end]))
        begin = end
    return parts


def _initial(seed: int) -> Tensor:
    """Draw the weights of a network as Keras does, uniformly by Glorot, with biases of 0."""
    generator = torch_generator(seed, "initialisation")
    parts: list[Tensor] = []
    for before, after in pairwise(_WIDTHS):
        bound = (6 / (before + after)) ** 0.5
        parts += [(2 * torch.rand(before * after, generator=generator) - 1) * bound, torch.zeros(after)]
    return torch.cat(parts)


def _uniforms(seeds: Sequence[int]) -> Iterator[dict[str, Tensor]]:
    """Draw uniform numbers for ever, by name, shape (K, numbers); runs of one seed get the same ones."""
    unique = sorted(set(seeds))
    row = torch.tensor([unique.index(seed) for seed in seeds])
    generators = {name: [torch_generator(seed, name) for seed in unique] for name in _DRAWS}
    while True:
        chunk = {
            name: torch.stack([torch.rand(_CHUNK, _DRAWS[name], generator=each) for each in generators[name]])
            for name in _DRAWS
        }
        for step in range(_CHUNK):
            yield {name: numbers[row, step] for name, numbers in chunk.items()}
