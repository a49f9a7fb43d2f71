"""Seeding, extras, measuring, errors: the small parts of the floor."""

from __future__ import annotations

import ast
import inspect
import pickle
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from modicum import errors
from modicum.core.extras import require
from modicum.core.measure import measured
from modicum.core.method import Arm, Comparison, Job, Measurement, Metric
from modicum.core.seeding import derive, numpy_generator, torch_generator
from modicum.errors import ConfigError, MissingExtraError, ModicumError


def test_streams_of_one_seed_differ_and_repeat() -> None:
    seeds = {derive(seed, stream) for seed in range(50) for stream in ("order", "noise", "split")}
    assert len(seeds) == 150
    assert torch.equal(
        torch.randn(5, generator=torch_generator(1, "noise")), torch.randn(5, generator=torch_generator(1, "noise"))
    )
    assert np.array_equal(numpy_generator(1, "noise").normal(size=5), numpy_generator(1, "noise").normal(size=5))


def test_derived_seeds_are_the_same_on_every_machine() -> None:
    # SHA-256 of "0/split", first 8 bytes little-endian, without the top bit; by coreutils' sha256sum.
    assert derive(0, "split") == 374788079615300020


def test_streams_leave_the_global_generators_alone() -> None:
    before = torch.get_rng_state()
    torch_generator(0, "order")
    numpy_generator(0, "order")
    assert torch.equal(before, torch.get_rng_state())


def test_missing_library_names_the_extra_that_brings_it() -> None:
    with pytest.raises(MissingExtraError, match=r"Reading runes needs futhark.*pip install 'modicum\[runes\]'"):
        require("futhark.reader", extra="runes", purpose="Reading runes")


def test_measured_sees_time_and_memory() -> None:
    def work() -> int:
        block = bytearray(300 * 2**20)
        block[::4096] = b"x" * len(block[::4096])  # touched, so that it is resident
        time.sleep(0.2)
        return len(block)

    _, idle = measured(lambda: None)
    value, cost = measured(work)
    assert value == 300 * 2**20
    assert 0.2 <= cost.seconds < 5
    assert 280 <= cost.memory - idle.memory <= 400


@pytest.mark.parametrize("name", sorted(set(errors.__all__)))
def test_every_error_survives_the_way_home_from_a_worker(name: str) -> None:
    error = getattr(errors, name)("What happened.", hint="What to do.")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (back.what, back.hint, str(back)) == ("What happened.", "What to do.", "What happened. What to do.")
    assert back.exit_status in (1, 2)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = [line.split("──")[-1].split()[0] for line in errors.__doc__.splitlines() if "Error" in line][:15]
    assert sorted(drawn) == sorted(errors.__all__)
    defined = [node.name for node in ast.parse(inspect.getsource(errors)).body if isinstance(node, ast.ClassDef)]
    assert sorted(defined) == sorted(errors.__all__)
    assert all(issubclass(getattr(errors, name), ModicumError) for name in defined)


def run(job: Job) -> Measurement:
    return Measurement(value=0.0)


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ((Arm(name="a", role="method", run=run),), "has 0 and 1"),
        ((Arm(name="a", role="baseline", run=run),), "has 1 and 0"),
        (
            tuple(Arm(name="a", role=role, run=run) for role in ("baseline", "method")),
            "Two arms of m have the name 'a'",
        ),
        ([Arm(name="a", role="method", run=run)], "arms of m must be a tuple, not list"),
        ((run,), "arms of m include <function run"),
    ],
)
def test_arms_that_are_no_comparison_are_refused(arms: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Comparison(method="m", question="Is it?", metric=Metric(name="x"), arms=arms)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Arm(name="a", role="treatment", run=run), "The arm a has the unknown role 'treatment'"),  # type: ignore[arg-type]
        (lambda: Arm(name="a", role="method", run=run(None)), "The arm a runs Measurement.*, which is no function"),  # type: ignore[arg-type]
        (lambda: Arm(name="a\x1b[2J", role="method", run=run), "name of an arm must be a text that can be printed"),
        (lambda: Metric(name=""), "name of a metric must be a text that can be printed"),
        (lambda: Metric(name="loss", digits=-1), "loss is shown with 0 to 20 digits, not -1"),
        (
            lambda: Comparison(method="m", question="Is it?", metric="acc", arms=()),  # type: ignore[arg-type]
            "The metric of m is 'acc', not a Metric",
        ),
    ],
)
def test_parts_that_are_something_else_are_refused_at_once(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_run_must_be_scored(value: float) -> None:
    with pytest.raises(ConfigError, match="must be finite"):
        Measurement(value=value)
    with pytest.raises(ConfigError, match="loss is"):
        Measurement(value=0.0, secondary={"loss": value})
