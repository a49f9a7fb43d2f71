"""Read the weights of the released CubeMLP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from modicum.core.safeload import load_torch
from modicum.errors import ModelError
from modicum.fusion.mixer import CubeMLP

ModelT = TypeVar("ModelT", bound=nn.Module)

_ROOT = "layers_stack."
_LETTERS = {"time": "l", "modality": "k", "channel": "d"}
_PARTS = {"fc1": "mlp_{}.fc1", "fc2": "mlp_{}.fc2", "norm": "ln_{}", "residual": "res_projection_{}"}
_OURS = re.compile(r"blocks\.(\d+)\.(\w+)\.(\w+)\.(weight|bias)")


def load_released_state_dict(model: ModelT, state_dict: Mapping[str, Any] | Path | str) -> ModelT:
    """Load the weights of a released cube encoder.

    Its names are ``layers_stack.0.mlp_l.fc1.weight``, ``layers_stack.0.ln_l.weight`` and
    ``layers_stack.0.res_projection_l.weight``, with k for the modality and d for the channel, behind any one prefix,
    such as "mlp_encoder." in a whole released model. What does not have the prefix is not of the cube, and is left.

    Args:
        model: a `CubeMLP`, or one that has a `CubeMLP` as ``.cube``; it is changed.
        state_dict: tensors by their released names, or the torch file that holds them, in a dictionary if need be.

    Returns:
        The model.

    Raises:
        ModelError: if a tensor is missing, surplus or of another size, or there is no cube on one of both sides.

    Source:
        The names are those of kiva12138/CubeMLP at 49f75bd.
    """
    cube = getattr(model, "cube", model)
    if not isinstance(cube, CubeMLP):
        raise ModelError(f"{type(model).__name__} is no CubeMLP, and has none as .cube.", hint="Give one of both.")
    tensors = _tensors_of_cube(_read(state_dict) if isinstance(state_dict, (Path, str)) else state_dict)
    names = {released_name(name): name for name in cube.state_dict()}
    for name in sorted(names.keys() ^ tensors.keys()):
        differs = "lacks it" if name in names else "has it, and the model has no parameter for it"
        hint = "Give the configuration as many blocks, and the same bias and res_project, as the released model has."
        raise ModelError(f"Released and own parameters differ in {name}: the state dictionary {differs}.", hint=hint)
    for name, own in names.items():
        given, wanted = tensors[name], tuple(cube.state_dict()[own].shape)
        size = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        if size != wanted:
            hint = "Give the configuration the d_ins, d_hiddens, d_outs and norm of the released model."
            raise ModelError(f"{name} was expected to have the size {wanted}, got {size}.", hint=hint)
    cube.load_state_dict({own: tensors[name] for name, own in names.items()})
    return model


def released_name(name: str) -> str:
    """Give the name that the released code has for a parameter of `CubeMLP`."""
    match = _OURS.fullmatch(name)
    if match is None or match[3] not in _PARTS:
        raise ModelError(f"The released CubeMLP has no parameter {name}.", hint="Use an activation without weights.")
    return f"{_ROOT}{match[1]}.{_PARTS[match[3]].format(_LETTERS[match[2]])}.{match[4]}"


def _read(path: Path | str) -> Mapping[str, Any]:
    loaded = load_torch(Path(path))
    held = [loaded, *loaded.values()] if isinstance(loaded, Mapping) else []
    for part in held:
        if isinstance(part, Mapping) and any(_ROOT in str(name) for name in part):
            return cast(Mapping[str, Any], part)
    raise ModelError(f"{path} holds no tensor named {_ROOT}*.", hint="Give a checkpoint of the released CubeMLP.")


def _tensors_of_cube(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    prefixes = {name[: name.index(_ROOT)] for name in state_dict if _ROOT in name}
    if len(prefixes) != 1:
        found = ", ".join(sorted(repr(prefix + _ROOT) for prefix in prefixes)) or "none"
        raise ModelError(f"Tensors of one {_ROOT}* were expected, got {found}.", hint="Give those of one cube.")
    prefix = prefixes.pop()
    return {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
