"""Networks that the tests trace, with statistics of batch norms that are not those of a new network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    RegNetConfig,
    RegNetForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
)

from modicum.core.resnet import CifarResNet


def stirred(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw the weights and statistics of all batch norms, and bring the network to float64 and evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                bound = (3 / parameter[0].numel()) ** 0.5
                parameter.uniform_(-bound, bound, generator=generator)
            else:
                parameter.uniform_(-0.3, 0.3, generator=generator)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.normal_(generator=generator).mul_(0.1)
                assert module.running_var is not None
                module.running_var.uniform_(0.5, 2, generator=generator)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5, generator=generator)
                    module.bias.normal_(generator=generator)
    return model.double().eval()


def images(size: int, count: int = 5, channels: int = 3, seed: int = 1) -> Tensor:
    """Draw images in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, size, size, generator=generator, dtype=torch.float64)


def logits(model: nn.Module, x: Tensor) -> Tensor:
    """Give the outputs of a network, or of one that wraps them."""
    with torch.no_grad():
        found = model(x)
    return getattr(found, "logits", found)


def cifar_resnet() -> nn.Module:
    """Nine blocks would be resnet20; three suffice to have every kind of shortcut."""
    return CifarResNet(1)


def basic_resnet() -> nn.Module:
    """ResNet of transformers with basic blocks."""
    return _resnet("basic")


def bottleneck_resnet() -> nn.Module:
    """ResNet of transformers with bottlenecks."""
    return _resnet("bottleneck")


def mobilenet() -> nn.Module:
    """MobileNetV2: ReLU6, depthwise convolutions, explicit padding."""
    return MobileNetV2ForImageClassification(MobileNetV2Config(image_size=64, depth_multiplier=0.35))


def regnet_x() -> nn.Module:
    """RegNet without squeeze and excitation."""
    return _regnet("x")


def regnet_y() -> nn.Module:
    """RegNet with squeeze and excitation."""
    return _regnet("y")


def _resnet(kind: str) -> nn.Module:
    return ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 2], layer_type=kind)
    )


def _regnet(kind: str) -> nn.Module:
    return RegNetForImageClassification(
        RegNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1], groups_width=8, layer_type=kind)
    )


def chain() -> nn.Module:
    """A plain chain of modules."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, groups=2, dilation=2, padding="same", bias=False),
        nn.BatchNorm2d(12, affine=False),
        nn.ReLU6(),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(12 * 16, 9),
        nn.BatchNorm1d(9),
        nn.ReLU(),
        nn.Linear(9, 4),
    )


class InPlace(nn.Module):
    """Sums and ReLUs that overwrite their input, of which other names are read afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.drop = nn.Dropout2d()
        self.last = nn.Linear(6 * 64, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of 8x8 to four numbers."""
        h = self.first(x)
        same = self.drop(h)
        copy = h.clone()
        torch.relu_(same)  # h is rectified, too, and the copy is not
        out = self.second(h)
        out += h
        out.mul_(1.5)
        out = out + copy
        return self.last(functional.relu(out, inplace=True).view(x.shape[0], -1))


class Gated(nn.Module):
    """Squeeze and excitation with a mean over axes, slices, and a list of tensors on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding="same")
        self.gate = nn.Linear(8, 8)
        self.add = nn.Conv2d(8, 8, 1)  # named like an operator
        self.last = nn.Linear(8, 5)
        self.shift = nn.Parameter(torch.rand(1, 8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map images to five numbers."""
        h = torch.relu(self.first(x))
        h = h * torch.sigmoid(self.gate(h.mean((-2, -1))))[:, :, None, None] + self.shift
        left, right = h.chunk(2, dim=1)
        h = torch.cat([right.relu(), left], 1)
        h = self.add(h) + h
        return self.last(functional.adaptive_avg_pool2d(h, 1).flatten(1))


class Shared(nn.Module):
    """A convolution and a batch norm that are used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.last = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to two numbers."""
        for _ in range(2):
            x = torch.relu(self.norm(self.conv(x)))
        return self.last(functional.avg_pool2d(x, x.shape[3])[:, :, 0, 0])


class Shuffled(nn.Module):
    """Channel shuffles as ShuffleNet and Swin write them: a view reads what `contiguous` or `clone` gives."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.second = nn.Conv2d(8, 8, 1, groups=2)
        self.last = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to four numbers."""
        h = torch.relu(self.first(x))
        n, c, rows, columns = h.shape
        h = h.view(n, 2, c // 2, rows, columns).transpose(1, 2).contiguous().view(n, c, rows, columns)
        h = torch.relu(self.second(h)).permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
        return self.last(functional.dropout(h, training=False).view(n, rows * columns, c).mean(1))


class ReadTwice(nn.Module):
    """A convolution that a batch norm and a sum read, and one that two batch norms read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 4, 1)
        self.one, self.two, self.three = (nn.BatchNorm2d(4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Map images to maps."""
        h = self.first(x)
        h = self.one(h) + h
        h = self.second(h)
        return self.two(h) + torch.relu(self.three(h))


class NormOfTokens(nn.Module):
    """A batch norm whose channels are not those of the linear layer before it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 5)
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 5, 6) to (batch, 5, 5)."""
        return self.norm(self.linear(x))


class PartOfTheMap(nn.Module):
    """Means over a part of the map, and over all of it with another divisor."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of 7x7 to two numbers."""
        corner = functional.avg_pool2d(x, 5)
        whole = functional.avg_pool2d(x, 7, divisor_override=10)
        return self.linear(torch.cat([corner, whole], 1).flatten(1))


class FirstHalf(nn.Module):
    """A slice of the batch, a size of which is not known when it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map n images to n // 2 maps, of which every second row is kept."""
        h = self.conv(x)
        return h[: x.shape[0] // 2][:, :, ::2, 1:]
