"""ONNX files of any network: written in silence, free in batch and length, and run by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modicum.core.export import largest_difference, open_onnx, write_onnx


class Sums(nn.Module):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        values, lengths = inputs
        return values.sum(dim=1), lengths * 2


def test_a_network_is_written_and_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    inputs = {"values": torch.randn(2, 3, 4), "lengths": torch.tensor([1, 2])}
    write_onnx(Sums(), inputs, tmp_path / "sums.onnx", outputs=["sums", "twice"])
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["sums.onnx"]
    for optimised in (False, True):
        run = open_onnx(tmp_path / "sums.onnx", threads=1, optimised=optimised)
        for batch, time in ((1, 1), (5, 7)):
            values, lengths = torch.randn(batch, time, 4), torch.arange(batch)
            sums, twice = run(values, lengths)
            assert largest_difference(sums, values.sum(dim=1)) < 1e-5
            assert torch.equal(twice, lengths * 2)


def test_a_difference_is_computed_in_double() -> None:
    assert largest_difference(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.5], dtype=torch.float64)) == 2.5
