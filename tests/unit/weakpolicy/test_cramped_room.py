from __future__ import annotations

import numpy as np
import pytest

from modicum.core import catalogue
from modicum.core.safeload import load_npz
from modicum.errors import ConfigError
from modicum.weakpolicy import CrampedRoom
from modicum.weakpolicy.cramped_room import ACTIONS, REWARD

N, S, E, W, STAY, USE = range(6)
RECORDED_REWARD = 5.0


@pytest.mark.data("demonstrations/overcooked")
def test_the_recorded_human_games_replay_column_by_column() -> None:
    # All sixteen games at once, of 1,143 to 1,204 steps; a game that has ended goes on with nobody moving.
    steps, games = 1204, 16
    seen = np.zeros((steps, games, 2, 57), dtype=np.uint8)
    actions = np.full((steps, games, 2), STAY)
    rewards = np.zeros((steps, games, 2))
    recorded = np.zeros((steps, games, 2), dtype=bool)
    for half, part in enumerate(("train", "test")):
        table = load_npz(catalogue.fetch("demonstrations/overcooked") / f"overcooked_cramped_room_{part}.npz")
        place = (table["step"], table["trial"] + 8 * half, table["player"])
        seen[place], actions[place], rewards[place] = table["obs"], table["actions"], table["reward"]
        recorded[place] = True
    assert recorded.sum() == 19128 + 19252
    room = CrampedRoom(games)
    observed = room.reset()
    for step in range(steps):
        assert np.array_equal(observed[recorded[step]], seen[step][recorded[step]]), step
        observed, served = room.step(actions[step])
        assert np.array_equal(served / REWARD, rewards[step, :, 0] / RECORDED_REWARD), step


@pytest.mark.data("demonstrations/overcooked")
def test_the_recorded_actions_have_the_published_shares() -> None:
    # PEERPL-P13
    games = load_npz(catalogue.fetch("demonstrations/overcooked") / "overcooked_cramped_room_train.npz")
    assert games["obs"].shape == (19128, 57)
    shares = np.bincount(games["actions"], minlength=6) / 19128
    assert shares == pytest.approx([0.053, 0.033, 0.056, 0.056, 0.724, 0.078], abs=0.0006)
    assert ACTIONS == ("north", "south", "east", "west", "stay", "interact")


def play(room: CrampedRoom, moves: str, idle: int = STAY) -> float:
    """Let cook 0 do the moves, in the letters n, s, e, w, u and a dot for staying."""
    total = 0.0
    for letter in moves:
        total += room.step(np.array([["nsew.u".index(letter), idle]]))[1].item()
    return total


def test_a_soup_by_hand() -> None:
    room = CrampedRoom()
    room.step(np.array([[STAY, S]]))
    room.step(np.array([[STAY, S]]))  # the other cook leaves the way to the pot
    onion = "wnwu" + "enu"  # to the dispenser in the west, and to the pot
    assert play(room, onion) == 0
    assert room.observe()[0, 0, 54:56].tolist() == [1, 0]
    assert play(room, 2 * ("wwu" + "enu")) == 0
    assert room.observe()[0, 0, 54:56].tolist() == [3, 1]  # cooks from the third onion on
    play(room, "wssu" + 14 * ".")
    assert room.observe()[0, 0, 24:27].tolist() == [0, 1, 0]
    assert play(room, "ne") == 0
    play(room, "nu")  # at 20 steps
    assert room.observe()[0, 0, 24:27].tolist() == [0, 0, 1]
    assert room.observe()[0, 0, 54:56].tolist() == [0, 0]
    room.step(np.array([[STAY, N]]))  # makes room at the serving counter
    play(room, "e.s")
    assert play(room, "esu") == REWARD


class Script:
    """Makes and serves one soup with cook 0 of each room, while cook 1 stands where games start."""

    def __init__(self) -> None:
        self.moves = iter("wnwu" + "enu" + 2 * "wuenu" + "wssu" + 14 * "." + "nenu" + "sesu")

    def predict(self, seen: np.ndarray) -> tuple[np.ndarray, None]:
        return np.array(["nsew.u".index(next(self.moves)), STAY] * (len(seen) // 2)), None


def test_a_score_is_the_sum_of_a_game() -> None:
    room = CrampedRoom(2)
    assert room.score(Script(), steps=43).tolist() == [REWARD, REWARD]
    assert room.score(Script(), steps=42).tolist() == [0.0, 0.0]


def test_cooks_neither_meet_nor_swap_places() -> None:
    room = CrampedRoom(2)
    room.step(np.array([[N, W], [N, W]]))  # now at (1, 1) and (2, 1)
    before = room.observe()
    after, _ = room.step(np.array([[E, W], [E, STAY]]))
    assert np.array_equal(after[:, :, :20], before[:, :, :20])
    assert after[0, 0, 20:24].tolist() == [0, 0, 1, 0]  # but they turn


def test_an_action_outside_of_the_space_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Actions must be 0 to 5 in the shape \(2, 2\)"):
        CrampedRoom(2).step(np.array([[0, 6], [0, 0]]))
    with pytest.raises(ConfigError, match="At least one room"):
        CrampedRoom(0)
