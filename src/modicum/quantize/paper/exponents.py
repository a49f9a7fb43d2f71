"""The exponent of each unit's loss, from the batch norm that ended the unit before it was folded."""

from __future__ import annotations

from torch import Tensor

from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.functional import loss_exponent
from modicum.quantize.graph.network import Graph
from modicum.quantize.graph.operations import Convolution, Linear
from modicum.quantize.graph.units import Unit


def last_gamma(graph: Graph, unit: Unit) -> Tensor | None:
    """Give the batch norm weight of the unit's last layer that has one."""
    # The last layer is the one behind the most others of the unit: in a residual block that of the main path, and not
    # that of the shortcut, whichever runs first. Of equals it is the one that runs last.
    depth = {unit.entry: 0}
    deepest, found = 0, None
    for name in unit.nodes:
        node = graph[name]
        layer = node.operation
        is_layer = isinstance(layer, Convolution | Linear)
        depth[name] = max((depth.get(before, 0) for before in node.inputs), default=0) + is_layer
        if isinstance(layer, Convolution | Linear) and layer.gamma is not None and depth[name] >= deepest:
            deepest, found = depth[name], layer.gamma
    return found


def exponent_of_unit(graph: Graph, unit: Unit, config: RAPQConfig) -> float:
    """Give p of a unit's loss: from `loss_exponent`, or 2 where there is no batch norm or `p_slope` is None."""
    gamma = last_gamma(graph, unit)
    if gamma is None or config.p_slope is None:
        return 2.0
    return loss_exponent(gamma, config.p_slope, config.p_argument)
