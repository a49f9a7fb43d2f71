"""The toy of the specification with its targets, and that the comparison runs on it."""

from __future__ import annotations

from typing import Any

import pytest

from modicum.core import registry
from modicum.core.compare import compare
from modicum.core.method import Job
from modicum.core.report import Report
from modicum.errors import ConfigError


@pytest.fixture(scope="module")
def toy() -> Report:
    return compare("fghv", seeds=[0, 1], budget="demo", engine="inline", options={"task": "toy"})


@pytest.mark.slow
def test_the_verification_refuses_what_the_bare_score_lets_through(toy: Report) -> None:
    # FGHV-C10 with the stealth attack, section 11.5: five seeds are in evidence/fghv-toy.json, two are tried here.
    arms: dict[str, Any] = {arm.name: arm for arm in toy.arms}
    box, bare = arms["FGHV modicum"], arms["relative correlation"]
    assert box.secondary["spread"] > 0.05
    assert arms["FGHV paper"].secondary["spread"] < 0.01
    assert box.mean >= bare.mean + 0.03
    for kind in ("AUC known attacks", "AUC unknown attacks"):
        assert box.secondary[kind] >= bare.secondary[kind] - 0.01
    assert abs(arms["variance alone"].mean - arms["leverage"].mean) <= 0.04, "0.02 over five seeds"


@pytest.mark.slow
def test_own_photos_of_a_new_domain_make_the_variance_tell_there(toy: Report) -> None:
    arm = next(arm for arm in toy.arms if arm.name == "variance alone")
    before, after = arm.secondary["AUC stealth attacks, new domain"], arm.secondary["AUC by 40 of new domain"]
    assert after >= before + 0.2


def test_photos_are_read_only_where_they_are_asked_for() -> None:
    comparison = registry.load("fghv").comparison
    assert comparison.setup is not None
    for task, budget, match in (("nuaa", "demo", "reads no photos"), ("mcio", "full", "data of your own")):
        settings = comparison.settings_for(budget, {"task": task})
        with pytest.raises(ConfigError, match=match):
            comparison.setup(Job(seed=0, budget=budget, settings=settings))
