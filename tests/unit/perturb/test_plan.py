from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modicum.core.compare import resolve_options
from modicum.core.method import Budget, Job
from modicum.errors import ConfigError
from modicum.perturb.method import METHOD
from modicum.perturb.plan import Plan


def job(budget: Budget, **options: str) -> Job:
    return Job(seed=0, budget=budget, options=resolve_options(METHOD.comparison, budget, options))


def test_the_full_defaults_are_the_recipe_of_the_paper_on_its_low_resource_setting() -> None:
    assert Plan.of(job("full")) == Plan(
        task="rte",
        model="offline",
        train_size=1000,
        epochs=3,
        batch=16,
        rate=2e-5,
        max_length=128,
        sigma=1e-5,
    )


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("train_size", "-1", r"train_size must be an integer from 0 on, got '-1'. Write --option train_size=NUM"),
        ("epochs", "0", r"epochs must be an integer from 1 on, got '0'"),
        ("batch", "2.5", r"batch must be an integer from 1 on, got '2.5'"),
        ("rate", "fast", r"rate must be a number from 0 on, got 'fast'. Write --option rate=NUMBER"),
        ("sigma", "nan", r"sigma must be a number from 0 on, got 'nan'"),
        ("sigma", "-1e-5", r"sigma must be a number from 0 on, got '-1e-5'"),
        ("max_length", "4", r"max_length must be at least 8 tokens, got 4. Try --option max_length=128"),
    ],
)
def test_an_option_out_of_its_range_is_named(option: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Plan.of(job("full", **{option: text}))


@pytest.mark.parametrize("option", ["task=rte", "model=offline", "max_length=64"])
def test_the_demo_refuses_what_has_no_meaning_in_it(option: str) -> None:
    name, _, text = option.partition("=")
    with pytest.raises(ConfigError, match=r"The demo has one task \(digits\).* Add --budget full for another task"):
        Plan.of(job("demo", **{name: text}))


def test_data_of_ones_own_needs_the_full_budget() -> None:
    with pytest.raises(ConfigError, match=r"Add --budget full .* for data of your own"):
        Plan.of(replace(job("demo"), data=Path("rte")))
