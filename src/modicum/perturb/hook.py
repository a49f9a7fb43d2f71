"""HyPe on a model: attach, train, remove; the noise for each position in the training; and what a sigma means."""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, SupportsIndex

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from modicum.core.devices import check_model, drop_compiled_code
from modicum.errors import ConfigError, ModelError, StateError
from modicum.perturb.configuration import HyPeConfig, checked
from modicum.perturb.functional import fold, hash_normal, hash_uniform, normal_tables, root_mean_square
from modicum.perturb.sites import DropoutSwitch, Site, find_sites, select_layers, try_model

_MOST_PASSES = 64  # over one and the same tensor, between which a backward pass may choose


class HyPe:
    """Perturb the input of every Transformer layer while the model trains.

    Use it for fine-tuning a pre-trained model on little data. At the paper's sigma the noise is tiny, and what helps
    may be that dropout is off: compare with that, and see `gradient_change` for what a sigma does to your model.

    A layer in training mode gets noise; one in evaluation mode does not. The noise is a function of the seed, the
    layer, the position in the training, the number of the sample and the element. The position is (n, forwards): `step`
    sets n, the number of the optimizer step, and each forward pass of the model in training adds one to forwards, so
    that the parts of an accumulated batch, or two passes over one batch, differ. Without any call of `step`, n stays 0
    and forwards counts all passes. `HyPeCallback` calls `step`; a loop of your own resumes with ``step(*position)``.
    A layer that runs several times in one forward pass (a siamese wrapper) gets new noise each time.

    Samples are numbered over all ranks of torch.distributed: rank times local batch size, plus the position in the
    batch. Two ranks thus get the noise of one with the two batches, one after the other.

    Attach to the model that you call, or the wrapper that you call; a wrapper that goes around the model's own call is
    noticed at the first training pass, as an error. If torch compiled anything before, it compiles anew, since
    compiled code looks for no new hooks.

    Args:
        model: whose layers are found by themselves: most of transformers (one whose layers are not known is refused),
            torch's own Transformer, or one with its layers in an `nn.ModuleList`.
        config: which noise, and where.
        rank: of this process among those that see different samples; None asks torch.distributed. Give it where ranks
            share samples, as in tensor parallelism.

    Raises:
        ConfigError: if ``rank`` is negative, or ``model`` or ``config`` is something else.
        ModelError: if the model has no layers, or is one of transformers whose layers are not known.

    Example:
        >>> layers = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
        >>> HyPe(layers).sites
        ('0', '1')

    Source:
        Yuan et al. 2023 (arXiv:2212.08853): h <- h + noise before each layer, the first one included; the output of
        the last layer stays as it is. Departure: all dropout is set to 0, where the paper's command sets the rate of
        hidden states only.
    """

    def __init__(self, model: nn.Module, config: HyPeConfig | None = None, *, rank: int | None = None) -> None:
        if rank is not None and rank < 0:
            raise ConfigError(f"rank must be >= 0, but it is {rank}.", hint="Leave it out to ask torch.distributed.")
        check_model(model, "HyPe", hint="Write HyPe(model, HyPeConfig(...)), with a torch.nn.Module.")
        self.config = checked(config)
        self.training: object | None = None  # of a Trainer, for HyPeCallback
        self._model = model
        self._rank = rank
        self._sites = find_sites(model)
        self._source: NoiseSource | None = None
        self._handles: list[RemovableHandle] = []
        self._dropout: DropoutSwitch | None = None

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the layers, as in ``model.named_modules()``, in the order that the integers of ``layers`` count."""
        return tuple(site.name for site in self._sites)

    @property
    def position(self) -> tuple[int, int]:
        """Where the training is, to save with a checkpoint: (optimizer step, forward passes made in it).

        Raises:
            StateError: if it is not attached.
        """
        step, begun = self._attached().position.tolist()
        return step, begun + 1

    def step(self, n: int, forwards: int = 0) -> None:
        """Say which optimizer step comes next.

        Args:
            n: number of the step, >= 0.
            forwards: training passes that were already made in it.

        Raises:
            ConfigError: if a number is negative.
            StateError: if it is not attached.
        """
        if n < 0 or forwards < 0:
            raise ConfigError(f"A position must be >= 0, but it is {(n, forwards)}.", hint="Count the steps from 0.")
        self._attached().position.copy_(torch.tensor([n, forwards - 1]))

    def attach(self) -> Self:
        """Put the hooks on the layers, turn dropout off if asked, and see that the hooks fire.

        Returns:
            Itself: call `remove` when the training is done, or use ``with HyPe(model, config):``.

        Raises:
            ConfigError: if ``layers`` names one that the model does not have.
            ModelError: if a chosen layer is not called by a forward pass.
            StateError: if a HyPe is attached to the model already.
        """
        hooks = [hook for site in self._sites for hook in site.module._forward_pre_hooks.values()]
        if any(isinstance(hook, SiteHook) for hook in hooks):
            raise StateError(
                "A HyPe is attached to this model already.",
                hint="Call its remove() first, or that of its HyPeCallback if a training was interrupted.",
            )
        source = NoiseSource(self.config, self._sites, _rank() if self._rank is None else self._rank)
        self._source = source
        try:
            for site in self._sites:
                self._handles.append(site.module.register_forward_pre_hook(SiteHook(site, source), with_kwargs=True))
            if not source.try_out(self._model):
                self._handles.append(self._model.register_forward_hook(source.check_first))
        except BaseException:  # a warning that is an error, or an interruption, among others
            self.remove()
            raise
        self._handles.append(self._model.register_forward_pre_hook(source.begin))
        if self.config.disable_dropout:
            self._dropout = DropoutSwitch(self._model)
        vars(self._model).update(__deepcopy__=self._copy, __reduce_ex__=self._reduce)
        drop_compiled_code()
        return self

    def remove(self) -> None:
        """Take the hooks off and put the dropout rates back; nothing happens if it is not attached."""
        while self._handles:
            self._handles.pop().remove()
        for name in ("__deepcopy__", "__reduce_ex__"):
            vars(self._model).pop(name, None)
        if self._dropout is not None:
            self._dropout.restore()
            self._dropout = None
        if self._source is not None:
            self._source = None
            drop_compiled_code()

    def __enter__(self) -> Self:
        return self if self._source is not None else self.attach()

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _copy(self, memo: dict[int, Any]) -> nn.Module:
        """Copy the model without hooks and with its own rates: an EMA or a best-so-far is a plain model."""
        own = {name: vars(self._model).pop(name) for name in ("__deepcopy__", "__reduce_ex__")}
        try:  # with them, copying would call itself
            copied = copy.deepcopy(self._model, memo)
        finally:
            vars(self._model).update(own)
        for module in copied.modules():
            for hooks in (module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs, module._forward_hooks):
                for handle in self._handles:
                    hooks.pop(handle.id, None)
        if self._dropout is not None:
            self._dropout.restore_copy(memo)
        return copied

    def _reduce(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """Pickle a copy in place of the model, for `torch.save`."""
        return copy.deepcopy(self._model).__reduce_ex__(protocol)

    def _attached(self) -> NoiseSource:
        if self._source is None:
            raise StateError(
                "This HyPe is not attached to its model.", hint="Call attach(), or use it in a with block."
            )
        return self._source


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientChange:
    """One row of the table.

    Args:
        sigma: size of the noise.
        change: ||g' - g|| / ||g|| over all trainable parameters, g without noise and g' with it.
    """

    sigma: float
    change: float


def gradient_change(
    model: nn.Module, batch: Mapping[str, Any], sigmas: Sequence[float], *, config: HyPeConfig | None = None
) -> tuple[GradientChange, ...]:
    """Measure the relative change of the gradient that HyPe makes, for each sigma, with dropout off.

    It is linear in sigma while the noise is small. Compare it with what other randomness does: dropout 0.1 changes
    the gradient of a small BERT by about a half.

    Args:
        model: whose output has a ``loss``. Its mode, gradients, dropout rates and buffers stay as they are.
        batch: keyword arguments of ``model``, labels included.
        sigmas: sizes to try, one forward and backward pass each.
        config: noise, layers and mode; its sigma is not used.

    Returns:
        One row a sigma, in their order.

    Raises:
        ConfigError: if there is no sigma, or ``config`` is something else.
        ModelError: if the output has no loss, or the gradient is 0.
        StateError: if a HyPe is attached to the model.
    """
    config = checked(config)
    if not sigmas:
        raise ConfigError("gradient_change needs at least one sigma, but sigmas is empty.", hint="Try [1e-5, 1e-3].")
    training = {module: module.training for module in model.modules()}
    buffers = {buffer: buffer.clone() for buffer in model.buffers()}
    try:
        model.train()
        clean = _gradient(model, batch, replace(config, sigma=0.0, disable_dropout=True))
        size = clean.norm().item()
        if size == 0:
            raise ModelError("The gradient of this batch is 0.", hint="Give it a batch that the model can learn from.")
        rows: list[GradientChange] = []
        for sigma in sigmas:
            noisy = _gradient(model, batch, replace(config, sigma=sigma, disable_dropout=True))
            rows.append(GradientChange(sigma=sigma, change=(noisy - clean).norm().item() / size))
        return tuple(rows)
    finally:
        for module, mode in training.items():
            module.training = mode
        with torch.no_grad():
            for buffer, value in buffers.items():
                buffer.copy_(value)


def attached_to(model: nn.Module) -> HyPe | None:
    """Give the HyPe that is attached to exactly this module, if there is one."""
    owner = getattr(vars(model).get("__deepcopy__"), "__self__", None)
    return owner if isinstance(owner, HyPe) else None


def _rank() -> int:
    return (
        torch.distributed.get_rank() if torch.distributed.is_available() and torch.distributed.is_initialized() else 0
    )


def _count(calls: dict[str, int], site: Site) -> int:
    number = calls[site.name]
    calls[site.name] = number + 1
    return number


def _gradient(model: nn.Module, batch: Mapping[str, Any], config: HyPeConfig) -> Tensor:
    with HyPe(model, config):
        loss = getattr(model(**batch), "loss", None)
        if not isinstance(loss, Tensor):
            raise ModelError("The output of the model has no loss.", hint="Put labels into the batch.")
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # Still attached, for activation checkpointing computes the forward pass again.
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    # In double precision: the norm of a small difference of large vectors.
    return torch.cat([gradient.flatten().double() for gradient in gradients if gradient is not None])


@dataclass(kw_only=True, slots=True)
class _Call:
    """A call of a layer in a forward pass."""

    hidden: weakref.ref[Tensor]
    keys: Tensor
    calls: dict[str, int]  # of each layer, that came before in its forward pass
    period: dict[str, int]  # of each layer, in all of that pass
    computed_again: int = -1  # in which backward pass


@dataclass(kw_only=True, slots=True)
class _Again:
    """What a backward pass computes again."""

    backward: int
    keys: Tensor | None
    calls: dict[str, int]  # of each layer, that came before
    period: dict[str, int]  # after so many it is computed once more, as in nested checkpoints


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
        self._again: _Again | None = None
        self.tables = {torch.device("cpu"): normal_tables()}
        self.calls = dict.fromkeys((site.name for site in sites), 0)
        self.trying = False  # in the dry run, which measures what sigma does and perturbs nothing
        self.checked = False
        self.measured: set[torch.dtype] = set()
        self.warned = False

    def begin(self, *_: object) -> None:
        """Count a forward pass of the model, if it is one of training (a hook of the entire model)."""
        self.calls = dict.fromkeys(self.calls, 0)
        if any(site.module.training for site in self.sites):
            self.position[1].add_(1)
        self.current_keys = fold(self.keys, self.position[0], self.position[1])
        alive = {at: [call for call in calls if call.hidden() is not None] for at, calls in self._called.items()}
        self._called = {at: calls[-_MOST_PASSES:] for at, calls in alive.items() if calls}

    def keys_of(self, site: Site, hidden: object) -> tuple[Tensor | None, int]:
        """Give the keys of the pass that a call belongs to, and the number of the call in it."""
        if torch.compiler.is_compiling() or self.trying or not isinstance(hidden, Tensor):
            return self.current_keys, _count(self.calls, site)
        backward = torch._C._current_graph_task_id()  # pyright: ignore[reportAttributeAccessIssue] - -1 in a forward pass
        at = site.name, hidden.data_ptr()
        if backward == -1:
            if self.current_keys is not None:
                call = _Call(
                    hidden=weakref.ref(hidden), keys=self.current_keys, calls=dict(self.calls), period=self.calls
                )
                self._called.setdefault(at, []).append(call)
            return self.current_keys, _count(self.calls, site)
        calls = [call for call in self._called.get(at, ()) if call.hidden() is not None]
        again = self._again
        if calls:
            # Several passes over one tensor: autograd goes back through the latest first.
            call = next((each for each in reversed(calls) if each.computed_again != backward), calls[-1])
            call.computed_again = backward
            again = _Again(backward=backward, keys=call.keys, calls=dict(call.calls), period=call.period)
        elif again is None or again.backward != backward:
            # Nothing is known of it: it should be the last forward pass, from its beginning.
            again = _Again(
                backward=backward, keys=self.current_keys, calls=dict.fromkeys(self.calls, 0), period=self.calls
            )
        # Inside a segment of several layers only the first one's input was kept: the others are counted from there.
        self._again = again
        number = _count(again.calls, site)
        return again.keys, number % (again.period.get(site.name) or number + 1)

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
        keys, call = source.keys_of(site, args[0] if args else kwargs.get(site.hidden[0]))
        time, turn = divmod(call, len(site.layers))
        layer = site.layers[turn]
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
            # The first time takes the key as it is.
            key = fold(keys[layer, stream], time) if time else keys[layer, stream]
            noisy = source.perturb(hidden, key, site.sample_axis)
            if is_positional:
                positional[stream] = noisy
            else:
                named[name] = noisy
        return None if source.trying else (tuple(positional), named)
