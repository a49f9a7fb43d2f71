"""What the comparison fine-tunes on: GLUE tasks with a pre-trained encoder, or digits with a tiny ViT."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from torch import Tensor

from modicum.core.extras import require
from modicum.core.pretrained import open_part
from modicum.core.seeding import numpy_generator, seeded_globally
from modicum.core.small import digits
from modicum.core.splits import Among, shuffled
from modicum.core.tables import read_cells
from modicum.core.training import fine_tune
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MetricName: TypeAlias = Literal["accuracy", "f1", "matthews", "pearson"]

# AdamW, 10 % warm-up, then linear decay, as the command of the authors' README has it.
RECIPE: Mapping[str, Any] = {
    "weight_decay": 0.01,
    "adam_epsilon": 1e-6,
    "warmup_steps": 0.1,  # below 1 it is a share of the updates
    "lr_scheduler_type": "linear",
}
# Ours. The size of the tiny ViT and its pre-training were chosen for their time and by the loss of the pre-training.
PRE_TRAINING: Mapping[str, Any] = {"num_train_epochs": 8, "per_device_train_batch_size": 32, "learning_rate": 5e-3}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be learnt: the same for all arms."""

    model: PreTrainedModel  # with its new head
    train: Sequence[dict[str, Any]]  # the examples, as the model's forward takes them, with "labels"
    held_out: Sequence[dict[str, Any]]  # those that are scored
    metric: MetricName = "accuracy"
    collate: Callable[[list[dict[str, Any]]], Mapping[str, Tensor]] | None = None  # makes a batch of examples
    among: Among | None = None  # which rows are held out, where each seed holds out others


class Layout(NamedTuple):
    """One form in which a task's files occur."""

    train: tuple[str, ...]  # the training files, below the folder; their rows are joined
    held_out: tuple[str, ...]  # the files that are scored, likewise
    columns: Mapping[str, Any]  # of label, first and second text: the names it may have, or its position
    widths: tuple[int, ...] = ()  # how many fields a row may have, where the files have no header


class Task(NamedTuple):
    """One of the tasks."""

    name: str  # as typed in ``--option task=NAME``
    data_set: str  # its name in the catalogue
    metric: MetricName  # the main metric of GLUE
    labels: tuple[str, ...]  # as written in the files, in the order of the class numbers; empty for scores from 0 to 5
    layouts: tuple[Layout, ...]  # the forms of its files; the first whose files are all there is read


class Example(NamedTuple):
    """A text or a pair of texts, with its class number or score."""

    label: float
    first: str
    second: str | None = None


_GLUE = ("train.tsv",), ("dev.tsv",)
_RTE = {"label": ("label",), "first": ("sentence1",), "second": ("sentence2",)}
_COLA = {"label": 1, "first": 3}
_MRPC = {"label": ("Quality",), "first": ("#1 String",), "second": ("#2 String",)}
_SST2 = {"label": ("label",), "first": ("sentence", "content")}
_STSB = {"label": ("score",), "first": ("sentence1",), "second": ("sentence2",)}
# The catalogue's train.tsv of RTE has one character that GLUE does not have; its copy is the original.
_RTE_FILES = Layout(("train_copy.tsv",), ("dev.tsv",), _RTE)
# GLUE's dev.tsv of CoLA is the one after the other.
_COLA_DEV = ("cola_public/raw/in_domain_dev.tsv", "cola_public/raw/out_of_domain_dev.tsv")
_COLA_FILES = Layout(("cola_public/raw/in_domain_train.tsv",), _COLA_DEV, _COLA, (4,))
_MRPC_FILES = Layout(("msr-para-train.tsv",), ("msr-para-val.tsv",), _MRPC)
# Two more fields give the licence of some rows.
_STSB_POSITIONS = {"label": 4, "first": 5, "second": 6}
_STSB_FILES = Layout(("stsbenchmark/sts-train.csv",), ("stsbenchmark/sts-dev.csv",), _STSB_POSITIONS, (7, 9))
_TASKS = (
    Task("rte", "glue-small/RTE", "accuracy", ("entailment", "not_entailment"), (_RTE_FILES, Layout(*_GLUE, _RTE))),
    Task("cola", "glue-small/CoLA", "matthews", ("0", "1"), (Layout(*_GLUE, _COLA, (4,)), _COLA_FILES)),
    Task("mrpc", "glue-small/MRPC", "f1", ("0", "1"), (Layout(*_GLUE, _MRPC), _MRPC_FILES)),
    Task("stsb", "glue-small/STS-B", "pearson", (), (Layout(*_GLUE, _STSB), _STSB_FILES)),
    Task("sst2", "glue-small/SST-2", "accuracy", ("0", "1"), (Layout(*_GLUE, _SST2),)),
)
TASKS = {task.name: task for task in _TASKS}


def text_problem(task: Task, data: Path | None, *, model: str, seed: int, train_size: int, max_length: int) -> Problem:
    """Read a task, draw its training examples and load an encoder with a new head."""
    from modicum.core import catalogue

    transformers = require("transformers", extra="text", purpose="Fine-tuning a text encoder")
    tokenizer = open_part("AutoTokenizer", model, extra="text")
    train, held_out = read(task, data or catalogue.fetch(task.data_set))
    if train_size > len(train):
        raise ConfigError(
            f"train_size is {train_size}, but there are only {len(train)} training examples.",
            hint=f"Write --option train_size= a number up to {len(train)}, or 0 for all.",
        )
    if train_size:
        train = [train[row] for row in shuffled(len(train), seed, "split", count=train_size)]
    with seeded_globally(seed, "initialisation"):
        encoder = open_part(
            "AutoModelForSequenceClassification",
            model,
            extra="text",
            num_labels=len(task.labels) or 1,
            ignore_mismatched_sizes=True,  # a head for other classes makes way for a new one
            dtype="float32",  # else a checkpoint in half precision would be trained so, and small noise would vanish
        )
    return Problem(
        model=encoder,
        train=_tokenised(train, task, tokenizer, max_length),
        held_out=_tokenised(held_out, task, tokenizer, max_length),
        metric=task.metric,
        collate=transformers.DataCollatorWithPadding(tokenizer),
    )


