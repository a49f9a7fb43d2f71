"""Small networks that together have all that the engine knows, and what can run them here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from modicum.core.resnet import BasicBlock
from modicum.quantize.engine.build import find_compiler
from modicum.quantize.engine.engine import Backend


class Projected(nn.Module):
    """A block whose shortcut is a convolution: two accumulators of different exponents are added."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(incoming, outgoing, 3, stride=2, padding=1),
            nn.BatchNorm2d(outgoing),
            nn.ReLU(),
            nn.Conv2d(outgoing, outgoing, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(incoming, outgoing, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.main(x) + self.shortcut(x))


class Inverted(nn.Module):
    """Wide inside, depthwise, and without a ReLU at the end: its sum is signed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 3 * channels
        self.layers = nn.Sequential(
            nn.Conv2d(channels, wide, 1),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide),
            nn.ReLU6(),
            nn.Conv2d(wide, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Twice(nn.Module):
    """Values that are read more than once, added to themselves, and rectified alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 20, 3, padding=1)
        self.second = nn.Conv2d(20, 20, (1, 3), padding=(0, 1), dilation=(1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = torch.relu(x + x)
        z = self.second(y)
        return torch.relu(x) + (z + y)


def residual() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        BasicBlock(16, 16, stride=1),
        BasicBlock(16, 32, stride=2),
        Projected(32, 48),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, 10),
    )


def mobile() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, stride=2, padding=1),
        nn.ReLU6(),
        Inverted(12),
        Inverted(12),
        nn.Conv2d(12, 24, 3, groups=3, stride=(1, 2)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 5 * 3, 5),
    )


def stem() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 20, 7, stride=2, padding=3),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(20, 5, 5, padding=4, dilation=2),
        nn.MaxPool2d((2, 3), (1, 2), padding=(1, 0)),
        nn.Conv2d(5, 80, (3, 2)),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(80, 17),
    )


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 70), nn.ReLU(), nn.Linear(70, 33), nn.Linear(33, 4))


def wide() -> nn.Module:
    """An image comes out, from a ReLU without a grid."""
    return nn.Sequential(nn.Conv2d(64, 130, 1, bias=False), nn.ReLU(), nn.Conv2d(130, 6, 3, stride=2), nn.ReLU())


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (residual, (3, 16, 16)),
    "mobile": (mobile, (3, 14, 14)),
    "stem": (stem, (3, 29, 23)),
    "dense": (dense, (30,)),
    "wide": (wide, (64, 7, 9)),
    "twice": (Twice, (4, 9, 6)),
}


def available() -> list[Backend]:
    return ["numpy"] if find_compiler() is None else ["numpy", "c"]
