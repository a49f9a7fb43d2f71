"""An operator that a graph does not know: it is called as the exported program calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, fx

from modicum.quantize.graph.operations import Opaque

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
