"""The options of the comparison."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from modicum.core.method import Budget, Job
from modicum.errors import ConfigError
from modicum.fusion.method import METHOD
from modicum.fusion.plan import Plan


def job(options: Mapping[str, str] | None = None, *, budget: Budget = "demo") -> Job:
    comparison = METHOD.comparison
    assert comparison is not None
    return Job(
        seed=0, budget=budget, options={it.name: it.default[budget] for it in comparison.options} | dict(options or {})
    )


def test_what_the_comparison_says_of_itself_can_be_read() -> None:
    demo, full = Plan.of(job()), Plan.of(job(budget="full"))
    assert (demo.task, demo.labels, full.task, full.labels) == ("motions", 16, "mosi", 0)
    assert demo.shuffled == full.shuffled == ""
    assert full.rate == 1e-3


def test_what_is_typed_is_taken() -> None:
    plan = Plan.of(
        job(
            {
                "task": "ces",
                "encoder": "none",
                "channels": "3",
                "modality_dropout": "0.5",
                "shuffled": "x",
                "batch": "2",
            }
        )
    )
    assert (plan.task, plan.encoder, plan.channels, plan.modality_dropout, plan.shuffled, plan.batch) == (
        *("ces", "none", 3, 0.5),
        *("x", 2),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "taste"),
        ("labels", "-1"),
        ("labels", "many"),
        ("encoder", "transformer"),
        ("channels", "1"),
        ("epochs", "0"),
        ("batch", "1"),
        ("rate", "nan"),
        ("rate", "-1"),
        ("modality_dropout", "1"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} must be "):
        Plan.of(job({name: value}))
