"""The NSGD optimizer."""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim.sgd import sgd

from modicum.core.devices import check_model, drop_compiled_code, is_sharded
from modicum.errors import ModelError, StateError
from modicum.optim import functional
from modicum.optim.configuration import Reduction, check_group, check_settings, check_state
from modicum.optim.functional import Denominator, Norm
from modicum.optim.instance import InstanceScaler, refuse_scaled
from modicum.optim.power import Ledger, PowerWatcher, all_reduce, buckets

_State = dict[Any, dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPower:
    """What the optimizer knows of one weight."""

    power: float  # of the layer's input, that the last step divided by; the mean where the weight has several
    learning_rate: tuple[float, float]  # (smallest, largest) of the last step; by the mean power if reduce="sample"


class NSGD(torch.optim.Optimizer):
    """Take SGD steps whose size for each layer is divided by the power of that layer's input.

    Use it where the scale of a layer's inputs is unknown or drifts: without normalisation layers, with raw data,
    across models with one learning rate. It gains little where batch normalisation fixes the scales already, and a
    tuned SGD may be as good.

    Weights of linear layers, convolutions, transformers' ``Conv1D`` and the input projections of
    ``nn.MultiheadAttention`` are normalised. Biases, normalisation layers and embeddings (a one-hot input has power 1)
    take plain SGD steps. So does every other weight whose input cannot be seen: the output projection of
    ``nn.MultiheadAttention``, recurrent and transposed layers, convolutions with a ``forward`` of their own, weights
    used by function; one warning names them.

    Only forward passes in training mode count, and only those that reach the gradient by ``backward()``. What torch
    compiled before is compiled anew, since compiled code looks for no new hooks.
    The step is: divide the gradient, add weight decay, apply momentum (torch's own SGD does the last two).

    Args:
        model: that is trained. Hooks on its layers measure the powers until `close`.
        lr: learning rate, > 0. For a layer alone with a squared loss, rates below 2 are stable.
        momentum: of the divided gradient, >= 0.
        dampening: of the momentum.
        nesterov: use Nesterov momentum.
        weight_decay: L2 penalty, >= 0; not divided by the power.
        norm: "l2" for the squared l2 norm of a patch, "l1" for its l1 norm.
        reduce: "batch" keeps one power for each layer, or group of a grouped convolution; "channel" one for each
            input channel; "sample" divides the share of each patch by its own power.
        denominator: "power" divides by eps + P, "log" by max(log P, eps).
        beta: weight of the past in the moving average of P, in [0, 1); 0 takes the power of this step alone.
        eps: >= 0 (> 0 for "log"). The default is the paper's.
        max_norm: clip the divided gradients to this total norm, > 0; None does not clip. The norm is over all
            parameters, as in `torch.nn.utils.clip_grad_norm_`, which acts too early and brings the dependence on the
            scale back. A divided gradient counts times the root of its divisor, so that the norm has no scale either.
        params: parameter groups in the forms of torch; all trainable parameters of ``model`` if None.
        maximize: ascend instead of descend.
        foreach: as in `torch.optim.SGD`.
        synchronize: average powers over the ranks of torch.distributed: None does so when there are several.

    Raises:
        ConfigError: if a setting is out of its range, or ``model`` is something else, such as its parameters.
        ModelError: if the model has nothing to train or is sharded (FSDP), or a parameter is not the model's.
        StateError: if another NSGD with reduce="sample" holds the model.

    Example:
        >>> model = torch.nn.Linear(3, 1, bias=False)
        >>> optimizer = NSGD(model, lr=0.5)
        >>> model(torch.tensor([[1.0, 2.0, 2.0]])).sum().backward()
        >>> optimizer.step()
        >>> optimizer.powers()["weight"].power
        9.0

    Source:
        Atici, Pan and Cetin, arXiv:2212.09921; the order of the step is that of Algorithm 1 of its version 2.
        Departures: the power is the mean over patches, batch and positions, so that the rate depends neither on the
        batch size nor on the image size; the paper's code uses matrix norms of entire maps. "sample" and
        synchronisation are ours.
    """

    def __init__(  # noqa: PLR0913 - torch.optim.SGD has ten of them
        self,
        model: nn.Module,
        lr: float | Tensor,
        momentum: float = 0,
        dampening: float = 0,
        nesterov: bool = False,  # noqa: FBT001, FBT002 - the order of torch.optim.SGD, for drop-in use
        weight_decay: float = 0,
        *,
        norm: Norm = "l2",
        reduce: Reduction = "batch",
        denominator: Denominator = "power",
        beta: float = 0.0,
        eps: float = 0.01,
        max_norm: float | None = None,
        params: Iterable[Any] | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        synchronize: bool | None = None,
    ) -> None:
        defaults: dict[str, Any] = {"lr": lr, "momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        defaults |= {"weight_decay": weight_decay, "norm": norm, "reduce": reduce, "denominator": denominator}
        defaults |= {"beta": beta, "eps": eps, "max_norm": max_norm, "maximize": maximize, "foreach": foreach}
        check_settings(defaults)
        check_model(
            model,
            "NSGD",
            ", since it watches the inputs of its layers",
            hint="Write NSGD(model, lr=...); some parameters, or groups of them, go into params=.",
        )
        if is_sharded(model):
            raise ModelError(
                "NSGD cannot train a model whose weights are shared out among ranks (FSDP, tensor parallelism).",
                hint="Use DistributedDataParallel, or another optimizer.",
            )
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        self._known_plain = {self._names[table] for table in _embedding_tables(model)}
        self._synchronize = synchronize
        self._has_stepped = False
        super().__init__(_trainable(self._names) if params is None else params, defaults)
        refuse_scaled(model)
        self._watcher: InstanceScaler | PowerWatcher
        if reduce == "sample":
            self._watcher = InstanceScaler(model, norm=norm, kind=denominator, eps=eps)
        else:
            self._watcher = PowerWatcher(model, norm=norm, per_channel=reduce == "channel")
            drop_compiled_code()
        # The watcher does not know the optimizer, so an optimizer that is let go of frees its model.
        self._finalizer = weakref.finalize(self, self._watcher.close)
        self._finalizer.atexit = False

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of the model's parameters, with its own settings where it has any.

        Raises:
            ConfigError: if a setting is out of its range, or one that all groups share.
            ModelError: if a parameter is not the model's.
        """
        check_group(param_group, self.defaults)
        super().add_param_group(param_group)
        if any(parameter not in self._names for parameter in self.param_groups[-1]["params"]):
            added = self.param_groups.pop()
            shape = next(tuple(parameter.shape) for parameter in added["params"] if parameter not in self._names)
            raise ModelError(
                f"A parameter of shape {shape} is not one of the model that NSGD watches.",
                hint="Pass the model that owns it, or give it an optimizer of its own.",
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one step; the gradients themselves are left as they are.

        Args:
            closure: evaluates the model again, calls ``backward()`` and returns the loss.

        Returns:
            The loss that the closure returned, if there is one.

        Raises:
            ModelError: if a gradient is sparse or complex.
            StateError: if a known layer has a gradient and no power, or after `close`.
        """
        if not self._finalizer.alive:
            raise StateError("This NSGD is closed: it sees no inputs any more.", hint="Build a new one on the model.")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        totals = self._take_totals()
        self._check_gradients(totals)
        if not self._has_stepped and self.defaults["reduce"] != "sample":
            _warn_of_clipping_trainer()
        self._has_stepped = True
        divisors: dict[nn.Parameter, Tensor] = {}
        gradients: dict[nn.Parameter, Tensor] = {}
        for group in self.param_groups:
            ledgers = [self._watcher.ledgers[parameter] for parameter in group["params"] if parameter in totals]
            divisors |= _update_powers(self.state, group, ledgers, totals)
            gradients |= _divide(group, divisors)
        if any(group["max_norm"] is not None for group in self.param_groups):
            gradients = _clip(gradients, divisors, self.param_groups)
        for group in self.param_groups:
            _sgd_step(self.state, group, {p: gradients[p] for p in group["params"] if p in gradients})
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002 - torch's signature
        """Drop the gradients, and the powers that came with them.

        The model's own ``zero_grad()`` does the same, except with ``set_to_none=False`` after a skipped step.
        """
        super().zero_grad(set_to_none)
        for ledger in self._watcher.ledgers.values():
            ledger.clear()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of an NSGD with the same norm and reduction, or the momentum of a `torch.optim.SGD`.

        Raises:
            ConfigError: if norm or reduction differ, or it is the state of another optimizer.
        """
        check_state(state_dict)
        for group in state_dict["param_groups"]:
            check_group(group, self.defaults)
        super().load_state_dict(state_dict)
        # Torch casts all state to the dtype of the parameter; eight bits of mantissa are too few for a power.
        numbers = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        for number, parameter in zip(numbers, self._parameters(), strict=True):
            saved = state_dict["state"].get(number, {})
            if "power" in saved:
                self.state[parameter]["power"] = saved["power"].to(parameter.device, copy=True)

    def powers(self) -> dict[str, LayerPower]:
        """Read the powers that the last step divided by; this waits for the device.

        Returns:
            By the parameter's name in the model; weights that take plain SGD steps are left out.
        """
        powers: dict[str, LayerPower] = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                entries = self.state.get(parameter, {})
                power = entries.get("power")
                if power is not None:
                    rate = float(entries.get("lr", group["lr"]))
                    rates = rate / functional.denominator(power, group["denominator"], group["eps"])
                    powers[self._names[parameter]] = LayerPower(
                        power=power.mean().item(), learning_rate=(rates.min().item(), rates.max().item())
                    )
        return powers

    def close(self) -> None:
        """Take the hooks off the model, which is then as it was before; no step can follow."""
        self._finalizer()

    def __enter__(self) -> NSGD:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> NoReturn:
        raise StateError(
            "An NSGD watches one model and cannot be copied or pickled.",
            hint="Save its state_dict() and load it into an NSGD that is built on the other model.",
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def _parameters(self) -> Iterator[nn.Parameter]:
        return chain.from_iterable(group["params"] for group in self.param_groups)

    def _take_totals(self) -> dict[nn.Parameter, Tensor]:
        ledgers = [self._watcher.ledgers[p] for p in self._parameters() if p in self._watcher.ledgers]
        taken = [(ledger.weight, ledger.take()) for ledger in ledgers]
        totals = {weight: total for weight, total in taken if total is not None and weight.grad is not None}
        return all_reduce(ledgers, totals) if self._has_ranks() else totals

    def _has_ranks(self) -> bool:
        if self._synchronize is False:
            return False
        initialized = torch.distributed.is_available() and torch.distributed.is_initialized()
        if self._synchronize and not initialized:
            raise StateError(
                "synchronize=True needs torch.distributed, which is not initialized.",
                hint="Call torch.distributed.init_process_group first, or leave synchronize at None.",
            )
        return initialized and torch.distributed.get_world_size() > 1

    def _check_gradients(self, totals: Mapping[nn.Parameter, Tensor]) -> None:
        unseen: list[str] = []
        for parameter in self._parameters():
            gradient, name = parameter.grad, self._names[parameter]
            if gradient is None:
                continue
            if gradient.is_sparse or gradient.is_complex():
                kind = "sparse" if gradient.is_sparse else "complex"
                raise ModelError(
                    f"NSGD needs dense real gradients, but that of {name} is {kind}.",
                    hint="Build an embedding with sparse=False, or give this parameter another optimizer.",
                )
            if parameter in totals or parameter.ndim < 2:
                continue
            if "power" not in self.state.get(parameter, {}):
                unseen.append(name)
            # Zeros are no gradient: they stay after zero_grad(set_to_none=False) when a layer is left out of a step.
            elif gradient.any():
                raise StateError(
                    f"The gradient of {name} came without the power of its layer's input, which earlier gradients had.",
                    hint="Run the forward pass in training mode, call backward(), and use a gradient for one step "
                    "only.",
                )
        unseen = [name for name in unseen if name not in self._known_plain]
        if unseen:
            self._known_plain.update(unseen)
            warnings.warn(
                f"NSGD has not seen the input of these weights: {', '.join(unseen)}. They take plain SGD steps. Their "
                "layer is of a kind that NSGD does not know, or they were used outside of it or in eval mode.",
                UserWarning,
                stacklevel=5,  # torch wraps step twice
            )


def _trainable(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if not trainable:
        raise ModelError("The model has no trainable parameter.", hint="Set requires_grad on those to be trained.")
    if any(nn.parameter.is_lazy(parameter) for parameter in trainable):
        raise ModelError("A weight of the model has no shape yet.", hint="Run one forward pass, then build NSGD.")
    return trainable


def _embedding_tables(model: nn.Module) -> Iterator[nn.Parameter]:
    # The input of an embedding is one-hot: its power is 1 and need not be seen.
    for module in model.modules():
        table = module._parameters.get("weight") if isinstance(module, nn.Embedding | nn.EmbeddingBag) else None
        if table is not None:
            yield table


def _update_powers(
    state: _State, settings: Mapping[str, Any], ledgers: Sequence[Ledger], totals: Mapping[nn.Parameter, Tensor]
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
            power = functional.moving_power(previous, power, settings["beta"])
        divided = functional.denominator(power, settings["denominator"], settings["eps"])
        for ledger, mine, divisor in zip(bucket, power.split(units), divided.split(units), strict=True):
            entries = state[ledger.weight]
            entries["power"] = mine
            # A scheduler changes the rate of the group after the step.
            entries["lr"] = settings["lr"].clone() if isinstance(settings["lr"], Tensor) else settings["lr"]
            entries["step"] = entries.get("step", 0) + 1
            divisors[ledger.weight] = ledger.spread(divisor)
    return divisors


def _divide(group: Mapping[str, Any], divisors: Mapping[nn.Parameter, Tensor]) -> dict[nn.Parameter, Tensor]:
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


def _clip(
    gradients: Mapping[nn.Parameter, Tensor], divisors: Mapping[nn.Parameter, Tensor], groups: Iterable[dict[str, Any]]
) -> dict[nn.Parameter, Tensor]:
    """Scale the divided gradients of each group that has a ``max_norm`` down to it."""
    total = get_total_norm([functional.output_scale(value, divisors.get(p)) for p, value in gradients.items()])
    clipped = dict(gradients)
    for group in groups:
        if group["max_norm"] is not None:
            factor = functional.clip_factor(total, group["max_norm"])
            mine = [parameter for parameter in group["params"] if parameter in gradients]
            clipped.update((parameter, gradients[parameter] * factor.to(parameter.device)) for parameter in mine)
    return clipped


def _sgd_step(state: _State, group: Mapping[str, Any], gradients: Mapping[nn.Parameter, Tensor]) -> None:
    """Let torch's SGD take the step."""
    buffers: list[Tensor | None] = [state.get(parameter, {}).get("momentum_buffer") for parameter in gradients]
    passed = ("foreach", "weight_decay", "momentum", "lr", "dampening", "nesterov", "maximize")
    sgd(list(gradients), list(gradients.values()), buffers, **{name: group[name] for name in passed})
    if group["momentum"] != 0:
        for parameter, buffer in zip(gradients, buffers, strict=True):
            state[parameter]["momentum_buffer"] = buffer


def _warn_of_clipping_trainer() -> None:
    """Warn if a Trainer that clips gradients is among the callers."""
    # Trainer clips before it calls the optimizer and passes it nothing; there is no other way to see its settings.
    library: Any = sys.modules.get("transformers.trainer")
    if library is None:
        return
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        caller: Any = frame.f_locals.get("self")
        if isinstance(caller, library.Trainer):
            bound = caller.args.max_grad_norm
            if bound is not None and bound > 0:
                warnings.warn(
                    f"Trainer clips the gradients at max_grad_norm={bound:g} before NSGD divides them: the step then "
                    "depends on the scale of the inputs again. Set max_grad_norm=0 in TrainingArguments; "
                    f"NSGD(..., max_norm={bound:g}) clips the divided gradients.",
                    UserWarning,
                    stacklevel=2,
                )
            return
        frame = frame.f_back
