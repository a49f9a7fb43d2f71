from __future__ import annotations

import math
import pickle

import pytest
import torch

from modicum.errors import ConfigError
from modicum.weakpolicy import PeerReward


def test_the_target_form_subtracts_the_running_mean_and_adds_no_variance() -> None:
    # PEERPL-P5
    peer = PeerReward(0.5, terminal="zero")
    peer.update([1.0, 2.0])
    peer.update([6.0])
    assert peer.mean == pytest.approx(3.0)
    rewards = torch.tensor([1.0, 2.0, 6.0])
    assert peer(rewards).tolist() == [-0.5, 0.5, 4.5]
    assert peer(rewards, torch.tensor([0.0, 1.0, 0.0])).tolist() == [-0.5, 0.5, 4.5]
    assert peer(rewards).var() == rewards.var()


def test_the_difference_form_stretches_and_draws_from_the_batch() -> None:
    # PEERPL-P4
    peer, again = PeerReward(0.5, "difference", seed=3), PeerReward(0.5, "difference", seed=3)
    rewards = torch.randn(4000, generator=torch.Generator().manual_seed(1))
    shifted = peer(rewards)
    assert torch.equal(shifted, again(rewards))
    assert not torch.equal(shifted, peer(rewards))
    assert shifted.mean().item() == pytest.approx(rewards.mean().item(), abs=1e-5)
    assert shifted.var().item() == pytest.approx(1.25 / 0.25 * rewards.var().item(), rel=0.1)


@pytest.mark.parametrize(("form", "scale"), [("target", 1.0), ("difference", 2.0)])
def test_the_end_is_worth_the_shift_for_ever(form: str, scale: float) -> None:
    # PEERPL-P10
    peer = PeerReward(0.5, form, gamma=0.9)  # pyright: ignore[reportArgumentType]
    peer.update([2.0, 4.0])
    assert peer.terminal_value() == pytest.approx(-0.5 * 3.0 * scale / 0.1)
    rewards, terminated = torch.tensor([3.0, 3.0]), torch.tensor([0.0, 1.0])
    plain, ended = peer(rewards, terminated).tolist()
    assert ended - plain == pytest.approx(0.9 * peer.terminal_value())


def test_it_can_be_saved() -> None:
    peer = PeerReward()
    peer.update([1.0])
    assert pickle.loads(pickle.dumps(peer)).mean == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"xi": -0.2}, "xi must be a number from 0 on, got -0.2"),
        ({"xi": 1.0, "form": "difference"}, "xi must be below 1 in the loss-difference form, got 1.0"),
        ({"form": "official"}, "form is target or difference"),
        ({"terminal": "limit"}, "terminal is absorbing or zero"),
        ({"gamma": 1.0}, "gamma must be from 0 to below 1"),
    ],
)
def test_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PeerReward(**settings)  # pyright: ignore[reportArgumentType]


def test_xi_of_1_is_legal_in_the_target_form_and_rewards_are_finite() -> None:
    with pytest.raises(ConfigError, match="Rewards must be finite"):
        PeerReward(1.0).update([1.0, math.nan])
