from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from sklearn.metrics import balanced_accuracy_score

from modicum.core.method import Job
from modicum.errors import ConfigError
from modicum.weakpolicy import CrampedRoom, Demonstrations, PeerBC, Run, published_demonstrations, sweep
from modicum.weakpolicy.comparison import METHOD, clone, runs
from modicum.weakpolicy.functional import absorbing_value
from modicum.weakpolicy.play import (
    agreement,
    check_fits,
    hold_out_episodes,
    make_environments,
    play,
    weak_expert,
    with_noise,
)


def shown(episodes: int = 10, length: int = 8) -> Demonstrations:
    draws = np.random.default_rng(0)
    states = draws.normal(size=(episodes * length, 4)).astype(np.float32)
    actions = (states[:, 0] + 0.5 * draws.normal(size=len(states)) > 0).astype(np.int64)
    return Demonstrations(states, actions, np.tile(np.arange(length) == 0, episodes))


def test_without_noise_the_target_form_is_dqn_from_higher_values() -> None:
    # With an absorbing end r - xi m is r with all values lower by c = xi m / (1 - gamma): what is left is the start.
    xi, steps = 0.3, 300
    high = absorbing_value(xi * 1.0, 0.99)
    peer, optimistic, plain = sweep(
        [
            Run(learner="target", xi=xi, seed=1),
            Run(learner="noisy", start_value=high, seed=1),
            Run(learner="noisy", seed=1),
        ],
        steps=steps,
    ).returns
    assert peer == optimistic
    assert peer != plain


def test_demonstrations_of_a_user_are_cloned(tmp_path: Path) -> None:
    recorded, file = shown(), tmp_path / "own.npz"
    np.savez(file, obs=recorded.observations, actions=recorded.actions, episode_starts=recorded.starts)

    def job(data: Path | None, **options: str) -> Job:
        settings = METHOD.comparison.settings_for("demo", {"updates": "20", "episodes": "2", **options})
        return Job(seed=0, budget="demo", settings=settings, data=data)

    own = {"task": "own", "environment": "CartPole-v1"}
    cloned = clone(job(file, **own))
    assert (len(cloned.shown), len(cloned.held_out)) == (64, 16)
    (plain, *_) = METHOD.comparison.arms
    assert 1 <= plain.run(job(file, **own), cloned).value <= 500
    for given, said in (
        (job(file), "belong together"),
        (job(None, **own), "belong together"),
        (job(file, task="own", environment="Acrobot-v1"), "Acrobot-v1 has observations of shape"),
        (job(file, task="own"), "There is no environment ''"),
    ):
        with pytest.raises(ConfigError, match=said):
            clone(given)


def test_the_rewards_task_asks_for_other_arms_that_share_an_ensemble() -> None:
    comparison = METHOD.comparison
    assert comparison.variant is not None
    assert comparison.variant(comparison.settings_for("demo", {"task": "acrobot"})) is None
    rewards = comparison.variant(comparison.settings_for("demo", {"task": "rewards"}))
    assert rewards is not None
    assert {arm.name for arm in rewards.arms} == set(runs(0, 0.1, "constant")) == set(runs(0, 0.1, "centre"))
    assert rewards.setup is not None
    settings = comparison.settings_for("demo", {"task": "rewards", "steps": "60", "noise": "0.3"})
    job = Job(seed=2, budget="demo", settings=settings)
    learned = rewards.setup(job)
    measured = {arm.name: arm.run(job, learned) for arm in rewards.arms}
    alone = sweep([Run(learner="surrogate", seed=2, noise=0.3)], steps=60)
    assert measured["surrogate reward"].value == pytest.approx(np.mean(alone.returns[0]))
    with pytest.raises(ConfigError, match="noise from 0 to below"):
        runs(0, 0.6, "constant")


def test_human_play_is_scored_in_the_room_and_by_other_people() -> None:
    comparison = METHOD.comparison
    options = {"task": "overcooked", "updates": "5", "episodes": "2", "noise": "0.4"}
    job = Job(seed=0, budget="full", settings=comparison.settings_for("full", options))
    assert comparison.setup is not None
    cloned = comparison.setup(job)
    greedy = next(arm for arm in comparison.arms if arm.name == "greedy BC").run(job, cloned)
    assert greedy.value % 20 == 0
    assert greedy.secondary["entropy"] == 0
    assert greedy.secondary["probability of the action"] == pytest.approx(greedy.secondary["accuracy"])


