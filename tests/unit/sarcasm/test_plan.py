"""The options of the comparison."""

from __future__ import annotations

import pytest

from modicum.core.compare import resolve_options
from modicum.core.method import Budget, Job
from modicum.errors import ConfigError
from modicum.sarcasm.method import METHOD
from modicum.sarcasm.plan import Plan


def job(budget: Budget, **options: str) -> Job:
    return Job(seed=0, budget=budget, options=resolve_options(METHOD.comparison, budget, options))


def test_the_demo_makes_an_encoder_and_full_takes_the_packaged_one() -> None:
    demo = Plan(model="tiny", pooling="mean", epochs=8, batch=16, rate=1e-3, folds=1, rule="oof_f1")
    full = Plan(model="offline", pooling="mean", epochs=3, batch=32, rate=5e-5, folds=1, rule="oof_f1")
    assert Plan.of(job("demo")) == demo
    assert Plan.of(job("full")) == full


def test_options_are_read() -> None:
    read = Plan.of(job("full", model="some/encoder", pooling="cls", epochs="2", folds="5", rule="oof_f1"))
    assert (read.model, read.pooling, read.epochs, read.folds, read.rule) == ("some/encoder", "cls", 2, 5, "oof_f1")


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("epochs", "0", r"epochs must be an integer from 1 on, got '0'. Write --option epochs=NUMBER"),
        ("batch", "2.5", r"batch must be an integer from 1 on, got '2.5'"),
        ("folds", "-1", r"folds must be an integer from 1 on, got '-1'"),
        ("rate", "nan", r"rate must be a number from 0 on, got 'nan'"),
        ("pooling", "max", r"pooling must be one of mean, cls, got 'max'"),
        ("rule", "best", r"rule must be one of oof_f1, half, top_share, prior_shift, got 'best'"),
    ],
)
def test_an_option_out_of_its_range_is_named(option: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Plan.of(job("full", **{option: text}))
