"""What the comparison counts: rates that work at every scale of the inputs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modicum.core.method import Job
from modicum.optim.comparison import METHOD, NSGD_L2, SGD, STEP, TOLERANCE, rates, run, setup, train

SETTINGS = METHOD.comparison.settings_for(
    "demo", {"trials": "5", "scales": "1,10", "gains": "1,3", "epochs": "2", "train_size": "300"}
)
JOB = Job(seed=0, budget="demo", settings=SETTINGS)


@pytest.mark.parametrize(("make", "top"), [(SGD, 1.0), (NSGD_L2, 10.0)])
def test_useful_rates_are_good_at_every_scale(make: object, top: float) -> None:
    split = setup(JOB)
    larger = replace(split, inputs={part: values * 10 for part, values in split.inputs.items()})
    grid = rates(top, 5)
    assert grid == pytest.approx([top * 10 ** (-step / 2) for step in range(5)])
    home = {rate: train(split, make, rate=rate, job=JOB) for rate in grid}  # type: ignore[arg-type]
    away = {rate: train(larger, make, rate=rate, job=JOB)["test"] for rate in grid}  # type: ignore[arg-type]
    tuned = max(grid, key=lambda rate: home[rate]["validation"])
    enough = home[tuned]["test"] - TOLERANCE
    found = run(JOB, split, make=make, top=top)  # type: ignore[arg-type]
    assert found.value == STEP * sum(min(home[rate]["test"], away[rate]) >= enough for rate in grid)
    assert found.secondary["test accuracy, tuned"] == home[tuned]["test"]
    assert found.secondary["tuned rate, all scales"] == pytest.approx((home[tuned]["test"] + away[tuned]) / 2)
    larger_weights = train(split, make, rate=tuned, job=JOB, gain=3.0)["test"]  # type: ignore[arg-type]
    assert found.secondary["tuned rate, all initial gains"] == pytest.approx((home[tuned]["test"] + larger_weights) / 2)


def test_standardised_inputs_have_no_scale() -> None:
    found = run(JOB, setup(JOB), make=SGD, top=1.0, standardise=True)
    assert found.value > 0
    assert found.secondary["tuned rate, all scales"] == pytest.approx(found.secondary["test accuracy, tuned"], abs=0.01)
