from __future__ import annotations

import math

import numpy as np
import pytest
from tests.unit.molecules.point_kernel import Floats, PointKernel, Points, cloud
from tests.unit.molecules.reference import pick_brute_force

from modicum.errors import ConfigError, ModelError, StateError
from modicum.molecules.select.learner import ActiveLearner, Selection
from modicum.molecules.select.posterior import posterior_deviation


def learner(kernel: PointKernel, **options: object) -> ActiveLearner[Points]:
    return ActiveLearner(kernel, kernel.names, **options)  # pyright: ignore[reportArgumentType]


def assert_same(one: Selection, other: Selection) -> None:
    assert one.picks == other.picks
    np.testing.assert_allclose(one.deviations, other.deviations, rtol=0, atol=1e-10)


def test_a_selection_says_what_it_holds() -> None:
    kernel = PointKernel(np.array([[0.0], [9.0], [0.1], [9.1]]))
    selection = learner(kernel, start=["C3"]).run(0.5)
    assert selection.picks == (3, 0)
    assert selection.smiles == ("C3", "C0")
    np.testing.assert_allclose(selection.deviations, [1, 1], atol=1e-12)
    assert selection.pool_size == 4
    assert (selection.certificate.threshold, selection.certificate.failed) == (0.5, ())
    assert selection.certificate.holds


def test_a_random_start_is_two_molecules_of_the_seed() -> None:
    kernel = cloud(40)
    starts = {learner(kernel, seed=seed).picks for seed in (0, 0, 1, 2)}
    assert len(starts) == 3
    assert all(len(set(start)) == 2 for start in starts)
    assert len(learner(cloud(1)).picks) == 1


def test_the_rule_itself_begins_with_the_first_of_equals() -> None:
    kernel = cloud(40)
    assert learner(kernel, start="maxvar").run(0.5).picks == pick_brute_force(kernel, kernel.names, start=[])[0]
    assert learner(kernel, start="maxvar").propose(1) == (0,)


def test_a_start_may_be_named_by_smiles() -> None:
    assert learner(cloud(9), start=["C7", "C2"]).picks == learner(cloud(9), start=[7, 2]).picks == (7, 2)


def test_of_equal_molecules_the_first_is_selected_and_covers_the_others() -> None:
    kernel = PointKernel(np.repeat(np.arange(4.0) * 20, 5)[:, None])
    assert learner(kernel, start=[2]).run(0.5).picks == (2, 5, 10, 15)
    assert learner(kernel, start=[2]).propose(5)[:4] == (5, 10, 15, 0)


def test_a_run_to_its_end_leaves_the_covered_alone() -> None:
    kernel = cloud(300)
    selection = learner(kernel).run(0.5)
    assert selection.evaluations < 0.8 * 300 * len(selection.picks)


def test_few_picks_cost_fewer_values_than_all_their_columns() -> None:
    kernel = cloud(300)
    lazy = learner(kernel, batch=8).run(0.5, max_picks=30)
    assert len(lazy.picks) == 30
    assert lazy.evaluations < 0.9 * 300 * 30


def test_max_picks_counts_the_start_and_the_certificate_says_what_is_left() -> None:
    kernel = cloud(100)
    selection = learner(kernel).run(0.5, max_picks=7)
    assert len(selection.picks) == 7
    assert not selection.certificate.holds
    u = posterior_deviation(kernel, selection.smiles, kernel.names)
    assert selection.certificate.largest == pytest.approx(u.max(), abs=1e-12)
    assert selection.certificate.at == kernel.names[u.argmax()]
    with pytest.raises(ConfigError, match="max_picks is 1, but 2 molecules are selected already"):
        learner(kernel).run(0.5, max_picks=1)
    assert len(learner(kernel, start="maxvar").run(0.5, max_picks=1).picks) == 1


def test_a_smaller_threshold_goes_on_from_a_larger_one() -> None:
    kernel = cloud(200)
    stepwise = learner(kernel)
    stepwise.run(0.7)
    assert_same(stepwise.run(0.4), learner(kernel).run(0.4))


