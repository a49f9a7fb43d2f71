"""How the power of a layer's input reaches the optimizer: it travels with the gradient.

A forward pre-hook measures the power of each call, and a forward hook ties it to the layer's output, as if it were the
gradient of a small extra leaf, the entry of the weight's ledger. The backward pass then adds up the powers of exactly
those calls that contribute to the gradient: accumulation, closures, several losses, activation checkpointing, batches
that were dropped before their backward pass and compiled models need no bookkeeping, and no activation is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modicum.errors import ModelError
from modicum.optim.functional import Geometry, Norm, conv_power, linear_power, spread

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d

_STOCK = tuple(
    getattr(kind, name) for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d) for name in ("forward", "_conv_forward")
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Feed:
    """One weight of one module, and the arguments of ``forward`` that it multiplies."""

    weight: nn.Parameter  # the parameter
    units: int  # powers that are kept of it
    blocks: int  # equal parts of its rows that see different inputs
    inputs: tuple[tuple[int, str], ...]  # position and name of the arguments
    power: Callable[[Tensor], Tensor]  # gives the powers of one argument
    transposed: bool = False  # stored as (in, out), as in GPT-2

    def measure(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Tensor | None:
        """Measure the powers of one call; None if the call has no rows, and so no gradient."""
        powers: list[Tensor] = []
        for position, name in self.inputs:
            x = args[position] if position < len(args) else kwargs.get(name)
            if not isinstance(x, Tensor) or x.numel() == 0:  # None: a subclass gave its argument another name
                return None
            powers.append(self.power(x.detach()))
        if not powers:
            return torch.ones(self.units, device=self.weight.device)
        return powers[0] if len(powers) == 1 else torch.cat(powers)


def feeds(module: nn.Module, norm: Norm, *, per_channel: bool) -> Iterator[Feed]:
    """Find the weights of one module (not of its children) whose input can be seen."""
    linear = partial(linear_power, norm=norm, per_channel=per_channel)
    # Name of the weight, arguments that it multiplies, their power, blocks, and whether it is transposed.
    known: list[tuple[str, tuple[tuple[int, str], ...], Callable[[Tensor], Tensor], int, bool]] = []
    if isinstance(module, nn.MultiheadAttention):
        # The output projection is applied inside a function of torch: its input is never seen.
        arguments = ((0, "query"), (1, "key"), (2, "value"))
        known = [("in_proj_weight", arguments, linear, 3, False)]
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        known += [(name, (argument,), linear, 1, False) for name, argument in zip(names, arguments, strict=True)]
    elif isinstance(module, nn.Linear):
        known = [("weight", ((0, "input"),), linear, 1, False)]
    elif is_conv1d(module):
        known = [("weight", ((0, "x"),), linear, 1, True)]
    elif isinstance(module, Convolution) and has_stock_forward(module):
        power = partial(conv_power, geometry=geometry_of(module), norm=norm, per_channel=per_channel)
        known = [("weight", ((0, "input"),), power, module.groups, False)]
    for name, inputs, power, blocks, transposed in known:
        # A parametrised or pruned layer computes its weight: the parameter under it multiplies no input.
        weight = module._parameters.get(name)
        if weight is not None:
            units = blocks * (weight.shape[0 if transposed else 1] if per_channel else 1)
            yield Feed(weight=weight, units=units, blocks=blocks, inputs=inputs, power=power, transposed=transposed)


def is_conv1d(module: nn.Module) -> bool:
    """Tell whether this is the linear layer of GPT-2 in transformers, which need not be installed."""
    return any(
        kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils" for kind in type(module).__mro__
    )


def has_stock_forward(module: nn.Module) -> bool:
    """Tell whether a linear layer or convolution computes what its class in torch, or GPT-2's, does."""
    # A subclass, or an instance that another library has wrapped, computes something that we do not know: a convolution
    # may pad its input itself.
    own = vars(module).get("forward")
    is_copied = isinstance(own, partial) and own.func is type(module).forward  # from a watched model, by __reduce__
    if own is not None and not is_copied:
        return False
    if isinstance(module, Convolution):
        return type(module).forward in _STOCK and type(module)._conv_forward in _STOCK
    return type(module).forward is nn.Linear.forward or (is_conv1d(module) and type(module).__name__ == "Conv1D")


