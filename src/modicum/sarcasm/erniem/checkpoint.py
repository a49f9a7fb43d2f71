"""A checkpoint of ERNIE-M, written anew once as one of XLM-RoBERTa that transformers opens."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor

from modicum.core.files import new_folder
from modicum.errors import ConfigError
from modicum.sarcasm.erniem.configuration import CONFIG_FILE, is_ernie_m, read_settings, sizes, xlm_roberta_config
from modicum.sarcasm.erniem.mapping import to_xlm_roberta
from modicum.sarcasm.erniem.tokenizer import TOKENIZER_FILES, ErnieMTokenizer, has_ernie_m_tokenizer
from modicum.sarcasm.erniem.weights import find_weights, read_safetensors, read_weights, write_weights

_WEIGHTS = "model.safetensors"
_HEAD = "classifier.out_proj.weight"
_POOLER = "classifier.dense."


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
