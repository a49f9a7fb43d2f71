"""The networks of the comparison: a small residual one for digits, and the published one for CIFAR-10."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from modicum.core import catalogue
from modicum.core.resnet import CifarResNet, resnet20
from modicum.core.safeload import load_torch
from modicum.core.seeding import torch_generator
from modicum.core.training import train_classifier
from modicum.errors import DataError

_CHECKPOINT = ("pretrained_models", "resnet20-12fca82f.th")
EPOCHS, BATCH, RATE = 15, 32, 3e-3  # ours: more than 97 % of held-out digits in some seconds


class _Block(nn.Module):
    def __init__(self, incoming: int, outgoing: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, outgoing, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outgoing)
        self.conv2 = nn.Conv2d(outgoing, outgoing, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outgoing)
        self.shortcut = nn.Conv2d(incoming, outgoing, 1, stride=stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = relu(self.bn1(self.conv1(x)))
        return relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class DigitsNet(nn.Module):
    """A residual network of some 20,000 weights for 8 x 8 grey images."""

    def __init__(self, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.block1 = _Block(16, 16, stride=1)
        self.block2 = _Block(16, 32, stride=2)
        self.linear = nn.Linear(32, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, 1, 8, 8) to logits (batch, 10)."""
        out = relu(self.bn1(self.conv1(images)))
        return self.linear(self.block2(self.block1(out)).mean(dim=(2, 3)))


def train_digits(images: Tensor, labels: Tensor, *, seed: int) -> DigitsNet:
    """Train the small network."""
    network = DigitsNet(generator=torch_generator(seed, "initialisation"))
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-len(images) // BATCH))
    order = torch_generator(seed, "order")
    train_classifier(network, images, labels, optimizer, schedule, epochs=EPOCHS, batch=BATCH, order=order)
    return network.eval()


def published_resnet20() -> CifarResNet:
    """Load the public ResNet-20 for CIFAR-10 (images normalised by ImageNet's mean and std)."""
    path = catalogue.fetch("models/pytorch_resnet_cifar10").joinpath(*_CHECKPOINT)
    content = load_torch(path)
    network = resnet20()
    try:
        weights = cast("dict[str, dict[str, Tensor]]", content)["state_dict"]
        network.load_state_dict({name.removeprefix("module."): value for name, value in weights.items()})
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(f"{path} has no weights of ResNet-20 ({error}).", hint="Fetch the data set again.") from error
    return network.eval()
