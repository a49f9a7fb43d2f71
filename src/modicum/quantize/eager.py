"""Layer by layer inside a network that cannot be traced: slower, and in simulation only."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import cast

import torch
from torch import Tensor, nn

from modicum.errors import ConfigError, ModelError, StateError
from modicum.quantize.codes import ActivationGrid, FloatActivationGrid
from modicum.quantize.configuration import LayerBits, RAPQConfig
from modicum.quantize.graph.graph import Graph, Node
from modicum.quantize.graph.ops import Convolution, Input, Linear, Opaque, Pair
from modicum.quantize.graph.placement import Site, bits_of_weights, check_layers, simulated
from modicum.quantize.hessian.layers import Recipe, float_scales, powers_of_two, quantize_layers
from modicum.quantize.inspect.report import warn_of_floats
from modicum.quantize.model import QuantizedModel


class _ReachedError(Exception):
    """Carries a layer's input out of a forward pass that has gone far enough."""


@torch.no_grad()
def quantize_eagerly(
    model: nn.Module, images: Tensor, config: RAPQConfig, *, progress: Callable[[str], None] = lambda _: None
) -> QuantizedModel:
    """Quantize the layers of a network in the order in which they first run."""
    # Each layer gets a grid for its input and codes for its weights, from what the network quantized so far gives it.
    # A layer that runs several times has one grid and one set of codes, chosen from its first run. Batch norms stay.
    if config.method == "paper":
        raise ConfigError(
            "Unit-wise reconstruction needs a traced network.", hint="Use method='hessian' with tracing='eager'."
        )
    original, network = (copy.deepcopy(model).eval().requires_grad_(requires_grad=False) for _ in range(2))
    graph = _graph(network, _layers(network, images[:2].clone()))
    check_layers(graph, config)
    warn_of_floats(graph, network)
    layers, bits, power = list(graph.layers), bits_of_weights(graph, config), config.scales == "power_of_two"
    codes, grids = {}, {}
    for name in layers:
        before = f"{name}:input"
        own = config.per_layer.get(name, LayerBits()).activation_bits
        usual = config.first_last_bits if name in {layers[0], layers[-1]} else config.activation_bits
        found = quantize_layers(
            Graph(nodes=(Node(name=before, operation=Input()), graph[name])),
            _input_of(network, name, images),
            Recipe(
                bits={name: bits[name]},
                sites={before: Site(bits=own or usual, unsigned=None)} if config.activation_bits and usual else {},
                choice=powers_of_two if power else float_scales,
                power=power,
                shared=config.granularity == "tensor",
                rounding=config.rounding,
            ),
            reference=_input_of(original, name, images),
        )
        codes |= found.codes
        grids |= found.grids
        done = simulated(found.corrected, found.codes, found.grids).layers[name]
        graph = graph.with_operations({name: done})
        module = network.get_submodule(name)
        module.weight, module.bias = (nn.Parameter(it.clone(), requires_grad=False) for it in (done.weight, done.bias))
        if before in grids:
            module.register_forward_pre_hook(functools.partial(_to_grid, grids[before]))
        progress(name)
    shape = tuple(images.shape[1:])
    return QuantizedModel(graph, codes, grids, config=config, shape=shape, network=network).eval()


def _to_grid(
    grid: ActivationGrid | FloatActivationGrid, _module: nn.Module, inputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    return (grid.apply(inputs[0]), *inputs[1:])


def _layers(network: nn.Module, images: Tensor) -> list[str]:
    order: list[str] = []
    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                hooks.callback(module.register_forward_pre_hook(functools.partial(_note, order, name)).remove)
        network(images)
    return list(dict.fromkeys(order))


def _note(order: list[str], name: str, _module: nn.Module, _inputs: tuple[Tensor, ...]) -> None:
    order.append(name)


def _input_of(network: nn.Module, name: str, images: Tensor) -> Tensor:
    def stop(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        raise _ReachedError(inputs[0])

    # Before the layer's own hook, so that what is seen is not on a grid yet.
    handle = network.get_submodule(name).register_forward_pre_hook(stop, prepend=True)
    try:
        network(images.clone())  # a network may overwrite its input
    except _ReachedError as reached:
        return reached.args[0]
    finally:
        handle.remove()
    raise StateError(f"{name} did not run this time.", hint="Quantize a network whose layers always run.")


def _graph(network: nn.Module, layers: list[str]) -> Graph:
    def part(name: str, call: Callable[[Tensor], Tensor]) -> Node:
        operation = Opaque(label="python", call=lambda given, _: call(given[0].clone()))
        return Node(name=name, operation=operation, inputs=("x",))

    nodes = [Node(name="x", operation=Input())]
    for name in layers:
        nodes.append(part(f"{name}:input", functools.partial(_input_of, network, name)))
        operation = _operation(name, network.get_submodule(name))
        nodes.append(Node(name=name, operation=operation, inputs=(f"{name}:input",)))
    return Graph(nodes=(*nodes, part("python", lambda x: _tensor(network(x)))))


def _operation(name: str, module: nn.Module) -> Convolution | Linear:
    assert isinstance(module, nn.Conv2d | nn.Linear)  # noqa: S101 - `_layers` chose them
    weight = module.weight.detach()
    bias = weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach()
    if isinstance(module, nn.Linear):
        return Linear(weight=weight, bias=bias)
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise ModelError(
            f"{name} pads with something other than a number of zeros.",
            hint="Give its padding as integers, with padding_mode='zeros'.",
        )
    stride, padding, dilation = (cast("Pair", tuple(it)) for it in (module.stride, module.padding, module.dilation))
    return Convolution(
        weight=weight, bias=bias, stride=stride, padding=padding, dilation=dilation, groups=module.groups
    )


def _tensor(output: object) -> Tensor:
    found = getattr(output, "logits", output)
    if not isinstance(found, Tensor):
        raise ModelError(
            f"The network must give one tensor, but it gives {type(output).__name__}.",
            hint="Wrap it in a module that returns the one that counts.",
        )
    return found
