"""What own photos change: the update, the threshold, and the detectors beside it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modicum.core.seeding import torch_generator
from modicum.liveness import FGHVConfig, FGHVForLiveness
from modicum.liveness.fit import (
    attainable,
    fit,
    halves,
    mahalanobis,
    nearest_neighbours,
    refused_when_left_out,
    updated,
)


def place(count: int, shift: float = 0.0, seed: int = 0) -> Tensor:
    """Draw genuine faces of a place, which is a shift of one of twelve numbers."""
    faces = torch.randn(count, 12, generator=torch_generator(seed, "faces"))
    faces[:, 0] += 3
    faces[:, 5] += shift
    return faces


@pytest.fixture(scope="module")
def model() -> FGHVForLiveness:
    genuine, attacks = place(300), place(300, seed=1)
    attacks[:, 0] -= 6
    config = FGHVConfig(backbone="vector", input_size=12, hypotheses=110, bank_size=500)
    return fit(config, torch.cat([genuine, attacks]), torch.tensor([1, 0]).repeat_interleave(300), steps=80)


def test_own_photos_lower_the_variance_of_their_place_and_of_little_else(model: FGHVForLiveness) -> None:
    after = updated(model, place(20, shift=8, seed=2))
    new, odd = place(50, shift=8, seed=3), place(50, shift=-8, seed=4)
    before = model.verify(new).variance.mean() / model.verify(odd).variance.mean()
    now = after.verify(new).variance.mean() / after.verify(odd).variance.mean()
    assert float(now) < 0.6 * float(before)
    assert (after.verify(odd).variance <= model.verify(odd).variance * 1.001).all()
    assert torch.equal(after.verify(new).score, model.verify(new).score)


def test_neighbours_and_mahalanobis_score_what_is_far_lower() -> None:
    known, near, far = place(60), place(10, seed=5), place(10, shift=9, seed=6)
    for score in (nearest_neighbours, mahalanobis):
        assert float(score(known, near).mean()) > float(score(known, far).max())
    moved = mahalanobis(known, far, own=place(20, shift=9, seed=7))
    assert float(moved.mean()) > float(mahalanobis(known, far).mean())


def test_halves_are_apart_and_nobody_is_in_both() -> None:
    people = [str(row // 5) for row in range(40)]
    near, held = halves(people, 40, 0)
    assert sorted([*near, *held]) == list(range(40))
    assert not {people[row] for row in near} & {people[row] for row in held}
    assert [len(part) for part in halves(None, 11, 0)] == [5, 6]


def test_few_photos_allow_no_low_level() -> None:
    assert attainable(0.05, 19) == 0.05
    assert attainable(0.05, 5) == pytest.approx(1 / 6)


def test_genuine_faces_that_are_left_out_are_refused_about_as_often_as_the_level_says(model: FGHVForLiveness) -> None:
    own = place(200, shift=4, seed=8)
    refused = refused_when_left_out(lambda near, new: updated(model, own[near]).verify(own[new]).box, 200, None)
    assert 2 <= refused <= 22  # 5 % of 200 are 10
