"""Whatever a user has becomes one checked tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from modicum.errors import ConfigError, DataError
from modicum.quantize.quantizer import gather

X = torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def batches() -> Iterator[Tensor]:
    yield from X.split(4)


@pytest.mark.parametrize(
    "calibration",
    [
        X,
        list(X.split(3)),
        batches(),
        DataLoader(TensorDataset(X), batch_size=4),
        DataLoader(TensorDataset(X, torch.arange(10)), batch_size=4),
        [{"pixel_values": it, "labels": torch.arange(len(it))} for it in X.split(4)],
        {"pixel_values": X},
        [(it, None) for it in X.split(4)],
    ],
)
def test_all_samples_come_in_order(calibration: Any) -> None:
    assert torch.equal(gather(calibration), X)


def test_whole_numbers_become_floating() -> None:
    pixels = torch.arange(12, dtype=torch.uint8).view(3, 4)
    for calibration in (pixels, [pixels]):
        assert gather(calibration).dtype == torch.float32


def test_result_needs_no_gradient_and_is_no_view() -> None:
    x = X.clone().requires_grad_()
    found = gather(x)
    assert not found.requires_grad
    found.zero_()
    assert x.any()


@pytest.mark.parametrize("calibration", [[], torch.zeros(0, 3), torch.zeros(1, 3), [torch.zeros(1, 3)], iter(())])
def test_too_few_samples_are_counted(calibration: Any) -> None:
    with pytest.raises(ConfigError, match=r"Calibration needs 2 samples or more, but got [01] in"):
        gather(calibration)


@pytest.mark.parametrize(
    ("calibration", "kind"),
    [
        (torch.tensor(3.0), "Tensor"),
        ([torch.tensor(3.0)], "Tensor"),
        (["a", "b"], "str"),
        ([{"images": X}], "NoneType"),
        ([[]], "list"),
        (None, "NoneType"),
        (3, "int"),
    ],
)
def test_what_is_no_batch_is_named(calibration: Any, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"it is {kind}"):
        gather(calibration)


def test_batch_of_another_shape_is_named() -> None:
    with pytest.raises(DataError, match=r"batch 1 has samples of shape \(3, 4, 5\), the first batch of shape"):
        gather([X, torch.zeros(2, 3, 4, 5)])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_batch_that_is_not_finite_is_named(wrong: float) -> None:
    broken = X.clone()
    broken[7, 1, 2, 3] = wrong
    with pytest.raises(DataError, match="batch 1 has values that are not finite"):
        gather(broken.split(4))
