"""Swap SGD for NSGD: a rate that was tuned on pixels from 0 to 1 still works when they come from 0 to 10.

Run: python examples/nsgd.py
"""

from collections.abc import Callable

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from modicum.optim import NSGD

pixels, digits = (torch.as_tensor(np.asarray(part)) for part in load_digits(return_X_y=True))
pixels = pixels.float() / 16
order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
train, test = order[:1200], order[1200:]


def accuracy(make_optimizer: Callable[[nn.Module], torch.optim.Optimizer], factor: float) -> float:
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05, generator=generator)
    optimizer = make_optimizer(network)
    for _ in range(400):
        batch = train[torch.randint(len(train), (64,), generator=generator)]
        loss = nn.functional.cross_entropy(network(factor * pixels[batch]), digits[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    return (network(factor * pixels[test]).argmax(1) == digits[test]).double().mean().item()


print("pixels   SGD, lr 0.1   NSGD, lr 1, momentum 0.9")
for factor in (0.1, 1, 10):
    sgd = accuracy(lambda network: torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9), factor)
    nsgd = accuracy(lambda network: NSGD(network, lr=1.0, momentum=0.9), factor)
    print(f"0..{factor:<5} {sgd:11.3f} {nsgd:14.3f}")
