"""Moves of weight exponents for the polish, screened by the gradient of the outputs' distance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from modicum.quantize.codes import ActivationGrid, WeightCode
from modicum.quantize.functional import learnable_quantize
from modicum.quantize.graph.graph import Graph
from modicum.quantize.hessian.layers import Neighbour
from modicum.quantize.polish import Moves, State, output_distance

_AT_ONCE = 64  # images of a backward pass


def gradients(
    graph: Graph, grids: Mapping[str, ActivationGrid], images: Tensor, wanted: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Give the gradient of `output_distance` for the weights and biases of every layer; grids pass it on."""
    leaves = {
        name: (it.weight.detach().clone().requires_grad_(), it.bias.detach().clone().requires_grad_())
        for name, it in graph.layers.items()
    }
    operations = {
        name: replace(graph.layers[name], weight=weight, bias=bias) for name, (weight, bias) in leaves.items()
    }
    followed = graph.with_operations(operations)
    through = lambda name, x: _on_grid(x, grids[name]) if name in grids else x
    for piece, goal in zip(images.split(_AT_ONCE), wanted.split(_AT_ONCE), strict=True):
        with torch.enable_grad():
            found = followed.run({}, x=piece, through=through)[graph.output]
            (output_distance(goal, found) * (len(piece) / len(images))).backward()
    return {name: (_of(weight), _of(bias)) for name, (weight, bias) in leaves.items()}


def weight_moves(neighbours: Mapping[str, tuple[Neighbour, ...]], slopes: Mapping[str, tuple[Tensor, Tensor]]) -> Moves:
    """Give the moves that put the channels of a layer on exponents beside their own."""
    # For each channel the neighbour of the steepest descent is looked for, to first order; of the channels that are
    # promised to get better, all are tried together, then the best quarter, then the best one.

    def moves(state: State, name: str) -> Iterable[State]:
        if name not in neighbours:
            return
        code, bias = state.codes[name], state.biases[name]
        beside = [it for it in neighbours[name] if bool((it.code.exponent != code.exponent).any())]
        promised = torch.stack([_promised(code, bias, it, slopes[name]) for it in beside])  # (neighbours, channels)
        change, which = promised.min(0)
        ranked = change.argsort()[: int((change < 0).sum())]
        for count in sorted({len(ranked), (len(ranked) + 3) // 4, min(1, len(ranked))}, reverse=True):
            if count:
                yield _moved(state, name, beside, which, ranked[:count])

    return moves


def _promised(code: WeightCode, bias: Tensor, neighbour: Neighbour, slope: tuple[Tensor, Tensor]) -> Tensor:
    weights = (neighbour.code.dequantized(torch.float64) - code.dequantized(torch.float64)) * slope[0].double()
    change = weights.flatten(1).sum(1) + (neighbour.bias - bias).double() * slope[1].double()
    return torch.where(neighbour.code.exponent == code.exponent, torch.inf, change)


def _moved(state: State, name: str, beside: list[Neighbour], which: Tensor, channels: Tensor) -> State:
    code, bias = state.codes[name], state.biases[name].clone()
    codes, zero, exponent = code.codes.clone(), code.zero.clone(), code.exponent.clone()
    for place, it in enumerate(beside):
        taken = channels[which[channels] == place]
        codes[taken], zero[taken], exponent[taken] = it.code.codes[taken], it.code.zero[taken], it.code.exponent[taken]
        bias[taken] = it.bias[taken]
    moved = WeightCode(codes=codes, zero=zero, exponent=exponent, bits=code.bits)
    return replace(state, codes={**state.codes, name: moved}, biases={**state.biases, name: bias})


def _on_grid(x: Tensor, grid: ActivationGrid) -> Tensor:
    exponent = torch.tensor(float(grid.exponent), dtype=x.dtype, device=x.device)
    low, high = grid.low, grid.high  # the ceiling is in the latter
    return learnable_quantize(x, exponent, low, high, rounding=grid.rounding)


def _of(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
