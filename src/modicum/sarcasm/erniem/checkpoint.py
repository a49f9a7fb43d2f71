"""A checkpoint of ERNIE-M, written anew once as one of XLM-RoBERTa that transformers opens."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from modicum.core.files import new_folder
from modicum.core.safeload import load_pickle, load_torch
from modicum.core.storage import read_tensors
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.erniem.mapping import (
    CONFIG_FILE,
    is_ernie_m,
    read_settings,
    sizes,
    to_xlm_roberta,
    xlm_roberta_config,
)
from modicum.sarcasm.erniem.tokenizer import TOKENIZER_FILES, ErnieMTokenizer, has_ernie_m_tokenizer

_FILES = ("model.safetensors", "pytorch_model.bin", "model_state.pdparams")
_MAX_BYTES = 4 << 30  # ours: ERNIE-M large has 560 million weights, 2.2 GB in float32
_FLOATS = (np.float16, np.float32, np.float64)
_PADDLE_NAMES = "StructuredToParameterName@@"  # that paddle.save adds: a dictionary of names, no weight
_WEIGHTS = "model.safetensors"
_HEAD = "classifier.out_proj.weight"
_POOLER = "classifier.dense."


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


def convert_ernie_m(folder: Path, out: Path) -> Path:
    """Write an ERNIE-M as an XLM-RoBERTa that gives the same, with its own tokenizer beside it."""
    # ``AutoModelForSequenceClassification.from_pretrained(out)`` opens it; where the checkpoint had no classifier, the
    # last map of the head is new. ``AutoModel`` opens the encoder, without ERNIE-M's pooler, which is the first map of
    # that head: see `read_pooler`. Texts are to be read by `ErnieMTokenizer.from_pretrained`, which pads on the right;
    # about other padding see `positions`.
    _check_kind(folder)
    if out.exists():
        raise ConfigError(f"{out} exists already.", hint="Name a new folder.")
    settings = read_settings(folder / CONFIG_FILE)
    tokenizer = ErnieMTokenizer.from_pretrained(folder)
    path = find_weights(folder)
    weights = to_xlm_roberta(read_weights(path), sizes(settings), place=str(path))
    config = xlm_roberta_config(settings, labels=len(weights[_HEAD]) if _HEAD in weights else None)
    config.dtype = next(iter(weights.values())).dtype
    with new_folder(out) as stage:
        write_weights(weights, stage / _WEIGHTS)
        tokenizer.save_pretrained(stage)
        config.save_pretrained(stage)
    return out


def open_ernie_m(folder: Path, *, cache: Path | None = None) -> Path:
    """Give a folder that transformers opens in place of an ERNIE-M's; it is converted the first time."""
    # The converted folder is named after the sizes and times of the files it came from, so that none is taken for that
    # of a checkpoint that was written since.
    _check_kind(folder)
    source = folder.resolve()
    out = (cache or source.parent) / f"{source.name}-xlm-roberta-{_fingerprint(source)}"
    try:
        return out if out.is_dir() else convert_ernie_m(folder, out)
    except ConfigError:
        if out.is_dir():  # another process was faster
            return out
        raise


def read_pooler(folder: Path) -> dict[str, Tensor] | None:
    """Read ERNIE-M's pooler, the linear map before its tanh, from a folder that was converted from one."""
    path = folder / _WEIGHTS
    if not path.is_file() or not has_ernie_m_tokenizer(folder):
        return None
    kinds = ("weight", "bias")
    found = read_safetensors(path, [f"{_POOLER}{kind}" for kind in kinds])
    return {kind: found[f"{_POOLER}{kind}"] for kind in kinds} if len(found) == len(kinds) else None


def _check_kind(folder: Path) -> None:
    if not is_ernie_m(folder):
        raise ConfigError(
            f"{folder} is no ERNIE-M: no {CONFIG_FILE} there has the model_type ernie_m.",
            hint="Name the folder of an ERNIE-M; transformers opens the others as they are.",
        )


def _fingerprint(folder: Path) -> str:
    paths = [folder / CONFIG_FILE, find_weights(folder), *(folder / name for name in TOKENIZER_FILES)]
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.is_file()]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:12]
