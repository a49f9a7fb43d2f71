"""Seeding the generators that libraries draw from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from modicum.core.seeding import legacy_seed, seeded_globally


def states() -> tuple[Any, ...]:
    numpy: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002
    place, keys = numpy["state"]["pos"], numpy["state"]["key"].tobytes()
    return random.getstate(), place, keys, torch.get_rng_state().numpy().tobytes()


def test_a_legacy_seed_is_the_lower_half_of_the_derived_one() -> None:
    assert legacy_seed(0, "split") == 3481620916  # of 374788079615300020, see test_small_floor


def test_seeded_draws_depend_on_seed_and_stream_and_nothing_leaks() -> None:
    before = states()
    draws = []
    for seed, stream in ((0, "order"), (0, "order"), (0, "noise"), (1, "order")):
        with seeded_globally(seed, stream):
            draws.append((random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
    assert states() == before
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_seeded_puts_the_generators_back_after_an_error() -> None:
    before = states()
    with pytest.raises(KeyError), seeded_globally(0, "order"):
        raise KeyError
    assert states() == before
