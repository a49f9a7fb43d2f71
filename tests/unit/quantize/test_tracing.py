"""A graph computes what its network computes, before and after folding."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

import pytest
import torch
from tests.unit.quantize import small_networks as nets
from torch import Tensor, nn
from torch.nn import functional

from modicum.errors import ModelError
from modicum.quantize.graph.graph import Graph, folded
from modicum.quantize.graph.ops import Activation, Add, BatchNorm, Convolution, Linear, MeanPool, Multiply, Opaque
from modicum.quantize.graph.trace import trace


def outputs(graph: Graph, x: Tensor) -> Tensor:
    return graph.run({}, x=x)[graph.output]


def counted(graph: Graph, kind: type) -> int:
    return sum(isinstance(node.operation, kind) for node in graph)


@pytest.mark.parametrize(
    ("make", "size", "norms_left"),
    [
        (nets.cifar_resnet, 32, 0),
        (nets.basic_resnet, 32, 0),
        (nets.bottleneck_resnet, 32, 0),
        (nets.mobilenet, 64, 0),
        (nets.regnet_x, 56, 0),
        (nets.regnet_y, 48, 0),
        (nets.chain, 16, 0),
        (nets.InPlace, 8, 0),
        (nets.Gated, 8, 0),
        (nets.Shared, 7, 0),
        (nets.Shuffled, 8, 0),
        (nets.ReadTwice, 8, 3),
    ],
)
def test_graph_gives_the_outputs_of_the_network(
    make: Callable[[], nn.Module], size: int, norms_left: int
) -> None:  # RAPQ-C7
    model = nets.stirred(make())
    x = nets.images(size)
    wanted = nets.logits(model, x.clone())
    traced = trace(model, x[:2].clone())
    after = folded(traced)
    scale = float(wanted.abs().max())
    for graph in (traced, after):
        torch.testing.assert_close(outputs(graph, x.clone()), wanted, rtol=0, atol=1e-12 * scale)
    assert counted(after, BatchNorm) == norms_left
    assert len({node.name for node in traced}) == len(traced.nodes)


@pytest.mark.parametrize(
    ("model", "x", "operators"),
    [
        (nets.NormOfTokens(), nets.images(6, channels=1).expand(-1, 5, -1, -1)[:, :, 0], {"batch_norm"}),
        (nets.PartOfTheMap(), nets.images(7), set()),
        (nets.FirstHalf(), nets.images(8, count=6), {"slice"}),
    ],
)
def test_what_only_looks_like_a_known_operator_stays_as_it_is(model: nn.Module, x: Tensor, operators: set[str]) -> None:
    model = nets.stirred(model)
    graph = folded(trace(model, x[:2]))
    torch.testing.assert_close(outputs(graph, x), nets.logits(model, x), rtol=0, atol=1e-12)
    assert {node.operation.label for node in graph if isinstance(node.operation, Opaque)} == operators


def test_gates_are_products_and_the_layers_in_them_are_layers() -> None:
    graph = folded(trace(nets.stirred(nets.regnet_y()), nets.images(48)[:2]))
    assert not counted(graph, Opaque)
    assert counted(graph, Multiply) == 2
    assert sum("attention" in name for name in graph.layers) == 4


def test_network_of_known_operators_has_nothing_opaque() -> None:
    for make, size in ((nets.cifar_resnet, 32), (nets.bottleneck_resnet, 32), (nets.regnet_x, 48), (nets.chain, 16)):
        assert not counted(trace(nets.stirred(make()), nets.images(size)[:2]), Opaque)


def test_layers_are_named_as_their_modules() -> None:
    model = nets.cifar_resnet()
    graph = trace(nets.stirred(model), nets.images(32)[:2])
    expected = [name for name, it in model.named_modules() if isinstance(it, nn.Conv2d | nn.Linear)]
    assert list(graph.layers) == expected


def test_layer_that_is_used_twice_has_two_names() -> None:
    graph = trace(nets.stirred(nets.Shared()), nets.images(7)[:2])
    assert list(graph.layers) == ["conv", "conv#2", "last"]


def test_layer_named_like_an_operator_keeps_its_name() -> None:
    graph = trace(nets.stirred(nets.Gated()), nets.images(8)[:2])
    assert isinstance(graph["add"].operation, Convolution)
    assert counted(graph, Add) == 1


def test_relu6_has_a_ceiling() -> None:
    graph = trace(nets.stirred(nets.chain()), nets.images(16)[:2])
    found = [node.operation.ceiling for node in graph if isinstance(node.operation, Activation)]
    assert found == [None, 6.0, None]


@pytest.mark.parametrize(("size", "pixels"), [(7, 64), (8, 64), (5, 32)])
def test_mean_divides_by_a_power_of_two_and_its_reader_by_the_rest(size: int, pixels: int) -> None:
    model = nets.stirred(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)))
    x = nets.images(size)
    graph = folded(trace(model, x[:2]))
    assert [node.operation.pixels for node in graph if isinstance(node.operation, MeanPool)] == [pixels]
    torch.testing.assert_close(outputs(graph, x), nets.logits(model, x), rtol=1e-12, atol=1e-14)


def test_mean_that_something_else_reads_keeps_its_divisor() -> None:
    model = nets.stirred(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.ReLU(), nn.Flatten(), nn.Linear(3, 2)))
    graph = folded(trace(model, nets.images(7)[:2]))
    assert [node.operation.pixels for node in graph if isinstance(node.operation, MeanPool)] == [49]


def test_folded_layer_keeps_the_gamma_of_its_norm() -> None:
    model = nets.stirred(nets.cifar_resnet())
    layers = folded(trace(model, nets.images(32)[:2])).layers
    for name, layer in layers.items():
        norm = name.replace("conv", "bn")
        if isinstance(layer, Linear):
            assert layer.gamma is None
        else:
            assert layer.gamma is not None
            assert torch.equal(layer.gamma, model.get_parameter(f"{norm}.weight"))


def test_norm_of_tiny_variance_loses_no_digits_in_float32() -> None:  # RAPQ-C7
    model = nets.stirred(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    statistics = model[1].running_var  # pyright: ignore[reportIndexIssue]
    statistics.fill_(1e-9)
    x = nets.images(8)
    wanted = nets.logits(model, x)
    graph = folded(trace(model.float(), x[:2].float()))
    error = (outputs(graph, x.float()).double() - wanted).abs().max() / wanted.abs().max()
    assert error < 1e-5


def test_model_and_its_training_flags_are_left_alone() -> None:
    model = nets.stirred(nets.chain()).train()
    model[1].eval()  # pyright: ignore[reportIndexIssue]
    before = copy.deepcopy(model.state_dict())
    flags = [module.training for module in model.modules()]
    graph = trace(model, nets.images(16)[:2])
    for layer in graph.layers.values():
        layer.weight.zero_()
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        return h if h.sum() > 0 else -h


class TwoOutputs(Branch):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.conv(x), x


class FixedBatch(Branch):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).view(2, 144)


class WithoutGradient(Branch):
    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            return functional.relu(self.conv(x))


class ViewInPlace(Branch):
    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        h[:, :2].relu_()
        return h


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Branch(), r"cannot trace Branch behind aten.item in 'return h if h.sum\(\) > 0 else -h'.*tracing='eager'"),
        (TwoOutputs(), "must give one tensor that depends on its input, but it gives 2"),
        (FixedBatch(), "for a batch of 2 only.*x.shape"),
        (WithoutGradient(), "wrap_with_set_grad_enabled.*tracing='eager'"),
        (ViewInPlace(), r"relu_ changes a tensor in place.*out of place"),
    ],
)
def test_network_that_cannot_be_written_down_is_refused_in_one_sentence(
    model: nn.Module, words: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ModelError, match=words):
        trace(model, torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert capfd.readouterr() == ("", "")
    assert not [it for it in caplog.records if it.levelno >= logging.WARNING]


def test_loggers_of_torch_talk_again_afterwards() -> None:
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = logger.level
    with pytest.raises(ModelError):
        trace(Branch(), torch.zeros(2, 3, 8, 8))
    assert logger.level == level
