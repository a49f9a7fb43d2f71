"""The toy of the specification with its targets, and that the comparison runs on it."""

from __future__ import annotations

import pytest

from modicum.core import registry
from modicum.core.method import Budget, Job, Measurement
from modicum.errors import ConfigError


@pytest.fixture(scope="module")
def toy() -> dict[str, Measurement]:
    comparison = registry.load("fghv").comparison
    assert comparison.setup is not None
    job = Job(seed=0, budget="demo", settings=comparison.settings_for("demo", {"task": "toy"}))
    shared = comparison.setup(job)
    names = ("FGHV modicum", "relative correlation", "variance alone", "leverage")
    return {arm.name: arm.run(job, shared) for arm in comparison.arms if arm.name in names}


@pytest.mark.slow
def test_the_verification_refuses_what_the_bare_score_lets_through(toy: dict[str, Measurement]) -> None:
    # FGHV-C10 with the stealth attack, section 11.5: five seeds are in evidence/fghv-toy.json, one is tried here.
    box, bare = toy["FGHV modicum"], toy["relative correlation"]
    assert box.secondary["spread"] > 0.05
    assert box.value >= bare.value + 0.03
    for kind in ("AUC known attacks", "AUC unknown attacks"):
        assert box.secondary[kind] >= bare.secondary[kind] - 0.01
    assert abs(toy["variance alone"].value - toy["leverage"].value) <= 0.04, "0.02 over five seeds"


@pytest.mark.slow
def test_own_photos_of_a_new_domain_make_the_verification_tell_there(toy: dict[str, Measurement]) -> None:
    for name in ("FGHV modicum", "variance alone"):
        found = toy[name].secondary
        assert found["AUC by 40 of new domain"] >= found["AUC stealth attacks, new domain"] + 0.2


def test_photos_are_read_only_where_they_are_asked_for() -> None:
    comparison = registry.load("fghv").comparison
    assert comparison.setup is not None
    cases: tuple[tuple[str, Budget, str], ...] = (
        ("nuaa", "demo", "reads no photos"),
        ("mcio", "full", "data of your own"),
    )
    for task, budget, match in cases:
        settings = comparison.settings_for(budget, {"task": task})
        with pytest.raises(ConfigError, match=match):
            comparison.setup(Job(seed=0, budget=budget, settings=settings))


def test_an_arm_that_comes_first_trains_what_all_share() -> None:
    comparison = registry.load("fghv").comparison
    assert comparison.setup is not None
    job = Job(seed=0, budget="demo", settings=comparison.settings_for("demo", {"steps": "2"}))
    arm = next(arm for arm in comparison.arms if arm.name == "kNN")  # it looks at features alone, without gradients
    assert 0 <= arm.run(job, comparison.setup(job)).value <= 1
