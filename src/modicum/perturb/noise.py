"""What the hooks of one attached HyPe share: where in the training it is, and the noise for that position."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modicum.errors import ModelError, StateError
from modicum.perturb.configuration import HyPeConfig
from modicum.perturb.functional import (
    fold,
    hash_normal,
    hash_uniform,
    normal_tables,
    root_mean_square,
)
from modicum.perturb.sites import Site, select_layers, try_model

_MOST_PASSES = 64  # over one and the same tensor, between which a backward pass may choose


@dataclass(kw_only=True, slots=True)
class _Call:
    """A call of a layer in a forward pass."""

    hidden: weakref.ref[Tensor]
    keys: Tensor
    layer: int
    computed_again: int = -1  # in which backward pass


class NoiseSource:
    """Gives each call of a layer its noise, from the position in the training alone."""

    def __init__(self, config: HyPeConfig, sites: Sequence[Site], rank: int) -> None:
        self.config = config
        self.chosen = select_layers(sites, config.layers)
        self.sites = sites
        self.rank = rank
        # (optimizer step, forward passes begun in it - 1): tensors, so that compiled code need not be made again.
        self.position = torch.tensor([0, -1], dtype=torch.int32)
        layers = torch.arange(sum(len(site.layers) for site in sites), dtype=torch.int32).unsqueeze(1)
        streams = torch.arange(max(len(site.hidden) for site in sites), dtype=torch.int32)
        seed = fold(torch.zeros((), dtype=torch.int32), config.seed & 0xFFFFFFFF, config.seed >> 32)
        self.keys = fold(seed, layers, streams)
        self.current_keys: Tensor | None = None  # of this forward pass; the model was never called if there are none
        # What was called with a hidden state of this site at this address, for as long as that tensor lives: gradient
        # checkpointing calls a layer again in the backward pass, with the tensor that it kept, and wants its noise.
        self._called: dict[tuple[str, int], list[_Call]] = {}
        self._again: tuple[int, Tensor] | None = None  # the backward pass that computes again, and the keys it takes
        self.tables = {torch.device("cpu"): normal_tables()}
        self.calls = dict.fromkeys((site.name for site in sites), 0)
        self.trying = False  # in the dry run, which measures what sigma does and perturbs nothing
        self.checked = False
        self.measured: set[torch.dtype] = set()
        self.warned = False

    def begin(self, *_: object) -> None:
        """Count a forward pass of the model, if it is one of training (a hook of the entire model)."""
        for name in self.calls:
            self.calls[name] = 0
        if any(site.module.training for site in self.sites):
            self.position[1].add_(1)
        self.current_keys = fold(self.keys, self.position[0], self.position[1])
        alive = {at: [call for call in calls if call.hidden() is not None] for at, calls in self._called.items()}
        self._called = {at: calls[-_MOST_PASSES:] for at, calls in alive.items() if calls}

    def keys_of(self, site: Site, hidden: object) -> tuple[Tensor | None, int]:
        """Give the keys of the pass that a call belongs to, and the number of the layer that it is."""
        if torch.compiler.is_compiling() or self.trying or not isinstance(hidden, Tensor):
            return self.current_keys, self._count(site)
        backward = torch._C._current_graph_task_id()  # pyright: ignore[reportAttributeAccessIssue] - -1 in a forward pass
        at = site.name, hidden.data_ptr()
        if backward == -1:
            layer = self._count(site)
            if self.current_keys is not None:
                call = _Call(hidden=weakref.ref(hidden), keys=self.current_keys, layer=layer)
                self._called.setdefault(at, []).append(call)
            return self.current_keys, layer
        calls = [call for call in self._called.get(at, ()) if call.hidden() is not None]
        if calls:
            # Several passes over one tensor: autograd goes back through the latest first.
            call = next((each for each in reversed(calls) if each.computed_again != backward), calls[-1])
            call.computed_again = backward
            self._again = backward, call.keys
            return call.keys, call.layer
        # Inside a segment of several layers only the first one's input was kept.
        again = self._again
        keys = again[1] if again is not None and again[0] == backward else self.current_keys
        return keys, self._count(site)

    def _count(self, site: Site) -> int:
        call = self.calls[site.name]
        self.calls[site.name] = call + 1
        return site.layers[call % len(site.layers)]

    def try_out(self, model: nn.Module) -> bool:
        """Check the hooks, and what sigma does in the model's own number format, by a dry run where one is possible."""
        self.trying = self.config.backend == "hash"  # the other one would draw from torch's generator
        self.current_keys = self.keys  # any will do
        ran = try_model(model)
        self.trying = False
        self.measured.clear()  # two tokens may be untypical: the first training pass measures again
        self.current_keys = None
        if ran:
            self.check_calls()
        return ran

    def check_calls(self) -> None:
        """See that the last forward pass called every chosen layer."""
        for site in self.sites:
            if not self.calls[site.name] and not self.chosen.isdisjoint(site.layers):
                raise ModelError(
                    f"{site.name} is a layer of the model, but a forward pass does not call it.",
                    hint="Leave it out: list the layers that are called in layers=[...]. If the model skips layers at "
                    "random (LayerDrop), keep disable_dropout=True.",
                )

    def check_first(self, *_: object) -> None:
        """Do so once, after the first forward pass (a hook of the entire model)."""
        if not self.checked:
            self.checked = True
            self.check_calls()

    def perturb(self, hidden: Tensor, key: Tensor, sample_axis: int = 0) -> Tensor:
        """Add the noise of a key to a hidden state, in a new tensor."""
        noise = self._torch_noise(hidden) if self.config.backend == "torch" else self._noise(hidden, key, sample_axis)
        if self.config.sigma_mode == "relative":
            noise = noise.mul_(root_mean_square(hidden))
        noisy = hidden + noise.mul_(self.config.sigma).to(hidden.dtype)
        if not torch.compiler.is_compiling() and hidden.dtype not in self.measured:
            self._measure(hidden, noisy)
        return noisy

    def _torch_noise(self, hidden: Tensor) -> Tensor:
        noise = torch.empty(hidden.shape, dtype=torch.float32, device=hidden.device)
        if self.config.noise == "normal":
            return noise.normal_()
        return noise.uniform_(-1, 1) if self.config.noise == "uniform" else noise.uniform_()

    def _noise(self, hidden: Tensor, key: Tensor, sample_axis: int) -> Tensor:
        shape = list(hidden.shape)
        shape[0], shape[sample_axis] = shape[sample_axis], shape[0]
        first = self.rank * shape[0]
        if self.config.noise == "normal":
            if hidden.device not in self.tables:
                radius, cosine = self.tables[torch.device("cpu")]
                self.tables[hidden.device] = radius.to(hidden.device), cosine.to(hidden.device)
            noise = hash_normal(shape, key, self.tables[hidden.device], first_sample=first)
        else:
            noise = hash_uniform(shape, key, first_sample=first, device=hidden.device)
            if self.config.noise == "uniform_positive":
                noise = noise.add_(1).mul_(0.5)
        return noise.transpose(0, sample_axis)

    def _measure(self, hidden: Tensor, noisy: Tensor) -> None:
        self.measured.add(hidden.dtype)
        share = (noisy != hidden).float().mean().item()
        if share < 0.5 and not self.warned:
            self.warned = True
            step = torch.finfo(hidden.dtype).eps
            warnings.warn(
                f"sigma={self.config.sigma:g} changes only {share:.1%} of the hidden states in "
                f"{str(hidden.dtype).removeprefix('torch.')}. Use sigma_mode='relative' with sigma >= {step:.1g}, "
                "the spacing of that format, or keep the hidden states in float32.",
                stacklevel=2,
            )


