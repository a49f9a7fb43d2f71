"""One step, once the powers are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim.sgd import sgd

from modicum.optim.functional import clip_factor, denominator, moving_power, output_scale
from modicum.optim.power import Ledger, buckets

State = dict[Any, dict[str, Any]]


def update_powers(
    state: State, settings: Mapping[str, Any], ledgers: Sequence[Ledger], totals: Mapping[nn.Parameter, Tensor]
) -> dict[nn.Parameter, Tensor]:
    """Enter the powers of this step into the state."""
    divisors: dict[nn.Parameter, Tensor] = {}
    for bucket in buckets(ledgers):
        units = [ledger.units for ledger in bucket]
        sums = torch.cat([totals[ledger.weight][:-1] for ledger in bucket])
        calls = torch.cat([totals[ledger.weight][-1:].expand(ledger.units) for ledger in bucket])
        power = sums / calls
        if settings["beta"]:
            first = zip(bucket, power.split(units), strict=True)
            previous = torch.cat([state[ledger.weight].get("power", current) for ledger, current in first])
            power = moving_power(previous, power, settings["beta"])
        divided = denominator(power, settings["denominator"], settings["eps"])
        for ledger, mine, divisor in zip(bucket, power.split(units), divided.split(units), strict=True):
            entries = state[ledger.weight]
            entries["power"] = mine
            entries["step"] = entries.get("step", 0) + 1
            divisors[ledger.weight] = ledger.spread(divisor)
    return divisors


def divide(group: Mapping[str, Any], divisors: Mapping[nn.Parameter, Tensor]) -> dict[nn.Parameter, Tensor]:
    """Divide the gradients that have a divisor."""
    gradients: dict[nn.Parameter, Tensor] = {p: p.grad for p in group["params"] if p.grad is not None}
    divided = [parameter for parameter in gradients if parameter in divisors]
    # By sample, the gradient has been divided on its way.
    if divided and group["reduce"] != "sample":
        quotients: Sequence[Tensor] = torch._foreach_div(  # pyright: ignore[reportPrivateImportUsage]
            [gradients[parameter] for parameter in divided], [divisors[parameter] for parameter in divided]
        )
        for parameter, quotient in zip(divided, quotients, strict=True):
            # A divisor in float32 that has axes of its own turns a gradient of bfloat16 into float32.
            gradients[parameter] = quotient.to(gradients[parameter].dtype)
    return gradients


def clip(
    gradients: Mapping[nn.Parameter, Tensor], divisors: Mapping[nn.Parameter, Tensor], groups: Iterable[dict[str, Any]]
) -> dict[nn.Parameter, Tensor]:
    """Scale the divided gradients of each group that has a ``max_norm`` down to it."""
    total = get_total_norm([output_scale(value, divisors.get(p)) for p, value in gradients.items()])
    clipped = dict(gradients)
    for group in groups:
        if group["max_norm"] is not None:
            factor = clip_factor(total, group["max_norm"])
            mine = [parameter for parameter in group["params"] if parameter in gradients]
            clipped.update((parameter, gradients[parameter] * factor.to(parameter.device)) for parameter in mine)
    return clipped


def sgd_step(state: State, group: Mapping[str, Any], gradients: Mapping[nn.Parameter, Tensor]) -> None:
    """Let torch's SGD take the step."""
    buffers: list[Tensor | None] = [state.get(parameter, {}).get("momentum_buffer") for parameter in gradients]
    sgd(
        list(gradients),
        list(gradients.values()),
        buffers,
        foreach=group["foreach"],
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=group["dampening"],
        nesterov=group["nesterov"],
        maximize=group["maximize"],
    )
    if group["momentum"] != 0:
        for parameter, buffer in zip(gradients, buffers, strict=True):
            state[parameter]["momentum_buffer"] = buffer
