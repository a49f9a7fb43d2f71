"""Running a graph: only what is needed, and nothing is kept that nobody reads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modicum.errors import ConfigError
from modicum.quantize.graph.graph import Graph, Node
from modicum.quantize.graph.ops import Activation, Add, Input, Linear


def graph() -> Graph:
    layer = Linear(weight=2 * torch.eye(2), bias=torch.tensor([1.0, -1]))
    return Graph(
        nodes=(
            Node(name="x", operation=Input()),
            Node(name="twice", operation=layer, inputs=("x",)),
            Node(name="relu", operation=Activation(), inputs=("twice",)),
            Node(name="sum", operation=Add(), inputs=("relu", "x")),
        )
    )


X = torch.tensor([[1.0, -3.0]])


def test_graph_computes_by_hand() -> None:
    assert graph().run({}, x=X)["sum"].tolist() == [[4, -3]]
    assert graph().run({}, x=X, wanted=("twice", "relu"))["twice"].tolist() == [[3, -7]]


def test_known_outputs_are_not_computed_again() -> None:
    ran: list[str] = []

    def note(name: str, value: Tensor) -> Tensor:
        ran.append(name)
        return value

    found = graph().run({"relu": torch.ones(1, 2)}, x=X, through=note)
    assert found["sum"].tolist() == [[2, -2]]
    assert ran == ["x", "sum"]


def test_through_changes_what_later_nodes_see() -> None:
    found = graph().run({}, x=X, through=lambda name, value: value + 10 if name == "x" else value)
    assert found["sum"].tolist() == [[34, 20]]


def test_wanted_output_survives_its_last_reader() -> None:
    found = graph().run({}, x=X, wanted=("relu", "sum"))
    assert set(found) == {"relu", "sum"}


def test_missing_input_is_named() -> None:
    with pytest.raises(ConfigError, match="x is missing"):
        graph().run({"relu": torch.ones(1, 2)})


def test_consumers_and_layers() -> None:
    assert [node.name for node in graph().consumers("x")] == ["twice", "sum"]
    assert list(graph().layers) == ["twice"]
    assert graph().output == "sum"
