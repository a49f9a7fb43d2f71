"""The cramped room of Overcooked, many rooms at once, so that a cloned policy gets a score and not only an accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modicum.errors import ConfigError

ACTIONS = ("north", "south", "east", "west", "stay", "interact")

_LAYOUT = ("XXPXX", "O   O", "X   X", "XDXSX")
_WIDTH, _CELLS = 5, 20
_TERRAIN = np.array([ord(cell) for row in _LAYOUT for cell in row])
_FLOOR, _COUNTER, _ONIONS, _DISHES, _POT, _SERVING = (np.equal(_TERRAIN, ord(cell)) for cell in " XODPS")
_START = np.array([[2 * _WIDTH + 1, _WIDTH + 3]])  # the cells of the two cooks
_MOVES = np.array([-_WIDTH, _WIDTH, 1, -1, 0, 0])  # by action, as a change of the cell
_ONE_HOT = {size: np.eye(size, dtype=np.uint8) for size in (4, _CELLS)}
_NOTHING, _ONION, _DISH, _SOUP = range(4)  # a soup is 3 plus the steps that it cooked
_STAY, _INTERACT = 4, 5
_FULL = 3  # onions
_COOKED = 20  # steps
REWARD = 20.0  # a soup; the recorded games count 5


class CrampedRoom:
    """Two cooks in the smallest layout of Overcooked, in any number of rooms that are played at once.

    Three onions in the pot cook for 20 steps, without another action; a cook with a dish takes the soup and serves it.
    The rules are those of the recorded human games (overcooked-ai as of 2019), which the tests replay.

    Args:
        rooms: how many.

    Raises:
        ConfigError: if there is no room.

    Source:
        Carroll et al., "On the Utility of Learning about Humans for Human-AI Coordination" (NeurIPS 2019).
    """

    def __init__(self, rooms: int = 1) -> None:
        if rooms < 1:
            raise ConfigError(f"At least one room is needed, got {rooms}.", hint="Use rooms=1 or more.")
        self.rooms = rooms
        self.reset()

    def reset(self) -> NDArray[np.uint8]:
        """Empty the rooms and give observations of each cook, (rooms, 2, 57), with the columns of recorded games."""
        self._cell = np.repeat(_START, self.rooms, axis=0)
        self._facing = np.zeros((self.rooms, 2), dtype=np.int64)
        self._held = np.zeros((self.rooms, 2), dtype=np.int64)
        self._objects = np.zeros((self.rooms, _CELLS), dtype=np.int64)  # on counters
        self._onions = np.zeros(self.rooms, dtype=np.int64)  # in the pot
        self._cooking = np.zeros(self.rooms, dtype=np.int64)  # steps since the third onion
        return self.observe()

    def step(self, actions: NDArray[np.integer]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Let all cooks act, (rooms, 2) as numbered in ``ACTIONS``; give observations and rewards, (rooms,)."""
        actions = np.asarray(actions)
        if actions.shape != (self.rooms, 2) or actions.min() < 0 or actions.max() >= len(ACTIONS):
            raise ConfigError(
                f"Actions must be 0 to 5 in the shape ({self.rooms}, 2), got {actions.shape}.",
                hint="Pass one integer for each cook of each room.",
            )
        served = sum(self._interact(cook, actions[:, cook] == _INTERACT) for cook in (0, 1))
        self._move(actions)
        self._cooking += self._onions == _FULL
        return self.observe(), REWARD * np.asarray(served, dtype=np.float64)

    def score(self, player: Any, steps: int = 400) -> NDArray[np.float64]:
        """Let one policy, with the ``predict`` of Stable-Baselines3, play both cooks; sum rewards, shape (rooms,)."""
        # 400 steps are a game in the literature.
        seen, total = self.reset(), np.zeros(self.rooms)
        for _ in range(steps):
            actions, _ = player.predict(seen.reshape(-1, seen.shape[-1]))
            seen, rewards = self.step(np.asarray(actions).reshape(self.rooms, 2))
            total += rewards
        return total

    def observe(self) -> NDArray[np.uint8]:
        """Give the observations of the current state, as `reset` does."""
        cooks = np.zeros((self.rooms, 2, 27), dtype=np.uint8)
        cooks[:, :, :20] = _ONE_HOT[_CELLS][self._cell]
        cooks[:, :, 20:24] = _ONE_HOT[4][self._facing]
        cooks[:, :, 24:] = _ONE_HOT[4][np.minimum(self._held, _SOUP)][:, :, 1:]
        loose = ((self._objects > _NOTHING) & (self._objects < _SOUP)).sum(axis=1)
        # The columns of the pot are those of the recorded games, which show a soup on a counter in place of the pot.
        lying = self._objects.max(axis=1)
        onions = np.where(lying >= _SOUP, _FULL, self._onions)
        cooked = np.where(lying >= _SOUP, lying - _SOUP, self._cooking)
        room = np.stack([onions, np.minimum(cooked, 255), np.minimum(loose, 2)], axis=1).astype(np.uint8)
        shared = np.repeat(room[:, None], 2, axis=1)
        return np.concatenate([cooks, cooks[:, ::-1], shared], axis=2)

    def _interact(self, cook: int, wants: NDArray[np.bool]) -> NDArray[np.bool]:
        """Let one cook use what it faces; tell where a soup was served."""
        row = np.arange(self.rooms)
        place = self._cell[:, cook] + _MOVES[self._facing[:, cook]]
        held = self._held[:, cook].copy()
        lying = self._objects[row, place]
        swaps = wants & _COUNTER[place] & ((held == _NOTHING) != (lying == _NOTHING))
        onion = wants & _ONIONS[place] & (held == _NOTHING)
        dish = wants & _DISHES[place] & (held == _NOTHING)
        fills = wants & _POT[place] & (held == _ONION) & (self._onions < _FULL)
        takes = wants & _POT[place] & (held == _DISH) & (self._cooking >= _COOKED)
        serves = wants & _SERVING[place] & (held >= _SOUP)
        self._held[:, cook] = np.select(
            [swaps, onion, dish, takes, fills | serves], [lying, _ONION, _DISH, _SOUP + self._cooking, _NOTHING], held
        )
        self._objects[row[swaps], place[swaps]] = held[swaps]
        self._onions = np.where(takes, 0, self._onions + fills)
        self._cooking = np.where(takes, 0, self._cooking)
        return serves

    def _move(self, actions: NDArray[np.integer]) -> None:
        """Turn, and step where the floor is free; cooks that would meet or swap places both stay."""
        moves = actions < _STAY
        self._facing = np.where(moves, actions, self._facing)
        ahead = self._cell + _MOVES[actions]
        wanted = np.where(_FLOOR[ahead], ahead, self._cell)
        meet = wanted[:, 0] == wanted[:, 1]
        swap = (wanted[:, 0] == self._cell[:, 1]) & (wanted[:, 1] == self._cell[:, 0])
        self._cell = np.where((meet | swap)[:, None], self._cell, wanted)
