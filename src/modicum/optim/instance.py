"""The exact rule for single instances: every patch's share of the weight gradient is divided by that patch's power.

The paper states its rule for one instance and its code averages the power over the batch. Here the output gradient
of each patch is scaled on its way into the weight gradient, which costs one pass and no further product of matrices;
the gradients of the input and of the bias stay as they are.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from modicum.errors import StateError
from modicum.optim.functional import Denominator, Geometry, Norm, denominator, patch_power_map, power_sum
from modicum.optim.power import Convolution, Feed, Ledger, feeds, geometry_of, has_stock_forward, reaches_gradient


class InstanceScaler:
    """Replace the forward of each known layer by one whose weight gradient is normalised for each instance."""

    def __init__(self, model: nn.Module, *, norm: Norm, kind: Denominator, eps: float) -> None:
        self.ledgers: dict[nn.Parameter, Ledger] = {}
        self._modules: list[nn.Module] = []
        for module in model.modules():
            if not has_stock_forward(module):
                continue
            for feed in feeds(module, norm, per_channel=False):
                ledger = self.ledgers.setdefault(feed.weight, Ledger(feed))
                # The class's own forward stays what it was, so deleting the attribute brings it back.
                vars(module)["forward"] = _InstanceForward(module, feed, ledger, norm=norm, kind=kind, eps=eps)
                self._modules.append(module)

    def close(self) -> None:
        """Give every layer its own forward back."""
        for module in self._modules:
            vars(module).pop("forward", None)
        self._modules.clear()


def refuse_scaled(model: nn.Module) -> None:
    """Refuse a model whose gradients another optimizer normalises already."""
    if any(isinstance(vars(module).get("forward"), _InstanceForward) for module in model.modules()):
        raise StateError(
            'The layers of this model are already replaced by an NSGD with reduce="sample".',
            hint="Call close() of that optimizer first.",
        )


class _InstanceForward:
    """The forward of one layer."""

    def __init__(
        self, module: nn.Module, feed: Feed, ledger: Ledger, *, norm: Norm, kind: Denominator, eps: float
    ) -> None:
        self._module = module
        self._feed = feed
        self._ledger = ledger
        self._rule = (norm, kind, eps)
        self._geometry = geometry_of(module) if isinstance(module, Convolution) else None

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        module, weight = self._module, self._feed.weight
        (x,) = (*args, *kwargs.values())
        if not (reaches_gradient(module) and weight.requires_grad and x.numel()):
            return cast("Tensor", type(module).forward(module, x))
        bias = cast("Tensor | None", module.bias)
        if torch.is_autocast_enabled(x.device.type):
            # Autocast would act in the forward pass alone, and the backward pass would meet two dtypes.
            lower = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(lower), weight.to(lower), None if bias is None else bias.to(lower)
        geometry, shared = self._geometry, (bias, self._ledger.entry, *self._rule)
        if geometry is None:
            return cast("Tensor", _Linear.apply(x, weight.T if self._feed.transposed else weight, *shared))
        batch = x if x.ndim == weight.ndim else x.unsqueeze(0)
        if geometry.mode != "zeros" or any(before != after for before, after in geometry.padding):
            pixels = [amount for pair in reversed(geometry.padding) for amount in pair]
            batch = pad(batch, pixels, mode="constant" if geometry.mode == "zeros" else geometry.mode)
            geometry = geometry._replace(mode="zeros", padding=((0, 0),) * len(geometry.padding))
        output = cast("Tensor", _Convolution.apply(batch, weight, *shared, *geometry))
        return output if x.ndim == weight.ndim else output.squeeze(0)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the model is another model: its layers are as they were.
        return partial, (type(self._module).forward, self._module)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, entry: Tensor, *rule: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(x, weight)
        ctx.rule, ctx.dtype = rule, entry.dtype
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        norm, kind, eps = ctx.rule
        powers = power_sum(x, norm, (-1,)).unsqueeze(-1)
        scaled = (gradient / denominator(powers, kind, eps)).to(gradient.dtype)
        rows = gradient.reshape(-1, gradient.shape[-1])
        return (
            gradient @ weight if ctx.needs_input_grad[0] else None,
            scaled.reshape(rows.shape).T @ x.reshape(-1, x.shape[-1]),
            rows.sum(0) if ctx.needs_input_grad[2] else None,
            _entered(powers.mean().reshape(1), ctx.dtype),
            *[None] * 3,
        )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, entry: Tensor, *rule: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(x, weight)
        ctx.rule, ctx.geometry, ctx.dtype = rule[:3], Geometry(*rule[3:]), entry.dtype
        return torch.ops.aten.convolution(x, weight, bias, *_arguments(ctx.geometry))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        norm, kind, eps = ctx.rule
        powers = patch_power_map(x, ctx.geometry, norm=norm)
        grouped = gradient.unflatten(1, (ctx.geometry.groups, -1)) / denominator(powers, kind, eps).unsqueeze(2)
        scaled = grouped.flatten(1, 2).to(gradient.dtype)
        arguments = ([weight.shape[0]], *_arguments(ctx.geometry))
        to_input, _, to_bias = torch.ops.aten.convolution_backward(
            gradient, x, weight, *arguments, [ctx.needs_input_grad[0], False, ctx.needs_input_grad[2]]
        )
        _, to_weight, _ = torch.ops.aten.convolution_backward(scaled, x, weight, *arguments, [False, True, False])
        mean = powers.transpose(0, 1).flatten(1).mean(1)
        return to_input, to_weight, to_bias, _entered(mean, ctx.dtype), *[None] * 9


def _arguments(geometry: Geometry) -> tuple[Any, ...]:
    padding = [before for before, _ in geometry.padding]
    no_output_padding = [0] * len(padding)
    return [*geometry.stride], padding, [*geometry.dilation], False, no_output_padding, geometry.groups


def _entered(powers: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.cat((powers, powers.new_ones(1))).to(dtype)
