"""An option or data of one's own that would change nothing is refused, not passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from modicum.core import registry
from modicum.core.method import Budget, Job
from modicum.errors import ConfigError


@pytest.mark.parametrize(
    ("method", "budget", "options", "own", "words"),
    [
        ("fghv", "demo", {}, True, "task=digits reads no data of your own"),
        ("fghv", "demo", {"task": "toy"}, True, "task=toy reads no data of your own"),
        ("fghv", "full", {}, True, "task=nuaa reads no data of your own"),
        ("fghv", "demo", {"scale": "3"}, False, "scale=3 does nothing"),
        ("gotuning", "demo", {"task": "ag"}, False, "task=ag does nothing in the demo"),
        ("gotuning", "demo", {"texts": "5"}, False, "texts=5 does nothing in the demo"),
        ("peerpl", "demo", {"environment": "Acrobot-v1"}, False, "environment=Acrobot-v1 does nothing"),
        ("peerpl", "demo", {"steps": "7"}, False, "steps=7 does nothing with task=cartpole"),
        ("peerpl", "full", {"task": "overcooked", "trajectories": "9"}, False, "trajectories=9 does nothing"),
        ("peerpl", "demo", {"task": "rewards", "episodes": "7"}, False, "episodes=7 does nothing with task=rewards"),
        ("peerpl", "demo", {"task": "rewards"}, True, "task=rewards reads no data of your own"),
        ("gprmgk", "demo", {"epochs": "3"}, False, "epochs=3 does nothing with predictor=gp"),
        ("gprmgk", "full", {"networks": "2"}, False, "networks=2 does nothing with predictor=gp"),
        ("gprmgk", "demo", {"test": "simulation"}, True, "test=simulation does nothing with --data"),
        ("cubemlp", "demo", {"task": "ces"}, True, "task=ces does nothing with --data"),
        ("seqdiffuseq", "demo", {"task": "cmudict"}, True, "task=cmudict does nothing with --data"),
        ("rapq", "demo", {}, True, "Pictures of your own need a network"),
    ],
)
def test_what_would_change_nothing_is_refused(
    method: str, budget: Budget, options: dict[str, str], own: bool, words: str, tmp_path: Path
) -> None:
    comparison = registry.load(method).comparison
    settings = comparison.settings_for(budget, options)
    asked = comparison.variant(settings) if comparison.variant else None
    job = Job(seed=0, budget=budget, device="cpu", data=tmp_path if own else None, settings=settings)
    setup = (asked or comparison).setup
    assert setup is not None
    with pytest.raises(ConfigError, match=words):
        setup(job)
