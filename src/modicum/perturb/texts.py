"""A GLUE task and a pre-trained encoder, made into a problem."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from modicum.core.encoders import encoder_place, load_encoder
from modicum.core.extras import require
from modicum.core.seeding import numpy_generator, seeded_globally
from modicum.errors import ConfigError
from modicum.perturb.glue import Examples, Task, read
from modicum.perturb.training import Problem


def text_problem(task: Task, data: Path | None, *, model: str, seed: int, train_size: int, max_length: int) -> Problem:
    """Read a task, draw its training examples and load an encoder with a new head."""
    from modicum.core import catalogue

    transformers = require("transformers", extra="text", purpose="Fine-tuning a text encoder")
    place = encoder_place(model)
    train, held_out = read(task, data or catalogue.fetch(task.data_set))
    train = _drawn(train, train_size, seed)

    def load(place: str) -> Any:
        return transformers.AutoModelForSequenceClassification.from_pretrained(
            place,
            num_labels=len(task.labels) or 1,
            ignore_mismatched_sizes=True,  # a head for other classes makes way for a new one
            trust_remote_code=False,  # a model brings no code of its own
            dtype="float32",  # else a checkpoint in half precision would be trained so, and small noise would vanish
        )

    with seeded_globally(seed, "initialisation"):
        encoder = load_encoder(load, place)
    tokenizer = load_encoder(partial(transformers.AutoTokenizer.from_pretrained, trust_remote_code=False), place)
    return Problem(
        model=encoder,
        train=_tokenised(train, task, tokenizer, max_length),
        held_out=_tokenised(held_out, task, tokenizer, max_length),
        collate=transformers.DataCollatorWithPadding(tokenizer),
    )


def _drawn(examples: Examples, count: int, seed: int) -> Examples:
    total = len(examples.labels)
    if count > total:
        raise ConfigError(
            f"train_size is {count}, but there are only {total} training examples.",
            hint=f"Write --option train_size= a number up to {total}, or 0 for all.",
        )
    if not count:
        return examples
    rows = numpy_generator(seed, "split").permutation(total)[:count]
    return Examples(
        first=tuple(examples.first[row] for row in rows),
        second=None if examples.second is None else tuple(examples.second[row] for row in rows),
        labels=tuple(examples.labels[row] for row in rows),
    )


def _tokenised(examples: Examples, task: Task, tokenizer: Any, max_length: int) -> list[dict[str, Any]]:
    second = None if examples.second is None else list(examples.second)
    columns = tokenizer(list(examples.first), second, truncation=True, max_length=max_length)
    labels = [int(label) if task.labels else float(label) for label in examples.labels]
    return [
        {**{name: column[row] for name, column in columns.items()}, "labels": label} for row, label in enumerate(labels)
    ]
