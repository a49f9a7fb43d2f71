"""The demo: a tiny vision transformer that knows five digits and learns the other five from few labels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from modicum.core.seeding import numpy_generator, seeded_globally
from modicum.errors import ConfigError
from modicum.perturb.training import Problem, Recipe, fine_tune

# Ours. The size and the pre-training were chosen for their time and by the training loss of the pre-training.
PRE_TRAINING = Recipe(epochs=8, batch=32, rate=5e-3)


def digits_problem(seed: int, *, train_size: int) -> Problem:
    """Pre-train a tiny ViT on five classes of scikit-learn's digits, and build the task of the other five."""
    # Which classes, and which of their images are labelled, depends on the seed; the images that are not labelled are
    # the held-out ones.
    pixels, labels, known = _load(seed)
    old, new = _examples(pixels[known], labels[known]), _examples(pixels[~known], labels[~known])
    if train_size >= len(new):
        raise ConfigError(
            f"train_size is {train_size}, but the demo has {len(new)} images and must hold some out.",
            hint="Write --option train_size=50, for example.",
        )
    chosen = _stratified(labels[~known], train_size or len(new) // 2)
    pre_trained = tiny_vit(seed, "pre-training")
    fine_tune(Problem(pre_trained, old, old[:1]), PRE_TRAINING, seed=seed, device="cpu")
    model = tiny_vit(seed, "initialisation")
    model.base_model.load_state_dict(pre_trained.base_model.state_dict())
    return Problem(
        model=model,
        train=list(itertools.compress(new, chosen)),
        held_out=list(itertools.compress(new, ~chosen)),
    )


def _load(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    pixels, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    generator = numpy_generator(seed, "split")
    rows, classes = generator.permutation(len(labels)), generator.permutation(10)
    place = np.argsort(classes)[labels[rows]]
    return pixels[rows].astype(np.float32) / 16, place % 5, place < 5


def _stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """Mark the first rows of each class in turn, as many as are wanted."""
    turn = np.array([np.count_nonzero(labels[:row] == label) for row, label in enumerate(labels)])
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[np.argsort(turn, kind="stable")[:count]] = True
    return chosen


def _examples(pixels: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    images = torch.from_numpy(pixels).view(-1, 1, 8, 8)
    return [{"pixel_values": image, "labels": int(label)} for image, label in zip(images, labels, strict=True)]


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