def test_a_weak_expert_and_what_it_did_come_from_the_seed() -> None:
    returns, recorded = weak_expert("CartPole-v1", 16, 6, seed=3)
    again, _ = weak_expert("CartPole-v1", 16, 6, seed=3)
    assert np.array_equal(returns, again)
    assert recorded.starts is not None
    assert recorded.starts.sum() == 6
    assert len(recorded) == returns.sum()  # a step is worth 1
    lengths = np.diff(np.append(np.flatnonzero(recorded.starts), len(recorded)))
    assert sorted(lengths) == sorted(returns)


def test_episodes_of_a_policy_are_whole_and_repeat() -> None:
    policy = PeerBC(hidden=(), steps=5).fit(shown()).greedy()
    first, recorded = play(policy, "CartPole-v1", 4, 7)
    second, _ = play(policy, "CartPole-v1", 4, 7)
    assert recorded is not None
    assert np.array_equal(first, second)
    assert first.sum() == len(recorded)


@pytest.mark.data("demonstrations/overcooked")
def test_rooms_are_played_by_the_seed_and_the_comparison_keeps_its_stream() -> None:
    cloning = PeerBC(hidden=(), steps=100, learning_rate=1e-2, class_weight="balanced", seed=7)
    cloning.fit(published_demonstrations("overcooked-train"))
    policy = cloning.policy()
    other, first = (play(policy, "cramped_room", 8, seed)[0] for seed in (8, 7))
    assert not np.array_equal(first, other)
    assert np.array_equal(first, CrampedRoom(8).score(cloning.policy()))  # the fit's seed, as in the arms


def test_held_out_episodes_share_no_step() -> None:
    kept, held = hold_out_episodes(shown(), 0.2, 1)
    assert (len(kept), len(held)) == (64, 16)
    assert kept.starts is not None
    assert held.starts is not None
    assert (kept.starts.sum(), held.starts.sum()) == (8, 2)
    rows = {tuple(row) for row in held.observations.tolist()}
    assert not rows & {tuple(row) for row in kept.observations.tolist()}
    one = Demonstrations(np.zeros((1, 2)), np.zeros(1, dtype=np.int64))
    with pytest.raises(ConfigError, match="2 steps"):
        hold_out_episodes(one, 0.2, 1)


def test_a_share_of_the_actions_is_replaced_by_any() -> None:
    many = Demonstrations(np.zeros((4000, 1)), np.full(4000, 2), action_count=4)
    noisy = with_noise(many, 0.4, 0)
    assert (noisy.actions != 2).mean() == pytest.approx(0.3, abs=0.03)  # a quarter of the replaced ones stay
    assert np.array_equal(with_noise(many, 0.4, 0).actions, noisy.actions)


def test_agreement_is_that_of_scikit_learn() -> None:
    given = shown()
    policy = PeerBC(hidden=(), steps=50).fit(given).policy(0.5)
    found = agreement(policy, given)
    guessed = policy.probabilities(given.observations).argmax(1).numpy()
    assert found.accuracy == pytest.approx((guessed == given.actions).mean())
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(given.actions, guessed))
    chances = policy.probabilities(given.observations)
    assert found.entropy == pytest.approx(torch.distributions.Categorical(chances).entropy().mean().item(), abs=1e-5)


@pytest.mark.parametrize(
    ("environment", "match"), [("NoSuch-v0", "NoSuch"), ("no_module:My-v0", "no_module"), ("Pendulum-v1", "discrete")]
)
def test_environments_that_cannot_be_played_are_named(environment: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make_environments(environment, 1)


class FromOne(gymnasium.Env):
    """Count actions from 1."""

    observation_space, action_space = spaces.Box(-1, 1, (4,)), spaces.Discrete(2, start=1)


def test_actions_that_start_elsewhere_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gymnasium.registry, "FromOne-v0", EnvSpec("FromOne-v0", entry_point=lambda **_: FromOne()))
    with pytest.raises(ConfigError, match=r"actions of FromOne-v0 must start at 0, they are Discrete\(2, start=1\)"):
        check_fits(shown(), "FromOne-v0")


def test_demonstrations_of_another_environment_are_refused() -> None:
    check_fits(shown(), "CartPole-v1")
    for environment in ("Acrobot-v1", "cramped_room"):
        with pytest.raises(ConfigError, match="has observations of shape"):
            check_fits(shown(), environment)