class SiteHook:
    """Perturbs the input of one layer (a forward pre-hook with keyword arguments)."""

    def __init__(self, site: Site, source: NoiseSource) -> None:
        self.site = site
        self.source = source

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Return the arguments of the layer with noise, or None to leave them."""
        site, source = self.site, self.source
        keys, layer = source.keys_of(site, args[0] if args else kwargs.get(site.hidden[0]))
        silent = not (module.training or source.trying)
        if silent or layer not in source.chosen or source.config.sigma == 0:
            return None
        if keys is None:
            raise StateError(
                f"{site.name} ran in training, but the model that HyPe holds was never called itself.",
                hint="Give HyPe the model that you call: wrap it first (peft, for example), then attach.",
            )
        positional, named = list(args), dict(kwargs)
        for stream, name in enumerate(site.hidden):
            is_positional = stream < len(args)
            hidden = args[stream] if is_positional else kwargs.get(name)
            if stream and hidden is None:
                continue  # the second stream of XLNet is there in some passes only
            if not (isinstance(hidden, Tensor) and hidden.is_floating_point()):
                raise ModelError(
                    f"The first argument of {site.name} should be a hidden state, but it is {type(hidden).__name__}.",
                    hint="Leave the layer out: list the others in layers=[...].",
                )
            noisy = source.perturb(hidden, keys[layer, stream], site.sample_axis)
            if is_positional:
                positional[stream] = noisy
            else:
                named[name] = noisy
        return None if source.trying else (tuple(positional), named)
