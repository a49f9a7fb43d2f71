"""An operator that a graph does not know: it is called as the exported program calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

from torch import Tensor, fx

from modicum.quantize.graph.operations import Opaque

__all__ = ["opaque"]

_Given: TypeAlias = tuple[Tensor, ...]


def opaque(
    node: fx.Node, label: str, tensors: dict[str, Tensor], alias: dict[str, str]
) -> tuple[Opaque, tuple[str, ...]]:
    """Wrap a call of the exported program.

    Args:
        node: the call.
        label: name of the operator, for messages.
        tensors: constants by the name of their place in the program; they are copied.
        alias: names of the graph's nodes by those of the program's.

    Returns:
        The operation and the graph's nodes that it reads. Lists and sizes on the way are computed anew, and an
        operator that works in place is given a copy.
    """
    sources: list[str] = []

    def plan(argument: Any) -> Callable[[_Given], Any]:
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
            return _taken(sources.index(name), contiguous=argument.meta["val"].is_contiguous())
        return call_of(argument)  # a size, or a list of tensors

    def call_of(called: fx.Node) -> Callable[[_Given], Any]:
        positional = [plan(it) for it in called.args]
        named = {name: plan(it) for name, it in called.kwargs.items()}
        target = cast("Callable[..., Any]", called.target)
        schema = getattr(target, "_schema", None)
        in_place = schema is not None and schema.is_mutable

        def call(given: _Given) -> Any:
            arguments = [it(given) for it in positional]
            if in_place and isinstance(arguments[0], Tensor):
                arguments[0] = arguments[0].clone()
            return target(*arguments, **{name: it(given) for name, it in named.items()})

        return call

    evaluate = call_of(node)
    return Opaque(label=label, call=lambda *given: evaluate(given)), tuple(sources)


def _taken(place: int, *, contiguous: bool) -> Callable[[_Given], Tensor]:
    # `contiguous` and `clone` are no nodes of the graph, but a `view` needs what they give.
    return (lambda given: given[place].contiguous()) if contiguous else lambda given: given[place]
