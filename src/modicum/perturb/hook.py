"""HyPe on a model: attach, train, remove; and what a sigma means for the model at hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, SupportsIndex

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from modicum.core.devices import drop_compiled_code
from modicum.errors import ConfigError, ModelError, StateError
from modicum.perturb.configuration import HyPeConfig, checked
from modicum.perturb.noise import NoiseSource, SiteHook
from modicum.perturb.sites import DropoutSwitch, find_sites


class HyPe:
    """Perturb the input of every Transformer layer while the model trains.

    Use it for fine-tuning a pre-trained model on little data. At the paper's sigma the noise is tiny, and what helps
    may be that dropout is off: compare with that, and see `gradient_change` for what a sigma does to your model.

    A layer in training mode gets noise; one in evaluation mode does not. The noise is a function of the seed, the
    layer, the position in the training, the number of the sample and the element. The position is (n, forwards): `step`
    sets n, the number of the optimizer step, and each forward pass of the model in training adds one to forwards, so
    that the parts of an accumulated batch, or two passes over one batch, differ. Without any call of `step`, n stays 0
    and forwards counts all passes. `HyPeCallback` calls `step`; a loop of your own resumes with ``step(*position)``.

    Samples are numbered over all ranks of torch.distributed: rank times local batch size, plus the position in the
    batch. Two ranks thus get the noise of one with the two batches, one after the other.

    Attach to the model that you call, or the wrapper that you call; a wrapper that goes around the model's own call is
    noticed at the first training pass, as an error. If torch compiled anything before, it compiles anew, since
    compiled code looks for no new hooks.

    Args:
        model: whose layers are found by themselves: any of transformers, or one with a list of layers.
        config: which noise, and where.
        rank: of this process among those that see different samples; None asks torch.distributed. Give it where ranks
            share samples, as in tensor parallelism.

    Raises:
        ConfigError: if ``rank`` is negative, or ``config`` is something else.
        ModelError: if the model has no layers.

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


def _gradient(model: nn.Module, batch: Mapping[str, Any], config: HyPeConfig) -> Tensor:
    with HyPe(model, config):
        loss = getattr(model(**batch), "loss", None)
    if not isinstance(loss, Tensor):
        raise ModelError("The output of the model has no loss.", hint="Put labels into the batch.")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    # In double precision: the norm of a small difference of large vectors.
    return torch.cat([gradient.flatten().double() for gradient in gradients if gradient is not None])
