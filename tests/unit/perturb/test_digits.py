from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from modicum.errors import ConfigError
from modicum.perturb import digits
from modicum.perturb.digits import digits_problem
from modicum.perturb.training import Problem, Recipe


@pytest.fixture
def one_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "PRE_TRAINING", Recipe(epochs=1, batch=64, rate=5e-3))


def pixels(problem: Problem) -> tuple[set[bytes], set[bytes]]:
    train, held_out = (
        {example["pixel_values"].numpy().tobytes() for example in part} for part in (problem.train, problem.held_out)
    )
    return train, held_out


def test_the_labelled_images_are_balanced_and_no_image_is_both_labelled_and_held_out(one_epoch: None) -> None:
    problem = digits_problem(0, train_size=52)
    counts = np.bincount([example["labels"] for example in problem.train])
    assert sorted(counts) == [10, 10, 10, 11, 11]
    train, held_out = pixels(problem)
    assert len(train) == 52
    assert not train & held_out
    images, labels = load_digits(return_X_y=True)
    classes = {
        int(label)
        for image, label in zip(images, labels, strict=True)
        if (image / 16).astype(np.float32).tobytes() in train
    }
    assert len(classes) == 5
    assert len(problem.train) + len(problem.held_out) == np.isin(labels, list(classes)).sum()


def test_the_seed_decides_the_classes_the_images_and_the_weights(one_epoch: None) -> None:
    first, again, other = (digits_problem(seed, train_size=50) for seed in (0, 0, 1))
    assert pixels(first) == pixels(again) != pixels(other)
    for name, weight in first.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name])
    assert not torch.equal(*(posed.model.state_dict()["classifier.weight"] for posed in (first, other)))


def test_the_body_is_pre_trained_and_the_head_is_new(one_epoch: None) -> None:
    weights = digits_problem(0, train_size=50).model.state_dict()
    initial = digits.tiny_vit(0, "initialisation").state_dict()
    assert torch.equal(weights["classifier.weight"], initial["classifier.weight"])
    assert not any(
        torch.equal(weights[name], initial[name]) for name in weights if name.endswith("attention.q_proj.weight")
    )


def test_a_demo_that_holds_nothing_out_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train_size is 1000, but the demo has \d+ images and must hold some out"):
        digits_problem(0, train_size=1000)
