"""Clone a weak expert, and see what the peer term does to the policy; then learn from noisy labels.

Run: python examples/peerpl.py
The expert is a rule for CartPole that errs three times in ten, so nothing is downloaded. For demonstrations of yours
read_demonstrations("demos.npz") takes the place of record().
"""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from sklearn.datasets import load_digits

from modicum.weakpolicy import ClonedPolicy, Demonstrations, PeerBC, PeerLoss


def record(episodes: int) -> Demonstrations:
    """Let the rule play: push to where the pole falls, or to the other side."""
    draws = np.random.default_rng(0)
    env = gymnasium.make("CartPole-v1")
    seen, did = [], []
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        over = False
        while not over:
            right = int(observation[2] + 0.5 * observation[3] > 0)
            action = 1 - right if draws.random() < 0.3 else right
            seen.append(observation)
            did.append(action)
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
    return Demonstrations(np.array(seen), np.array(did))


def score(policy: ClonedPolicy, episodes: int = 20) -> float:
    """Give the mean return of the policy."""
    envs = gymnasium.make_vec("CartPole-v1", num_envs=episodes)
    observations, _ = envs.reset(seed=1000)
    going, returns = np.ones(episodes, dtype=bool), np.zeros(episodes)
    while going.any():
        observations, rewards, terminated, truncated, _ = envs.step(policy.predict(observations)[0])
        returns += rewards * going
        going &= ~(terminated | truncated)
    return float(returns.mean())


def main() -> None:
    # One fit of ordinary cloning gives the policy of every xi, and its controls.
    cloning = PeerBC(steps=600).fit(record(30))
    print(f"{'BC':30} {score(cloning.policy()):6.1f}")
    for xi in (0.2, 0.5):
        print(f"{f'PeerBC, xi={xi}':30} {score(cloning.policy(xi)):6.1f}")
        print(f"{'BC sharpened to its entropy':30} {score(cloning.sharpened(xi)):6.1f}")
    print(f"{'greedy BC':30} {score(cloning.greedy()):6.1f}")

    # PeerLoss is a loss like any other: here four labels in ten are random.
    pixels, digits = load_digits(return_X_y=True)
    inputs, truth = torch.tensor(pixels, dtype=torch.float32) / 16, torch.tensor(digits)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(len(truth), generator=generator) < 0.4
    labels = torch.where(noise, torch.randint(0, 10, truth.shape, generator=generator), truth)
    for name, loss in (("cross-entropy", torch.nn.CrossEntropyLoss()), ("PeerLoss", PeerLoss(xi=0.5))):
        model = torch.nn.Linear(64, 10)
        torch.nn.init.zeros_(model.weight)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(100):
            optimizer.zero_grad()
            loss(model(inputs[:1000]), labels[:1000]).backward()
            optimizer.step()
        right = model(inputs[1000:]).argmax(1) == truth[1000:]
        print(f"digits with 40 % random labels, {name}: accuracy {right.float().mean():.3f}")


if __name__ == "__main__":
    main()
