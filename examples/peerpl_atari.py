"""Clone a weak PPO on an Atari game, as the paper of PeerPL does. It takes hours, and a GPU.

Run: python examples/peerpl_atari.py pong --steps 1000000 --seeds 5 --device cuda
"""

# ruff: noqa: ARG002, D102 - the methods of VecEnv

import argparse
import json
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from modicum.weakpolicy import Demonstrations, PeerBC
from modicum.weakpolicy.wrappers import make_atari


class Games(VecEnv):
    """A vector environment of gymnasium, whose games begin anew at their end, as Stable-Baselines3 takes it."""

    def __init__(self, envs: Any, seed: int) -> None:
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self.envs, self.first = envs, seed

    def reset(self) -> Any:
        return self.envs.reset(seed=self.first)[0]

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = actions

    def step_wait(self) -> Any:
        seen, rewards, terminated, truncated, _ = self.envs.step(self.actions)
        infos = [{"TimeLimit.truncated": bool(cut and not end)} for end, cut in zip(terminated, truncated, strict=True)]
        return seen, rewards.astype(np.float32), terminated | truncated, infos

    def close(self) -> None:
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.envs, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *arguments: Any, indices: Any = None, **options: Any) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


def play(policy: Any, game: str, steps: int, seed: int) -> tuple[float | None, Demonstrations]:
    """Play in eight games; give the mean return of those that ended, and what was seen and done."""
    envs = make_atari(game)
    seen, _ = envs.reset(seed=seed)
    returns, ended = np.zeros(envs.num_envs), list[float]()
    observations, actions = list[np.ndarray](), list[np.ndarray]()
    for _ in range(steps):
        chosen, _ = policy.predict(seen)
        observations.append(np.array(seen))
        actions.append(np.asarray(chosen, dtype=np.int64))
        seen, rewards, terminated, truncated, _ = envs.step(chosen)
        returns += rewards
        for place in np.flatnonzero(terminated | truncated):
            ended.append(float(returns[place]))
            returns[place] = 0
    count = int(envs.single_action_space.n)
    envs.close()
    shown = Demonstrations(np.concatenate(observations), np.concatenate(actions), action_count=count)
    return float(np.mean(ended)) if ended else None, shown


def network(actions: int) -> nn.Module:
    """Build the network of Mnih and others (2015)."""
    layers = (nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU())
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 49, 512), nn.ReLU(), nn.Linear(512, actions))


def one(game: str, seed: int, options: argparse.Namespace) -> dict[str, float | None]:
    """Train, clone and play with one seed."""
    expert = PPO(
        ActorCriticCnnPolicy,
        Games(make_atari(game), seed),
        n_steps=128,
        batch_size=256,
        n_epochs=4,
        learning_rate=2.5e-4,
        clip_range=0.1,
        ent_coef=0.01,
        seed=seed,
        device=options.device,
    ).learn(options.steps)
    found: dict[str, float | None] = {}
    found["weak PPO"], shown = play(expert, game, options.frames, seed + 1)
    settings: dict[str, Any] = {"steps": options.updates, "seed": seed, "device": options.device}
    cloning = PeerBC(network=network(shown.discrete()), **settings).fit(shown)
    policies = {"BC": cloning.policy(), "greedy BC": cloning.greedy()}
    for xi in (0.2, 0.5):
        policies |= {f"PeerBC xi={xi}": cloning.policy(xi), f"BC sharpened as xi={xi}": cloning.sharpened(xi)}
    for name, policy in policies.items():
        found[name], _ = play(policy, game, options.frames, seed + 2)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("game", nargs="?", default="pong", help="name in ale-py")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of PPO, after which it is still weak")
    parser.add_argument("--frames", type=int, default=4000, help="played in each of eight games")
    parser.add_argument("--updates", type=int, default=20_000, help="of the cloning")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    for number in range(given.seeds):
        print(json.dumps({"seed": number, **one(given.game, number, given)}), flush=True)
