# pyright: reportUnknownMemberType=false
"""Go-tuning of masked-LM and seq2seq models: label words are masked and predicted; several tasks share a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from modicum.core.extras import require
from modicum.core.seeding import numpy_generator
from modicum.zeroshot.configuration import FitSettings
from modicum.zeroshot.scoring import (
    MaskedWords,
    WordModel,
    WordPredictor,
    head_input,
    head_logits,
    label_words,
    split_long,
)
from modicum.zeroshot.training import balanced_order, train

if TYPE_CHECKING:
    from modicum.zeroshot.mining import MinedSet
    from modicum.zeroshot.task import Task

Part: TypeAlias = "tuple[Task, MinedSet]"
Objective: TypeAlias = Literal["labels", "random"]

_NOISE, _SPAN = 0.15, 3  # share of masked tokens, and mean length of a masked span: those of BERT and T5


def tune_words(
    words: WordModel,
    parts: Sequence[Part],
    settings: FitSettings,
    *,
    seed: int,
    device: str = "cpu",
    temperature: float = 1.0,
    objective: Objective = "labels",
) -> list[WordPredictor]:
    """Tune a model in place on the mined rows of one task or several, and give a predictor for each."""
    # The control of equal steps has the objective "random": the same sentences are masked at random, without labels.
    predictors = [WordPredictor(words, task, length=settings.chunk) for task, _ in parts]
    rows = [row for number in range(len(parts)) for row in _rows(number, predictors[number], parts[number][1], seed)]
    loss = _Loss(words, [task for task, _ in parts], settings, objective)
    base = words.model.base_model_prefix + "."
    apart = any(name.startswith(base) for name, _ in words.model.named_parameters())  # T5 has no body of its own
    sizes = [len(mined.training) for _, mined in parts]
    train(
        words.model,
        rows,
        settings,
        seed=seed,
        device=device,
        collate=loss.collate,
        loss=loss.loss,
        sampler=balanced_order(sizes, settings.steps * settings.batch, seed=seed, temperature=temperature),
        head=lambda name: apart and not name.startswith(base),
    )
    return predictors


def shuffled_classes(mined: MinedSet, seed: int) -> MinedSet:
    """Give each row the class of another one: a control that must end at chance."""
    return replace(mined, labels=numpy_generator(seed, "shuffled classes").permutation(mined.labels))


def _rows(number: int, predictor: WordPredictor, mined: MinedSet, seed: int) -> list[dict[str, Any]]:
    """Write the prompt of each training row, the label word masked, and its sentence with the word, as tokens."""
    words = predictor.words
    drawn = numpy_generator(seed, f"templates of task {number}").integers(len(predictor.templates), size=len(mined))
    prompts: list[str] = []
    sentences: list[str] = []
    for row in mined.training:
        template, word, inplace = drawn[row], mined.words[row], mined.formats[row] == "inplace"
        chunks, _ = split_long(words.tokenizer, [mined.texts[row]], predictor.room)
        cut = next((chunk for chunk in chunks if "{mask}" in chunk), chunks[0]) if inplace else chunks[0]
        prompts.append(words.prompt(*((cut, "") if inplace else (predictor.templates[template], cut))))
        sentences.append(cut.replace("{mask}", word) if inplace else cut)
    plain = words.tokenizer(sentences, add_special_tokens=isinstance(words, MaskedWords))["input_ids"]
    return [
        {"prompt": prompt, "plain": sentence, "task": number, "label": int(label)}
        for prompt, sentence, label in zip(
            words.tokenizer(prompts)["input_ids"], plain, mined.labels[mined.training], strict=True
        )
    ]


class _Loss:
    """The loss of a batch: that of the K label words, that of the vocabulary, and that of ordinary masking."""

    def __init__(self, words: WordModel, tasks: Sequence[Task], settings: FitSettings, objective: Objective) -> None:
        self.words, self.settings = words, settings
        self.ids = [words.label_ids(label_words(task)) for task in tasks]
        self.targets = [words.targets(label_words(task)) for task in tasks]
        self.labelled = objective == "labels"
        self.masked = not self.labelled or settings.replay > 0

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch; ordinary masking is drawn anew each time."""
        batch: dict[str, Any] = {name: torch.tensor([row[name] for row in rows]) for name in ("task", "label")}
        if self.labelled:
            prompts = {"input_ids": [row["prompt"] for row in rows]}
            batch["prompts"] = dict(self.words.tokenizer.pad(prompts, return_tensors="pt"))
        if self.masked:
            batch["noise"] = _noise(self.words, [row["plain"] for row in rows])
        return batch

    def loss(self, _: object, batch: Mapping[str, Any]) -> Tensor:
        """Give the mean over the rows of all tasks."""
        total = self._noise_loss(batch["noise"]) if self.masked else torch.zeros(())
        if not self.labelled:
            return total
        total = self.settings.replay * total
        state = self.words.encode(batch["prompts"])
        for number in batch["task"].unique().tolist():  # one forward pass, and then the label words of each task
            rows = (batch["task"] == number).nonzero()[:, 0]
            labels = batch["label"][rows]
            part = tuple(tensor[rows] for tensor in state)
            loss = cross_entropy(self.words.label_scores(part, self.ids[number]), labels)
            if self.settings.span:
                targets = [self.targets[number][label] for label in labels.tolist()]
                loss = loss + self.settings.span * self.words.span_loss(part, targets)
            total = total + len(rows) / len(batch["task"]) * loss
        return total

    def _noise_loss(self, batch: dict[str, Tensor]) -> Tensor:
        if not isinstance(self.words, MaskedWords):
            return self.words.model(**batch).loss
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        masked = batch["labels"] != -100
        hidden, _ = head_input(self.words.model, **inputs)
        return cross_entropy(head_logits(self.words.model, hidden[masked]), batch["labels"][masked])