def test_noise_so_large_that_selection_cannot_cover_ends_without_a_certificate() -> None:
    kernel = PointKernel(np.array([[0.0], [90.0]]))
    selection = learner(kernel, noise=1.0).run(0.5)
    assert sorted(selection.picks) == [0, 1]
    assert selection.certificate.largest == pytest.approx(math.sqrt(0.5))  # v a / (v + a) with v = a = 1
    assert not selection.certificate.holds


def test_proposals_go_on_past_any_threshold_until_the_pool_is_empty() -> None:
    kernel = cloud(30)
    asked = learner(kernel)
    assert len(asked.propose(25)) == 25
    assert len(asked.propose(25)) == 3
    assert sorted(asked.picks) == list(range(30))
    assert asked.propose(1) == ()


@pytest.mark.parametrize("place", [0, 1, 5, -1])
@pytest.mark.parametrize("max_picks", [None, 20])
def test_after_a_failure_all_is_as_if_the_molecule_had_never_been_selected(place: int, max_picks: int | None) -> None:
    kernel = cloud(150)
    mended = learner(kernel)
    picks = mended.run(0.5, max_picks=max_picks).picks
    lost = picks[place]
    values = kernel.calls
    mended.fail(lost)
    assert kernel.calls == values
    fresh = learner(kernel, start=[pick for pick in picks if pick != lost])
    fresh.fail(lost)
    ours, theirs = mended.run(0.5), fresh.run(0.5)
    assert_same(ours, theirs)
    assert lost not in ours.picks
    assert ours.certificate.holds
    ((name, deviation),) = ours.certificate.failed
    assert name == kernel.names[lost]
    assert deviation == pytest.approx(posterior_deviation(kernel, ours.smiles, [name])[0], abs=1e-10)


def test_a_molecule_that_only_the_failed_one_covered_is_selected_in_its_place() -> None:
    kernel = PointKernel(np.array([[0.0], [50.0], [50.1], [99.0]]))
    lost = learner(kernel, start=[0])
    assert lost.run(0.5).picks == (0, 1, 3)
    lost.fail("C1")
    assert lost.run(0.5).picks == (0, 3, 2)


def test_failures_one_after_the_other_leave_the_banned_greedy_selection() -> None:
    kernel = cloud(150)
    mended = learner(kernel, start=[9])
    for _ in range(4):
        mended.fail(mended.run(0.5).picks[-1])
    selection = mended.run(0.5)
    banned = [kernel.names.index(name) for name, _ in selection.certificate.failed]
    start = selection.picks[:3]
    expected = pick_brute_force(kernel, kernel.names, start=start, stop_uncertainty=0.5, banned=banned)
    assert selection.picks == expected[0]
    np.testing.assert_allclose(selection.deviations, expected[1], rtol=0, atol=1e-10)


def test_a_failed_molecule_that_nothing_covers_is_reported_apart() -> None:
    kernel = PointKernel(np.array([[0.0], [0.1], [50.0]]))
    lost = learner(kernel, start=[0])
    lost.fail(2)
    certificate = lost.run(0.5).certificate
    assert certificate.holds
    assert certificate.failed == (("C2", 1.0),)


def test_progress_is_told_once_a_pick() -> None:
    told: list[tuple[int, int, str]] = []
    selection = learner(cloud(80)).run(0.5, progress=lambda *step: told.append(step))
    places = range(2, len(selection.picks))
    assert told == [(place + 1, 0, f"largest std {selection.deviations[place]:.3f}") for place in places]


class Interrupted(PointKernel):
    """Interrupted by the keyboard at one call."""

    at = -1

    def __call__(self, x: Points, y: Points | None = None) -> Floats:
        values = super().__call__(x, y)
        if self.calls == self.at:
            raise KeyboardInterrupt
        return values


@pytest.mark.parametrize("max_picks", [None, 15])
def test_an_interrupted_run_is_continued_as_if_nothing_had_been(max_picks: int | None) -> None:
    points = cloud(60).points
    whole = learner(PointKernel(points)).run(0.5, max_picks=max_picks)
    for at in range(2, 12):
        kernel = Interrupted(points)
        kernel.at = at
        resumed = learner(kernel, batch=4)
        with pytest.raises(KeyboardInterrupt):
            resumed.run(0.5, max_picks=max_picks)
        assert resumed.picks == whole.picks[: len(resumed.picks)]
        assert_same(resumed.run(0.5, max_picks=max_picks), whole)


