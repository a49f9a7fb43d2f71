from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from modicum.errors import ConfigError, StateError
from modicum.weakpolicy import CrampedRoom, Demonstrations, PeerBC, published_demonstrations
from modicum.weakpolicy.functional import mean_entropy, peer_policy


@pytest.fixture(scope="module")
def table() -> Demonstrations:
    """Give four states, told apart by their number in one-hot, and three actions of other shares in each."""
    shares = np.array([[70, 20, 10], [50, 10, 40], [60, 30, 10], [20, 20, 60]])
    states = np.repeat(np.eye(4, dtype=np.float32), 100, axis=0)
    return Demonstrations(states, np.concatenate([np.repeat(np.arange(3), row) for row in shares]))


@pytest.fixture(scope="module")
def cloning(table: Demonstrations) -> PeerBC:
    return PeerBC(hidden=(), steps=150, batch_size=400, learning_rate=0.2).fit(table)


EACH = np.eye(4, dtype=np.float32)
SHARES = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])


def test_ordinary_cloning_learns_the_shares(cloning: PeerBC) -> None:
    torch.testing.assert_close(cloning.policy().probabilities(EACH), SHARES, rtol=0, atol=1e-3)
    torch.testing.assert_close(cloning.policy(0.0).probabilities(EACH), SHARES, rtol=0, atol=1e-3)


@pytest.mark.parametrize("xi", [0.2, 0.5, 1.0, 1.5])
def test_one_fit_gives_the_policy_of_every_xi(cloning: PeerBC, xi: float) -> None:
    expected = peer_policy(SHARES, SHARES.mean(0), xi)
    torch.testing.assert_close(cloning.policy(xi).probabilities(EACH), expected, rtol=0, atol=6e-3)


@pytest.mark.parametrize("xi", [0.2, 0.5])
def test_the_trained_form_reaches_the_closed_form(table: Demonstrations, xi: float) -> None:
    # PEERPL-P3, from samples and with batches that are all of them
    trained = PeerBC(xi, hidden=(), steps=250, batch_size=400, learning_rate=0.5).fit(table)
    expected = peer_policy(SHARES, SHARES.mean(0), xi)
    torch.testing.assert_close(trained.policy().probabilities(EACH), expected, rtol=0, atol=2e-3)
    with pytest.raises(StateError, match=f"this one has xi={xi}"):
        trained.policy(0.5)


def test_the_control_has_the_entropy_of_the_peer_policy(table: Demonstrations, cloning: PeerBC) -> None:
    peer, control = (make(0.5).probabilities(table.observations) for make in (cloning.policy, cloning.sharpened))
    assert mean_entropy(control).item() == pytest.approx(mean_entropy(peer).item(), abs=1e-4)
    assert not torch.allclose(peer, control, atol=0.01)


def test_adjusted_and_balanced_cloning_make_actions_equally_common(table: Demonstrations, cloning: PeerBC) -> None:
    adjusted = cloning.adjusted(1.0).probabilities(EACH)
    expected = SHARES / SHARES.mean(0)
    torch.testing.assert_close(adjusted, expected / expected.sum(1, keepdim=True), rtol=0, atol=2e-3)
    balanced = PeerBC(hidden=(), class_weight="balanced", steps=150, batch_size=400, learning_rate=0.2).fit(table)
    torch.testing.assert_close(balanced.policy().probabilities(EACH), adjusted, rtol=0, atol=3e-3)


def test_drawn_actions_have_their_probabilities_and_greedy_ones_the_largest(cloning: PeerBC) -> None:
    policy = cloning.policy(0.2)
    drawn, state = policy.predict(np.repeat(EACH[:1], 20_000, axis=0))
    assert state is None
    shares = np.bincount(drawn, minlength=3) / 20_000
    assert shares == pytest.approx(policy.probabilities(EACH[:1])[0].numpy(), abs=0.015)
    assert policy.predict(EACH, deterministic=True)[0].tolist() == [0, 0, 0, 2]


def test_a_seed_gives_the_same_fit_and_the_same_actions(table: Demonstrations) -> None:
    one, two = (PeerBC(0.2, steps=20, seed=4).fit(table).policy() for _ in range(2))
    assert torch.equal(one.probabilities(EACH), two.probabilities(EACH))
    many = np.repeat(EACH, 50, axis=0)
    assert np.array_equal(one.predict(many)[0], two.predict(many)[0])


