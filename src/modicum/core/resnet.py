"""ResNet for 32x32 images, the network on which NSGD and RAPQ are compared."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut without parameters."""

    def __init__(self, incoming: int, outgoing: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, outgoing, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outgoing)
        self.conv2 = nn.Conv2d(outgoing, outgoing, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outgoing)
        self.stride = stride
        self.added = outgoing - incoming

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, incoming, height, width) to (batch, outgoing, height / stride, width / stride)."""
        out = relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x
        if self.added:
            half = self.added // 2
            shortcut = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.added - half))
        return relu(out + shortcut)


class CifarResNet(nn.Module):
    """The residual network of 6n + 2 layers for 32x32 colour images."""

    # The names of its parameters are those of the public checkpoints of akamaster/pytorch_resnet_cifar10, without the
    # prefix "module.".

    def __init__(self, depth: int, *, classes: int = 10, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, depth=depth, stride=1)
        self.layer2 = _stage(16, 32, depth=depth, stride=2)
        self.layer3 = _stage(32, 64, depth=depth, stride=2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, generator=generator)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, 3, 32, 32) to logits (batch, classes)."""
        out = relu(self.bn1(self.conv1(images)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(out.mean(dim=(2, 3)))


def resnet20(*, classes: int = 10, generator: torch.Generator | None = None) -> CifarResNet:
    """Build the network of 20 layers and 0.27 million parameters."""
    return CifarResNet(3, classes=classes, generator=generator)


def _stage(incoming: int, outgoing: int, *, depth: int, stride: int) -> nn.Sequential:
    first = BasicBlock(incoming, outgoing, stride=stride)
    return nn.Sequential(first, *[BasicBlock(outgoing, outgoing, stride=1) for _ in range(depth - 1)])
