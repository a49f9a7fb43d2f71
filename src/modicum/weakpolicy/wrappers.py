"""Environments of gymnasium with noisy rewards, with what a surrogate makes of them, and the games of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from modicum.core.extras import require
from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError, MissingExtraError
from modicum.weakpolicy.noise import CARTPOLE_EDGES, ConfusionEstimator, ConfusionNoise

require("gymnasium", extra="rl", purpose="An environment with noisy rewards")
from gymnasium import Wrapper  # noqa: E402, TID253 - this module is imported when it is used
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper  # noqa: E402, TID253

_FIRST, _EVERY = 100, 50  # steps: when the published estimate is made, and how often again


def _checked(noise: ConfusionNoise) -> ConfusionNoise:
    if not isinstance(noise, ConfusionNoise):
        raise ConfigError(
            f"noise must be a ConfusionNoise, got {noise!r}.", hint="Use ConfusionNoise.binary(to_low=0.3), say."
        )
    return noise


class NoisyReward(Wrapper):
    """Replace the reward of an environment by a noisy one; the true one is ``info["true_reward"]``.

    Wrap it around Monitor or RecordEpisodeStatistics, which then go on to count the true return.

    Args:
        env: an environment of gymnasium.
        noise: which reward turns into which.
        seed: of the noise, whatever the seed of the environment is; copies that train one agent need one each.
    """

    def __init__(self, env: Any, noise: ConfusionNoise, seed: int = 0) -> None:
        super().__init__(env)
        self.noise = _checked(noise)
        self._generator = numpy_generator(seed, "reward noise")

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step, as of ``gymnasium.Env``; a true reward that is no level of the noise is refused."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        noisy = float(self.noise.corrupt(float(reward), self._generator))
        return observation, noisy, terminated, truncated, {**info, "true_reward": float(reward)}


class NoisyVectorReward(VectorWrapper):
    """`NoisyReward` for the vector environments of gymnasium; ``info["true_reward"]`` is an array.

    Args:
        env: a vector environment of gymnasium.
        noise: which reward turns into which.
        seed: of the noise.

    Raises:
        ConfigError: if it is another vector environment: with that of Stable-Baselines3 wrap each of its own.
    """

    def __init__(self, env: Any, noise: ConfusionNoise, seed: int = 0) -> None:
        if not isinstance(env, VectorEnv):
            raise ConfigError(
                f"A vector environment of gymnasium was expected, got {type(env).__name__}.",
                hint="For Stable-Baselines3 use DummyVecEnv([lambda i=i: NoisyReward(Monitor(gymnasium.make(...)), "
                "noise, seed=i) for i in range(n)]): make_vec_env gives all copies the same noise.",
            )
        super().__init__(env)
        self.noise = _checked(noise)
        self._generator = numpy_generator(seed, "reward noise")
        # The step after an end only resets: its reward of 0 is none, and no level either.
        self._skips = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP) == AutoresetMode.NEXT_STEP
        self._ended = np.zeros(env.num_envs, dtype=bool)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all environments, as of ``gymnasium.vector.VectorEnv``."""
        self._ended[:] = False
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take a step in each environment, as of ``gymnasium.vector.VectorEnv``."""
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        true = np.asarray(rewards, dtype=np.float64)
        noisy = true.copy()
        counted = ~self._ended if self._skips else np.ones_like(self._ended)
        noisy[counted] = self.noise.corrupt(true[counted], self._generator)
        self._ended = np.asarray(terminated) | np.asarray(truncated)
        return observations, noisy, terminated, truncated, {**info, "true_reward": true}


class SurrogateReward(Wrapper):
    """Undo noise on the rewards in expectation: the rival of peer rewards, which has to know the confusion matrix.

    Args:
        env: an environment whose rewards are noisy levels, such as `NoisyReward`.
        levels: of reward, rising.
        matrix: of the noise; estimated from 100 steps on, and again each 50 steps, if not given.
        edges: of the bins for the estimate, for each column of the observations, of which an empty list leaves one
            out; those published for CartPole by default.

    Raises:
        ConfigError: if ``matrix`` is singular or no confusion matrix, or is to be estimated for continuous actions; and
            by ``step`` if a reward is no level.

    Source:
        Wang, Liu and Li, "Reinforcement Learning with Perturbed Rewards" (AAAI 2020). Departures: the majority is never
        turned around for noise above one half, and an estimate that is singular leaves the rewards as they are.
    """

    def __init__(
        self,
        env: Any,
        levels: Sequence[float],
        matrix: ArrayLike | None = None,
        edges: Sequence[ArrayLike] = CARTPOLE_EDGES,
    ) -> None:
        super().__init__(env)
        if matrix is None and not hasattr(env.action_space, "n"):
            raise ConfigError(
                f"Discrete actions are needed to estimate the noise, the space is {env.action_space}.",
                hint="Give matrix, or use a peer reward.",
            )
        self._estimator = ConfusionEstimator(levels, edges) if matrix is None else None
        self._noise = ConfusionNoise(levels, np.eye(len(levels)) if matrix is None else matrix)
        self.levels, self.rewards = self._noise.levels, self._noise.surrogate()
        self._observation: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, as of ``gymnasium.Env``; the estimate stays."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        return self._observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step, as of ``gymnasium.Env``."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._estimator is not None:
            self._estimator.add(self._observation, int(action), float(reward))
            if self._estimator.count >= _FIRST and self._estimator.count % _EVERY == 0:
                try:
                    self.rewards = ConfusionNoise(self.levels.tolist(), self._estimator.matrix()).surrogate()
                except ConfigError:  # singular
                    self.rewards = self.levels
        self._observation = observation
        level = self._noise.level_of(float(reward))
        return observation, float(self.rewards[level]), terminated, truncated, info


def make_atari(game: str, num_envs: int = 8) -> Any:
    """Make an Atari game as the paper has it: no sticky actions, four frames a step, the signs of rewards.

    Args:
        game: its name in ale-py, such as "pong", "boxing", "enduro" or "freeway".
        num_envs: how many play at once.

    Returns:
        A vector environment of gymnasium, whose observations are four frames of 84 x 84 grey values.

    Raises:
        ConfigError: if there is no such game.
        MissingExtraError: if ale-py (GPL-2.0) or the ROM is not installed.
    """
    roms = require("ale_py.roms", extra="atari", purpose=f"The game {game}")
    if game not in roms.get_all_rom_ids():
        raise ConfigError(f"There is no Atari game {game!r}.", hint="Use its name in ale-py, such as pong.")
    try:
        roms.get_rom_path(game)
    except OSError as error:
        raise MissingExtraError(
            f"The ROM of {game} is missing ({error}).", hint="Unset ALE_ROMS_DIR, or run: pip install 'modicum[atari]'"
        ) from error
    vector = require("ale_py.vector_env", extra="atari", purpose=f"The game {game}")
    return vector.AtariVectorEnv(game, num_envs)
