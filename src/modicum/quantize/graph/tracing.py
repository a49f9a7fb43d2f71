"""From a module to a graph: torch.export says what runs, and few kinds of operators are known by name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram

from modicum.errors import ModelError
from modicum.quantize.graph.network import Graph, Node
from modicum.quantize.graph.operations import (
    Activation,
    Add,
    BatchNorm,
    Convolution,
    Flatten,
    Input,
    Linear,
    MaxPool,
    MeanPool,
    Opaque,
    Operation,
    Pad,
    Pair,
    Slice,
)

__all__ = ["trace"]

_Reader: TypeAlias = "Callable[[_Call], tuple[Operation, int] | None]"

# Operators that hand their first input on when nothing is trained.
_IDENTITIES = {"dropout", "feature_dropout", "clone", "detach", "contiguous", "alias", "identity", "lift_fresh_copy"}
_TO_THE_END = 2**62


def trace(model: nn.Module, example: Tensor) -> Graph:
    """Write a network down as a graph; batch norms are not folded yet.

    Args:
        model: takes one tensor and gives one (or an output object of transformers with one); it is traced in
            evaluation mode and left as it was.
        example: two samples or more of the input.

    Returns:
        The graph; its weights are copies.

    Raises:
        ModelError: if the network cannot be traced, or has several outputs.
    """
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            program = torch.export.export(model, (example,), dynamic_shapes=_any_batch(model))
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"torch.export cannot trace {type(model).__name__}: {first.strip()}",
            mend="Take the operator that is named out of forward, or quantize layer by layer: tracing='eager'.",
        ) from error
    finally:
        for module, training in was_training.items():
            module.training = training
    return _Reading(program).graph()


def _any_batch(model: nn.Module) -> Any:
    import inspect

    first = next(iter(inspect.signature(model.forward).parameters.values()), None)
    dynamic = {0: Dim.AUTO}
    if first is not None and first.kind is inspect.Parameter.VAR_POSITIONAL:
        return ((dynamic,),)
    return (dynamic,)


class _Call:
    """A call in the exported program, with its arguments looked up."""

    def __init__(self, node: fx.Node, tensors: dict[str, Tensor]) -> None:
        self.node = node
        self.name = cast("Any", node.target)._schema.name.partition("::")[2].removesuffix("_")
        self.tensors = tensors

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Give an argument; a constant tensor in place of the node that stands for it."""
        found = self.node.kwargs.get(name, default)
        if place < len(self.node.args):
            found = self.node.args[place]
        if isinstance(found, fx.Node) and found.name in self.tensors:
            return self.tensors[found.name]
        return found

    def constant(self, place: int, name: str) -> Tensor | None:
        """Give an argument if it is a constant tensor."""
        found = self.argument(place, name)
        return found.detach().clone() if isinstance(found, Tensor) else None

    @property
    def shape(self) -> tuple[Any, ...]:
        """Shape of the first input; a free batch size is a symbol."""
        return tuple(cast("fx.Node", self.node.args[0]).meta["val"].shape)

    @property
    def result(self) -> tuple[Any, ...]:
        """Shape of the output."""
        return tuple(self.node.meta["val"].shape)


