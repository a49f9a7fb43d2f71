"""Agents of Stable-Baselines3 under noisy rewards: one training, whichever way the noise is met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modicum.core.environment import code_digest, library_versions
from modicum.core.extras import require
from modicum.core.files import make_folder
from modicum.core.progress import Progress
from modicum.core.recorded import Record, job_key, run_recorded
from modicum.core.seeding import derive, seeded_globally
from modicum.errors import JobFailedError, ModicumError
from modicum.weakpolicy.noise import ConfusionNoise

if TYPE_CHECKING:
    from modicum.core.engine import Engine

Agent = Literal["dqn", "ppo"]
LEARNERS = {  # in the order of a table; what is paid for them is in the comparison, see `modicum compare peerpl`
    "noisy": "the rewards as they come",
    "two updates": "the same with as many updates as two losses would take",
    "target": "peer rewards r - xi m",
    "difference": "the difference of two losses, DQN alone",
    "surrogate": "the noise undone in expectation, its matrix being known",
    "true": "without noise",
}


@dataclass(frozen=True)
class Training:
    """All that determines one training."""

    environment: str
    agent: Agent
    learner: str
    noise: ConfusionNoise
    xi: float
    steps: int
    seed: int
    folder: Path | None  # of the agents
    name: str = "agent.zip"  # of the agent's file there


def train_all(
    trainings: Sequence[Training], engine: Engine, folder: Path | None, progress: Progress
) -> dict[str, list[dict[str, Any]]]:
    """Train all that the folder does not hold yet; give what `train` gives, by learner."""
    shared = {"code": code_digest(train), "libraries": library_versions()}
    jobs: list[tuple[str, Record, Training]] = []
    for task in trainings:
        noise = {
            "noise": task.noise.matrix.tolist(),
            "levels": task.noise.levels.tolist(),
            "discretise": task.noise.discretise,
        }
        description = {**vars(task), **noise, **shared, "folder": None}
        # The name has what determines the training, since trainings of other settings go into the same folder.
        name = f"{task.learner.replace(' ', '-')}-seed{task.seed}-{job_key(description)[:8]}.zip"
        jobs.append((f"{task.learner}, seed {task.seed}", description, replace(task, name=name)))
    if folder is not None:
        make_folder(folder)
    records, failures = run_recorded(train, jobs, engine=engine, folder=folder, progress=progress)
    if failures:
        name, error = failures[0]
        if isinstance(error, ModicumError):
            raise error
        raise JobFailedError(
            f"{len(failures)} of {len(jobs)} trainings failed; the first ({name}) with {type(error).__name__}: {error}",
            hint="Run it with --engine inline to see where it fails.",
        ) from error
    found: dict[str, list[dict[str, Any]]] = {}
    for task, record in zip(trainings, records, strict=True):
        found.setdefault(task.learner, []).append(record or {})
    return found


def train(task: Training) -> dict[str, Any]:
    """Train an agent and save it; give the true returns and the lengths of its episodes."""
    gymnasium = require("gymnasium", extra="rl", purpose="Training an agent")
    monitor = require("stable_baselines3.common.monitor", extra="rl", purpose="Training an agent").Monitor
    from modicum.weakpolicy.wrappers import NoisyReward, SurrogateReward

    inner = env = monitor(gymnasium.make(task.environment))  # within the noise, so that it counts the true return
    if task.learner != "true":
        env = NoisyReward(env, task.noise, seed=task.seed)
    if task.learner == "surrogate":
        env = SurrogateReward(env, task.noise.levels.tolist(), task.noise.matrix)
    number = derive(task.seed, "agent") % 2**31
    with seeded_globally(task.seed, "agent"):
        agent = _agent(task, env, seed=number).learn(task.steps)
    if task.folder is not None:
        agent.save(task.folder / task.name)
    return {"returns": inner.get_episode_rewards(), "lengths": inner.get_episode_lengths(), "agent": task.name}


def _agent(task: Training, env: Any, seed: int) -> Any:
    baselines = require("stable_baselines3", extra="rl", purpose="Training an agent")
    from modicum.weakpolicy.baselines import PeerDQN, PeerReplayBuffer, PeerRolloutBuffer

    doubled = 2 if task.learner == "two updates" else 1
    settings: dict[str, Any] = {"seed": seed, "device": "cpu"}
    if task.agent == "ppo":
        if task.learner == "target":
            settings |= {"rollout_buffer_class": PeerRolloutBuffer, "rollout_buffer_kwargs": {"xi": task.xi}}
        return baselines.PPO("MlpPolicy", env, n_steps=min(2048, task.steps), n_epochs=10 * doubled, **settings)
    settings |= {"train_freq": 1, "gradient_steps": doubled, "target_update_interval": 1, "tau": 0.01}
    if task.learner == "target":
        settings |= {"replay_buffer_class": PeerReplayBuffer, "replay_buffer_kwargs": {"xi": task.xi}}
    if task.learner == "difference":
        return PeerDQN("MlpPolicy", env, xi=task.xi, **settings)
    return baselines.DQN("MlpPolicy", env, **settings)
