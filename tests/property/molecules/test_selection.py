from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.molecules.point_kernel import PointKernel, Points, cloud
from tests.unit.molecules.reference import pick_brute_force

from modicum.molecules.select.learner import ActiveLearner, Selection
from modicum.molecules.select.posterior import posterior_deviation

# Grids give equal points, and points at equal distances: ties, down to the last bits of their variances.
GRIDS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=40).map(
    lambda points: PointKernel(np.array(points, dtype=float))
)
KERNELS = st.builds(
    cloud, st.integers(2, 60), seed=st.integers(0, 99), dimension=st.integers(1, 4), scale=st.floats(0.5, 2)
)
THRESHOLDS = st.floats(0.2, 0.95)
quick = settings(max_examples=40, deadline=None)


def learner(kernel: PointKernel, batch: int = 256) -> ActiveLearner[Points]:
    return ActiveLearner(kernel, kernel.names, start=[0], batch=batch)


def assert_same(one: Selection, other: Selection) -> None:
    assert one.picks == other.picks
    np.testing.assert_allclose(one.deviations, other.deviations, rtol=0, atol=1e-10)


@quick
@given(kernel=KERNELS | GRIDS, threshold=THRESHOLDS)
def test_picks_are_those_of_brute_force(kernel, threshold) -> None:  # GPRMGK-G12
    picks, deviations = pick_brute_force(kernel, kernel.names, start=[0], stop_uncertainty=threshold)
    selection = learner(kernel).run(threshold)
    assert selection.picks == picks
    np.testing.assert_allclose(selection.deviations, deviations, rtol=0, atol=1e-10)


@quick
@given(kernel=KERNELS, threshold=THRESHOLDS, batch=st.integers(1, 70), limit=st.integers(1, 70))
def test_the_size_of_batches_changes_nothing(kernel, threshold, batch, limit) -> None:
    small = learner(kernel, batch).run(threshold, max_picks=limit)
    whole = learner(kernel, len(kernel.names)).run(threshold, max_picks=limit)
    assert_same(small, whole)
    assert small.evaluations <= len(kernel.names) * len(small.picks)


@quick
@given(kernel=KERNELS | GRIDS, threshold=THRESHOLDS)
def test_deviations_only_fall_after_the_start(kernel, threshold) -> None:
    selection = learner(kernel).run(threshold)
    assert (np.diff(selection.deviations[1:]) <= 1e-12).all()


@quick
@given(kernel=KERNELS, threshold=THRESHOLDS, limit=st.integers(1, 30))
def test_the_certificate_is_the_dense_maximum(kernel, threshold, limit) -> None:
    selection = learner(kernel).run(threshold, max_picks=limit)
    largest = posterior_deviation(kernel, selection.smiles, kernel.names).max()
    certificate = selection.certificate
    assert certificate.holds == (largest < threshold)
    np.testing.assert_allclose(certificate.largest, largest, rtol=0, atol=1e-10)


@quick
@given(kernel=KERNELS, threshold=THRESHOLDS, data=st.data())
def test_failing_equals_being_banned_from_the_start(kernel, threshold, data) -> None:
    mended = learner(kernel)
    picks = mended.run(threshold).picks
    lost = data.draw(st.sampled_from(picks))
    rest = [pick for pick in picks if pick != lost]
    mended.fail(lost)
    selection = mended.run(threshold)
    expected, deviations = pick_brute_force(kernel, kernel.names, start=rest, stop_uncertainty=threshold, banned=[lost])
    assert selection.picks == expected
    np.testing.assert_allclose(selection.deviations, deviations, rtol=0, atol=1e-10)
    kept = [name for place, name in enumerate(kernel.names) if place != lost]
    if selection.picks:
        largest = posterior_deviation(kernel, selection.smiles, kept).max()
        np.testing.assert_allclose(selection.certificate.largest, largest, rtol=0, atol=1e-10)


@quick
@given(kernel=KERNELS | GRIDS, count=st.integers(1, 20), batch=st.integers(1, 70))
def test_proposing_twice_equals_proposing_the_sum(kernel, count, batch) -> None:
    twice, once = learner(kernel, batch), learner(kernel)
    assert twice.propose(count) + twice.propose(count) == once.propose(2 * count)


@quick
@given(kernel=KERNELS, threshold=THRESHOLDS)
def test_proposals_are_the_picks_of_a_run(kernel, threshold) -> None:
    run = learner(kernel).run(threshold).picks
    if len(run) > 1:
        assert learner(kernel).propose(len(run) - 1) == run[1:]
