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
from modicum.quantize.graph.graph import Graph, Node, fold_batch_norms
from modicum.quantize.graph.ops import BatchNorm, Convolution, Input, Linear, Opaque, Pair
from modicum.quantize.graph.placement import Site, bits_of_weights, check_layers, simulated
from modicum.quantize.hessian.layers import Recipe, float_scales, powers_of_two, quantize_layers
from modicum.quantize.inspect.report import warn_of_floats
from modicum.quantize.model import QuantizedModel

_WHOLE = "python"


class _ReachedError(Exception):
    """Carries a layer's input out of a forward pass that has gone far enough."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value


@torch.no_grad()
def quantize_eagerly(
    model: nn.Module, images: Tensor, config: RAPQConfig, *, progress: Callable[[str], None] = lambda _: None
) -> QuantizedModel:
    """Quantize the layers of a network in the order in which they first run."""
    # Each layer gets a grid for its input and codes for its weights, from what the network quantized so far gives it.
    # Batch norms whose input is a convolution's output are folded into it where that leaves the network's output as it
    # is. A layer that runs several times has one grid and one set of codes, chosen from its first run.
    if config.method == "paper":
        raise ConfigError(
            "Unit-wise reconstruction needs a traced network.", hint="Use method='hessian' with tracing='eager'."
        )
    original = _folded(model, images[:2])
    network = copy.deepcopy(original)
    layers = _layers(network, images[:2])
    graph = _graph(network, layers)
    check_layers(graph, config)
    warn_of_floats(graph, network)
    bits = bits_of_weights(graph, config)
    power = config.scales == "power_of_two"
    codes, grids = {}, {}
    for name in layers:
        layer = Node(name=name, operation=graph.layers[name], inputs=(_input(name),))
        found = quantize_layers(
            Graph(nodes=(Node(name=_input(name), operation=Input()), layer)),
            _input_of(network, name, images),
            Recipe(
                bits={name: bits[name]},
                sites=_site(config, layers, name),
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
        _install(network.get_submodule(name), done, found.grids.get(_input(name)))
        progress(name)
    shape = tuple(images.shape[1:])
    return QuantizedModel(graph, codes, grids, config=config, shape=shape, network=network).eval()


def _folded(model: nn.Module, images: Tensor) -> nn.Module:
    plain, network = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    made_by: dict[int, str] = {}
    outputs: list[Tensor] = []  # kept, so that no address is used twice
    pairs: list[tuple[str, str]] = []

    def made(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            outputs.append(output)
            made_by[id(output)] = name

        return hook

    def read(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if id(inputs[0]) in made_by:
                pairs.append((made_by[id(inputs[0])], name))

        return hook

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                hooks.callback(module.register_forward_hook(made(name)).remove)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                hooks.callback(module.register_forward_pre_hook(read(name)).remove)
        wanted = _tensor(network(images))
    for layer, norm in dict(pairs).items():
        _fold(network, layer, norm)
    same = torch.allclose(_tensor(network(images)), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    return network if same else plain


def _fold(network: nn.Module, layer: str, norm: str) -> None:
    module, batch_norm = network.get_submodule(layer), network.get_submodule(norm)
    if not isinstance(batch_norm, nn.BatchNorm1d | nn.BatchNorm2d) or batch_norm.running_mean is None:
        return
    mean = batch_norm.running_mean
    operation = BatchNorm(
        weight=torch.ones_like(mean) if batch_norm.weight is None else batch_norm.weight,
        bias=torch.zeros_like(mean) if batch_norm.bias is None else batch_norm.bias,
        mean=mean,
        variance=cast("Tensor", batch_norm.running_var),
        epsilon=batch_norm.eps,
    )
    first = Node(name=layer, operation=_operation(layer, module), inputs=("x",))
    chain = (Node(name="x", operation=Input()), first, Node(name=norm, operation=operation, inputs=(layer,)))
    _install(module, fold_batch_norms(Graph(nodes=chain)).layers[layer], None)
    parent, _, child = norm.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())


def _layers(network: nn.Module, images: Tensor) -> list[str]:
    order: list[str] = []
    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                note = functools.partial(_note, order, name)
                hook = module.register_forward_pre_hook(note)
                hooks.callback(hook.remove)
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
        return reached.value
    finally:
        handle.remove()
    raise StateError(f"{name} did not run this time.", hint="Quantize a network whose layers always run.")


def _graph(network: nn.Module, layers: list[str]) -> Graph:
    nodes = [Node(name="x", operation=Input())]
    for name in layers:
        before = Opaque(label=_WHOLE, call=lambda given, _, name=name: _input_of(network, name, *given))
        nodes.append(Node(name=_input(name), operation=before, inputs=("x",)))
        operation = _operation(name, network.get_submodule(name))
        nodes.append(Node(name=name, operation=operation, inputs=(_input(name),)))
    whole = Opaque(label=_WHOLE, call=lambda given, _: _tensor(network(given[0].clone())))
    return Graph(nodes=(*nodes, Node(name=_WHOLE, operation=whole, inputs=("x",))))


def _operation(name: str, module: nn.Module) -> Convolution | Linear:
    if isinstance(module, nn.Linear):
        return Linear(weight=module.weight.detach(), bias=_bias(module))
    if not isinstance(module, nn.Conv2d) or module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise ModelError(
            f"{name} pads with something other than a number of zeros.",
            hint="Give its padding as integers, with padding_mode='zeros'.",
        )
    pairs = (cast("Pair", tuple(it)) for it in (module.stride, module.padding, module.dilation))
    stride, padding, dilation = pairs
    return Convolution(
        weight=module.weight.detach(),
        bias=_bias(module),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=module.groups,
    )


def _bias(module: nn.Conv2d | nn.Linear) -> Tensor:
    bias = module.bias
    return module.weight.detach().new_zeros(len(module.weight)) if bias is None else bias.detach()


def _install(
    module: nn.Module, operation: Convolution | Linear, grid: ActivationGrid | FloatActivationGrid | None
) -> None:
    module.weight = nn.Parameter(operation.weight.clone(), requires_grad=False)
    module.bias = nn.Parameter(operation.bias.clone(), requires_grad=False)
    if grid is not None:
        module.register_forward_pre_hook(_ToGrid(grid))


class _ToGrid:
    def __init__(self, grid: ActivationGrid | FloatActivationGrid) -> None:
        self.grid = grid

    def __call__(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.grid.apply(inputs[0]), *inputs[1:])


def _site(config: RAPQConfig, layers: list[str], name: str) -> dict[str, Site]:
    if config.activation_bits is None:
        return {}
    own = config.per_layer.get(name, LayerBits()).activation_bits
    usual = config.first_last_bits if name in {layers[0], layers[-1]} else config.activation_bits
    return {_input(name): Site(bits=own or usual, unsigned=None)}


def _input(name: str) -> str:
    return f"{name}:input"


def _tensor(output: object) -> Tensor:
    found = getattr(output, "logits", output)
    if not isinstance(found, Tensor):
        raise ModelError(
            f"The network must give one tensor, but it gives {type(output).__name__}.",
            hint="Wrap it in a module that returns the one that counts.",
        )
    return found
