from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modicum.core.method import Budget, Job
from modicum.errors import ConfigError
from modicum.perturb.comparison import METHOD
from modicum.perturb.configuration import comparison_settings


def job(budget: Budget, **options: str) -> Job:
    return Job(seed=0, budget=budget, settings=METHOD.comparison.settings_for(budget, options))


def test_texts_keep_some_tokens() -> None:
    with pytest.raises(ConfigError, match=r"max_length must be at least 8 tokens, got 4. Try --option max_length=128"):
        comparison_settings(job("full", max_length="4"))


@pytest.mark.parametrize("option", ["task=rte", "model=offline", "max_length=64"])
def test_the_demo_refuses_what_has_no_meaning_in_it(option: str) -> None:
    name, _, text = option.partition("=")
    with pytest.raises(ConfigError, match=r"The demo has one task \(digits\).* Add --budget full for another task"):
        comparison_settings(job("demo", **{name: text}))


def test_data_of_ones_own_needs_the_full_budget() -> None:
    with pytest.raises(ConfigError, match=r"Add --budget full .* for data of your own"):
        comparison_settings(replace(job("demo"), data=Path("rte")))
