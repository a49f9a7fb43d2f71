"""The weights of a folder, as transformers or Paddle saved them, read without running anything in them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from modicum.core.safeload import load_pickle, load_torch
from modicum.core.storage import read_tensors
from modicum.errors import ConfigError, DataError

_FILES = ("model.safetensors", "pytorch_model.bin", "model_state.pdparams")
_MAX_BYTES = 4 << 30  # ours: ERNIE-M large has 560 million weights, 2.2 GB in float32
_FLOATS = (np.float16, np.float32, np.float64)
_PADDLE_NAMES = "StructuredToParameterName@@"  # that paddle.save adds: a dictionary of names, no weight


def find_weights(folder: Path) -> Path:
    """Give the file that holds the weights; safetensors before torch's before Paddle's."""
    found = [folder / name for name in _FILES if (folder / name).is_file()] or sorted(folder.glob("*.pdparams"))
    if found and (found[0].name in _FILES or len(found) == 1):
        return found[0]
    what = f"{len(found)} files *.pdparams" if found else f"none of {', '.join(_FILES)}"
    raise ConfigError(f"{folder} has {what}.", hint="Name a folder with one file of weights.")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights by name."""
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    read = load_torch(path, max_bytes=_MAX_BYTES) if path.suffix == ".bin" else load_pickle(path, max_bytes=_MAX_BYTES)
    if not isinstance(read, dict):
        raise DataError(f"{path} holds no weights by name.", hint="Save the state dictionary of the model alone.")
    weights = cast("dict[object, object]", read)
    return {str(name): _tensor(path, name, it) for name, it in weights.items() if name != _PADDLE_NAMES}


def read_safetensors(path: Path, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Read the weights of a safetensors file, or some of them and no others."""
    return read_tensors(path, hint="Fetch the file again, and check its size.", framework="pt", names=names)[0]


def write_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Write weights as transformers reads them."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(weights, path, metadata={"format": "pt"})
    except (SafetensorError, OSError) as error:
        raise ConfigError(
            f"{path.name} cannot be written ({error}).", hint="Name a folder where there is room."
        ) from error


def _tensor(path: Path, name: object, value: object) -> Tensor:
    if isinstance(value, np.ndarray) and value.dtype in _FLOATS:
        return torch.from_numpy(value)
    if isinstance(value, Tensor):
        return value
    raise DataError(
        f"{path} holds under {name!r} no weights but {type(value).__name__}.",
        hint="Save the state dictionary of the model alone.",
    )
