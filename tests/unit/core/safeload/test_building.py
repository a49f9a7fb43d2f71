"""No description makes a network be built that the weights beside it cannot fill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from modicum.core.safeload.building import bounded_build
from modicum.errors import ModelError


def place(folder: Path, **config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"\0" * 4000)
    return folder


def test_a_network_of_the_size_of_its_files_is_built_and_filled(tmp_path: Path) -> None:
    with bounded_build(place(tmp_path, hidden_size=30), hint="Copy it."):
        first, second = nn.Linear(30, 30), nn.Linear(30, 30)
        for _ in range(5):
            first.weight = nn.Parameter(torch.ones(30, 30))  # as loading does
    assert torch.equal(first.weight, torch.ones(30, 30))
    assert second.weight.shape == (30, 30)
    assert nn.Linear(100, 100).weight.shape == (100, 100)  # more than the file has: nothing is counted afterwards


def test_too_many_layers_are_refused_while_they_are_built(tmp_path: Path) -> None:
    layers = (nn.Linear(10, 10) for _ in range(10**9))
    message = r"asks for .* parameters or more, its weights have 4,\d+ bytes. Copy it."
    with pytest.raises(ModelError, match=message), bounded_build(place(tmp_path), hint="Copy it."):
        list(layers)
    assert nn.Linear(100, 100).weight.shape == (100, 100)


def test_a_size_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    folder = place(tmp_path, encoder={"depths": [1, 2**31]}, theta=1e30, token=2**20)
    with (
        pytest.raises(ModelError, match=r"config.json in .* says depths 2147483648, for weights of 4,\d+ bytes"),
        bounded_build(folder, hint=""),
    ):
        raise AssertionError


def test_a_file_and_the_name_of_a_model_elsewhere(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="have 4,000 bytes"),
        bounded_build(place(tmp_path) / "model.safetensors", hint=""),
    ):
        nn.Linear(100, 100)
    with bounded_build(tmp_path / "org" / "model", hint=""):
        nn.Linear(100, 100)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\udcff"])
def test_a_description_that_cannot_be_read_is_left_to_its_reader(text: str, tmp_path: Path) -> None:
    place(tmp_path)
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with bounded_build(tmp_path, hint=""):
        layer = nn.Linear(10, 10)
    assert layer.weight.shape == (10, 10)
