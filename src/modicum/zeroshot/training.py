"""Training on mined rows: AdamW on `core.training`, and the order of the rows of several tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from modicum.core.extras import require
from modicum.core.seeding import numpy_generator, torch_generator
from modicum.core.training import fine_tune, parameter_groups
from modicum.zeroshot.configuration import FitSettings


def train(
    model: nn.Module,
    rows: Sequence[Any],
    settings: FitSettings,
    *,
    device: str,
    head: Callable[[str], bool],
    **given: Any,
) -> None:
    """Train a model in place by AdamW; ``head`` tells by its name which parameter has the rate of the head."""
    share = settings.head_rate / settings.rate
    groups = parameter_groups(
        model, rate=settings.rate, weight_decay=0.01, factor=lambda name: share if head(name) else 1.0
    )
    fine_tune(
        model,
        rows,
        device=device,
        extra="text",
        optimizers=(torch.optim.AdamW(groups, fused=True), None),  # an eighth of the time on a CPU
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch,
        warmup_steps=0.06,  # below 1 it is a share of the updates
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        remove_unused_columns=False,
        **given,
    )
    model.eval().to("cpu")


def balanced_order(sizes: Sequence[int], total: int, *, seed: int, temperature: float) -> list[int]:
    """Draw row numbers of tasks, one after the other in memory: a task of n rows as often as n ** (1 / temperature)."""
    weights = np.asarray(sizes, dtype=float) ** (1 / temperature)
    drawn = numpy_generator(seed, "tasks").choice(len(sizes), size=total, p=weights / weights.sum())
    order = np.zeros(total, dtype=np.int64)
    for number, size in enumerate(sizes):
        # Each row once before any comes again, and in an order that no other task changes.
        generator, count = numpy_generator(seed, f"order of task {number}"), int((drawn == number).sum())
        passes = [generator.permutation(size) for _ in range(-(-count // size))]
        if passes:
            order[drawn == number] = sum(sizes[:number]) + np.concatenate(passes)[:count]
    return order.tolist()


def order_by_length(lengths: Sequence[int], batch: int, *, seed: int) -> Any:
    """Draw each row once a pass, those of a batch about as long as one another: half of the padding is saved."""
    utilities = require("transformers.trainer_pt_utils", extra="text", purpose="Training by transformers.Trainer")
    return utilities.LengthGroupedSampler(batch, lengths=list(lengths), generator=torch_generator(seed, "order"))