def _noise(words: WordModel, sentences: list[list[int]]) -> dict[str, Tensor]:
    """Mask sentences as in pre-training, with inputs and labels of the model; from the global generator."""
    if isinstance(words, MaskedWords):
        transformers = require("transformers", extra="text", purpose="A masked LM")
        collator = transformers.DataCollatorForLanguageModeling(words.tokenizer, mlm_probability=_NOISE)
        return dict(collator([{"input_ids": ids} for ids in sentences]))
    names = [f"<extra_id_{number}>" for number in range(100)]
    sentinels = [
        found for found in words.tokenizer.convert_tokens_to_ids(names) if found != words.tokenizer.unk_token_id
    ]
    pairs = [corrupt_spans(ids, sentinels, end=words.tokenizer.eos_token_id) for ids in sentences]
    batch = dict(words.tokenizer.pad({"input_ids": [entered for entered, _ in pairs]}, return_tensors="pt"))
    longest = max(len(target) for _, target in pairs)
    batch["labels"] = torch.tensor([target + [-100] * (longest - len(target)) for _, target in pairs])
    return batch


def corrupt_spans(ids: Sequence[int], sentinels: Sequence[int], *, end: int) -> tuple[list[int], list[int]]:
    """Replace spans of tokens by sentinels, as T5 is trained: the input, and the target that fills them in."""
    noise = max(1, round(len(ids) * _NOISE))
    spans = max(1, min(round(noise / _SPAN), len(sentinels) - 1, len(ids) - noise))
    hidden, kept = _parts(noise, spans), _parts(max(len(ids) - noise, 0) + 1, spans + 1)
    entered: list[int] = []
    target: list[int] = []
    at = 0
    for sentinel, before, length in zip(sentinels, kept, hidden, strict=False):
        entered += [*ids[at : at + before], sentinel]
        target += [sentinel, *ids[at + before : at + before + length]]
        at += before + length
    return [*entered, *ids[at:], end], [*target, sentinels[spans], end]


def _parts(total: int, count: int) -> list[int]:
    """Cut a number into so many parts of 1 or more, if it is large enough."""
    cuts = torch.randperm(max(total - 1, 0))[: count - 1].sort().values + 1
    bounds = torch.cat([torch.tensor([0]), cuts, torch.tensor([total])])
    return bounds.diff().tolist()
