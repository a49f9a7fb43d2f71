"""A tuned model on disk: as transformers writes it, with the label rows of its tasks and a document beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from modicum.core.extras import quiet_transformers, require
from modicum.core.files import new_folder
from modicum.core.pretrained import open_folder, open_tokenizer
from modicum.core.storage import Format, Tensors, read_tensors, write_tensors
from modicum.errors import DataError
from modicum.zeroshot.configuration import Route
from modicum.zeroshot.encoder import EncoderPredictor, TextEncoder
from modicum.zeroshot.head import GoHead
from modicum.zeroshot.scoring import WORD_MODELS, WordPredictor
from modicum.zeroshot.task import Task

Predictor: TypeAlias = EncoderPredictor | WordPredictor

DOCUMENT, _TENSORS = "gotuning.json", "gotuning.safetensors"


def save(
    folder: Path | str,
    predictors: Sequence[Predictor],
    kind: Format,
    document: dict[str, Any],
    tensors: Mapping[str, Tensor],
) -> None:
    """Write the model that predictors share, their label rows, and tensors of the caller's, to a new folder."""
    first, written = predictors[0], dict(tensors)
    if isinstance(first, WordPredictor):
        model, tokenizer = first.words.model, first.words.tokenizer
    else:
        model, tokenizer = first.encoder.network, first.encoder.tokenizer
        heads = [each.head for each in predictors if isinstance(each, EncoderPredictor)]
        written["weight"] = torch.cat([head.weight for head in heads])
        written["bias"] = torch.cat([head.bias for head in heads])
    with new_folder(Path(folder)) as part, quiet_transformers():
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        write_tensors(part / _TENSORS, {name: tensor.numpy() for name, tensor in written.items()})
        kind.write(part / DOCUMENT, document)


def load(
    folder: Path, route: Route, tasks: Sequence[Task], chunk: int, kind: Format
) -> tuple[list[Predictor], Tensors]:
    """Read what `save` wrote: a predictor of each task, and the tensors that are left."""
    auto = WORD_MODELS[route].auto if route in WORD_MODELS else "AutoModel"
    transformers = require("transformers", extra="text", purpose="A Go-tuned model")
    model = open_folder(getattr(transformers, auto), folder, hint=kind.hint)
    tokenizer = open_tokenizer(str(folder))
    words = [word for task in tasks for label in task.labels for word in task.verbalizer[label]]
    tokens = [token for row in tokenizer(words, add_special_tokens=False)["input_ids"] for token in row]
    if tokens.count(tokenizer.unk_token_id) > len(tokens) / 2 or not tokens:
        raise DataError(f"The tokenizer in {folder} does not know the words of its own task.", hint=kind.hint)
    tensors = Tensors(folder / _TENSORS, read_tensors(folder / _TENSORS, hint=kind.hint)[0], hint=kind.hint)
    if route in WORD_MODELS:
        shared = WORD_MODELS[route](model, tokenizer)
        return [WordPredictor(shared, task, length=chunk) for task in tasks], tensors
    sizes = [len(task.labels) for task in tasks]
    weight = tensors.take("weight", np.float32, shape=(sum(sizes), model.config.hidden_size))
    bias = tensors.take("bias", np.float32, shape=(sum(sizes),))
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise DataError(f"{folder / _TENSORS} has label rows that are not finite.", hint=kind.hint)
    rows = zip(torch.from_numpy(weight).split(sizes), torch.from_numpy(bias).split(sizes), tasks, strict=True)
    encoder = TextEncoder(model, tokenizer, chunk)
    return [EncoderPredictor(encoder, GoHead(own, biases, math.nan), task) for own, biases, task in rows], tensors