def test_a_network_of_ones_own_is_copied(table: Demonstrations) -> None:
    network = torch.nn.Linear(4, 3)
    before = network.weight.clone()
    PeerBC(network=network, steps=5).fit(table)
    assert torch.equal(network.weight, before)


@pytest.mark.data("demonstrations/overcooked")
def test_a_clone_of_humans_plays_the_room() -> None:
    play = published_demonstrations("overcooked-train")
    policy = PeerBC(steps=120, batch_size=256, learning_rate=5e-3).fit(play).policy(0.5)
    scores = CrampedRoom(8).score(policy, steps=100)
    assert scores.shape == (8,)
    assert set(scores) <= {0.0, 20.0, 40.0}


def test_what_cannot_be_cloned_is_refused(table: Demonstrations, cloning: PeerBC) -> None:
    vectors = Demonstrations(np.zeros((3, 1)), np.zeros((3, 1)))
    with pytest.raises(ConfigError, match="Discrete actions are needed"):
        PeerBC().fit(vectors)
    with pytest.raises(ConfigError, match="xi must be a number from 0 on"):
        PeerBC(-0.1)
    with pytest.raises(ConfigError, match="xi must be a number from 0 on"):
        cloning.policy(-0.1)
    with pytest.raises(ConfigError, match="must be finite"):
        cloning.policy().predict(np.array([[0.0, np.nan, 0.0, 0.0]]))
    with pytest.raises(StateError, match="There is no policy before fit"):
        PeerBC().policy()
    with pytest.raises(StateError, match="there is none yet"):
        PeerBC().policy(0.5)
    with pytest.raises(ConfigError, match="balanced needs xi=0"):
        PeerBC(0.2, class_weight="balanced")
    with pytest.raises(ConfigError, match="must be positive"):
        PeerBC(steps=0)
    missing = Demonstrations(table.observations, table.actions, action_count=4)
    with pytest.raises(ConfigError, match="action 3 does not"):
        PeerBC(class_weight="balanced").fit(missing)


def test_one_observation_gives_one_action_as_in_stable_baselines3(cloning: PeerBC) -> None:
    policy = cloning.greedy()
    assert np.shape(policy.predict(EACH[3])[0]) == ()
    assert policy.predict(EACH[3])[0] == policy.predict(EACH)[0][3] == 2
    assert policy.predict(EACH[3].tolist())[0] == 2
    with pytest.raises(ConfigError, match=r"must have the shape \(N, 4\), got \(4, 3\)"):
        policy.predict(EACH[:, :3])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 1.5}, "must be positive integers"),
        ({"device": "nowhere"}, "nowhere"),
        ({"network": torch.nn.Linear(3, 3)}, "must give 3 logits for each observation of shape"),
        ({"network": torch.nn.Linear(4, 2)}, r"but gives \(2, 2\)"),
        ({"xi": "0.2"}, "xi must be a number from 0 on, got '0.2'"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused(settings: Any, words: str, table: Demonstrations) -> None:
    with pytest.raises(ConfigError, match=words):
        PeerBC(**settings).fit(table)


def test_what_are_no_demonstrations_is_refused(table: Demonstrations) -> None:
    with pytest.raises(ConfigError, match="Demonstrations were expected, got tuple"):
        PeerBC().fit((table.observations, table.actions))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"Observations must have the shape \(N, ...\), got \(4,\)"):
        Demonstrations(np.zeros(4), np.zeros(4, int))
    with pytest.raises(ConfigError, match="at most 65,536 actions, but one of the demonstrations is 10,000,000"):
        Demonstrations(np.zeros((2, 1)), np.array([0, 10_000_000]))
    assert Demonstrations([[0.0], [1.0]], [0, 1]).discrete() == 2  # type: ignore[arg-type] - lists become arrays


def test_a_large_power_of_the_marginal_is_still_a_policy(cloning: PeerBC) -> None:
    assert cloning.adjusted(1e9).probabilities(EACH).sum(1).tolist() == pytest.approx([1.0] * 4)
    with pytest.raises(ConfigError, match="tau must be a number from 0 on"):
        cloning.adjusted(-1)
