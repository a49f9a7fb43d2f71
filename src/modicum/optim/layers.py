"""Which layers NSGD knows: what feeds each weight, and how the power of that is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from modicum.optim.coverage import Geometry
from modicum.optim.functional import Norm, conv_power, linear_power

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


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
            x = args[position] if position < len(args) else kwargs[name]
            if not isinstance(x, Tensor) or x.numel() == 0:
                return None
            powers.append(self.power(x.detach()))
        if not powers:
            return torch.ones(self.units, device=self.weight.device)
        return powers[0] if len(powers) == 1 else torch.cat(powers)


def feeds(module: nn.Module, norm: Norm, *, per_channel: bool) -> Iterator[Feed]:
    """Find the weights of one module (not of its children) whose input can be seen."""
    if isinstance(module, nn.MultiheadAttention):
        yield from _attention_feeds(module, norm, per_channel=per_channel)
        return
    # A parametrised or pruned layer computes its weight: the parameter behind it multiplies no input.
    weight = module._parameters.get("weight")
    if weight is None:
        return
    power = partial(linear_power, norm=norm, per_channel=per_channel)
    if isinstance(module, nn.Linear):
        yield _feed(weight, power, inputs=((0, "input"),), per_channel=per_channel)
    elif is_conv1d(module):
        yield _feed(weight, power, inputs=((0, "x"),), per_channel=per_channel, transposed=True)
    elif isinstance(module, Convolution) and not isinstance(module, nn.modules.conv._ConvTransposeNd):
        power = partial(conv_power, geometry=geometry_of(module), norm=norm, per_channel=per_channel)
        yield _feed(weight, power, inputs=((0, "input"),), blocks=module.groups, per_channel=per_channel)


def embedding_feed(feed: Feed) -> Feed:
    """Describe the same weight as it is used by an embedding that is tied to the layer of ``feed``."""
    return replace(feed, inputs=())


def is_conv1d(module: nn.Module) -> bool:
    """Tell whether this is the linear layer of GPT-2 in transformers, which need not be installed."""
    return any(
        kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils" for kind in type(module).__mro__
    )


def geometry_of(module: Convolution) -> Geometry:
    """Read the geometry of a convolution."""
    padding: tuple[tuple[int, int], ...]
    if module.padding == "same":
        spans = [(kernel - 1) * step for kernel, step in zip(module.kernel_size, module.dilation, strict=True)]
        padding = tuple((span // 2, span - span // 2) for span in spans)
    elif module.padding == "valid":
        padding = ((0, 0),) * len(module.kernel_size)
    else:
        padding = tuple((int(pixels), int(pixels)) for pixels in module.padding)
    return Geometry(
        tuple(module.kernel_size),
        tuple(module.stride),
        tuple(module.dilation),
        padding,
        module.padding_mode,
        module.groups,
    )


def _feed(
    weight: nn.Parameter,
    power: Callable[[Tensor], Tensor],
    *,
    inputs: tuple[tuple[int, str], ...],
    per_channel: bool,
    blocks: int = 1,
    transposed: bool = False,
) -> Feed:
    columns = weight.shape[0 if transposed else 1] if per_channel else 1
    return Feed(weight=weight, units=blocks * columns, blocks=blocks, inputs=inputs, power=power, transposed=transposed)


def _attention_feeds(module: nn.MultiheadAttention, norm: Norm, *, per_channel: bool) -> Iterator[Feed]:
    # The output projection is applied inside a function of torch: its input is never seen.
    power = partial(linear_power, norm=norm, per_channel=per_channel)
    arguments = ((0, "query"), (1, "key"), (2, "value"))
    packed = module._parameters.get("in_proj_weight")
    if packed is not None:
        yield _feed(packed, power, inputs=arguments, blocks=3, per_channel=per_channel)
        return
    for argument, name in zip(arguments, ("q_proj_weight", "k_proj_weight", "v_proj_weight"), strict=True):
        weight = module._parameters.get(name)
        if weight is not None:
            yield _feed(weight, power, inputs=(argument,), per_channel=per_channel)
