"""From a module to a graph: torch.export says what runs, and few kinds of operators are known by name."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import operator
import re
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from modicum.errors import ModelError
from modicum.quantize.graph.graph import Graph, Node
from modicum.quantize.graph.ops import OPERATORS, BatchNorm, Call, Convolution, Input, Linear, Opaque, Operation, Slice

# Operators that hand their first input on when nothing is trained; the copies hand on a tensor of their own.
_COPIES = {"clone", "lift_fresh_copy", "_to_copy"}
_READERS = {name: [it for it in OPERATORS if name in it.torch_names] for kind in OPERATORS for name in kind.torch_names}
_IDENTITIES = {"dropout", "feature_dropout", "detach", "contiguous", "alias", "identity", *_COPIES}


def trace(model: nn.Module, example: Tensor, *, opaque: Container[str] = ()) -> Graph:
    """Write a network down as a graph, with some nodes as opaque as others are; batch norms are not folded yet."""
    return _Reading(exported(model, example), opaque).graph()


class _Reading:
    """The walk over one exported program."""

    def __init__(self, program: ExportedProgram, opaque: Container[str]) -> None:
        signature = program.graph_signature
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        lifted = signature.inputs_to_lifted_tensor_constants
        self._program, self._opaque = program, opaque
        self._parameters = names
        self._names = {**names, **lifted}
        self._tensors = {
            place: cast("Tensor", program.state_dict.get(name, program.constants.get(name)))
            for place, name in names.items()
        }
        self._tensors |= {place: cast("Tensor", program.constants[name]) for place, name in lifted.items()}
        self._modules = {name.removesuffix(".weight") for name in names.values()}
        self._nodes: list[Node] = []
        self._alias: dict[str, str] = {}  # the node of the graph that stands for a tensor of the program
        self._memory: dict[str, str] = {}  # the tensor of the program whose memory a tensor shares
        self._used: Counter[str] = Counter()

    def graph(self) -> Graph:
        outputs: list[fx.Node] = []
        for node in self._program.graph.nodes:
            if node.op == "placeholder" and node.name not in self._tensors:
                self._append(node, Input())
            elif node.op == "call_function":
                self._read(node)
            elif node.op == "output":
                # An input that is overwritten is an output of the program, too.
                wanted = self._program.graph_signature.user_outputs
                outputs = [it for it in node.args[0] if isinstance(it, fx.Node) and it.name in wanted]
        if len(outputs) != 1 or outputs[0].name not in self._alias:
            raise ModelError(
                f"The network must give one tensor that depends on its input, but it gives {len(outputs)}.",
                hint="Wrap it in a module that returns the one that counts.",
            )
        last = self._alias[outputs[0].name]
        kept = Graph(nodes=tuple(self._nodes)).needed(set(), (last,))
        return Graph(nodes=tuple(node for node in self._nodes if node.name in kept))

    def _read(self, node: fx.Node) -> None:
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            raise ModelError(
                f"{node.target.name()} runs a part of the network in a way of its own.",
                hint="Take it out of forward (torch.no_grad, too), or quantize layer by layer: tracing='eager'.",
            )
        if not isinstance(node.meta.get("val"), Tensor):
            return  # sizes, checks and lists; an operator that needs one computes it itself
        if node.target is operator.getitem:
            self._memory[node.name] = self._root(cast("fx.Node", node.args[0]))
            self._append_opaque(node, Call(cast("fx.Node", node.args[0]), self._tensors).name)
            return
        call = Call(node, self._tensors)
        if self._is_identity(call):
            first = cast("fx.Node", node.args[0])
            self._hand_on(node, first, copied=call.name in _COPIES)
            return
        known = _READERS.get(call.name, []) if call.is_batch else []
        found = next((it for kind in known if (it := kind.from_fx(call)) is not None), None)
        if not isinstance(found, str) and self._name(node, Input()) in self._opaque:
            found = None
        form = found if isinstance(found, str) else ""
        inputs = None if found is None or isinstance(found, str) else self._inputs(node, found)
        if found is None or isinstance(found, str) or inputs is None or self._is_foreign_norm(call, found, inputs):
            self._append_opaque(node, call.name, form)
        elif isinstance(found, Slice) and found.stride == (1, 1):
            self._hand_on(node, cast("fx.Node", node.args[0]), copied=False)
        else:
            before = found.before(call)
            if before is not None:
                name = f"{node.name}:before"
                self._nodes.append(Node(name=name, operation=cast("Operation", before), inputs=inputs))
                inputs = (name,)
            self._append(node, found, inputs)

    def _is_identity(self, call: Call) -> bool:
        known = call.name in _IDENTITIES and not call.node.kwargs.get("dtype")
        return known and cast("fx.Node", call.node.args[0]).name in self._alias

    def _is_foreign_norm(self, call: Call, operation: Operation, inputs: tuple[str, ...]) -> bool:
        # The channels of a batch norm are the second axis, those of a linear layer the last.
        if not isinstance(operation, BatchNorm) or len(call.shape) == 2:
            return False
        before = next(node for node in self._nodes if node.name == inputs[0])
        return len(call.shape) not in {3, 4} or isinstance(before.operation, Linear)

    def _inputs(self, node: fx.Node, operation: Operation) -> tuple[str, ...] | None:
        given = node.args[: operation.inputs]
        if operation.inputs is None:  # a list of tensors
            given = cast("Sequence[fx.Node]", (node.args or (node.kwargs["tensors"],))[0])
        names = [cast("fx.Node", it).name for it in given]
        return tuple(self._alias[name] for name in names) if all(name in self._alias for name in names) else None

    def _hand_on(self, node: fx.Node, first: fx.Node, *, copied: bool) -> None:
        self._alias[node.name] = self._alias[first.name]
        if not copied:
            self._memory[node.name] = self._root(first)

    def _append_opaque(self, node: fx.Node, label: str, form: str = "") -> None:
        plan = Plan(self._tensors, self._names, self._alias)
        parameters = set(self._program.graph_signature.parameters)
        operation = opaque(node, plan, label=label, module=_module(node), parameters=parameters)
        self._append(node, replace(operation, form=form), tuple(plan.sources))

    def _append(self, node: fx.Node, operation: Operation, inputs: tuple[str, ...] = ()) -> None:
        name = self._name(node, operation)
        self._nodes.append(Node(name=name, operation=operation, inputs=inputs))
        schema = getattr(node.target, "_schema", None)
        if schema is not None and node.args and isinstance(node.args[0], fx.Node):
            if _writes(schema):
                self._written(node, node.args[0], name)
            if _views(schema):
                self._memory[node.name] = self._root(node.args[0])
        self._alias[node.name] = name

    def _written(self, node: fx.Node, changed: fx.Node, name: str) -> None:
        # Whoever reads the changed tensor from here on reads the result, by whatever name of the program.
        root, before = self._root(changed), self._alias.get(changed.name)
        order = {it: place for place, it in enumerate(self._program.graph.nodes)}
        for other in self._program.graph.nodes:
            if other is node or self._root(other) != root or other.name not in self._alias:
                continue
            if self._alias[other.name] == before:
                self._alias[other.name] = name
            elif any(order[user] > order[node] for user in other.users):
                raise ModelError(
                    f"{cast('Any', node.target)._schema.name} changes a tensor in place that is read again under "
                    "another shape.",
                    hint="Write the operation out of place, or quantize layer by layer: tracing='eager'.",
                )

    def _root(self, node: fx.Node) -> str:
        return self._memory.get(node.name, node.name)

    def _name(self, node: fx.Node, operation: Operation) -> str:
        if not isinstance(operation, Convolution | Linear):
            return f"{node.name}#" if node.name in self._modules else node.name
        place = cast("fx.Node", node.args[1]).name
        name = self._parameters.get(place, node.name).removesuffix(".weight") or node.name
        self._used[name] += 1
        return name if self._used[name] == 1 else f"{name}#{self._used[name]}"


def _module(node: fx.Node) -> str:
    stack = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
    return stack[-1] if stack and not stack[-1].startswith("_empty") else ""


def _writes(schema: Any) -> bool:
    first = schema.arguments[0].alias_info
    return first is not None and first.is_write


def _views(schema: Any) -> bool:
    return any(it.alias_info is not None for it in schema.returns)


_TALKATIVE = ("torch.fx.experimental.symbolic_shapes", "torch.export._trace")


def exported(model: nn.Module, example: Tensor) -> ExportedProgram:
    """Export a network in evaluation mode, and leave it as it was."""
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(model, (example,), dynamic_shapes=_any_batch(model))
    except Exception as error:
        raise ModelError(
            f"torch.export cannot trace {type(model).__name__}{_place(error)}: {_first_line(error)}",
            hint="Take the operator that is named out of forward, or quantize layer by layer: tracing='eager'.",
        ) from error
    finally:
        for module, training in was_training.items():
            module.training = training
    if any(is_concrete_int(size) for size in _batch_sizes(program)):
        raise ModelError(
            f"{type(model).__name__} can be traced for a batch of {len(example)} only: its forward fixes that number.",
            hint="Write x.shape[0] or -1 in its place, or quantize layer by layer: tracing='eager'.",
        )
    return program


def _any_batch(model: nn.Module) -> Any:
    first = next(iter(inspect.signature(model.forward).parameters.values()), None)
    dynamic = {0: Dim.AUTO}
    if first is not None and first.kind is inspect.Parameter.VAR_POSITIONAL:
        return ((dynamic,),)
    return (dynamic,)


def _batch_sizes(program: ExportedProgram) -> list[Any]:
    inputs = set(program.graph_signature.user_inputs)
    found = (node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs)
    return [value.shape[0] for value in found if isinstance(value, Tensor)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # A failed export prints its graph to stderr and logs advice on torch's internals; a good one keeps its warnings.
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [it.level for it in loggers]
    text = io.StringIO()
    for it in loggers:
        it.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(text):
            yield
        sys.stderr.write(text.getvalue())
    finally:
        for it, level in zip(loggers, levels, strict=True):
            it.setLevel(level)


def _place(error: Exception) -> str:
    partial = str(getattr(error, "partial_fx_graph", ""))
    operators = re.findall(r"torch\.ops\.(\w+\.\w+)", partial)
    code = re.findall(r"code: (.*)", partial)
    return (f" behind {operators[-1]}" if operators else "") + (f" in '{code[-1].strip()}'" if code else "")


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


_Part: TypeAlias = "Callable[[Sequence[Tensor], Mapping[str, Tensor]], Any]"


class Plan:
    """How a call of the exported program is made again, from the graph's tensors and from constants of its own."""

    # Lists and sizes on the way are computed anew, and an operator that works in place is given a copy.

    def __init__(self, tensors: Mapping[str, Tensor], names: Mapping[str, str], alias: Mapping[str, str]) -> None:
        self.sources: list[str] = []
        self.own: dict[str, Tensor] = {}
        self._tensors, self._names, self._alias = tensors, names, alias
        self._first: dict[str, Any] = {}  # type and device of the first source while it was traced

    def call(self, called: fx.Node) -> _Part:
        """Plan a call."""
        positional = [self._value(it) for it in called.args]
        named = {name: self._value(it) for name, it in called.kwargs.items()}
        target = cast("Callable[..., Any]", called.target)
        schema = getattr(target, "_schema", None)
        in_place = schema is not None and schema.is_mutable

        def call(given: Sequence[Tensor], own: Mapping[str, Tensor]) -> Any:
            arguments = [it(given, own) for it in positional]
            if in_place and isinstance(arguments[0], Tensor):
                arguments[0] = arguments[0].clone()
            return target(*arguments, **{name: it(given, own) for name, it in named.items()})

        return call

    def _value(self, argument: Any) -> _Part:
        if isinstance(argument, list | tuple):
            parts = [self._value(it) for it in argument]
            return lambda given, own: [part(given, own) for part in parts]
        if isinstance(argument, torch.dtype | torch.device):
            return self._following(argument)
        if not isinstance(argument, fx.Node):
            return lambda *_: argument
        if argument.name in self._tensors:
            return self._constant(argument.name)
        if argument.name in self._alias:
            return self._input(argument)
        return self.call(argument)  # a size, or a list of tensors

    def _constant(self, place: str) -> _Part:
        name = self._names[place]
        self.own[name] = self._tensors[place].detach().clone()
        return lambda given, own: own[name].to(given[0].device) if given else own[name]

    def _input(self, argument: fx.Node) -> _Part:
        name, traced = self._alias[argument.name], cast("Tensor", argument.meta["val"])
        if name not in self.sources:
            if not self.sources:
                self._first.update(dtype=traced.dtype, device=traced.device)
            self.sources.append(name)
        place = self.sources.index(name)
        # `contiguous` and `clone` are no nodes of the graph, but a `view` needs what they give.
        return (lambda given, _: given[place].contiguous()) if traced.is_contiguous() else lambda given, _: given[place]

    def _following(self, argument: torch.dtype | torch.device) -> _Part:
        # A type or a device that was the input's stays the input's, as where an LSTM makes its first state.
        kind, first = "dtype" if isinstance(argument, torch.dtype) else "device", self._first
        return lambda given, _: getattr(given[0], kind) if first.get(kind) == argument else argument


def opaque(node: fx.Node, plan: Plan, *, label: str, module: str, parameters: set[str]) -> Opaque:
    """Wrap a call of the exported program; `plan.sources` are the graph's nodes that it reads."""
    call = plan.call(node)
    return Opaque(
        label=label, call=call, tensors=plan.own, parameters=frozenset(parameters.intersection(plan.own)), module=module
    )