def digits_problem(seed: int, *, train_size: int) -> Problem:
    """Pre-train a tiny ViT on five classes of scikit-learn's digits, and build the task of the other five."""
    # Which classes, and which of their images are labelled, depends on the seed; the images that are not labelled are
    # the held-out ones.
    images, names = digits()
    generator = numpy_generator(seed, "split")
    rows, classes = generator.permutation(len(names)), generator.permutation(10)
    positions = np.argsort(classes)[names.numpy()[rows]]
    known, labels = positions < 5, positions % 5
    examples = [
        {"pixel_values": image, "labels": int(label)} for image, label in zip(images[rows], labels, strict=True)
    ]
    old, new = (list(itertools.compress(examples, mask)) for mask in (known, ~known))
    if train_size >= len(new):
        raise ConfigError(
            f"train_size is {train_size}, but the demo has {len(new)} images and must hold some out.",
            hint="Write --option train_size=50, for example.",
        )
    chosen = _stratified(labels[~known], train_size or len(new) // 2)
    pre_trained = tiny_vit(seed, "pre-training")
    fine_tune(pre_trained, old, seed=seed, device="cpu", extra="text", **RECIPE, **PRE_TRAINING)
    model = tiny_vit(seed, "initialisation")
    model.base_model.load_state_dict(pre_trained.base_model.state_dict())
    held = list(itertools.compress(new, ~chosen))
    return Problem(model, list(itertools.compress(new, chosen)), held, among=(rows[~known][~chosen], len(names)))


def tiny_vit(seed: int, stream: str) -> Any:
    """Build the model of the demo for five classes."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=8,
        patch_size=2,
        num_channels=1,
        id2label={label: str(label) for label in range(5)},
        # BERT's rates: ViT's own are 0, and then dropout off would be no control.
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
    )
    with seeded_globally(seed, stream):
        return ViTForImageClassification(config)


def find_task(name: str) -> Task:
    """Give the task of a name."""
    if name not in TASKS:
        raise ConfigError(f"There is no task {name!r}.", hint=f"Use --option task= one of {', '.join(TASKS)}.")
    return TASKS[name]


def read(task: Task, folder: Path) -> tuple[list[Example], list[Example]]:
    """Read the training and the held-out examples of a task."""
    for layout in task.layouts:
        if all((folder / name).is_file() for name in (*layout.train, *layout.held_out)):
            train, held_out = (
                [example for name in names for example in _read(task, layout, folder / name)]
                for names in (layout.train, layout.held_out)
            )
            return train, held_out
    wanted = " or ".join(" + ".join((*layout.train, *layout.held_out)) for layout in task.layouts)
    raise ConfigError(f"{folder} does not hold the files of {task.name}.", hint=f"It should hold {wanted}.")


def _read(task: Task, layout: Layout, path: Path) -> Iterator[Example]:
    rows = read_cells(path, separator="\t", quote=None)
    positions, widths = layout.columns, layout.widths
    if not widths:
        (_, header), *rows = rows or [(1, [])]
        positions = {what: _column(names, header, path) for what, names in positions.items()}
        widths = (len(header),)
    if not rows:
        raise DataError(f"{path} has no examples.", hint="Give a file with at least one row.")
    for number, row in rows:
        if len(row) not in widths:
            raise DataError(
                f"{path}, line {number} has {len(row)} fields, expected {' or '.join(map(str, widths))}.",
                hint="Correct that line: fields are separated by one tab, and quotation marks mean nothing.",
            )
        fields = {what: row[position] for what, position in positions.items()}
        if not all(text.strip() for text in fields.values()):
            raise DataError(f"{path}, line {number} has an empty sentence or label.", hint="Correct or drop that line.")
        label = _label(fields.pop("label"), task, f"{path}, line {number}")
        yield Example(label, **fields)


def _column(names: tuple[str, ...], header: list[str], path: Path) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise DataError(
        f"{path}, line 1 has no column {' or '.join(names)}; its columns are {', '.join(header) or 'none'}.",
        hint="Give the file a header line with that column, separated by tabs.",
    )


def _label(text: str, task: Task, where: str) -> float:
    if task.labels:
        if text not in task.labels:
            raise DataError(
                f"{where} has the label {text!r}, which is none of {', '.join(task.labels)}.",
                hint=f"Correct that line, or check that the file is one of {task.name}.",
            )
        return task.labels.index(text)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 5:
        raise DataError(f"{where} has the score {text!r}, not a number from 0 to 5.", hint="Correct or drop that line.")
    return value


def _tokenised(examples: Sequence[Example], task: Task, tokenizer: Any, max_length: int) -> list[dict[str, Any]]:
    first, second = [example.first for example in examples], [example.second for example in examples]
    pairs = None if second[0] is None else second
    columns = tokenizer(first, pairs, truncation=True, max_length=max_length)
    labels = [int(example.label) if task.labels else float(example.label) for example in examples]
    return [
        {**{name: column[row] for name, column in columns.items()}, "labels": label} for row, label in enumerate(labels)
    ]


def _stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """Mark the first rows of each class in turn, as many as are wanted."""
    turn = np.array([np.count_nonzero(labels[:row] == label) for row, label in enumerate(labels)])
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[np.argsort(turn, kind="stable")[:count]] = True
    return chosen