def geometry_of(module: Convolution) -> Geometry:
    """Read the geometry of a convolution."""
    spans = [(taps - 1) * step for taps, step in zip(module.kernel_size, module.dilation, strict=True)]
    if module.padding == "same":
        padding = tuple((span // 2, span - span // 2) for span in spans)
    else:
        pixels = (0,) * len(spans) if module.padding == "valid" else module.padding
        padding = tuple((int(amount), int(amount)) for amount in pixels)
    shape = (tuple(module.kernel_size), tuple(module.stride), tuple(module.dilation))
    return Geometry(*shape, padding, module.padding_mode, module.groups)


class Ledger:
    """The powers of one weight since the last step: their sum over calls, and the number of calls."""

    def __init__(self, feed: Feed) -> None:
        self.weight = feed.weight
        self.units = feed.units
        self._feed = feed
        self.entry, self.one = self._open()

    def take(self) -> Tensor | None:
        """Hand out sums and count, shape (units + 1,), and start again; None if no call reached the gradient."""
        total = self.entry.grad
        self.clear()
        if self.entry.device != self.weight.device or self.entry.dtype != _dtype(self.weight):
            self.entry, self.one = self._open()  # the model was moved after the optimizer was made
            total = total if total is None else total.to(self.entry)
        return total

    def clear(self) -> None:
        """Forget what was entered since the last step."""
        self.entry.grad = None

    def spread(self, values: Tensor) -> Tensor:
        """Lay one value a unit along the weight."""
        return spread(values, self.weight.shape, blocks=self._feed.blocks, transposed=self._feed.transposed)

    def _open(self) -> tuple[Tensor, Tensor]:
        entry = torch.zeros(self.units + 1, dtype=_dtype(self.weight), device=self.weight.device, requires_grad=True)
        entry.register_hook(self._forget_dropped_gradient)
        return entry, entry.new_ones(1)

    def _forget_dropped_gradient(self, _: Tensor) -> None:
        # Runs before the entry takes up the powers of a backward pass, and that is before the weight takes up its
        # gradient. No gradient there means that the earlier one was dropped: by zero_grad of the model, say, after
        # a step that a gradient scaler skipped. Its powers go with it.
        if self.weight.grad is None:
            self.clear()


class PowerWatcher:
    """The hooks on a model, and the ledgers that they write to."""

    def __init__(self, model: nn.Module, *, norm: Norm, per_channel: bool) -> None:
        self.ledgers: dict[nn.Parameter, Ledger] = {}
        self._handles: list[Any] = []
        found = [(module, list(feeds(module, norm, per_channel=per_channel))) for module in model.modules()]
        owners: dict[nn.Parameter, Feed] = {}
        for feed in (feed for _, known in found for feed in known):
            first = owners.setdefault(feed.weight, feed)
            if (first.blocks, first.units, first.transposed) != (feed.blocks, feed.units, feed.transposed):
                raise ModelError(
                    f"One weight of shape {tuple(feed.weight.shape)} is shared by layers that use it differently.",
                    hint="Give each layer its own weight, or leave this one to another optimizer.",
                )
        self.ledgers = {weight: Ledger(feed) for weight, feed in owners.items()}
        for module, known in found:
            weight = module._parameters.get("weight")
            if isinstance(module, nn.Embedding) and weight is not None and weight in owners:
                known.append(replace(owners[weight], inputs=()))  # tied to a layer: its own input is one-hot
            if known:
                measure = _Measure([(feed, self.ledgers[feed.weight]) for feed in known])
                self._handles.append(module.register_forward_pre_hook(measure, with_kwargs=True))
                self._handles.append(module.register_forward_hook(_Tie(measure)))

    def close(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def buckets(ledgers: Iterable[Ledger]) -> list[list[Ledger]]:
    """Split ledgers by device and dtype: the powers of each part fit into one vector."""
    parts: dict[tuple[torch.device, torch.dtype], list[Ledger]] = {}
    for ledger in ledgers:
        parts.setdefault((ledger.entry.device, ledger.entry.dtype), []).append(ledger)
    return list(parts.values())


def all_reduce(ledgers: Iterable[Ledger], totals: dict[nn.Parameter, Tensor]) -> dict[nn.Parameter, Tensor]:
    """Add up the totals of all ranks, in one message for each device and dtype."""
    summed: dict[nn.Parameter, Tensor] = {}
    for bucket in buckets(ledgers):
        message = torch.cat([totals.get(ledger.weight, torch.zeros_like(ledger.entry)) for ledger in bucket])
        torch.distributed.all_reduce(message)
        for ledger, total in zip(bucket, message.split([ledger.units + 1 for ledger in bucket]), strict=True):
            # Only a weight that was not used here needs a look at the count, which waits for the device.
            if ledger.weight in totals or total[-1] > 0:
                summed[ledger.weight] = total
    return summed


class _Enter(torch.autograd.Function):
    """Pass an output on; on the way back, hand the powers to the ledger's entry as its gradient."""

    # The older form, with the context in forward, takes a quarter of the time of the newer one.

    @staticmethod
    def forward(ctx: Any, output: Tensor, entry: Tensor, powers: Tensor) -> Tensor:  # noqa: ARG004  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(powers)
        # The same storage, and no view: views that leave a custom function may not be changed in place, and
        # nn.ReLU(inplace=True) does.
        return output.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (powers,) = ctx.saved_tensors
        return gradient, powers, None


class _Hook:
    """A hook that is left out when its model is copied or saved: another model's has nothing to watch."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A call of the standard library that takes anything and returns None, so that a saved model needs no modicum.
        return getattr, (nullcontext(), "__exit__")


class _Measure(_Hook):
    """The hook before the call of one module, while its input is still in the cache."""

    def __init__(self, feeds: list[tuple[Feed, Ledger]]) -> None:
        self._feeds = feeds
        self.calls: list[tuple[Ledger, Tensor]] = []

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Measure the powers of a call; what an earlier call left that did not come to its end is forgotten."""
        self.calls = []
        if not reaches_gradient(module):
            return
        for feed, ledger in self._feeds:
            powers = feed.measure(args, kwargs) if feed.weight.requires_grad else None
            if powers is not None:
                self.calls.append((ledger, torch.cat((powers.to(ledger.entry), ledger.one))))


class _Tie(_Hook):
    """The hook after it."""

    def __init__(self, measure: _Measure) -> None:
        self._measure = measure

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:  # noqa: ARG002 - torch's signature
        """Tie what was measured to the output."""
        calls, self._measure.calls = self._measure.calls, []
        if not calls:
            return None
        first, *rest = output if isinstance(output, tuple) else (output,)
        for ledger, call in calls:
            first = _Enter.apply(first, ledger.entry, call)
        return (first, *rest) if isinstance(output, tuple) else first


def reaches_gradient(module: nn.Module) -> bool:
    """Tell whether a call of the module, made now, can reach the gradients of its parameters."""
    # Inside torch.func, gradients are returned and never stored with the parameters.
    return module.training and torch.is_grad_enabled() and not torch._C._are_functorch_transforms_active()


def _dtype(weight: Tensor) -> torch.dtype:
    return torch.float64 if weight.dtype == torch.float64 else torch.float32