def test_a_run_interrupted_in_its_report_keeps_the_pick() -> None:
    kernel = cloud(60)
    resumed = learner(kernel)

    def stop(done: int, *_: object) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resumed.run(0.5, progress=stop)
    assert len(resumed.picks) == 9
    assert_same(resumed.run(0.5), learner(kernel).run(0.5))


def test_an_interrupted_failure_can_be_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = cloud(60)
    whole, resumed = learner(kernel), learner(kernel)
    lost = whole.run(0.5).picks[4]
    resumed.run(0.5)
    rows = resumed._posterior._rows
    put, calls = rows.put, iter(range(100))

    def interrupted(*arguments) -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt
        put(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(rows, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            resumed.fail(lost)
    assert lost in resumed.picks
    for one in (whole, resumed):
        one.fail(lost)
    assert_same(resumed.run(0.5), whole.run(0.5))


def test_bad_arguments_are_refused_in_words() -> None:
    kernel = cloud(5)
    with pytest.raises(ConfigError, match="The pool is empty"):
        ActiveLearner(kernel, [])
    with pytest.raises(ConfigError, match="noise must be a number above 0, got 0"):
        learner(kernel, noise=0)
    with pytest.raises(ConfigError, match="noise must be a number above 0, got nan"):
        learner(kernel, noise=math.nan)
    with pytest.raises(ConfigError, match="batch must be at least 1"):
        learner(kernel, batch=0)
    for threshold in (0, 1.01, math.nan):
        with pytest.raises(ConfigError, match=r"uncertainty to stop at must lie in \(0, 1\]"):
            learner(kernel).run(threshold)
    with pytest.raises(ConfigError, match="max_picks must be at least 1, got 0"):
        learner(kernel).run(0.5, max_picks=0)
    with pytest.raises(ConfigError, match="number of molecules must be at least 1"):
        learner(kernel).propose(0)


@pytest.mark.parametrize("start", [["C9"], [5], [-1], ["CCCC"]])
def test_a_start_outside_the_pool_is_refused(start: list[str] | list[int]) -> None:
    with pytest.raises(ConfigError, match=f"{start[0]!r} is no molecule of the pool of 5"):
        learner(cloud(5), start=start)


def test_a_start_that_is_repeated_or_unknown_is_refused() -> None:
    with pytest.raises(ConfigError, match="C1 is twice in the start"):
        learner(cloud(5), start=["C1", "C2", "C1"])
    with pytest.raises(ConfigError, match="There is no start 'best'"):
        learner(cloud(5), start="best")


def test_a_failure_is_reported_once_and_of_the_pool() -> None:
    lost = learner(cloud(5))
    lost.fail(3)
    with pytest.raises(StateError, match="C3 was already taken out"):
        lost.fail("C3")
    with pytest.raises(ConfigError, match="'CC' is no molecule of the pool"):
        lost.fail("CC")


def test_a_pool_of_failures_has_no_certificate() -> None:
    lost = learner(cloud(2))
    lost.fail(0)
    lost.fail(1)
    with pytest.raises(StateError, match="Every molecule of the pool failed"):
        lost.run(0.5)


class Broken(PointKernel):
    def __call__(self, x: Points, y: Points | None = None) -> Floats:
        values = super().__call__(x, y)
        values[np.all(x.values == self.points[3], axis=1)] = math.nan
        return values


class Swollen(PointKernel):
    def __call__(self, x: Points, y: Points | None = None) -> Floats:
        return 1.5 * super().__call__(x, y)


def test_a_kernel_that_is_none_is_refused_and_the_molecule_named() -> None:
    with pytest.raises(ModelError, match="not positive semi-definite: a value of C3 is nan"):
        learner(Broken(cloud(5).points), start=[0]).run(0.5)
    with pytest.raises(ModelError, match="not positive semi-definite: the variance of C1 is -1"):
        learner(Swollen(np.zeros((2, 1))), start=[0, 1])
