"""Where HyPe acts: the Transformer layers of a model, found without a list of architectures."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from modicum.errors import ConfigError, ModelError


@dataclass(frozen=True, kw_only=True)
class Site:
    """One module whose input is a hidden state."""

    name: str  # as in ``model.named_modules()``
    module: nn.Module  # the layer
    layers: tuple[int, ...]  # the numbers of its calls in one forward pass, in order
    stack: str  # name of the list that holds the layer; an encoder-decoder has two
    hidden: tuple[str, ...]  # names of the arguments of ``forward`` that are hidden states
    sample_axis: int = 0  # the axis of the hidden states that counts samples


def find_sites(model: nn.Module) -> tuple[Site, ...]:
    """Find the Transformer layers of a model, in the order in which they are registered."""
    # Layers are what transformers wraps for gradient checkpointing; in the few models that it does not wrap, the known
    # classes; else the longest list of modules of one class.
    named = list(model.named_modules())  # a shared module appears once
    found = [(name, module) for name, module in named if _is_layer(module)]
    found = found or _longest_list(named)
    # A layer inside another one is a part of it, not a step of the stack.
    outer = {f"{name}." for name, _ in found}
    found = [(name, module) for name, module in found if not any(name.startswith(other) for other in outer)]
    if not found:
        raise ModelError(
            f"HyPe needs a model with a stack of layers, but {type(model).__name__} has none.",
            hint="Give it a Transformer, or a module that keeps its layers in an nn.ModuleList.",
        )
    return tuple(_describe(name, module, number) for number, (name, module) in enumerate(found))


def select_layers(sites: Sequence[Site], layers: str | Sequence[int]) -> frozenset[int]:
    """Choose layers by number."""
    stacks: dict[str, list[int]] = {}
    for site in sites:
        stacks.setdefault(site.stack, []).extend(site.layers)
    total = sum(len(site.layers) for site in sites)
    if not isinstance(layers, str):
        if max(layers) >= total:
            raise ConfigError(
                f"The model has layers 0 to {total - 1}, but layers names {max(layers)}.",
                hint="HyPe(model).sites lists them in order.",
            )
        return frozenset(layers)
    if layers == "all":
        return frozenset(range(total))
    end, _, count = layers.partition(":")
    k = int(count)
    shortest = min(stacks, key=lambda name: len(stacks[name]))
    if k > len(stacks[shortest]):
        raise ConfigError(
            f"layers={layers!r} needs {k} layers, but {shortest} has {len(stacks[shortest])}.",
            hint="Use a smaller number, or layers='all'.",
        )
    return frozenset(number for stack in stacks.values() for number in (stack[-k:] if end == "top" else stack[:k]))


def _is_layer(module: nn.Module) -> bool:
    # If transformers was never imported, the model cannot be one of its own.
    library = sys.modules.get("transformers.modeling_layers")
    if library is not None and isinstance(module, library.GradientCheckpointingLayer):
        return True
    return _class_name(module) in {"AlbertLayer", "MPNetLayer", "XLNetLayer"}


def _class_name(module: nn.Module) -> str:
    # FSDP2 makes a subclass of each layer that it shards.
    return type(module).__name__.removeprefix("FSDP")


def _longest_list(named: Sequence[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    best: list[tuple[str, nn.Module]] = []
    for name, module in named:
        if not isinstance(module, nn.ModuleList) or len({type(layer) for layer in module}) != 1:
            continue
        if len(module) > len(best):
            best = [(f"{name}.{index}" if name else str(index), layer) for index, layer in enumerate(module)]
    return best


def _describe(name: str, module: nn.Module, number: int) -> Site:
    kind = _class_name(module)
    if kind == "AlbertLayer":
        group, _, inner = name.split(".")[-3:]
        stack = name.rsplit(".", 3)[0]
        calls = _albert_calls(module, int(group), int(inner))
        return Site(name=name, module=module, layers=calls, stack=stack, hidden=("hidden_states",))
    stack = name.rpartition(".")[0]
    if kind == "XLNetLayer":  # two streams, and time before samples
        streams = ("output_h", "output_g")
        return Site(name=name, module=module, layers=(number,), stack=stack, hidden=streams, sample_axis=1)
    hidden = next(iter(inspect.signature(module.forward).parameters), "")
    return Site(name=name, module=module, layers=(number,), stack=stack, hidden=(hidden,))


def _albert_calls(module: nn.Module, group: int, inner: int) -> tuple[int, ...]:
    """Number the calls of a shared layer: a pass goes through the groups, and each time through all of a group."""
    config: Any = module.config
    a_group = config.num_hidden_layers / config.num_hidden_groups
    passes = [step for step in range(config.num_hidden_layers) if int(step / a_group) == group]
    return tuple(step * config.inner_group_num + inner for step in passes)
