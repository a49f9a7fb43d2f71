from __future__ import annotations

import numpy as np
import pytest
from tests.unit.molecules.point_kernel import cloud
from tests.unit.molecules.reference import pick_brute_force

from modicum.molecules.select.learner import ActiveLearner
from modicum.molecules.select.posterior import certify, posterior_deviation


@pytest.mark.parametrize("max_picks", [None, 60])
@pytest.mark.parametrize("start", [(), (17, 5)])
def test_lazy_picks_are_those_of_a_refit_at_every_step(start: tuple[int, ...], max_picks: int | None) -> None:
    # GPRMGK-G12, with a kernel of points: 306 of them, as there are alkanes of C4-C11.
    kernel = cloud(306, dimension=4)
    picks, deviations = pick_brute_force(kernel, kernel.names, start=start, stop_uncertainty=0.4, max_picks=max_picks)
    selection = ActiveLearner(kernel, kernel.names, start=start).run(0.4, max_picks=max_picks)
    assert len(picks) >= 60
    assert selection.picks == picks
    np.testing.assert_allclose(selection.deviations, deviations, rtol=0, atol=1e-10)


def test_the_certificate_of_a_finished_selection_is_the_dense_maximum() -> None:  # GPRMGK-G1
    kernel = cloud(306, dimension=4)
    selection = ActiveLearner(kernel, kernel.names, seed=3).run(0.5)
    audit = certify(kernel, selection.smiles, kernel.names, threshold=0.5)
    assert selection.certificate.largest == pytest.approx(audit.largest, abs=1e-10)
    assert selection.certificate.at == audit.at
    assert audit.holds
    assert selection.certificate.holds


def test_a_random_set_of_the_same_size_is_refused_its_certificate() -> None:  # GPRMGK-G2
    kernel = cloud(306, dimension=4)
    size = len(ActiveLearner(kernel, kernel.names).run(0.5).picks)
    drawn = np.random.default_rng(0).choice(306, size, replace=False)
    assert not certify(kernel, [kernel.names[place] for place in drawn], kernel.names, threshold=0.5).holds


def test_the_deviation_of_a_pick_is_the_dense_one_of_all_before_it() -> None:  # GPRMGK-G12
    kernel = cloud(306, dimension=4)
    selection = ActiveLearner(kernel, kernel.names, seed=1).run(0.6)
    for order in range(1, len(selection.picks), 10):
        u = posterior_deviation(kernel, selection.smiles[:order], [selection.smiles[order]])
        np.testing.assert_allclose(selection.deviations[order], u[0], rtol=0, atol=1e-10)