def _convolution(call: _Call) -> tuple[Operation, int] | None:
    weight = call.constant(1, "weight")
    padding = call.argument(4, "padding", 0)
    dilation = _pair(call.argument(5, "dilation", 1))
    if weight is None:
        return None
    if isinstance(padding, str):
        reach = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
        if padding == "same" and any(it % 2 for it in reach):
            return None
        padding = [it // 2 for it in reach] if padding == "same" else 0
    bias = call.constant(2, "bias")
    return Convolution(
        weight=weight,
        bias=weight.new_zeros(len(weight)) if bias is None else bias,
        stride=_pair(call.argument(3, "stride", 1)),
        padding=_pair(padding),
        dilation=dilation,
        groups=call.argument(6, "groups", 1),
    ), 1


def _linear(call: _Call) -> tuple[Operation, int] | None:
    weight, bias = call.constant(1, "weight"), call.constant(2, "bias")
    if weight is None:
        return None
    return Linear(weight=weight, bias=weight.new_zeros(len(weight)) if bias is None else bias), 1


def _batch_norm(call: _Call) -> tuple[Operation, int] | None:
    mean, variance = call.constant(3, "running_mean"), call.constant(4, "running_var")
    if mean is None or variance is None or call.argument(5, "training", default=False):
        return None
    weight, bias = call.constant(1, "weight"), call.constant(2, "bias")
    return BatchNorm(
        weight=torch.ones_like(mean) if weight is None else weight,
        bias=torch.zeros_like(mean) if bias is None else bias,
        mean=mean,
        variance=variance,
        epsilon=call.argument(7, "eps", 1e-5),
    ), 1


def _add(call: _Call) -> tuple[Operation, int] | None:
    first, second = call.node.args[:2]
    both = isinstance(first, fx.Node) and isinstance(second, fx.Node)
    if not both or call.argument(2, "alpha", 1) != 1:
        return None
    shapes = [tuple(cast("fx.Node", it).meta["val"].shape) for it in (first, second)]
    return (Add(), 2) if shapes[0] == shapes[1] and not _constants(call) else None


def _hardtanh(call: _Call) -> tuple[Operation, int] | None:
    low, high = call.argument(1, "min_val", -1.0), call.argument(2, "max_val", 1.0)
    return (Activation(ceiling=float(high)), 1) if low == 0 and high is not None and high > 0 else None


def _max_pool(call: _Call) -> tuple[Operation, int] | None:
    kernel = _pair(call.argument(1, "kernel_size"))
    stride = _pair(call.argument(2, "stride") or kernel)
    if _pair(call.argument(4, "dilation", 1)) != (1, 1) or call.argument(5, "ceil_mode", default=False):
        return None
    return MaxPool(kernel=kernel, stride=stride, padding=_pair(call.argument(3, "padding", 0))), 1


def _mean(call: _Call) -> tuple[Operation, int] | None:
    axes = sorted(axis % len(call.shape) for axis in call.argument(1, "dim", None) or [])
    return _pool(call, keep=bool(call.argument(2, "keepdim", default=False))) if axes == [2, 3] else None


def _average_pool(call: _Call) -> tuple[Operation, int] | None:
    return (
        _pool(call, keep=True) if call.result[2:] == (1, 1) and call.argument(3, "padding", 0) in (0, [0, 0]) else None
    )


def _adaptive_pool(call: _Call) -> tuple[Operation, int] | None:
    return _pool(call, keep=True) if _pair(call.argument(1, "output_size")) == (1, 1) else None


def _pool(call: _Call, *, keep: bool) -> tuple[Operation, int] | None:
    if len(call.shape) != 4 or not all(isinstance(it, int) for it in call.shape[2:]):
        return None
    return MeanPool(pixels=math.prod(call.shape[2:]), keep=keep), 1


def _pad(call: _Call) -> tuple[Operation, int] | None:
    widths = list(call.argument(1, "pad"))
    plain = call.argument(2, "mode", "constant") == "constant" and not call.argument(3, "value", 0.0)
    if len(call.shape) != 4 or not plain or len(widths) > 6 or min(widths) < 0:
        return None
    widths += [0] * (6 - len(widths))
    return Pad(columns=_pair(widths[:2]), rows=_pair(widths[2:4]), channels=_pair(widths[4:])), 1


def _slice(call: _Call) -> tuple[Operation, int] | None:
    axis, start, end, step = (
        call.argument(place, name, default)
        for place, name, default in ((1, "dim", 0), (2, "start", None), (3, "end", None), (4, "step", 1))
    )
    whole = not start and (end is None or not isinstance(end, int) or end >= _TO_THE_END)
    if not whole or len(call.shape) != 4 or (axis not in {2, 3} and step != 1):
        return None
    return Slice(stride=(step if axis == 2 else 1, step if axis == 3 else 1)), 1


def _flatten(call: _Call) -> tuple[Operation, int] | None:
    features = call.shape[1:]
    flat = len(call.result) == 2 and len(features) in {1, 3} and call.result[1] == math.prod(features)
    return (Flatten(), 1) if flat else None


_READERS: dict[str, _Reader] = {
    "conv2d": _convolution,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "add": _add,
    "relu": lambda _: (Activation(), 1),
    "relu6": lambda _: (Activation(ceiling=6.0), 1),
    "hardtanh": _hardtanh,
    "max_pool2d": _max_pool,
    "mean": _mean,
    "avg_pool2d": _average_pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "slice": _slice,
    "flatten": _flatten,
    "view": _flatten,
    "reshape": _flatten,
}


class _Reading:
    """The walk over one exported program."""

    def __init__(self, program: ExportedProgram) -> None:
        signature = program.graph_signature
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        lifted = signature.inputs_to_lifted_tensor_constants
        self._program = program
        self._parameters = names
        self._tensors = {
            place: cast("Tensor", program.state_dict.get(name, program.constants.get(name)))
            for place, name in names.items()
        }
        self._tensors |= {place: cast("Tensor", program.constants[name]) for place, name in lifted.items()}
        self._nodes: list[Node] = []
        self._alias: dict[str, str] = {}
        self._used: Counter[str] = Counter()

    def graph(self) -> Graph:
        outputs: list[fx.Node] = []
        for node in self._program.graph.nodes:
            if node.op == "placeholder" and node.name not in self._tensors:
                self._append(node, Node(name=node.name, operation=Input()))
            elif node.op == "call_function":
                self._read(node)
            elif node.op == "output":
                outputs = [it for it in node.args[0] if isinstance(it, fx.Node)]
        if len(outputs) != 1 or outputs[0].name not in self._alias:
            raise ModelError(
                f"The network must give one tensor, but it gives {len(outputs)}.",
                mend="Wrap it in a module that returns the one that counts.",
            )
        last = self._alias[outputs[0].name]
        nodes = Graph(nodes=tuple(self._nodes))
        kept = nodes.needed(set(), (last,))
        return Graph(nodes=tuple(node for node in self._nodes if node.name in kept))

    def _append(self, source: fx.Node, node: Node) -> None:
        self._nodes.append(node)
        self._alias[source.name] = node.name
        mutated = cast("Any", source.target)
        if source.op == "call_function" and mutated._schema.name.endswith("_"):
            # An operator in place: whoever reads its input from here on reads the result.
            self._alias[cast("fx.Node", source.args[0]).name] = node.name

    def _read(self, node: fx.Node) -> None:
        if not isinstance(node.meta.get("val"), Tensor) or not hasattr(node.target, "_schema"):
            return  # sizes and checks; an operator that needs one computes it itself
        call = _Call(node, self._tensors)
        if call.name in _IDENTITIES or (call.name == "_to_copy" and not node.kwargs.get("dtype")):
            self._alias[node.name] = self._alias[cast("fx.Node", node.args[0]).name]
            return
        reader = _READERS.get(call.name)
        found = reader(call) if reader else None
        if found is None:
            self._append(node, _opaque(node, call.name, self._tensors, self._alias))
            return
        operation, count = found
        if isinstance(operation, Slice) and operation.stride == (1, 1):
            self._alias[node.name] = self._alias[cast("fx.Node", node.args[0]).name]
            return
        inputs = tuple(self._alias[cast("fx.Node", it).name] for it in node.args[:count])
        self._append(node, Node(name=self._name(node, operation), operation=operation, inputs=inputs))

    def _name(self, node: fx.Node, operation: Operation) -> str:
        if not isinstance(operation, Convolution | Linear):
            return node.name
        place = cast("fx.Node", node.args[1]).name
        name = self._parameters.get(place, node.name).removesuffix(".weight") or node.name
        self._used[name] += 1
        return name if self._used[name] == 1 else f"{name}#{self._used[name]}"


def _constants(call: _Call) -> bool:
    return any(isinstance(it, fx.Node) and it.name in call.tensors for it in call.node.args)


def _opaque(node: fx.Node, label: str, tensors: dict[str, Tensor], alias: dict[str, str]) -> Node:
    sources: list[str] = []

    def plan(argument: Any) -> Callable[[tuple[Tensor, ...]], Any]:
        if isinstance(argument, list | tuple):
            parts = [plan(it) for it in argument]
            return lambda given: [part(given) for part in parts]
        if not isinstance(argument, fx.Node):
            return lambda _: argument
        if argument.name in tensors:
            constant = tensors[argument.name].detach().clone()
            return lambda given: constant.to(given[0].device) if given else constant
        if argument.name in alias:
            name = alias[argument.name]
            if name not in sources:
                sources.append(name)
            place = sources.index(name)
            return lambda given: given[place]
        return call_of(argument)  # a size

    def call_of(called: fx.Node) -> Callable[[tuple[Tensor, ...]], Any]:
        positional = [plan(it) for it in called.args]
        named = {name: plan(it) for name, it in called.kwargs.items()}
        target = cast("Callable[..., Any]", called.target)
        return lambda given: target(
            *(it(given) for it in positional), **{name: it(given) for name, it in named.items()}
        )

    evaluate = call_of(node)
    return Node(
        name=node.name,
        operation=Opaque(label=label, call=lambda *given: evaluate(given)),
        inputs=tuple(sources),
    )


def _pair(value: Any) -> Pair:
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    return (numbers[0], numbers[-1])
