"""Training by transformers.Trainer: the noise of each step from the seed alone, and checkpoints that resume exactly."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from modicum.core import training
from modicum.core.devices import check_device
from modicum.core.extras import require
from modicum.core.files import make_folder
from modicum.core.seeding import torch_generator
from modicum.core.settings import as_json
from modicum.core.storage import Format, read_tensors, write_tensors
from modicum.errors import ConfigError, DataError, RunError
from modicum.textdiffusion.configuration import TrainingSettings
from modicum.textdiffusion.data import Example, padded
from modicum.textdiffusion.model import SeqDiffuSeqForConditionalGeneration

if TYPE_CHECKING:
    from transformers import TrainerCallback
else:
    TrainerCallback = require("transformers", extra="text", purpose="Training").TrainerCallback

_AVERAGE = "average.safetensors"  # written last: a checkpoint that has it is complete
_HINT = "Train in a new folder."
_FORMAT = Format(name="modicum-textdiffusion-training", version=2, what="training of a text diffusion", hint=_HINT)
_FIRST = 3  # the schedule is first updated after so many times the steps between updates


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What a training took and ended with."""

    updates: int  # steps of the optimizer, with those before a resumption
    loss: float  # mean over the steps since then
    seconds: float  # since then


@dataclass(frozen=True, kw_only=True, slots=True)
class _Given:
    """What a checkpoint belongs to."""

    settings: TrainingSettings
    seed: int
    network: str  # a hash of its configuration, with that of its tokenizer
    examples: str  # a hash of their tokens


def train(
    model: SeqDiffuSeqForConditionalGeneration,
    examples: Sequence[Example],
    settings: TrainingSettings,
    *,
    seed: int = 0,
    device: str = "cpu",
    checkpoints: Path | str | None = None,
    checkpoint_every: int = 1000,
    tell: Callable[[str], None] | None = None,
) -> Trained:
    """Train a network in place, and leave it in evaluation mode with the average of its weights.

    Args:
        model: the network.
        examples: of `encode_pairs`.
        settings: such as ``PRESETS["fast"]``.
        seed: of the order, the times, the noise and the dropout.
        device: "cpu" or "cuda".
        checkpoints: folder for them; a training that was stopped goes on from the last one, on the CPU bit for bit.
        checkpoint_every: steps between two of them.
        tell: called with a line on progress now and then.

    Returns:
        What it took.

    Raises:
        ConfigError: if settings do not fit each other or the device, or the folder has checkpoints of another training.
        DataError: if there are no examples, or one is longer than the canvas.
        RunError: if the loss is not finite.
    """
    check_device(device)
    _check(model, examples, settings)
    folder = None if checkpoints is None else Path(checkpoints)
    model.config.self_conditioning = settings.self_conditioning > 0
    resume = None if folder is None else _last(folder, _given(model, examples, settings, seed))
    average = _Average(model, settings.ema, resume)
    steps = _Steps(model, seed, settings)
    callbacks: list[TrainerCallback] = [steps, average]
    if tell is not None:
        callbacks.append(training.reporting(tell, extra="text"))
    pad, positions = model.config.pad_token_id, model.config.target_length

    def collate(rows: list[Example]) -> dict[str, Any]:
        sources, mask = padded([row["input_ids"] for row in rows], pad)
        return {
            "input_ids": sources,
            "attention_mask": mask,
            "labels": padded([row["labels"] for row in rows], pad, positions)[0],
            "longest": max(len(row["labels"]) for row in rows),
        }

    def loss(wrapped: nn.Module, inputs: Mapping[str, Any]) -> Tensor:
        batch = dict(inputs)
        longest, length = batch.pop("longest"), positions
        if settings.canvas == "random":
            length = int(torch.randint(longest, positions + 1, (), generator=steps.generator))
        batch["labels"] = batch["labels"][:, :length]
        options = {"self_conditioning": settings.self_conditioning, "prediction_loss": settings.prediction_loss}
        return wrapped(**batch, **options, generator=steps.generator).loss

    stacks = (model.input_transformers.encoder, model.input_transformers.decoder)
    if settings.compile:
        for stack in stacks:
            stack.compile()
    try:
        _, result = training.fine_tune(
            model,
            examples,
            seed=seed,
            device=device,
            extra="text",
            collate=collate,
            loss=loss,
            callbacks=callbacks,
            folder=folder,
            resume=resume,
            save_strategy="no" if folder is None else "steps",
            save_steps=checkpoint_every,
            save_total_limit=2,
            max_steps=settings.steps,
            per_device_train_batch_size=settings.batch // settings.accumulation,
            gradient_accumulation_steps=settings.accumulation,
            learning_rate=settings.rate,
            warmup_steps=settings.warmup,
            lr_scheduler_type="linear",
            weight_decay=0.0,
            max_grad_norm=settings.clip,
            bf16=settings.precision == "bf16",
            remove_unused_columns=False,
        )
    finally:
        for stack in stacks:  # samplers have other shapes
            stack._compiled_call_impl = None
    if not math.isfinite(result.training_loss):
        raise RunError(f"The loss is {result.training_loss}.", hint="Lower the learning rate, or clip the gradient.")
    average.leave()
    model.eval()
    return Trained(updates=result.global_step, loss=result.training_loss, seconds=result.metrics["train_runtime"])


