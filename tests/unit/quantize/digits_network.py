"""A small residual network, trained within seconds on the handwritten digits of scikit-learn."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu


class Block(nn.Module):
    """Two convolutions around a shortcut that is a convolution where the image is halved."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        super().__init__()
        stride = outgoing // incoming
        self.first = nn.Conv2d(incoming, outgoing, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outgoing)
        self.second = nn.Conv2d(outgoing, outgoing, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outgoing)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(incoming, outgoing, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, incoming, height, width) to (batch, outgoing, ...)."""
        out = relu(self.norm1(self.first(x)))
        return relu(self.norm2(self.second(out)) + self.shortcut(x))


class DigitNet(nn.Module):
    """Three blocks for images of 8x8."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(Block(width, width), Block(width, 2 * width), Block(2 * width, 2 * width))
        self.head = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, 8, 8) to logits (batch, 10)."""
        return self.head(self.blocks(relu(self.norm(self.stem(x)))).mean((2, 3)))


@dataclass(frozen=True, kw_only=True)
class Digits:
    """A trained network with its data.

    Args:
        model: in evaluation mode.
        train: images, shape (1297, 1, 8, 8), 0 to 1.
        images: of the test, shape (500, 1, 8, 8).
        labels: of the test.
    """

    model: nn.Module
    train: Tensor
    images: Tensor
    labels: Tensor

    def accuracy(self, model: nn.Module) -> float:
        """Give the share of test images that a network names, in percent."""
        with torch.no_grad():
            return 100 * float((model(self.images).argmax(1) == self.labels).float().mean())


@functools.cache
def trained_digits() -> Digits:
    """Train the network for ten epochs; the same one in each process."""
    data, target = load_digits(return_X_y=True)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(data, dtype=torch.float32).view(-1, 1, 8, 8)[order] / 16
    y = torch.tensor(target)[order]
    generator = torch.Generator().manual_seed(1)
    model = DigitNet()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, generator=generator)
        elif parameter is model.head.bias:
            nn.init.zeros_(parameter)
    for block in model.blocks:
        if isinstance(block.shortcut, nn.Conv2d) and block.shortcut.bias is not None:
            nn.init.zeros_(block.shortcut.bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(10):
        for batch in torch.randperm(1297, generator=generator).split(64):
            optimizer.zero_grad()
            cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return Digits(model=model.eval().requires_grad_(False), train=x[:1297], images=x[1297:], labels=y[1297:])
