"""Quantized models with random codes: every claim on files and integers must hold for any codes, not for good ones."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from modicum.core.resnet import resnet20
from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.graph.graph import Graph, folded
from modicum.quantize.graph.placement import bits_of_weights, simulated, sites
from modicum.quantize.graph.trace import trace
from modicum.quantize.model import QuantizedModel

__all__ = ["DepthwiseNet", "ResidualNet", "images", "random_codes", "random_model", "random_resnet20"]


class ResidualNet(nn.Module):
    """A residual block with a shortcut of option A behind a max pool."""

    shape = (3, 10, 10)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.first = nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(relu(self.stem(x)))
        out = self.second(relu(self.norm(self.first(x))))
        out = relu(out + pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))
        return self.last(out.mean(dim=(2, 3)))


class DepthwiseNet(nn.Module):
    """An inverted residual with ReLU6, the mean over 16 pixels and a classifier."""

    shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.expand = nn.Conv2d(6, 12, 1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.project = nn.Conv2d(12, 6, 1)
        self.clip = nn.ReLU6()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.clip(self.stem(x))
        out = self.clip(self.norm(self.depthwise(self.clip(self.expand(x)))))
        out = x + self.project(out)
        return self.last(self.pool(out).flatten(1))


def images(shape: tuple[int, ...], *, count: int = 8, seed: int = 0) -> Tensor:
    """Draw a batch of normal pixels."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def random_codes(graph: Graph, x: Tensor, config: RAPQConfig, generator: torch.Generator) -> dict[str, WeightCode]:
    """Draw codes and zero points uniformly, and exponents such that channels come out within a factor of 4 of 1."""
    result: dict[str, WeightCode] = {}
    for name, bits in bits_of_weights(graph, config).items():
        weight = graph.layers[name].weight
        zero = torch.randint(0, 2**bits, weight.shape[:1], generator=generator)
        code = WeightCode(
            codes=torch.randint(0, 2**bits, weight.shape, generator=generator).to(torch.uint8),
            zero=(zero if bits < 8 else torch.full_like(zero, 128)).to(torch.uint8),
            exponent=torch.zeros_like(zero, dtype=torch.int8),
            bits=bits,
        )
        with torch.no_grad():
            out = simulated(graph, result | {name: code}, {}).run({}, x=x, wanted=(name,))[name]
        size = out.transpose(0, 1).flatten(1).square().mean(dim=1).sqrt().clamp(min=2**-20)
        jitter = torch.randint(-1, 2, size.shape, generator=generator)
        result[name] = replace(code, exponent=(jitter - torch.log2(size).round()).to(torch.int8))
    return result


def random_model(
    network: nn.Module, *, shape: tuple[int, ...], config: RAPQConfig | None = None, seed: int = 0
) -> QuantizedModel:
    """Quantize a network with random codes, and with grids that reach as far as a batch does."""
    config = config or RAPQConfig()
    generator = torch.Generator().manual_seed(seed)
    _randomise(network, generator)
    x = images(shape, seed=seed)
    graph = folded(trace(network, x))
    codes = random_codes(graph, x, config, generator)
    places = sites(graph, config)
    coarse = simulated(graph, codes, {})
    with torch.no_grad():
        seen = coarse.run({}, x=x, wanted=tuple(places)) if places else {}
    grids = {}
    for name, site in places.items():
        signed = not site.unsigned
        largest = max(float(seen[name].abs().max()), 2**-10) / 2 ** (site.bits - signed)
        grids[name] = ActivationGrid(
            bits=site.bits,
            signed=signed,
            exponent=int(torch.tensor(largest).log2().round()),
            ceiling=site.ceiling,
            rounding=config.rounding,
        )
    return QuantizedModel(simulated(graph, codes, grids), codes, grids, config=config, shape=shape)


def random_resnet20(*, config: RAPQConfig | None = None, seed: int = 0) -> QuantizedModel:
    """Quantize ResNet-20 with random codes."""
    return random_model(resnet20(), shape=(3, 32, 32), config=config, seed=seed)


def _randomise(network: nn.Module, generator: torch.Generator) -> None:
    state = {}
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(value.shape, generator=generator)
        elif value.is_floating_point():
            fan = value[0].numel() if value.ndim > 1 else 4
            state[name] = torch.randn(value.shape, generator=generator) * fan**-0.5
        else:
            state[name] = value
    network.load_state_dict(state)
