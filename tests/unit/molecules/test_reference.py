from __future__ import annotations

import numpy as np
from tests.unit.molecules.point_kernel import PointKernel, cloud
from tests.unit.molecules.reference import pick_brute_force

from modicum.molecules.select.posterior import posterior_deviation


def test_each_pick_has_the_largest_deviation_that_is_left() -> None:
    kernel = cloud(60)
    picks, deviations = pick_brute_force(kernel, kernel.names, start=[4], max_picks=12)
    for order in range(1, 12):
        u = posterior_deviation(kernel, [kernel.names[pick] for pick in picks[:order]], kernel.names)
        assert picks[order] == u.argmax()
        np.testing.assert_allclose(deviations[order], u.max(), atol=1e-12)


def test_it_stops_when_all_are_below_the_threshold_and_not_before() -> None:
    kernel = cloud(60)
    picks, deviations = pick_brute_force(kernel, kernel.names, start=[4], stop_uncertainty=0.6)
    selected = [kernel.names[pick] for pick in picks]
    assert posterior_deviation(kernel, selected, kernel.names).max() < 0.6
    assert deviations[-1] >= 0.6


def test_the_first_of_equals_is_picked_and_the_banned_are_not() -> None:
    kernel = PointKernel(np.array([[0.0], [90.0], [90.0], [-90.0]]))
    assert pick_brute_force(kernel, kernel.names, start=[])[0] == (0, 1, 3)
    assert pick_brute_force(kernel, kernel.names, start=[], banned=[0, 1])[0] == (2, 3)
