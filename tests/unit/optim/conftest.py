"""Small models and batches for the tests of NSGD."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20221220)


@pytest.fixture
def draw(generator: torch.Generator) -> Callable[..., Tensor]:
    """Draw standard-normal tensors from one stream."""

    def draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    return draw


@pytest.fixture
def initialise(generator: torch.Generator) -> Callable[[nn.Module], nn.Module]:
    """Give all parameters of a model fresh values of moderate size from the test's own stream."""

    def initialise(model: nn.Module) -> nn.Module:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        return model

    return initialise


@pytest.fixture
def convnet(initialise: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A net with a grouped, a strided and an in-place layer; for images of shape (4, 8, 8) and five classes."""
    return initialise(
        nn.Sequential(
            nn.Conv2d(4, 8, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 6, 3, stride=2),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(6 * 9, 5),
        )
    )
