"""Where HyPe acts: the Transformer layers of a model."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from modicum.core.devices import is_sharded
from modicum.errors import ConfigError, ModelError

# Layers that transformers does not wrap for gradient checkpointing, by the tests those that HyPe is right for. Not here
# are models that have no module of a layer (XLM, FlauBERT), that hand gradients on in a way of their own (Reformer),
# or whose layers do not take hidden states alone, samples first (FSMT, Funnel, LXMERT, SqueezeBERT).
_ALBERT, _XLNET = "modeling_albert.AlbertLayer", "modeling_xlnet.XLNetLayer"
_KNOWN = frozenset(
    {
        _ALBERT,
        "modeling_ctrl.EncoderLayer",
        "modeling_gpt_neox_japanese.GPTNeoXJapaneseLayer",
        "modeling_ibert.IBertLayer",
        "modeling_mpnet.MPNetLayer",
        "modeling_openai.Block",
        _XLNET,
    }
)
_Torch = nn.TransformerEncoderLayer | nn.TransformerDecoderLayer


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
    # Layers are what transformers wraps for gradient checkpointing, and the known classes; in a model that is not of
    # transformers else the longest list of modules of one class.
    named = list(model.named_modules())  # a shared module appears once
    found = [(name, module) for name, module in named if _is_layer(module)]
    body = next((module for _, module in named if _is_of_transformers(module)), None)
    if not found and body is not None:
        raise ModelError(
            f"HyPe does not know the layers of {type(body).__name__}.",
            hint="Take a model whose layers transformers wraps for gradient checkpointing (BERT, RoBERTa, T5, ViT and "
            "most others), or NEFTune, which needs no layers.",
        )
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


def try_model(model: nn.Module) -> bool:
    """Run the body of a transformers model once on two tokens, or on one grey image, without a gradient."""
    library = sys.modules.get("transformers.modeling_utils")
    if library is None or is_sharded(model):  # FSDP does not allow a pass of the body before one of the entire model
        return False
    body: Any = next((module for module in model.modules() if isinstance(module, library.PreTrainedModel)), None)
    if body is None:
        return False
    inputs = _smallest_input(body.base_model)
    if inputs is None:
        return False
    training = {module: module.training for module in body.modules()}
    try:
        body.eval()
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            body.base_model(**inputs)
    except (ValueError, TypeError, AttributeError, LookupError, RuntimeError):
        return False  # it wants more than that; its first real input will show what fires
    finally:
        for module, mode in training.items():
            module.training = mode
    return True


class DropoutSwitch:
    """Turns off the dropout of a model until `restore`."""

    # Counted are the modules of `torch.nn.Dropout`'s family, and each float attribute of a module with "drop" in its
    # name: rates that are handed to functions in ``forward`` (attention, activations), LayerDrop and stochastic depth.
    # Falcon, Persimmon and ProphetNet read such a rate from ``module.config`` inside ``forward``: modules of a model
    # and models inside of it get a copy of the config meanwhile. The model's own ``config`` stays as it is, so a
    # checkpoint that is saved meanwhile has the model's own rates.

    def __init__(self, model: nn.Module) -> None:
        self._rates: list[tuple[nn.Module, str, Any]] = []
        quiet: dict[int, Any] = {}  # one copy of each config, by its id; _rates keeps the first one alive
        library = sys.modules.get("transformers.modeling_utils")
        models = [it for it in model.modules() if library is not None and isinstance(it, library.PreTrainedModel)]
        # A head's base model has the head's own config, and is saved on its own.
        inner = {it for outer in models for it in outer.modules() if it not in (outer, outer.base_model)}
        for module in model.modules():
            config = vars(module).get("config")
            # What saves a checkpoint has save_pretrained, and must keep the config that it saves.
            is_saved = hasattr(module, "save_pretrained") and module not in inner
            if config is not None and not is_saved and _rates_of(config):
                if id(config) not in quiet:
                    quiet[id(config)] = _without_dropout(config)
                self._rates.append((module, "config", config))
                module.config = quiet[id(config)]
            for name, value in vars(module).items():
                is_rate = "drop" in name or (name == "p" and isinstance(module, _DropoutNd))
                if is_rate and isinstance(value, float) and value > 0:
                    self._rates.append((module, name, value))
        for module, name, _ in self._rates:
            if name != "config":
                setattr(module, name, 0.0)

    def restore_copy(self, memo: dict[int, Any]) -> None:
        """Put the rates back in a copy that `copy.deepcopy` made with that memo."""
        for module, name, value in self._rates:
            setattr(memo[id(module)], name, copy.deepcopy(value, memo))

    def restore(self) -> None:
        """Put back the rates."""
        while self._rates:
            setattr(*self._rates.pop())


def _is_layer(module: nn.Module) -> bool:
    # If transformers was never imported, the model cannot be one of its own.
    library = sys.modules.get("transformers.modeling_layers")
    if library is not None and isinstance(module, library.GradientCheckpointingLayer):
        return True
    return isinstance(module, _Torch) or _known_class(module) is not None


def _is_of_transformers(module: nn.Module) -> bool:
    library = sys.modules.get("transformers.modeling_utils")
    return (
        library is not None
        and isinstance(module, library.PreTrainedModel)
        and type(module).__module__.startswith("transformers.")
    )


def _known_class(module: nn.Module) -> str | None:
    # FSDP2 makes a subclass of each layer that it shards, so all classes that it comes from are looked at.
    names = (f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}" for kind in type(module).__mro__)
    return next((name for name in names if name in _KNOWN), None)


def _longest_list(named: Sequence[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    lists = [module for _, module in named if isinstance(module, nn.ModuleList)]
    alike = [layers for layers in lists if len({type(layer) for layer in layers}) == 1]
    longest = set(max(alike, key=len, default=nn.ModuleList()))  # others of its class may be heads
    return [(name, module) for name, module in named if module in longest]


def _describe(name: str, module: nn.Module, number: int) -> Site:
    kind = _known_class(module)
    if kind == _ALBERT:
        group, _, inner = name.split(".")[-3:]
        stack = name.rsplit(".", 3)[0]
        calls = _albert_calls(module, int(group), int(inner))
        return Site(name=name, module=module, layers=calls, stack=stack, hidden=("hidden_states",))
    stack = name.rpartition(".")[0]
    if kind == _XLNET:  # two streams, and time before samples
        streams = ("output_h", "output_g")
        return Site(name=name, module=module, layers=(number,), stack=stack, hidden=streams, sample_axis=1)
    hidden = next(iter(inspect.signature(module.forward).parameters), "")
    axis = int(isinstance(module, _Torch) and not module.self_attn.batch_first)
    return Site(name=name, module=module, layers=(number,), stack=stack, hidden=(hidden,), sample_axis=axis)


def _albert_calls(module: nn.Module, group: int, inner: int) -> tuple[int, ...]:
    """Number the calls of a shared layer: a pass goes through the groups, and each time through all of a group."""
    config: Any = module.config
    a_group = config.num_hidden_layers / config.num_hidden_groups
    passes = [step for step in range(config.num_hidden_layers) if int(step / a_group) == group]
    return tuple(step * config.inner_group_num + inner for step in passes)


def _smallest_input(body: Any) -> dict[str, Tensor] | None:
    weights = {parameter.device for parameter in body.parameters()}
    if torch.device("meta") in weights:
        return None
    device = body.device
    kinds = body.input_modalities
    modalities = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if modalities == ("text",) and body.main_input_name == "input_ids":
        tokens = torch.zeros(1, 2, dtype=torch.long, device=device)
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        return inputs | ({"decoder_input_ids": tokens} if body.config.is_encoder_decoder else {})
    if modalities == ("image",) and body.main_input_name == "pixel_values":
        size = body.config.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return {
            "pixel_values": torch.zeros(1, body.config.num_channels, height, width, device=device, dtype=body.dtype)
        }
    return None


def _rates_of(config: Any) -> list[str]:
    values = getattr(config, "__dict__", {})
    return [name for name, value in values.items() if "drop" in name and isinstance(value, float) and value > 0]


def _without_dropout(config: Any) -> Any:
    changed = copy.copy(config)
    for name in _rates_of(config):
        setattr(changed, name, 0.0)
    return changed