class _Steps(TrainerCallback):
    """Randomness of a step from seed, rank and number; behind it an update of the schedule, whatever its passes."""

    def __init__(self, model: SeqDiffuSeqForConditionalGeneration, seed: int, settings: TrainingSettings) -> None:
        self.model, self.seed = model, seed
        self.every, self.shared = settings.schedule_every, settings.schedule_shared
        self.generator = torch.Generator()

    def on_step_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        self.generator = torch_generator(self.seed, f"step/{args.process_index}/{state.global_step}")

    def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        step = state.global_step
        if self.every and step % self.every == 0 and step >= _FIRST * self.every:
            self.model.schedule.update(shared=self.shared)


class _Average(TrainerCallback):
    """An exponential average of the weights, kept with each checkpoint."""

    def __init__(self, model: SeqDiffuSeqForConditionalGeneration, decay: float, resume: Path | None) -> None:
        self.model, self.decay, self.resume = model, decay, resume
        self.weights: dict[str, Tensor] = {}

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        parameters = dict(self.model.named_parameters())
        self.weights = {name: weight.detach().clone() for name, weight in parameters.items()}
        if self.resume is not None:
            saved, _metadata = read_tensors(self.resume / _AVERAGE, hint=_HINT, framework="pt")
            for name, weight in self.weights.items():
                weight.copy_(saved[name])

    @torch.no_grad()
    def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        # Few steps would else be an average of the initial weights; the released code has the plain decay.
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        move = get_ema_multi_avg_fn(decay)
        move(list(self.weights.values()), [weight.detach() for weight in self.model.parameters()], state.global_step)

    def on_save(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        if state.is_world_process_zero:
            path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / _AVERAGE
            write_tensors(path, {name: weight.float().cpu().numpy() for name, weight in self.weights.items()})

    def leave(self) -> None:
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_(self.weights[name])


def _check(model: SeqDiffuSeqForConditionalGeneration, examples: Sequence[Example], settings: TrainingSettings) -> None:
    if settings.batch % settings.accumulation:
        raise ConfigError(
            f"A batch of {settings.batch} pairs has no {settings.accumulation} equal parts.",
            hint="Let accumulation divide batch.",
        )
    if not examples:
        raise DataError("There are no examples to train on.", hint="Give at least one.")
    longest = max(len(example["labels"]) for example in examples)
    if longest > model.config.target_length:
        raise DataError(
            f"A target has {longest} tokens, but the canvas has {model.config.target_length}.",
            hint="Encode the pairs with the configuration of this network.",
        )


def _given(
    model: SeqDiffuSeqForConditionalGeneration, examples: Sequence[Example], settings: TrainingSettings, seed: int
) -> _Given:
    config = model.config.to_dict() | {"transformers_version": None}  # another version may go on
    tokens = hashlib.sha256()
    for example in examples:
        tokens.update(json.dumps([example["input_ids"].tolist(), example["labels"].tolist()]).encode())
    return _Given(
        settings=settings,
        seed=seed,
        network=hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest(),
        examples=tokens.hexdigest(),
    )


def _last(folder: Path, given: _Given) -> Path | None:
    """Give the last complete checkpoint of a training, if there is one."""
    make_folder(folder)
    path = folder / "training.json"
    if not path.exists():
        _FORMAT.write(path, as_json(given))
    elif _FORMAT.read(path, _Given) != given:
        raise ConfigError(
            f"{folder} has checkpoints of a training with other settings, another seed, another network or tokenizer, "
            "or other examples.",
            hint=_HINT,
        )
    found = {
        int(saved.parent.name.rpartition("-")[2]): saved.parent for saved in folder.glob(f"checkpoint-*/{_AVERAGE}")
    }
    return found[max(found)] if found else None
